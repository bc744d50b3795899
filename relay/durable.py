"""What must outlive a power cut: fsync(2) of a file says nothing of its name, which is the folder's."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def sync(path: Path) -> None:
    """Makes what is in a file, or the names in a folder, last; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_once(path: Path, content: bytes) -> None:
    """A file that whichever process comes first makes, for nobody else to read: whole or not at all, and never over one that
    is there (written aside, then linked). Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was first: its content counts
            os.link(aside, path)
    finally:
        aside.unlink()
    sync(path.parent)


def replace_private(path: Path, content: bytes) -> None:
    """Put `content` in the place of the file, for nobody but the owner of its folder to read; a crash leaves the one or the
    other. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            folder = path.parent.stat()
            with suppress(PermissionError):  # root gives it to whom the node runs as
                os.fchown(descriptor, folder.st_uid, folder.st_gid)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync(path.parent)
