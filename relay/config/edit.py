"""Changes of policies/credentials.toml by command: comments and order stay, and nothing that is wrong is ever written.

One change at a time (a lock on the folder), checked as a whole before it replaces the file, which at every moment is
the old one or the new one.
"""

import fcntl
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import tomlkit
from tomlkit import TOMLDocument

from relay.config.deployment import Deployment
from relay.config.policies import Policies, examine_policies
from relay.config.problems import ConfigErrors, Problem
from relay.config.reader import Examined, contents, fingerprint, shown_path
from relay.durable import sync

FILE = "credentials.toml"


@dataclass(frozen=True, slots=True)
class Edited:
    """What a change did: the file before and after, and all policies before (None: they had errors) and after it. `was`: the file
    before with whatever mark an editor put in front; None where it was not there."""

    file: str
    was: str | None
    before: str
    after: str
    version_before: str
    policies: Policies


def edit_credentials(
    policies_dir: Path, deployment: Deployment, change: Callable[[TOMLDocument], None], *, dry_run: bool = False
) -> Edited:
    """Apply `change` to the file and put the result in its place; raises ConfigErrors if it is wrong, or would be.

    Errors in other files do not matter: they were there before.
    """
    path = (policies_dir / FILE).resolve()  # a symbolic link is followed, not replaced
    file = shown_path(policies_dir / FILE)
    with _locked(path.parent):
        stood = path.read_bytes().decode("utf-8", "replace") if path.exists() else None  # line ends stay as they are
        before = (stood or "").removeprefix("\ufeff")
        was = _without_errors(examine_policies(policies_dir, deployment), file)
        document = tomlkit.parse(before if before.endswith("\n") or not before else f"{before}\n")
        change(document)
        after = tomlkit.dumps(document)
        now = _without_errors(examine_policies(policies_dir, deployment, {FILE: after}), file)
        if not dry_run and after != before:
            replace(path, after)
    return Edited(file, stood, before, after, was.version, now)


def _without_errors(examined: Examined[Policies], file: str) -> Policies:
    errors: list[Problem] = [one for one in examined.problems if one.file == file and not one.warning]
    if errors or examined.value is None:
        raise ConfigErrors(errors)
    return examined.value


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def take_back(policies_dir: Path, edited: Edited) -> bool:
    """The file as it was before, unless somebody has changed it since."""
    path = (policies_dir / FILE).resolve()
    with _locked(path.parent):
        if path.read_bytes().decode("utf-8-sig", "replace") != edited.after:
            return False
        if edited.was is None:
            path.unlink()
        else:
            replace(path, edited.was)
    return True


def put_files(policies_dir: Path, files: Mapping[str, bytes], instead_of: Collection[str]) -> bool:
    """Make the files of policies/ these, where they are one of the versions `instead_of`; raises OSError.

    One file after the other: a crash may leave some of each, which is then taken for an edit.
    """
    with _locked(policies_dir):
        there = contents(policies_dir)
        if fingerprint(there) not in instead_of:
            return False
        for name in [name for name, content in files.items() if there.get(name) != content]:
            replace((policies_dir / name).resolve(), files[name].decode())
        for name in there.keys() - files.keys():
            (policies_dir / name).unlink()
    return True


def replace(path: Path, text: str) -> None:
    """Put `text` in the place of the file, with its mode and owner; a crash leaves the old one or the new one.

    A file that was not there belongs to the owner of its folder, as far as that is ours to say.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            if path.exists():
                os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
            like = (path if path.exists() else path.parent).stat()
            with suppress(PermissionError):  # only root may give a file away; the mode still says who may read it
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync(path.parent)
