"""The health of streams and sites, looked after: rates from the sheets that all shards keep in State, and what follows from them.

One worker of the cluster judges at a time, the one that has a lease; it alone reads sheets. What it finds stands in State as
notes, which all workers read: how a stream stands (relay/policy/health.py), which sites have a bad hour (relay/doubting.py),
whose mail is refused for a fault of the sender's (relay/blaming.py). Whoever judges next goes on from there. A stream is
suspended as an operator does it (relay/suspending.py), and resumed by one.

While State cannot be reached what was known stays in force. Of a Redis that lost its data each worker tells again what it knew;
counts of shards that are gone are lost then, and their rates begin anew.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson
import structlog

from relay.accounts import FIGURES, Accounts, Beside, loaded
from relay.alert import Alert, unhealthy, unhealthy_over
from relay.blaming import Blaming
from relay.doubting import Doubting
from relay.event import Facts
from relay.identity import Brand
from relay.people import People
from relay.policy import health
from relay.policy.decay import Decay, decaying
from relay.policy.feedback_id import FeedbackIds
from relay.policy.health import SUSPENDED, Health, Slowed, Standing
from relay.policy.postmaster import Figure
from relay.policy.tallies import Hour, Key, within
from relay.state.interface import State, StateError
from relay.suspending import Suspending

log = structlog.get_logger()

Json = dict[str, Any]
LOOK = 2.0  # s between looks: how long a stream goes on that is over its limit
LEASE = 20_000  # ms after which another worker judges where the one that did is gone
STANDING = "health/streams"  # board: stream -> Standing
SELDOM = 150  # looks between two at what changes by the week
SHOWN = 500  # rows of an answer
GRAPHED = 200  # streams named in metrics: some series each, for as long as Prometheus keeps them


class Caring:
    """`limits`, `brands` and `feedback_ids` are replaced by the wiring at a reload; `record` writes an event of the node;
    `slowed` is what attempts ask."""

    def __init__(
        self,
        state: State,
        suspending: Suspending,
        people: People,
        record: Callable[[str, Facts], None],
        limits: Health,
        brands: Mapping[str, Brand],
        slowed: Slowed,
    ) -> None:
        self.limits, self.brands, self.feedback_ids = limits, brands, FeedbackIds(brands)
        self.streams: dict[str, Standing] = {}
        self._state = state
        self._suspending = suspending
        self._record = record
        self._holder = f"health/{secrets.token_hex(6)}"
        self._leads_until = 0  # ms, by State's clock
        self._slowed = slowed
        self._accounts = Accounts(state)
        self._hours: list[Hour] = []  # of who judges
        self.doubting = Doubting(state, people, record)
        self._blaming = Blaming(state, record)
        self._looks = 0
        self._decays: list[Decay] = []

    def __repr__(self) -> str:
        judges = ", judges" if self._leads_until else ""
        return f"<Caring for {len(self.streams)} streams, {len(self.doubting.sites)} sites{judges}>"

    # -- keeping in step

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def know(self) -> None:
        """What is known, before mail goes."""
        with contextlib.suppress(StateError):
            await self._read()

    async def look(self) -> None:
        """Read what is known; judge, if that is ours."""
        try:
            await self._read()
            if self._looks % SELDOM == 0:
                self._decays = decaying(await self._accounts.weeks(), self._state.now())
            if await self._leads():
                await self._work()
        except StateError as error:
            log.debug("health: State has no answer; again soon", error=str(error))
        except Exception:  # ours, or a newer Postlane's note: no reason to stop mail
            log.exception("the health of streams could not be looked at; again soon")
        self._looks += 1

    def _beside(self) -> Beside:
        return Beside(self.doubting.sites, self.brands, self.feedback_ids)

    async def _read(self) -> None:
        self._put(loaded(await self._state.pinned(STANDING), Standing.load))
        await self.doubting.read()
        await self._blaming.read()

    def _put(self, streams: dict[str, Standing]) -> None:
        self.streams = streams
        self._slowed.put(streams.values())

    async def _leads(self) -> bool:
        now = self._state.now()
        if now < self._leads_until - LEASE // 2:
            return True
        if now < self._leads_until:
            await self._state.renew(self._holder, LEASE)
        elif not await self._state.acquire("health", 1, self._holder, LEASE):
            self._accounts.forget()
            self._hours = []
            return False
        self._leads_until = now + LEASE
        return True

    async def _work(self) -> None:
        now = self._state.now()
        since = now - self.limits.horizon
        hours = await self._accounts.hours(self._beside(), since, now, self._looks)
        if await self.doubting.look(hours, since, now, self._looks):
            hours = await self._accounts.hours(self._beside(), since, now, self._looks)
        self._hours = hours
        await self._blaming.look(hours, now)
        for key in {key for hour in hours for key in hour.streams} | {
            (s.stream, s.urgent) for s in self.streams.values()
        }:
            await self._of_stream(key, hours, now)

    # -- streams

    async def _of_stream(self, key: Key, hours: list[Hour], now: int) -> None:
        limits = self.limits.of(key[0])
        before = self.streams.get(Standing(*key[:1], "", urgent=key[1]).name)
        found = health.find(hours, key, limits, before.since if before is not None else 0, now)
        held = before is not None and (not before.suspension or self._suspending.holds(before.suspension))
        after = health.next_of(before, found, key, health.usual_of(hours, key), limits, now, held=held)
        if after == before:
            return
        if after is None:
            assert before is not None
            await self._state.unpin(STANDING, before.name)
        else:
            if after.reason and (before is None or before.reason != after.reason):
                since = max(after.since, now - self.limits.horizon)
                whose = await self._accounts.whose(key, after.measure, self._beside(), since, now)
                after = replace(after, mostly=whose)
            if after.state == SUSPENDED and not after.suspension:
                identity = await self._suspend(after)
                if not identity:
                    return
                after = replace(after, suspension=identity)
            await self._state.pin(STANDING, after.name, after.dump())
        self._put({name: one for name, one in self.streams.items() if before is None or name != before.name})
        self._put(self.streams | ({after.name: after} if after is not None else {}))
        self._tell(before, after)

    async def _suspend(self, one: Standing) -> int:
        """As an operator would; where we did so before we died, that one holds. Its id; 0: it could not be done now."""
        identity = self._suspending.of_health(one.stream)
        if not identity:
            waiting = await self._suspending.waiting(one.stream)
            answer = await self._suspending.suspend(
                {"what": {"stream": [one.stream]}, "reason": one.reason, "by": "postlane", "via": "health"}
                | {"waiting": waiting}
            )
            if "error" in answer:
                log.error("a stream over its limits is not suspended", stream=one.stream, why=answer["error"])
                return 0
            identity = int(answer["suspension"]["id"])
        return identity

    def _tell(self, before: Standing | None, after: Standing | None) -> None:
        told = before is not None and before.troubled
        tells = after is not None and after.troubled
        if tells and after is not None and (before is None or not told or before.state != after.state):
            log.warning("a stream is over its limits", stream=after.stream, state=after.state, why=after.reason)
            self._record("alert", unhealthy(after).event("firing"))
        elif told and not tells and before is not None:
            self._record("alert", unhealthy_over(before).event("resolved"))

    # -- questions

    async def answer(self, question: Json) -> Json:
        """{"do": "health", "what": ...}: show {"by", "since" (ms)} -> {"rows", "streams", "sites"}; figures {"entries"} ->
        {"changed"}; settle {"site" ("": all), "word"}: what an operator said of its pending suppressions -> {}; or {"error"}."""
        try:
            match question.get("what"):
                case "figures":
                    return await self._figures(question)
                case "settle":
                    return await self.doubting.settle(str(question.get("site") or ""), str(question["word"]))
                case "show":
                    return await self._show(question)
        except StateError as error:
            return {"error": f"State cannot be reached: {error}"}
        return {"error": f"health does not know how to {question.get('what')}"}

    async def _figures(self, question: Json) -> Json:
        figures = [Figure(*entry) for entry in question["entries"]]
        known, changed = await self._state.pinned(FIGURES), 0
        told: dict[str, dict[str, float]] = {}
        for one in figures:
            name = f"{one.domain} {one.day}"
            told.setdefault(name, dict(orjson.loads(known.get(name, "{}"))))
            changed += told[name].get(one.identifier) != one.share
            told[name][one.identifier] = one.share
        for name, shares in told.items():
            await self._state.pin(FIGURES, name, orjson.dumps(shares).decode())
        return {"changed": changed}

    async def _show(self, question: Json) -> Json:
        """Rates of what was sent since, by what is asked for."""
        now = self._state.now()
        since = int(question.get("since") or now - self.limits.default.over)
        await self._read()
        rows = await self._accounts.table(str(question.get("by") or "stream"), self._beside(), since, now)
        return {
            "rows": rows[:SHOWN],
            "streams": [shown(one) for one in self.streams.values() if one.state != health.WELL],
            "sites": [{**orjson.loads(one.dump())} for one in self.doubting.sites.values()],
        }

    # -- for people

    def standing(self) -> list[Alert]:
        """What is told of as long as it stands. All workers know the same; it is told once (relay/alert.py, `one_each`)."""
        streams = [unhealthy(one) for one in self.streams.values() if one.troubled]
        return streams + self.doubting.standing() + self._blaming.standing()

    def gauges(self) -> Json:
        """For metrics: shares of each stream's latest mail, those with the most first, where we judge; how each stands that does
        not stand well, wherever it is asked."""
        told = sorted(self.streams.values(), key=lambda one: one.name)
        standing = [one for one in told if one.state != health.WELL][:GRAPHED]
        slowed = [one for one in standing if one.slowed and one.state != SUSPENDED]
        found: Json = {
            "stream_standing": [
                {**_labels(one.stream, one.urgent), "state": one.state, "value": 1} for one in standing
            ],
            "stream_slowed_to": [{"stream": one.stream, "value": one.rate} for one in slowed],
        }
        return found | (self._shares() if self._hours else {})

    def _shares(self) -> Json:
        now = self._state.now()
        keys = {key for hour in self._hours for key in hour.totals}
        sums = {key: within(self._hours, key, now - self.limits.of(key[0]).over, now) for key in keys}
        most = sorted((key for key in sums if sums[key].sent), key=lambda key: (-sums[key].sent, key))[:GRAPHED]
        shares = [
            {**_labels(*key), "measure": measure, "value": share}
            for key in most
            for measure, (share, of) in ((measure, health.share_of(measure, sums[key])) for measure in health.MEASURES)
            if of
        ]
        return {
            "stream_share": shares,
            "stream_sent": [{**_labels(*key), "value": sums[key].sent} for key in most],
        }

    def needs(self) -> list[Json]:
        """What a person should look at some time (relay/reporting/needs.py): automations that fewer and fewer care for."""
        advice = "is it still wanted? its owner should look at whom it goes to, or end it"
        return [{"what": str(one), "advice": advice, "see": ""} for one in self._decays]


def _labels(stream: str, urgent: bool) -> Json:
    return {"stream": stream, "transactional": "yes" if urgent else "no"}


def shown(one: Standing) -> Json:
    return {
        "stream": one.stream,
        "class": "transactional" if one.urgent else None,
        "state": one.state,
        "reason": one.reason,
        "rate": f"{one.rate}/hour" if one.slowed else None,
        "changed": one.changed,
    }
