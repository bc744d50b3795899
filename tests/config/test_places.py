from pathlib import Path

import pytest

from relay.config import MissingDirectory, find_directories, places


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "SYSTEM", tmp_path / "etc")
    return tmp_path


def make(here: Path, *folders: str) -> None:
    for folder in folders:
        (here / folder).mkdir(parents=True)


def test_here_comes_before_the_system(here: Path) -> None:
    make(here, "etc/config", "etc/policies")
    assert find_directories(environ={}) == (here / "etc/config", here / "etc/policies")
    make(here, "config")
    assert find_directories(environ={}) == (Path("config"), here / "etc/policies")


def test_what_is_said_comes_first(here: Path) -> None:
    make(here, "config", "policies", "a", "b")
    environ = {"POSTLANE_CONFIG": "a", "POSTLANE_POLICIES": "a"}
    assert find_directories(environ=environ) == (Path("a"), Path("a"))
    assert find_directories("b", None, environ) == (Path("b"), Path("a"))


def test_nowhere(here: Path) -> None:
    with pytest.raises(
        MissingDirectory, match=r"^no config/ here nor .*/etc/config\. Say --config DIR, or set POSTLANE_CONFIG\.$"
    ):
        find_directories(environ={})
    with pytest.raises(MissingDirectory, match=r"^x is no folder"):
        find_directories("x", environ={})
