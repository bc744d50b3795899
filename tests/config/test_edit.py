import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tomlkit import TOMLDocument

from relay.config import ConfigErrors, Deployment, load_deployment
from relay.config.edit import edit_credentials, put_files, replace, take_back
from relay.config.reader import contents, fingerprint

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


# What a cluster does with the files


@pytest.mark.parametrize("text", [TEXT, "\ufeff" + TEXT, None])
def test_a_change_is_taken_back_octet_by_octet(tmp_path: Path, deployment: Deployment, text: str | None) -> None:
    folder, path = tmp_path / "policies", tmp_path / "policies" / "credentials.toml"
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text.encode())

    def change(document: TOMLDocument) -> None:
        document.setdefault("credential", {})["new"] = {"class": "auto", "domains": ["a.example"]}

    edited = edit_credentials(folder, deployment, change)
    assert b"new" in path.read_bytes()
    assert take_back(folder, edited)
    assert (path.read_bytes().decode() if path.exists() else None) == text


def test_what_somebody_has_changed_since_is_not_taken_back(tmp_path: Path, deployment: Deployment) -> None:
    folder = tmp_path / "policies"
    first = edit_credentials(folder, deployment, _quota("5/day"))
    edit_credentials(folder, deployment, _quota("6/day"))
    assert not take_back(folder, first)
    assert "6/day" in (folder / "credentials.toml").read_text()


def test_files_are_put_where_what_they_replace_is_known(tmp_path: Path) -> None:
    (tmp_path / "retry.toml").write_text("# old\n")
    (tmp_path / "caps.toml").write_text("# goes\n")
    (tmp_path / "retry.toml").chmod(0o640)
    known = fingerprint(contents(tmp_path))
    files = {"retry.toml": b"# new\r\n", "streams.toml": "# הודעות\n".encode()}
    assert not put_files(tmp_path, files, ("abcdef",))
    assert contents(tmp_path) == {"retry.toml": b"# old\n", "caps.toml": b"# goes\n"}
    assert put_files(tmp_path, files, ("abcdef", known))
    assert contents(tmp_path) == files
    assert (tmp_path / "retry.toml").stat().st_mode & 0o777 == 0o640
    with pytest.raises(OSError, match="No such file"):
        put_files(tmp_path / "missing", files, (known,))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
def test_a_new_file_that_root_makes_belongs_to_the_owner_of_its_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    replace(tmp_path / "credentials.toml", "")
    made = (tmp_path / "credentials.toml").stat()
    assert (made.st_uid, made.st_gid) == (65534, 65534)
