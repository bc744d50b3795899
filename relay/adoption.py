"""What a node does with another node's policies/: whether it may take them, how it takes them, and what becomes of its own disk.

Nothing here asks anybody: relay/cluster.py brings the files, and says when.
"""

import asyncio
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import structlog

from relay.changeover import Agree
from relay.config import ConfigErrors
from relay.config.edit import put_files
from relay.config.reader import contents, fingerprint, shown_path
from relay.control import Json
from relay.in_force import InForce, load
from relay.kept import Decision, Store
from relay.motion import Motion
from relay.signing.entries import KeysError

log = structlog.get_logger()


class Desk(Protocol):
    """The supervisor, as far as versions go. Who changes something holds `changing`."""

    data_dir: Path
    policies: Path
    in_force: InForce
    decision: Decision
    changing: asyncio.Lock

    async def change(
        self, wanted: InForce, decision: Decision, reason: str = "", agree: Agree = ..., via: str = ...
    ) -> Json:
        """{"error", "problems"} where it was not done."""
        ...

    def note(self, decision: Decision) -> None:
        """The same is in force, and something else is to be remembered of it; raises OSError."""
        ...


class Adoption:
    """`desk`: the node that takes them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __repr__(self) -> str:
        return f"<Adoption {self._desk.in_force.version}>"

    def files_in_force(self) -> dict[str, bytes]:
        return contents(Path(self._desk.in_force.place.policies))

    def edits(self, motion: Motion) -> str:
        """Why policies/ here must not be passed over; "" where nothing of it would be."""
        desk = self._desk
        on_disk, known = contents(desk.policies), self.files_in_force()
        if not self._common(motion) and motion.version not in (desk.in_force.version, fingerprint(on_disk)):
            return (
                f"{desk.in_force.version} is in force there, and nowhere else: put the same files into policies/ of this node "
                f"and {motion.node}"
            )
        if fingerprint(on_disk) in (desk.in_force.version, motion.version, desk.decision.instead_of):
            return ""
        names = sorted(name for name in {*on_disk, *known} if on_disk.get(name) != known.get(name))
        named = ", ".join(f"policies/{name}" for name in names)
        return (
            f"{named} there {'has' if len(names) == 1 else 'have'} edits that are not in force: reload them there, or put "
            f"back what is in force ({shown_path(Path(desk.in_force.place.policies))})"
        )

    def _common(self, motion: Motion) -> bool:
        """What is in force here is, or was, in force on all nodes; not what this node alone began with."""
        return self._desk.decision.ballot != "" or self._desk.in_force.version == motion.before

    async def take(self, motion: Motion, files: Mapping[str, bytes], agree: Agree) -> list[str]:
        """Put it in force in all processes here. Why not; empty: it is."""
        desk = self._desk
        on_disk = fingerprint(contents(desk.policies))
        known = on_disk == desk.decision.instead_of or (on_disk == desk.in_force.version and self._common(motion))
        stale = on_disk if known and on_disk != motion.version else ""
        try:
            wanted = self._wanted(motion.version, files)
        except (ConfigErrors, KeysError) as error:
            return [str(problem) for problem in error.problems]
        except OSError as error:
            return [f"it cannot be kept in {desk.data_dir}: {error.strerror}"]
        config, at = desk.decision.config, time.time_ns() // 1_000_000
        decision = Decision(motion.version, config, at, motion.by, motion.how, stale, motion.ballot, motion.node)
        answer = await desk.change(wanted, decision, motion.reason, agree, "cluster")
        if "error" in answer:
            refusals: list[str] = answer["problems"]
            return refusals
        if not known and on_disk != motion.version:
            log.warning("policies/ on disk has edits of its own, which are not in force", on_disk=on_disk)
        elif stale and motion.how == "reload":
            self._rewrite(files, stale)
        return []

    def _wanted(self, version: str, files: Mapping[str, bytes]) -> InForce:
        """Kept here, and read under this node's config/; raises ConfigErrors, KeysError, OSError."""
        store = Store(self._desk.data_dir, "policies")
        known = store.find(version) is not None
        folder = store.keep(version, files)
        try:
            return load(replace(self._desk.in_force.place, policies=str(folder)))
        except (ConfigErrors, KeysError) as error:
            if not known:
                shutil.rmtree(folder)
            if isinstance(error, ConfigErrors):  # what people know is where it would stand, not where it was kept
                raise ConfigErrors([replace(one, file=_as_ours(one.file, folder)) for one in error.problems]) from error
            raise

    def _rewrite(self, files: Mapping[str, bytes], stale: str) -> None:
        """What is in force, on disk, where nothing is lost by it. Where it cannot be written `stale` is remembered as old."""
        desk = self._desk
        try:
            if put_files(desk.policies, files, (stale,)):
                desk.note(replace(desk.decision, instead_of=""))
                log.info("policies/ on disk is what is in force", policies=desk.in_force.version)
        except OSError as error:
            log.warning(
                "policies/ on disk cannot be written, and is not in force", on_disk=stale, error=error.strerror or ""
            )

    def stale(self) -> str:
        """Why a reload of policies/ on disk would undo, unseen, what another node put in force; "" where it would not."""
        now = self._desk.decision
        if now.how != "reload" or not now.instead_of:
            return ""
        return (
            f"policies/ on disk could not be written when {now.policies} of {now.node} came into force, so a reload would undo "
            f"that: put {shown_path(Path(self._desk.in_force.place.policies))} there and reload, then edit; or edit on {now.node}"
        )


def _as_ours(file: str, folder: Path) -> str:
    return file.replace(shown_path(folder), "policies", 1)
