"""Why a node does not start: told in one sentence with file and cure, before any worker runs."""

import re
from pathlib import Path

import pytest

from relay.supervisor import StartError, Supervisor
from tests.support.certificates import self_signed

LISTENER = '[[listener]]\nbind = "127.0.0.1:0"\n'


def start(folder: Path, *, node: str = "", rest: str = LISTENER) -> None:
    """A supervisor as far as its constructor goes; what is tried here never gets to bind anything."""
    for name in ("config", "policies"):
        (folder / name).mkdir()
    text = f'[node]\nhostname = "relay.test.example"\n{node}\n{rest}'
    (folder / "config" / "postlane.toml").write_text(text)
    Supervisor(folder / "config", folder / "policies")


def with_tls(cert: Path, key: Path) -> str:
    return f'[tls]\ncert = "{cert}"\nkey = "{key}"\n{LISTENER}tls = "starttls"\n'


def test_a_certificate_that_is_not_there(tmp_path: Path) -> None:
    pem = self_signed(tmp_path, "localhost")
    missing = tmp_path / "missing.pem"
    expected = rf"{re.escape(str(missing))} cannot be read: No such file or directory; set cert and key in \[tls\]"
    with pytest.raises(StartError, match=expected):
        start(tmp_path, rest=with_tls(pem, missing))
    assert not (tmp_path / "data").exists()


def test_a_key_that_does_not_fit_its_certificate(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    pem, other = self_signed(tmp_path, "localhost"), self_signed(tmp_path / "other", "localhost")
    expected = f"{re.escape(str(pem))} and {re.escape(str(other))} do not serve TLS: .*mismatch.*; cert in"
    with pytest.raises(StartError, match=expected):
        start(tmp_path, rest=with_tls(pem, other))


def test_a_data_dir_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    expected = f"data_dir {re.escape(str(tmp_path))}/file/data cannot be made: Not a directory; set node.data_dir"
    with pytest.raises(StartError, match=expected):
        start(tmp_path, node='data_dir = "file/data"')


def test_a_data_dir_that_cannot_be_written(tmp_path: Path) -> None:
    """Whose file cannot be opened; a folder in its place hinders root too."""
    (tmp_path / "data" / "postlane.lock").mkdir(parents=True)
    expected = (
        r"data/postlane.lock cannot be opened: Is a directory; give data_dir to the user .*, or set node.data_dir"
    )
    with pytest.raises(StartError, match=expected):
        start(tmp_path)
