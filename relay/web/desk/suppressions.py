"""Who is suppressed, and suppressions of many at once: what a site said in a bad hour, or all that fit a filter.

The pages here count and show; changes.py changes. State knows people only one after the other, so whoever looks for a few of them
goes through all: some 100,000 a second.
"""

import asyncio
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from relay.event import iso
from relay.person import PENDING
from relay.reporting.needs import BAD_HOUR
from relay.web.desk import people
from relay.web.desk.views import quickly
from relay.web.login.gate import visitor_of
from relay.web.login.service import Login
from relay.web.node import Node
from relay.web.rendering import Pages
from relay.web.settings import WebSettings

Json = dict[str, Any]

LISTED = 100  # suppressions on a page
LOOKS = 20  # pages of people looked through for them: State tells 1,000 at a time
COUNTING = 30.0  # s: who has more people than can be counted in that time has the command, which shows how far it is
DONE = {
    "confirmed": "suppressed from now on",
    "dropped": "dropped: mail goes on",
    "removed": "taken off: mail goes again",
}


@dataclass(frozen=True, slots=True)
class Counted:
    """`found` suppressions of so many `people`; `trouble`: why that is not known, "" where it is."""

    found: int = 0
    people: int = 0
    trouble: str = ""


class Suppressions:
    def __init__(self, settings: WebSettings, node: Node, pages: Pages, login: Login) -> None:
        self._settings, self._node, self._pages, self._login = settings, node, pages, login

    def __repr__(self) -> str:
        return f"<Suppressions of {self._node!r}>"

    async def listed(self, request: Request) -> Response:
        visitor = visitor_of(request)
        if visitor.limited:  # whom mail is not sent to is no app's own
            raise HTTPException(403)
        query = request.query_params
        filters = people.filters_of(query)
        rows, cursor = await self._listed(filters, query.get("cursor", "")[:1000])
        done, many = query.get("done", ""), query.get("n", "")
        return self._pages.page(
            "desk/suppressed.html",
            visitor,
            rows=None if rows is None else [people.shown_row(row, visitor, self._login.seal) for row in rows],
            cursor=cursor,
            filters=filters,
            hours=await self._bad_hours(),
            done=f"{int(many):,} {DONE[done]}." if done in DONE and people.is_number(many) else "",
        )

    async def _listed(self, filters: dict[str, str], cursor: str) -> tuple[list[Json] | None, str]:
        """Rows come as State goes through people, of whom few may fit."""
        where = people.where_of(filters, self._settings.clock())
        rows: list[Json] = []
        for _ in range(LOOKS):
            question = {"do": "people", "what": "list", "where": where, "cursor": cursor, "limit": LISTED}
            page = await self._node.ask(question)
            if page is None:
                return None, ""
            rows += page["rows"]
            cursor = page["cursor"]
            if not cursor or len(rows) >= LISTED:
                break
        return rows, cursor

    async def _bad_hours(self) -> list[Json]:
        """Sites of which somebody should say whether they were right."""
        stats = await self._node.ask({"do": "stats"}) or {}
        return [one for one in stats.get("alerts", ()) if one["name"] == BAD_HOUR]

    async def many(self, request: Request) -> Response:
        """How many fit, and what can be done about all of them."""
        visitor = visitor_of(request)
        if not visitor.may_change:
            raise HTTPException(403)
        filters = people.fixed(people.filters_of(request.query_params), self._settings.clock())
        if not filters:
            return RedirectResponse("/suppressed", status_code=303)
        counting = asyncio.ensure_future(self._count(filters))
        if await quickly(counting):
            return self._pages.page("desk/many.html", visitor, **await self._about(filters, counting.result()))
        return StreamingResponse(self._in_parts(request, filters, counting), media_type="text/html")

    async def _in_parts(
        self, request: Request, filters: dict[str, str], counting: "asyncio.Future[Counted]"
    ) -> AsyncIterator[str]:
        visitor = visitor_of(request)
        before, behind = self._pages.around(visitor, "Suppressions", "suppressed", "Counting …")
        yield before
        facts = await self._about(filters, await counting)
        yield self._pages.text("desk/many.html", visitor, "fragment.html", **facts)
        yield behind

    async def _about(self, filters: dict[str, str], counted: Counted) -> Json:
        site, back = filters.get("site", ""), f"/suppressed?{urlencode(filters)}"
        hours = await self._bad_hours() if "pending" in filters else []
        hour = next((one for one in hours if one["what"].get("site") == site), None)
        since = iso(int(filters["since"])) if "since" in filters else ""
        return {
            "filters": filters,
            "counted": counted,
            "hour": hour,
            "back": back,
            "since": since,
            "command": command(filters),
        }

    async def _count(self, filters: dict[str, str]) -> Counted:
        where = people.where_of(filters, self._settings.clock())
        loop, found, who = asyncio.get_running_loop(), 0, 0
        until = loop.time() + COUNTING
        async with aclosing(self._node.pages({"do": "people", "what": "list", "where": where, "count": True})) as pages:
            async for page in pages:
                if "error" in page:
                    return Counted(trouble=f"They could not be counted: {page['error']}.")
                found, who = found + page["found"], who + page["people"]
                if page["cursor"] and loop.time() > until:
                    return Counted(trouble="More people are known here than a page can look through. The command can.")
        return Counted(found, who)


def command(filters: Mapping[str, str]) -> str:
    """What counts, and asks before it changes them."""
    pending = "pending" in filters
    said = {name: value for name, value in filters.items() if name != "pending"}
    if "since" in said:
        said["since"] = iso(int(said["since"]))
    if pending and "stop" in said:
        said["stop"] = f"{PENDING}{said['stop']}"
    words = [word for name, value in said.items() for word in (f"--{name}", value)]
    return shlex.join(["postlane", "suppress", "drop" if pending else "remove", *(words or ["--all"])])
