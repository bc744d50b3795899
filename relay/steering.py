"""A worker's side of what sites taught it and what operators order of paces: notes carried to State and back each second, and
the commands `pace` and `warmup`.

What one worker learns (relay/shaping/pacemaker.py) stands in State within a second and is read by all others in the next, and
by one that starts anew before its first attempt. While State cannot be reached each goes on by what it knows, and tells what
it learnt when State is back.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import Any

import orjson
import structlog

from relay.config.problems import Wrong
from relay.config.units import rate as read_rate
from relay.egress.pools import Pool
from relay.event import Facts, iso
from relay.shaping.pacemaker import BOARDS, EVERY, News, Order, Pacemaker, said
from relay.shaping.warmup import key_of, rate_of, words
from relay.state.interface import State, StateError

log = structlog.get_logger()

Json = dict[str, Any]
LOOK = 1.0  # s between looks at State: how long others go on after a cut or an order
FORGET = 60  # looks after which what says nothing any more is dropped


class Refused(ValueError):
    """Why a command does nothing; the words are for the person who asked."""


@dataclass(slots=True)
class Warming:
    """A source of a pool that is being warmed up."""

    source: str
    pool: str
    start: date


class Steering:
    """`workers`: of this node; `pools`: those in force; `record` writes an event of the node; `opened` is told a site where mail
    need not wait any longer for what an operator or a rule had said."""

    def __init__(
        self,
        state: State,
        pacemaker: Pacemaker,
        pools: Callable[[], Mapping[str, Pool]],
        record: Callable[[str, Facts], None],
        workers: int = 1,
        opened: Callable[[str], object] = lambda site: None,
    ) -> None:
        self._opened = opened
        self._state = state
        self._pacemaker = pacemaker
        self._pools = pools
        self._record = record
        self._workers = workers
        self._looks = 0
        self._telling = asyncio.Lock()  # one at a time takes from the front of the news
        self._read: dict[str, dict[str, tuple[str, Json]]] = {}  # by board and name: a note as it stood there, and read

    def __repr__(self) -> str:
        return f"<Steering {self._pacemaker!r}>"

    # -- keeping in step

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Tell what is new, read what is known."""
        try:
            await self._tell()
            for board in BOARDS:
                self._hear(board, await self._state.pinned(board_of(board)))
        except StateError as error:
            log.debug("paces: State has no answer; again in a second", error=str(error))
        self._open()
        self._pacemaker.sharers = max(self._state.sharers, self._workers)
        self._looks += 1
        if self._looks % FORGET == 0:
            self._pacemaker.forget(self._state.now())

    def _open(self) -> None:
        opened, self._pacemaker.opened = self._pacemaker.opened, set()
        for site in opened:
            self._opened(site)

    def _hear(self, board: str, notes: Mapping[str, str]) -> None:
        try:
            self._pacemaker.heard(board, self._understood(board, notes), self._state.now())
        except (ValueError, TypeError, KeyError, AttributeError) as error:  # what was known stays
            log.error("notes of paces cannot be read; a newer Postlane's?", board=board, error=repr(error))

    def _understood(self, board: str, notes: Mapping[str, str]) -> dict[str, Json]:
        """Only what is new is parsed: there may be thousands, each second. Raises ValueError."""
        before, now = self._read.get(board, {}), dict[str, tuple[str, Json]]()
        for name, text in notes.items():
            known = before.get(name)
            now[name] = known if known is not None and known[0] == text else (text, orjson.loads(text))
        self._read[board] = now
        return {name: note for name, (_, note) in now.items()}

    async def _tell(self) -> None:
        """One note after the other; what could not be told stays. Of those of a name only the newest is told."""
        async with self._telling:
            news = self._pacemaker.news
            newest = {(one.board, one.name): number for number, one in enumerate(news)}
            news[:] = [one for n, one in enumerate(news) if one.note is None or newest[one.board, one.name] == n]
            await self._tell_all(news)

    async def _tell_all(self, news: list[News]) -> None:
        while news:
            board, name, note = one = news[0]
            if note is None:
                if (
                    await self._state.unpin(board_of(board), name) and board == "aside"
                ):  # the first of all workers tells
                    self._record("resumed", {"what": _whom(name), "reason": "", "by": "postlane"})
            else:
                await self._state.pin(board_of(board), name, orjson.dumps(note).decode())
                self._say(one, note)
            news.pop(0)

    def _say(self, one: News, note: Json) -> None:
        """What a site taught us, in the log; that something is put aside for it is an event, too."""
        if one.board == "aside":
            facts = {"reason": f"{note['place']}: {note['why']}", "until": iso(note["until"]), "by": "postlane"}
            self._record("suspended", {"what": _whom(one.name), **facts})
            log.warning("put aside", what=one.name, reason=facts["reason"], until=facts["until"])
        elif one.board == "pace":
            log.info("pace cut", what=one.name, rate=round(note["rate"], 2), why=note["why"])
        elif one.board == "warmup" and note["why"]:
            log.warning("warm-up stopped or held", what=one.name, why=note["why"])

    # -- commands

    async def answer(self, question: Json) -> Json:
        """{"do": pace | warmup | paces} and what these say."""
        match question["do"]:
            case "pace":
                return await self.pace(question)
            case "warmup":
                return await self.warmup(question)
        return self.shown()

    async def pace(self, question: Json) -> Json:
        """{"site", "pool" ("": all), "rate", "for" (ms), "by", "via", "reason"} -> {"order"}; or {"site", "pool", "end": true}
        -> {"ended": [...]}; {"error"} where it does nothing"""
        try:
            return await (self._end(question) if question.get("end") else self._order(question))
        except (Refused, StateError) as error:
            return {"error": str(error)}

    async def _order(self, question: Json) -> Json:
        site, pool, now = str(question["site"]), str(question.get("pool") or EVERY), self._state.now()
        if pool != EVERY and pool not in self._pools():
            raise Refused(f'no pool "{pool}"; there are {", ".join(sorted(self._pools()))}')
        try:
            rate = read_rate(question["rate"])
        except Wrong as error:
            raise Refused(error.message) from None
        by, reason = str(question.get("by", "")), str(question.get("reason", ""))
        order = Order(site, pool, rate, now + int(question["for"]), by, reason)
        self._pacemaker.order(order)
        await self._tell()
        what = {"site": site, "pool": None if order.all_pools else pool, "rate": rate.text, "until": iso(order.until)}
        self._audit("pace", what, question)
        return {"order": what}

    async def _end(self, question: Json) -> Json:
        site, pool = str(question["site"]), str(question.get("pool") or EVERY)
        ended = self._pacemaker.end(site, pool, self._state.now())
        self._open()
        await self._tell()
        if ended:
            self._audit("pace end", {"site": site, "pool": None if pool == EVERY else pool}, question)
        return {"ended": ended}

    async def warmup(self, question: Json) -> Json:
        """{"action": show | hold | resume, "source", "site" ("": all), "by", "via", "reason"} -> {"rows": [...]}, or {"error"}"""
        try:
            chosen = self._chosen(str(question.get("source") or ""), str(question.get("pool") or ""))
            site = str(question.get("site") or "")
            if question["action"] != "show":
                await self._turn(question, chosen, site or EVERY)
            return {"rows": [row for one in chosen for row in await self._rows(one, site)]}
        except (Refused, StateError) as error:
            return {"error": str(error)}

    async def _turn(self, question: Json, chosen: Sequence[Warming], site: str) -> None:
        now, reason = self._state.now(), str(question.get("reason", ""))
        for one in chosen:
            if question["action"] == "hold":
                self._pacemaker.hold(one.source, site, one.start, now, reason)
            else:
                self._pacemaker.resume(one.source, site, one.start, now)
            what = {"source": one.source, "site": None if site == EVERY else site}
            self._audit(f"warmup {question['action']}", what, question)
        await self._tell()

    def warming(self) -> list[Warming]:
        """All sources that are being warmed up."""
        return [
            Warming(source.address, name, source.warmup)
            for name, pool in self._pools().items()
            for source in pool.sources
            if source.warmup is not None
        ]

    def complained(self, source: str, site: str) -> None:
        """Somebody complained about mail that left by this source to that site."""
        start = next((one.start for one in self.warming() if one.source == source), None)
        if start is not None:
            self._pacemaker.complained(source, site, start, self._state.now())

    def _chosen(self, source: str, pool: str) -> list[Warming]:
        known = self.warming()
        chosen = [one for one in known if source in ("", one.source) and pool in ("", one.pool)]
        if (source or pool) and not chosen:
            there = ", ".join(sorted({one.source for one in known})) or "none"
            raise Refused(f"no source of that name is being warmed up; there are: {there}")
        return chosen

    async def _rows(self, one: Warming, site: str) -> list[Json]:
        """Of each site that it went to lately, or is held at; or of `site`."""
        maker, now = self._pacemaker, self._state.now()
        today, warmup = maker.today(now), maker.warmup
        rows: list[Json] = []
        for at in [site] if site else maker.sites_of(one.source) or [""]:
            progress, hold = maker.progress(one.source, at, one.start), maker.held(one.source)
            budget = maker.budget(one.source, at, one.start, now)
            used = await self._used(one.source, at, budget) if at and budget else 0
            about = {"source": one.source, "pool": one.pool, "site": at or None, "budget": budget, "used": used}
            said_ = words(progress, hold, warmup.schedule, one.start, today, used if at else None)
            held = progress.held or hold.since is not None
            rows.append({**about, "held": held, "why": progress.why or hold.why, "said": said_})
        return rows

    async def _used(self, source: str, site: str, budget: int) -> int:
        key = f"quota/{key_of(source, site)}"  # as relay/state/permits.py names them
        return await self._state.granted(key, rate_of(budget), self._pacemaker.warmup.timezone)

    def _audit(self, action: str, what: Json, question: Json) -> None:
        asked = {name: str(question.get(name, "")) for name in ("by", "via", "reason")}
        self._record("audit", {**asked, "action": action, "what": what})

    # -- for people

    def shown(self, *, slowed: bool = False) -> Json:
        """Paces and what stands beside them, for the supervisor to put together with the other workers'. `slowed`: only paces
        that hold something; the others are as many as there are sites."""
        now = self._state.now()
        paces = self._pacemaker.shown(now)
        rows = [row for row in paces if row["direction"] != "free"] if slowed else paces
        return {"paces": rows, "standing": self._pacemaker.standing(now)}


def board_of(name: str) -> str:
    """As State knows it."""
    return f"shaping/{name}"


def _whom(name: str) -> Json:
    """Of a note on the board of what is put aside."""
    who, _, site = name.partition(" ")
    kind, _, stream = who.partition("/")
    return {"stream": stream, "site": site} if kind == "stream" else {"source": who, "site": site}


def clock_of(at: int | None, zone: tzinfo) -> str:
    """14:02"""
    return datetime.fromtimestamp((at or 0) / 1000, UTC).astimezone(zone).strftime("%H:%M")


def in_words(row: Json, zone: tzinfo) -> str:
    """31 of 40/s, recovering since 14:02 (421 4.7.28)"""
    return said(row, clock_of(row["since"], zone))
