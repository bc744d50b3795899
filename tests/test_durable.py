from pathlib import Path

import pytest

from relay.durable import make_once, replace_private, sync


def test_files_and_folders_are_synced_and_what_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    file = tmp_path / "a"
    file.write_bytes(b"x")
    sync(file)
    sync(tmp_path)
    assert synced == [file, tmp_path]
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "none")


def test_who_comes_first_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    make_once(path, b"first")
    make_once(path, b"second")
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_replaced_whole_and_for_nobody_else_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "made" / "file"
    for content in (b"first", b"second"):
        replace_private(path, content)
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o777 == 0o600

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_private(path, b"third")
    assert path.read_bytes() == b"second"
    assert [one.name for one in path.parent.iterdir()] == ["file"]
