"""What must outlive a power cut: fsync(2) of a file says nothing of its name, which is the folder's."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Makes what is in a file, or the names in a folder, last; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
