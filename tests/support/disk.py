"""A disk that can be slow, or fail: an SQLite VFS in front of the system's, for what a real disk does too seldom."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import apsw


class FaultyDisk(apsw.VFS):
    """Counts the fsyncs of WAL files; `fail` decides whether one fails, `delay` is how long each takes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.syncs = 0
        self.delay = 0.0
        self.fail: Callable[[], bool] = lambda: False
        super().__init__(name, base="")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "_File":  # noqa: N802
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        self._counted = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._counted:
            if self._disk.fail():
                error = apsw.IOError("the disk failed")
                error.extendedresult = apsw.SQLITE_IOERR_FSYNC  # type: ignore[attr-defined]
                raise error
            self._disk.syncs += 1
            time.sleep(self._disk.delay)
        super().xSync(flags)


@contextmanager
def faulty_disk(name: str) -> Iterator[FaultyDisk]:
    disk = FaultyDisk(name)
    try:
        yield disk
    finally:
        disk.unregister()
