"""What the spool raises. Everything else that leaves it is a bug of ours."""


class SpoolError(Exception):
    """The change is not saved: the disk, the file or the shard's state is at fault. A client hears 452 4.3.1."""


class SpoolFull(SpoolError):
    """There is no room on the disk. It passes by itself: the spool looks again each second."""


class SpoolBusy(SpoolError):
    """Another process has this shard open; only its owner may (DESIGN: only the owning worker opens a shard)."""
