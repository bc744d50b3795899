"""Which process holds a TCP port, from /proc (Linux; proc(5)): a taken port is reported with its holder."""

import contextlib
from pathlib import Path
from typing import NamedTuple

_LISTEN = "0A"


class Holder(NamedTuple):
    name: str
    pid: int


def holder_of(port: int) -> Holder | None:
    """The process that listens on `port`; None if there is none, or we may not see it."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening(Path("/proc/net") / table, port)}
    for process in Path("/proc").iterdir() if inodes else ():
        if process.name.isdigit() and _holds(process, inodes):
            return Holder((process / "comm").read_text().strip(), int(process.name))
    return None


def _listening(table: Path, port: int) -> list[str]:
    if not table.exists():
        return []
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    return [row[9] for row in rows if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port]


def _holds(process: Path, inodes: set[str]) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(descriptor.readlink())
                if target.startswith("socket:[") and target[8:-1] in inodes:
                    return True
    return False
