"""Accepted versions of policies/, kept in data_dir/policies/VERSION: what runs does not depend on what is being edited.

A worker that is started anew reads the version in force from here, not the files on disk; so all workers run the same
version whenever they start (DESIGN, invariant 9).
"""

import os
import shutil
from pathlib import Path

KEPT = 50  # versions; some KB each


def keep(policies: Path, store: Path, version: str) -> Path:
    """Copy the TOML files of `policies` to `store`/`version`, whole or not at all; the folder. Forgets the oldest ones."""
    target = store / version
    if not target.is_dir():
        draft = store / f".{version}.{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True, mode=0o750)
        for file in policies.glob("*.toml"):
            (draft / file.name).write_bytes(file.read_bytes())
        draft.rename(target)
    os.utime(target)
    for old in sorted(store.glob("[!.]*"), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
        shutil.rmtree(old)
    return target
