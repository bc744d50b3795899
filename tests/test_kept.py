"""Versions outlive an edit of the files they came from, and what is in force is one decision, whole at every moment."""

from pathlib import Path

import pytest

from relay import kept
from relay.kept import Decision, Store, read_decision, write_decision

DECISION = Decision("3f9a1c", "7be210", 1_795_000_000_000, "noa", "rollback", "a77e02")


def test_a_version_stays_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path, "policies")
    folder = store.keep("aaaaaa", {"retry.toml": b"first", "dkim/keys.toml": b"states"})
    assert folder == tmp_path / "versions" / "policies" / "aaaaaa"
    assert (folder / "retry.toml").read_bytes() == b"first"
    assert (folder / "dkim" / "keys.toml").read_bytes() == b"states"
    assert store.keep("aaaaaa", {"retry.toml": b"another"}) == folder  # its name is that of its files: they are there
    assert (folder / "retry.toml").read_bytes() == b"first"


def test_nobody_else_reads_the_hashes_of_passwords(tmp_path: Path) -> None:
    folder = Store(tmp_path, "policies").keep("aaaaaa", {"credentials.toml": b""})
    assert [path.stat().st_mode & 0o007 for path in (folder, folder / "credentials.toml")] == [0, 0]


def test_a_version_whose_files_cannot_be_written_is_not_there(tmp_path: Path) -> None:
    store = Store(tmp_path, "policies")
    with pytest.raises(OSError, match="File name too long"):
        store.keep("aaaaaa", {"retry.toml": b"", f"{'n' * 300}.toml": b""})
    assert store.versions() == []
    store.prune(())  # and the half of it goes
    assert list(store.folder.iterdir()) == []


def test_the_latest_in_force_comes_first(tmp_path: Path) -> None:
    store = Store(tmp_path, "policies")
    for at, name in enumerate(("old", "older", "new")):
        store.keep(name, {})
        store.touch(name, at * 1000)
    store.touch("old", 5000)
    assert [(version.name, version.at) for version in store.versions()] == [
        ("old", 5000),
        ("new", 2000),
        ("older", 1000),
    ]
    found = store.find("new")
    assert found is not None
    assert found.folder == store.folder / "new"
    assert store.find("ne") is None


def test_the_oldest_are_forgotten_but_not_those_in_use(tmp_path: Path) -> None:
    store = Store(tmp_path, "policies")
    for number in range(kept.MOST + 3):
        store.keep(f"v{number}", {})
        store.touch(f"v{number}", number)
    store.prune({"v0"})
    left = {version.name for version in store.versions()}
    assert len(left) == kept.MOST + 1
    assert "v0" in left
    assert not left & {"v1", "v2"}


def test_a_decision_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    assert read_decision(tmp_path) is None
    Store(tmp_path, "policies").keep("3f9a1c", {})
    write_decision(tmp_path, DECISION)
    assert read_decision(tmp_path) == DECISION
    (tmp_path / "versions" / ".in-force.json").mkdir()  # as if the disk refused
    with pytest.raises(OSError, match="Is a directory"):
        write_decision(tmp_path, Decision("a77e02", "7be210", 0, "noa", "reload"))
    assert read_decision(tmp_path) == DECISION


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"policies": "3f9a1c"}', b"\xff"])
def test_a_decision_that_nobody_can_read_is_none(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "in-force.json").write_bytes(text)
    assert read_decision(tmp_path) is None
