"""Versions of policies/ outlive an edit of the files they came from."""

import os
from pathlib import Path

from relay import kept_policies
from relay.kept_policies import keep


def test_a_version_stays_as_it_was_when_the_files_change(tmp_path: Path) -> None:
    policies, store = tmp_path / "policies", tmp_path / "store"
    policies.mkdir()
    (policies / "retry.toml").write_text("first")
    (policies / "notes.txt").write_text("not a policy")
    kept = keep(policies, store, "aaaaaa")
    (policies / "retry.toml").write_text("half an ed")
    assert kept == store / "aaaaaa"
    assert [path.name for path in kept.iterdir()] == ["retry.toml"]
    assert (kept / "retry.toml").read_text() == "first"
    assert keep(policies, store, "aaaaaa") == kept  # it is there already: the same version has the same files
    assert (kept / "retry.toml").read_text() == "first"


def test_the_oldest_are_forgotten(tmp_path: Path) -> None:
    policies, store = tmp_path / "policies", tmp_path / "store"
    policies.mkdir()
    for number in range(kept_policies.KEPT + 3):
        path = keep(policies, store, f"v{number}")
        os.utime(path, (number, number))
    left = {path.name for path in keep(policies, store, "last").parent.iterdir()}
    assert len(left) == kept_policies.KEPT
    assert "last" in left
    assert "v0" not in left
