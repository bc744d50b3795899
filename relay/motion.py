"""What nodes tell each other about versions of policies/, as notes on one board of State. Pure.

    node/NAME             a seat: who is there, when it was last heard, and what it runs
    asked/BALLOT          a motion: this version is to be put in force by these nodes
    vote/BALLOT/NAME      what a node says to it: what hinders it, or nothing
    decided/BALLOT        the same motion, decided: of several the one with the highest ballot counts, for everybody, for good
    wants/NAME            a version that was decided, and whose files this node has not got

A ballot sorts by its number; two that were made of one number, because State had forgotten the first, by the word behind it.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import TypeVar

import orjson

BOARD = "policies"
FILES = "policies/files"  # version -> its files: apart, since the board is read each second
PROTOCOL = 1  # of these notes: nodes that speak another cannot change over together
HEARD = 10_000  # ms a node counts as there: it is heard each second, and a busy one some seconds late
COUNTED = 35_000  # ms its workers may still count as sharing State; relay/state/redis.py
STALE = 300_000  # ms after which nobody waits for the end of a motion any more
FORGOTTEN = 86_400_000  # ms after which nobody wants to know of a node that ended without a word
MOST_OCTETS = 2_000_000  # of all files of policies/: 2,000 rules are some hundred thousand

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seat:
    """A node: `at` when it was last heard (ms, State's clock), `ballot` of what it has in force, `program`: its Postlane.
    `ended`: it was stopped; its workers may still be draining."""

    node: str
    at: int
    workers: int
    policies: str
    ballot: str
    program: str
    protocol: int = PROTOCOL
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Motion:
    """`how`: reload or rollback, by whom and on which node, `at` (ms, State's clock). `before`: what that node had in force.
    `nodes` are asked."""

    ballot: str
    version: str
    by: str
    how: str
    reason: str
    node: str
    at: int
    before: str = ""
    nodes: tuple[str, ...] = ()


def dump(note: Seat | Motion) -> str:
    return orjson.dumps(asdict(note)).decode()


@dataclass(frozen=True, slots=True)
class Table:
    """All notes as they were at `now`. `sharers`: workers that share State. `names`: of all notes."""

    now: int
    sharers: int
    seats: dict[str, Seat]
    asked: dict[str, Motion]
    motions: dict[str, Motion]  # decided
    votes: dict[tuple[str, str], tuple[str, ...]]
    wants: dict[str, str]
    names: frozenset[str] = frozenset()

    @property
    def decided(self) -> Motion | None:
        """What counts."""
        return self.motions[max(self.motions)] if self.motions else None

    def there(self, besides: str) -> list[Seat]:
        """All other nodes that are up, by name."""
        return [one for one in self._others(besides) if self.now - one.at < HEARD]

    def away(self, besides: str) -> list[Seat]:
        """All other nodes that are not."""
        return [one for one in self._others(besides) if self.now - one.at >= HEARD]

    def _others(self, besides: str) -> list[Seat]:
        return [seat for name, seat in sorted(self.seats.items()) if name != besides and not seat.ended]

    def strangers(self) -> int:
        """Workers that share State and are of no node that is known here."""
        known = sum(seat.workers for seat in self.seats.values() if self.now - seat.at < COUNTED)
        return max(0, self.sharers - known)

    def awaited(self, node: str, running: str) -> Motion | None:
        """The motion that `node`, which has ballot `running` in force, is asked about and has not said anything to."""
        least = max(running, self.decided.ballot if self.decided else "")
        for ballot, motion in sorted(self.asked.items(), reverse=True):
            fresh = ballot > least and self.now - motion.at < STALE
            if fresh and node in motion.nodes and (ballot, node) not in self.votes:
                return motion
        return None

    def next_ballot(self, running: str, word: str) -> str:
        """Higher than all there are. `running` is the asker's own; `word`: random, of his alone."""
        last = max((*self.motions, *self.asked, running), default="")
        return f"{int(last.partition('-')[0] or 0) + 1:09d}-{word}"

    def litter(self) -> Iterable[str]:
        """Names of notes that say nothing any more, once no motion is under way."""
        last = self.decided.ballot if self.decided else ""
        gone = [
            name for name, seat in self.seats.items() if self.now - seat.at > (COUNTED if seat.ended else FORGOTTEN)
        ]
        for name in self.names:
            kind, _, rest = name.partition("/")
            if kind in ("asked", "vote") or (kind == "decided" and rest < last) or (kind == "node" and rest in gone):
                yield name


def table(notes: Mapping[str, str], now: int, sharers: int) -> Table:
    """Of the notes of a board. What cannot be read, a newer Postlane's, is left out; what it has besides is not looked at."""
    found = Table(now, sharers, {}, {}, {}, {}, {}, frozenset(notes))
    for name, text in notes.items():
        kind, _, rest = name.partition("/")
        with suppress(ValueError, TypeError, AttributeError):
            match kind:
                case "node":
                    found.seats[rest] = _load(Seat, text)
                case "asked":
                    found.asked[rest] = _load(Motion, text)
                case "decided":
                    found.motions[rest] = _load(Motion, text)
                case "vote":
                    ballot, _, node = rest.partition("/")
                    found.votes[ballot, node] = tuple(orjson.loads(text))
                case "wants":
                    found.wants[rest] = text
    return found


def _load(model: type[T], text: str) -> T:
    known = {one.name for one in fields(model)}  # type: ignore[arg-type]
    facts = {name: value for name, value in orjson.loads(text).items() if name in known}
    return model(**{name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()})


def vote(problems: Iterable[str]) -> str:
    """What hinders a node; nothing: it is ready."""
    return orjson.dumps(list(problems)).decode()


def pack(files: Mapping[str, bytes]) -> str:
    """Raises ValueError where they are too much for a note, or no text."""
    octets = sum(map(len, files.values()))
    if octets > MOST_OCTETS:
        raise ValueError(f"policies/ has {octets:,} octets, and nodes pass on {MOST_OCTETS:,} at most")
    return orjson.dumps({name: content.decode() for name, content in files.items()}).decode()


def unpack(text: str) -> dict[str, bytes]:
    """Raises ValueError where it is no such note: a name is that of a TOML file, and leads nowhere else."""
    files = orjson.loads(text)
    if not isinstance(files, dict):
        raise ValueError("files are a table")
    for name, content in files.items():
        if not name.endswith(".toml") or name.startswith(".") or "/" in name or not isinstance(content, str):
            raise ValueError(f"{name!r} is no file of policies/")
    return {name: content.encode() for name, content in files.items()}
