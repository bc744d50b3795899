"""Accepted versions of config/ and policies/, kept in data_dir/versions: what runs does not depend on what is being edited.

    versions/policies/3f9a1c/*.toml       each accepted version of policies/, under the fingerprint of its files
    versions/config/7be210/*.toml         of config/, with dkim/keys.toml: which keys signed, and in which state
    versions/in-force.json                which of them is in force: the one place that decides what a process reads

A copy appears whole or not at all. The supervisor alone writes here; keys, certificates and secrets stay where they are.
"""

import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from relay.durable import sync

FOLDER = "versions"
MOST = 50  # versions of each kind; some KB apiece


@dataclass(frozen=True, slots=True)
class Version:
    """`at`: when it was last put in force, in ms."""

    name: str
    at: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Decision:
    """What is in force on this node, since `at` (ms), by whose word, and by which command (start, reload, rollback).

    `instead_of`: the version that was on disk when policies were rolled back, or that another node's could not replace. It
    stays out of force through a restart, until somebody changes the files or reloads. In a cluster `ballot` says which
    decision of all nodes this follows (relay/motion.py), and `node` where it was taken; "" before the first.
    """

    policies: str
    config: str
    at: int
    by: str
    how: str
    instead_of: str = ""
    ballot: str = ""
    node: str = ""


class Store:
    """The versions of one kind."""

    def __init__(self, data_dir: Path, kind: str) -> None:
        self.folder = data_dir / FOLDER / kind

    def __repr__(self) -> str:
        return f"<Store {self.folder}>"

    def keep(self, name: str, files: Mapping[str, bytes]) -> Path:
        """A folder with these files, for good; raises OSError."""
        target = self.folder / name
        if not target.is_dir():
            draft = self.folder / f".{name}.{os.getpid()}"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True, mode=0o750)
            for file, content in files.items():
                (draft / file).parent.mkdir(mode=0o750, exist_ok=True)
                _write(draft / file, content)
            draft.rename(target)
            sync(self.folder)
        return target

    def versions(self) -> list[Version]:
        """The latest first."""
        found = [Version(path.name, path.stat().st_mtime_ns // 1_000_000, path) for path in self.folder.glob("[!.]*")]
        return sorted(found, key=lambda version: (version.at, version.name), reverse=True)

    def find(self, name: str) -> Version | None:
        return next((version for version in self.versions() if version.name == name), None)

    def touch(self, name: str, now: int) -> None:
        """It was put in force at `now` (ms)."""
        os.utime(self.folder / name, ns=(now * 1_000_000, now * 1_000_000))

    def prune(self, needed: Collection[str]) -> None:
        """Forget the oldest, and what a crash left half-made; never what is `needed`."""
        for version in self.versions()[MOST:]:
            if version.name not in needed:
                shutil.rmtree(version.folder)
        for draft in self.folder.glob(".*"):
            shutil.rmtree(draft)


def read_decision(data_dir: Path) -> Decision | None:
    """What is, or was last, in force; None where nothing ever was, or nobody can tell."""
    try:
        return Decision(**orjson.loads((data_dir / FOLDER / "in-force.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def write_decision(data_dir: Path, decision: Decision) -> None:
    """From now on this is in force, through any crash; raises OSError, and then the old one is."""
    file = data_dir / FOLDER / "in-force.json"
    draft = file.with_name(f".{file.name}")
    _write(draft, orjson.dumps(asdict(decision), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    draft.replace(file)
    sync(file.parent)


def tidy(data_dir: Path, decision: Decision, started: str) -> None:
    """After a decision: note when its versions came into force, and forget the oldest. `started`: see order.Place."""
    with suppress(OSError):  # it is in force whether or not the rest can be written
        for kind, name in (("policies", decision.policies), ("config", decision.config)):
            store = Store(data_dir, kind)
            store.touch(name, decision.at)
            store.prune({name, Path(started).name})


def _write(file: Path, content: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
