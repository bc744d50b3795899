"""What one node of a cluster asks all others to do with what they keep of one person (relay/dossier.py). Of the web process.

    errands/nodes     every node, by name, and when it was last there
    errands/to/NODE   what it is asked: forget, count or export, of whom (sealed)
    errands/answers   ID/NODE: of which errands which nodes have begun to answer, and when
    errands/answers/ID/NODE   what came of it (sealed), by number, taken off by who asked

Notes on boards of State (relay/state/interface.py). A node looks at its own; it takes a note off when it is done. So one that is
down forgets a person when it is back; to count or to export is of use only while somebody waits for it. What an export finds goes
in parts, each when the one before was taken off, and each node's on a board of its own: a board is read as a whole, by a worker
that carries mail, and what is asked of it has bounds (control.MAX_LINE).
"""

import asyncio
import base64
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import structlog

from relay import control
from relay.control import Json
from relay.dossier import Dossier
from relay.recipient import Keys
from relay.state.interface import StateError

log = structlog.get_logger()

NODES, ANSWERS = "errands/nodes", "errands/answers"
WHATS = ("forget", "count", "export")
_ONCE = ("count", "export")  # who asked has half of it when it fails, and asks again
LOOK = 1.0  # s between looks at the board
POLL = 0.25  # s between looks whether who asked has taken what there is
HEARD = 10_000  # ms for which a node counts as there
WAITED = 120_000  # ms for which somebody waits for an answer
AGAIN = 60_000  # ms until what failed is tried again
TIDY = 60_000  # ms between looks for answers that nobody took
LOST = 600_000  # ms after which nobody will
GONE = 90 * 86_400_000  # ms after which a node that was not heard of is none any more, and is asked nothing
PART = 1024 * 1024  # octets of an export in one note, and a single item more


def to(node: str) -> str:
    """Its board."""
    return f"errands/to/{node}"


def said_by(errand: str, node: str) -> str:
    """The name on the board of answers of what a node says."""
    return f"{errand}/{node}"


def board_of(name: str) -> str:
    """Where it stands."""
    return f"{ANSWERS}/{name}"


def _last_heard(text: str, now: int) -> int:
    """When (ms) a node was there; of words that only a newer Postlane reads: not lately."""
    return int(text) if text.isascii() and text.isdigit() else now - HEARD


class _Mine(NamedTuple):
    """An errand of this node: its name, what it is about, how what it finds is sealed, and whether somebody waits for it."""

    name: str
    what: str
    keys: Keys
    key: bytes
    awaited: bool


