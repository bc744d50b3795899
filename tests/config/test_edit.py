import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tomlkit import TOMLDocument

from relay.config import ConfigErrors, Deployment, load_deployment
from relay.config.edit import edit_credentials, replace

TEXT = """# who may send\r
\r
[credential.shop]   # the shop\r
class = "auto"\r
domains = ["a.example"]  # its own\r
networks = ["10.1.2.3"]\r
"""


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    for folder in ("config", "policies"):
        (tmp_path / folder).mkdir()
    text = '[node]\nhostname = "a.example"\n[[listener]]\nbind = "127.0.0.1:2525"\n'
    (tmp_path / "config" / "postlane.toml").write_text(text)
    (tmp_path / "policies" / "credentials.toml").write_text(TEXT, newline="")
    return load_deployment(tmp_path / "config", {})


def _quota(value: str) -> Callable[[TOMLDocument], None]:
    def change(document: TOMLDocument) -> None:
        document["credential"]["shop"]["quota"] = value

    return change


def test_comments_line_ends_mode_and_links_stay(tmp_path: Path, deployment: Deployment) -> None:
    path = tmp_path / "policies" / "credentials.toml"
    real = path.rename(tmp_path / "real.toml")
    path.symlink_to(real)
    real.chmod(0o640)
    edited = edit_credentials(tmp_path / "policies", deployment, _quota("5/day"))
    after = real.read_bytes().decode()
    assert after.startswith(TEXT)
    assert after.removeprefix(TEXT).strip() == 'quota = "5/day"'
    assert path.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert edited.policies.credentials["shop"].quota is not None
    assert edited.version_before != edited.policies.version


def test_what_would_be_wrong_is_not_written(tmp_path: Path, deployment: Deployment) -> None:
    path = tmp_path / "policies" / "credentials.toml"
    with pytest.raises(ConfigErrors, match="40/second"):
        edit_credentials(tmp_path / "policies", deployment, _quota("40/s"))
    assert path.read_bytes().decode() == TEXT
    assert list(path.parent.iterdir()) == [path]


def test_a_file_with_errors_is_left_to_its_author(tmp_path: Path, deployment: Deployment) -> None:
    (tmp_path / "policies" / "credentials.toml").write_text("[credential.shop\n")
    with pytest.raises(ConfigErrors):
        edit_credentials(tmp_path / "policies", deployment, _quota("5/day"))


def test_errors_elsewhere_do_not_matter(tmp_path: Path, deployment: Deployment) -> None:
    (tmp_path / "policies" / "routes.toml").write_text("x = 1\n")
    edit_credentials(tmp_path / "policies", deployment, _quota("5/day"))
    assert "5/day" in (tmp_path / "policies" / "credentials.toml").read_text()


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
def test_a_new_file_that_root_makes_belongs_to_the_owner_of_its_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    replace(tmp_path / "credentials.toml", "")
    made = (tmp_path / "credentials.toml").stat()
    assert (made.st_uid, made.st_gid) == (65534, 65534)
