"""Sites in a bad hour (relay/policy/badhour.py): noticed, doubted, what was suppressed by their word taken back, settled.

What is known of a site is a note in State, which all workers read; the one that judges (relay/caring.py) writes it. While a site
is doubted, what it says of mailboxes is left pending (relay/learning.py).
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import structlog

from relay.accounts import loaded
from relay.alert import Alert, bad_hour, bad_hour_over
from relay.denials import fresh_denials
from relay.event import Facts
from relay.people import People
from relay.person import NOBODY_THERE
from relay.policy import badhour
from relay.policy.badhour import BadHour
from relay.policy.tallies import Hour
from relay.state.interface import State, StateError
from relay.tally import DNS

log = structlog.get_logger()

Json = dict[str, Any]
SITES = "health/sites"  # board: site -> BadHour
SWEEPS = (0, 5, 30)  # looks after which what a bad hour suppressed is held back: others may just be at it


class Doubting:
    """`record` writes an event of the node. Everything raises StateError but `standing`."""

    def __init__(self, state: State, people: People, record: Callable[[str, Facts], None]) -> None:
        self.sites: dict[str, BadHour] = {}
        self._state = state
        self._people = people
        self._record = record
        self._sweeps: dict[str, list[int]] = {}  # of sites: after how many looks

    def __repr__(self) -> str:
        return f"<Doubting {', '.join(one.site for one in self.sites.values() if one.doubted) or 'none'}>"

    async def read(self) -> None:
        """What is known."""
        self.sites = loaded(await self._state.pinned(SITES), BadHour.load)

    async def doubted(self, sites: Collection[str]) -> Collection[str]:
        """Those of these sites whose word is not taken now, as State says: it may be a moment ago that it was noticed."""
        notes = await self._state.pinned(SITES) if sites else {}
        return {site for site, one in loaded(notes, BadHour.load).items() if one.doubted and site in sites}

    def doubts(self, site: str) -> bool:
        """Its word is not taken, as far as this worker has heard: some seconds ago."""
        one = self.sites.get(site)
        return one is not None and one.doubted

    async def look(self, hours: Collection[Hour], since: int, now: int, turn: int) -> bool:
        """For who judges. `hours`: all that count, from `since` on (ms); `turn` grows by one at each look. Does something else
        count now than in `hours`?"""
        before = self.sites
        for one in list(badhour.look(hours, self.sites, now)):
            await self._of_site(one, turn)
        of_dns = badhour.of_dns(await fresh_denials(self._state, now), self.sites.get(DNS), now)
        if of_dns is not None:
            await self._of_site(of_dns, turn)
        changed = self.sites is not before
        await self._take_back(turn)
        await self._forget(since)
        return changed

    async def _of_site(self, one: BadHour, turn: int) -> None:
        before = self.sites.get(one.site)
        await self._state.pin(SITES, one.site, one.dump())
        self.sites = {**self.sites, one.site: one}
        if before is None or before.since != one.since:
            log.warning("what a site says of recipients is doubted", site=one.site, share=one.share)
            self._record("alert", bad_hour(one).event("firing"))
        if before is None or (before.since, before.until) != (one.since, one.until):
            self._sweeps[one.site] = [turn + wait for wait in SWEEPS]

    async def _take_back(self, turn: int) -> None:
        """What was suppressed by its word, since it is doubted, before that was known everywhere."""
        for site, at in list(self._sweeps.items()):
            if at[0] > turn:
                continue
            one = self.sites.get(site)
            if one is not None and not one.word:
                where = {"reason": NOBODY_THERE, "source": "feedback", "site": site, "since": one.since}
                done = await self._through({"what": "doubt", "where": where, "reason": badhour.said_of_everybody(site)})
                if done:
                    log.warning("suppressions are held back", site=site, people=done)
            at.pop(0)
            if not at:
                del self._sweeps[site]

    async def _through(self, question: Json) -> int:
        """Page by page; how many were changed. Raises StateError."""
        changed, cursor = 0, ""
        while True:
            answer = await self._people.answer({**question, "via": "health", "by": "postlane", "cursor": cursor})
            if "error" in answer:
                raise StateError(str(answer["error"]))
            changed, cursor = changed + int(answer["changed"]), str(answer["cursor"])
            if not cursor:
                return changed

    async def _forget(self, since: int) -> None:
        for one in list(self.sites.values()):
            if one.until is not None and one.until <= since:
                await self._state.unpin(SITES, one.site)
                del self.sites[one.site]

    async def settle(self, site: str, word: str) -> Json:
        """Who drops what a site said of late doubts it as long as it goes on; who confirms it believes it."""
        await self.read()
        for one in [one for one in self.sites.values() if site in ("", one.site) and not one.word]:
            if word == badhour.CONFIRMED or not one.doubted:
                until = self._state.now() if one.until is None else one.until
                after = replace(one, word=word, until=until)
                await self._state.pin(SITES, one.site, after.dump())
                self._record("alert", bad_hour_over(after).event("resolved"))
        await self.read()
        return {}

    def standing(self) -> list[Alert]:
        """What is told of as long as it stands."""
        return [bad_hour(one) for one in self.sites.values() if not one.word and self._lately(one)]

    def _lately(self, one: BadHour) -> bool:
        return one.until is None or one.until + badhour.TOLD > self._state.now()