class Errands:
    """Of this `node`. `ask` asks it; `keys` are read anew for each errand, since secrets may be exchanged meanwhile."""

    def __init__(
        self, node: str, data_dir: Path, ask: Callable[[Json], Awaitable[Json]], keys: Callable[[], Keys]
    ) -> None:
        self._node = node
        self._data_dir = data_dir
        self._ask = ask
        self._keys = keys
        self._working: asyncio.Task[None] | None = None
        self._again: dict[str, int] = {}  # what failed: when it is tried again
        self._tidied = 0
        self._now = 0  # ms of State's clock, as last seen

    def __repr__(self) -> str:
        return f"<Errands of {self._node}>"

    # -- State, by way of a worker

    async def _do(self, what: str, board: str, **more: Any) -> Json:
        """Raises StateError."""
        answer = await self._ask({"do": "board", "what": what, "board": board, **more})
        if "error" in answer:
            raise StateError(answer["error"])
        self._now = answer.get("now", self._now)
        return answer

    async def _notes(self, board: str) -> dict[str, str]:
        notes: dict[str, str] = (await self._do("read", board))["notes"]
        return notes

    # -- asked by others

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    await self.look()
                except (StateError, control.NodeDown) as error:
                    log.debug("errands of other nodes cannot be seen; again in a while", error=str(error))
                except Exception:
                    log.exception("a look at errands of other nodes failed")
                await asyncio.sleep(LOOK)
        finally:
            if self._working is not None:
                self._working.cancel()

    async def look(self) -> None:
        """Say that we are there, and begin what there is to do. Raises StateError."""
        notes = await self._notes(to(self._node))
        await self._do("pin", NODES, name=self._node, text=str(self._now))
        if self._now - self._tidied >= TIDY:
            self._tidied = self._now
            await self._tidy()
        if self._working is None or self._working.done():
            self._again = {name: at for name, at in self._again.items() if name in notes}
            due = {name: note for name, note in notes.items() if self._again.get(name, 0) <= self._now}
            if due:
                self._working = asyncio.create_task(self._run_all(due))

    async def _tidy(self) -> None:
        """Answers that nobody took, and nodes that will not come back."""
        for name, at in (await self._notes(ANSWERS)).items():
            if self._now - _last_heard(at, self._now) > LOST:
                await self._take_off(name)
        for node, at in (await self._notes(NODES)).items():
            if self._now - _last_heard(at, self._now) > GONE:
                for name in await self._notes(to(node)):
                    await self._do("unpin", to(node), name=name)
                await self._do("unpin", NODES, name=node)

    async def _take_off(self, name: str) -> None:
        """All that a node said of an errand."""
        for part in await self._notes(board_of(name)):
            await self._do("unpin", board_of(name), name=part)
        await self._do("unpin", ANSWERS, name=name)

    async def _run_all(self, due: Mapping[str, str]) -> None:
        for name, note in sorted(due.items()):
            await self._run(name, note)

    async def _run(self, name: str, note: str) -> None:
        mine: _Mine | None = None
        try:
            errand = orjson.loads(note)
            awaited = self._now - errand["at"] < WAITED
            mine = _Mine(name, errand["what"], self._keys(), bytes.fromhex(errand["key"]), awaited)
            await self._perform(errand, mine)
            await self._do("unpin", to(self._node), name=name)
        except Exception as error:
            self._again[name] = self._now + AGAIN
            once = mine is not None and mine.what in _ONCE
            again = "" if once else "; it tries again"
            log.error(f"what another node asked for is not done{again}", error=repr(error))
            with contextlib.suppress(StateError):
                if mine is not None:
                    await self._answer(mine, {"failed": f"{error or type(error).__name__}{again}"})
                if once:
                    await self._do("unpin", to(self._node), name=name)

    async def _perform(self, errand: Json, mine: "_Mine") -> None:
        address = mine.keys.open_text(errand["sealed"], mine.key)
        dossier = Dossier(self._data_dir, partial(control.request, self._data_dir), address, mine.key)
        match errand["what"]:
            case "forget":
                done = await asyncio.to_thread(dossier.forget, errand["said"])
                log.info("a person is forgotten here, too", of=errand["node"], **done)
                await self._answer(mine, {"done": done})
            case "count" if mine.awaited:
                await self._answer(mine, {"done": await asyncio.to_thread(dossier.counted)})
            case "export" if mine.awaited:
                await self._export(mine, dossier.found())
            case other if other not in WHATS:
                raise ValueError(f"a newer Postlane asks to {other}")

    async def _export(self, mine: "_Mine", found: Iterator[tuple[str, Json]]) -> None:
        number, more = 0, True
        while more:
            items = await asyncio.to_thread(_part, found)
            more = bool(items)
            if number and not await self._was_taken(mine):
                return
            await self._answer(mine, {"items": items}, number, last=not more)
            number += 1

    async def _was_taken(self, mine: "_Mine") -> bool:
        """The part before, in time: by who asked, and still waits."""
        name, end = said_by(mine.name, self._node), self._now + WAITED
        while await self._notes(board_of(name)):
            if self._now >= end:
                return False
            await asyncio.sleep(POLL)
        return name in await self._notes(ANSWERS)

    async def _answer(self, mine: "_Mine", part: Json, number: int = 0, *, last: bool = True) -> None:
        if not mine.awaited:
            return
        words = orjson.dumps({**part, "last": last}).decode()
        sealed = base64.b64encode(mine.keys.seal_for(mine.key, words)).decode()
        name = said_by(mine.name, self._node)
        await self._do("pin", ANSWERS, name=name, text=str(self._now))
        await self._do("pin", board_of(name), name=f"{number:06d}", text=sealed)

    # -- asking others

    async def answer(self, question: Json) -> Json:
        """{"do": "errands"} of a command:

        send    errand (of WHATS), recipient, said  -> {"id", "asked": nodes that are there, "later": nodes that are not}
        take    id, recipient  -> {"node", "done", "items" or "failed", "last"}: of what was answered a part; {}: none yet
        end     id: nobody waits any more
        """
        try:
            match question.get("what"):
                case "send":
                    return await self._send(question)
                case "take":
                    return await self._take(question)
                case "end":
                    return await self._end(str(question["id"]))
        except StateError as error:
            return {"error": f"the other nodes cannot be asked: {error}"}
        return {"error": f"nobody here knows how to {question.get('what')} errands"}

    async def _send(self, question: Json) -> Json:
        """Only to forget is asked of nodes that are not there."""
        keys, address, what = self._keys(), str(question["recipient"]), str(question["errand"])
        seats = await self._notes(NODES)
        heard = {node: _last_heard(at, self._now) for node, at in seats.items() if node != self._node}
        asked = sorted(node for node, at in heard.items() if self._now - at < HEARD)
        later = sorted(node for node, at in heard.items() if HEARD <= self._now - at < GONE)
        identity = secrets.token_hex(8)
        note: Json = {"what": what, "key": keys.key(address).hex(), "sealed": keys.sealed_text(address)}
        note |= {"at": self._now, "node": self._node, "said": question.get("said") or {}}
        for node in [*asked, *(later if what == "forget" else ())]:
            await self._do("pin", to(node), name=identity, text=orjson.dumps(note).decode())
        return {"id": identity, "node": self._node, "asked": asked, "later": later}

    async def _take(self, question: Json) -> Json:
        for name in sorted(await self._names(str(question["id"]))):
            for number, sealed in sorted((await self._notes(board_of(name))).items())[:1]:
                part = self._opened(sealed, str(question["recipient"]))
                await self._do("unpin", board_of(name), name=number)
                if part["last"]:
                    await self._do("unpin", ANSWERS, name=name)
                return {"node": name.partition("/")[2], **part}
        return {}

    def _opened(self, sealed: str, address: str) -> Json:
        keys = self._keys()
        try:
            part: Json = orjson.loads(keys.open(base64.b64decode(sealed), keys.key(address)))
        except ValueError:
            return {"failed": "what it says cannot be opened here: has it other secrets?", "last": True}
        return part

    async def _names(self, errand: str) -> list[str]:
        """Of what was said of it."""
        return [name for name in await self._notes(ANSWERS) if name.startswith(said_by(errand, ""))]

    async def _end(self, errand: str) -> Json:
        for name in await self._names(errand):
            await self._take_off(name)
        return {}


def _part(found: Iterator[tuple[str, Json]]) -> list[tuple[str, Json]]:
    """The next items; none: that was all."""
    items, octets = list[tuple[str, Json]](), 0
    for kind, one in found:
        items.append((kind, one))
        octets += len(orjson.dumps(one))
        if octets >= PART:
            break
    return items


class Alone:
    """Where nobody shares State: there is nobody to ask."""

    def __init__(self, node: str) -> None:
        self._node = node

    async def run(self) -> None:
        """No errands come."""

    async def answer(self, question: Json) -> Json:
        return {"id": "", "node": self._node, "asked": [], "later": []}
