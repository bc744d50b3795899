from pathlib import Path

import pytest

from relay.durable import sync


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
