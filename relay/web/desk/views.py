"""The pages of the desk. Each asks for what its visitor may see, hands it to a template, and changes nothing; changes.py does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from relay.event import iso
from relay.ids import time_of
from relay.masking import mask_text
from relay.recipient import normalised
from relay.reporting import Question
from relay.reporting.question import TIMES
from relay.web.desk import people, reports
from relay.web.desk.asked import BY, HOUR, WORDS, Asked, Nothing, asked, moment
from relay.web.desk.asking import PATIENCE, Asking, Unanswered
from relay.web.desk.glance import cards, needs
from relay.web.desk.people import EVENTS, TYPES
from relay.web.desk.reports import IN_CSV, MESSAGES, Reader, question
from relay.web.desk.tables import as_csv, table
from relay.web.login.gate import visitor_of
from relay.web.login.service import Login
from relay.web.login.visitor import Visitor, shown_to
from relay.web.metrics import troubles
from relay.web.node import Node
from relay.web.rendering import Pages
from relay.web.settings import WebSettings
from relay.wildcard import AnyOf

Found = TypeVar("Found")
Json = dict[str, Any]

QUICK = 0.25  # s: who waits longer sees what stands around the answer
SOON = 3.0  # s that the page of a recipient waits for events; what State knows is there, and the events the next time
MINUTE = 60_000
AGAIN = 5  # seconds, for who asked while others were before
STORY = 2_000  # events of one message
COLUMNS = {  # of the small tables of today
    "bounces": ("bounces", "bounce_share"),
    "streams": ("accepted", "bounce_share", "complaint_share"),
    "sites": ("delivered", "bounce_share", "deferral_share"),
    "latency": ("delivered", "p50", "p99"),
}
_CSV = ("time", "type", "id", "recipient", "domain", "credential", "brand", "stream", "class", "campaign", "site", "pool",
        "source", "mx", "category", "permanent", "code", "enhanced", "text")  # fmt: skip


class Shown(NamedTuple):
    """A page: `facts` makes of an answer, and of when it is, what its template needs."""

    template: str
    title: str
    here: str
    facts: Callable[[Any, int], Awaitable[Json]]


class Desk:
    def __init__(self, settings: WebSettings, reader: Reader, node: Node, pages: Pages, login: Login) -> None:
        self._settings, self._reader, self._node = settings, reader, node
        self._pages, self._login = pages, login
        self._asking = Asking(settings.clock)
        self._zone = settings.timezone

    def __repr__(self) -> str:
        return f"<Desk {self._asking!r}>"

    # --- reports ------------------------------------------------------------------------------------------------

    async def today(self, request: Request) -> Response:
        visitor = visitor_of(request)
        about = asked("summary", request.query_params, visitor, self._settings.clock())
        status = asyncio.ensure_future(self._status(visitor))

        async def shown(told: reports.Today, at: int) -> Json:
            stats = await status
            tables = {
                name: table(answer, _of(about, name), COLUMNS[name])
                for name, answer in (
                    ("bounces", told.categories), ("streams", told.streams), ("sites", told.sites), ("latency", told.latency)
                )
            }  # fmt: skip
            return {
                "about_bounces": _of(about, "bounces"),
                "cards": cards(told.summary, about),
                "today": told,
                "tables": tables,
                "stats": stats,
                "needs": needs(told.findings, stats, about),
                "troubles": [] if visitor.limited else troubles(stats),
            }

        page = Shown("desk/today.html", "Today", "today", shown)
        return await self._in_time(request, about, lambda: reports.today(self._reader, about, self._zone), page)

    async def _status(self, visitor: Visitor) -> Json | None:
        """Of the node as a whole, of which who is limited is told nothing."""
        return None if visitor.limited else await self._node.ask({"do": "stats"})

    async def report(self, request: Request) -> Response:
        about, masked = self._asked(request), visitor_of(request).masked

        async def shown(told: reports.Report, at: int) -> Json:
            return {
                "options": BY[about.report],
                "table": table(told.answer, about),
                "chart_drawn": told.chart,
                "samples": [self._sample(one, masked=masked) for one in told.samples],
            }

        page = Shown("desk/report.html", about.report.capitalize(), "reports", shown)
        return await self._in_time(request, about, lambda: reports.report(self._reader, about, self._zone), page)

    def _sample(self, one: Any, *, masked: bool) -> Json:
        told: Json = {**one._asdict(), "sealed": self._login.seal(one.recipient) if one.recipient else ""}
        return {name: mask_text(v) if masked and isinstance(v, str) else v for name, v in told.items()}

    async def report_csv(self, request: Request) -> Response:
        """By what the page is by, or by the hour or day, as its chart."""
        about, wanted = self._asked(request), request.query_params.get("by", "")
        by = wanted if wanted in TIMES else about.by

        def work() -> tuple[list[str], list[list[Any]]]:
            return self._reader.answer(question(about, self._zone, [by], IN_CSV)).table()

        found = await self._looked(request, about, work, f"csv {by}")
        if isinstance(found, Response):
            return found
        (names, rows), _ = found
        if by in TIMES:
            rows = [[iso(row[0]), *row[1:]] for row in rows]
        return _as_file(as_csv(names, rows, masked=visitor_of(request).masked), f"{about.report}-by-{by}")

    # --- messages -----------------------------------------------------------------------------------------------

    async def found(self, request: Request) -> Response:
        visitor, about = visitor_of(request), self._asked(request, named=False)

        async def shown(events: list[Json], at: int) -> Json:
            older = _older(about, events) if len(events) > MESSAGES else ""
            return {"events": shown_to(visitor, events[:MESSAGES], self._login.seal), "older": older}

        page = Shown("desk/found.html", "Messages", "reports", shown)
        return await self._in_time(request, about, lambda: self._messages(about, MESSAGES + 1), page, "messages")

    async def found_csv(self, request: Request) -> Response:
        visitor, about = visitor_of(request), self._asked(request, named=False)
        found = await self._looked(request, about, lambda: self._messages(about, IN_CSV), "messages-csv")
        if isinstance(found, Response):
            return found
        rows = [[_field(event, name) for name in _CSV] for event in shown_to(visitor, found[0])]
        return _as_file(as_csv(_CSV, rows, masked=visitor.masked), f"{about.report}-messages")

    def _messages(self, about: Asked, limit: int) -> list[Json]:
        return self._reader.messages(question(about, self._zone), limit)

    async def story(self, identifier: str) -> list[Json]:
        """A message's events, oldest first, also of a node whose folder is shared with this one; for who may see them."""
        now, made = self._settings.clock(), time_of(identifier)
        since = made - HOUR if made is not None else now - people.LOOKED
        if "*" in identifier or since >= now:
            return []
        about = Question("summary", since, now + HOUR, (), {"id": AnyOf((identifier.lower(),))}, usual=0)
        told = await self._answered(("story", identifier), lambda: self._reader.messages(about, STORY, TYPES))
        return [event for event in reversed(told[0]) if event.get("id") == identifier] if told is not None else []

    # --- recipients ---------------------------------------------------------------------------------------------

    async def recipient(self, request: Request) -> Response:
        """Looked for by address, shown at an address of a page that does not tell it."""
        query, visitor = request.query_params, visitor_of(request)
        typed = query.get("address", "").strip()[:320]
        if typed:
            if "@" not in typed:
                return self._page(request, "desk/recipients.html", typed=typed, wrong=True)
            return RedirectResponse(f"/recipient?r={self._login.seal(typed)}", status_code=303)
        if "r" not in query:
            return self._page(request, "desk/recipients.html", typed="", wrong=False)
        address = self._login.open(query["r"][:1000])
        if not address:
            raise HTTPException(404)
        return await self._person(request, visitor, address)

    async def _person(self, request: Request, visitor: Visitor, address: str) -> Response:
        known = await self._known(address)
        key = known["key"] if known is not None else ""
        about, who = asked("bounces", request.query_params, visitor, self._settings.clock(), "7d"), normalised(address)
        question = people.events_of(address, key, visitor, about.since, about.until + MINUTE)
        asked_for = ("person", who, key, *about.key)
        told = await self._answered(asked_for, lambda: self._reader.messages(question, 2 * EVENTS, TYPES), SOON)
        events = None if told is None else [one for one in told[0] if people.is_his(one, who, key)][:EVENTS]
        return self._page(
            request,
            "desk/recipient.html",
            address=mask_text(address) if visitor.masked else address,
            sealed=self._login.seal(address),
            about=about,
            # What State knows of him belongs to no app.
            known=None if visitor.limited or known is None else people.shown_person(known, visitor),
            events=None if events is None else shown_to(visitor, events, self._login.seal),
            done=request.query_params.get("done", ""),
        )

    async def _known(self, address: str) -> Json | None:
        return await self._node.ask({"do": "people", "what": "show", "recipient": address})

    # --- how it is asked ----------------------------------------------------------------------------------------

    def _asked(self, request: Request, *, named: bool = True) -> Asked:
        name = request.path_params["report"] if named else request.query_params.get("report", "bounces")
        if name not in BY:
            raise HTTPException(404)
        return asked(name, request.query_params, visitor_of(request), self._settings.clock())

    async def _looked(
        self, request: Request, about: Asked, work: Callable[[], Found], kind: str
    ) -> tuple[Found, int] | Response:
        """For a file, which cannot come in parts."""
        _allowed(about)
        try:
            return await self._asking((kind, *about.key), work)
        except Unanswered as error:
            return self._unanswered(request, about, error)

    async def _in_time(
        self, request: Request, about: Asked, work: Callable[[], Any], page: "Shown", kind: str = "page"
    ) -> Response:
        """At once where the answer is known or quickly found; else what stands around it, and the rest when it is there."""
        _allowed(about)
        asking = asyncio.ensure_future(self._asking((page.template, kind, *about.key), work))
        asking.add_done_callback(lambda done: done.cancelled() or done.exception())  # who asked may be gone by then
        if not await quickly(asking):
            return StreamingResponse(self._in_parts(request, about, asking, page), media_type="text/html")
        try:
            found, at = asking.result()
        except Unanswered as error:
            return self._unanswered(request, about, error)
        return self._page(request, page.template, about=about, at=at, **await page.facts(found, at))

    async def _in_parts(
        self, request: Request, about: Asked, asking: "asyncio.Future[tuple[Any, int]]", page: "Shown"
    ) -> AsyncIterator[str]:
        before, behind = self._pages.around(visitor_of(request), page.title, page.here)
        yield before
        template, facts = page.template, Json()
        try:
            found, at = await asking
            facts = {"at": at, **await page.facts(found, at)}
        except Unanswered as error:
            template, facts = "desk/unanswered.html", {"busy": error.busy}
        yield self._pages.text(template, visitor_of(request), "fragment.html", about=about, spans=WORDS, **facts)
        yield behind

    def _unanswered(self, request: Request, about: Asked, error: Unanswered) -> Response:
        answer = self._page(request, "desk/unanswered.html", status=503, about=about, busy=error.busy)
        answer.headers["Retry-After"] = str(AGAIN)
        return answer

    async def _answered(
        self, key: Hashable, work: Callable[[], Found], patience: float = PATIENCE
    ) -> tuple[Found, int] | None:
        try:
            return await self._asking(key, work, patience)
        except Unanswered:
            return None

    def _page(self, request: Request, template: str, *, status: int = 200, **facts: Any) -> Response:
        return self._pages.page(template, visitor_of(request), status=status, spans=WORDS, **facts)


async def quickly(asking: "asyncio.Future[Any]") -> bool:
    """Is it answered before anybody would see that he waits?"""
    await asyncio.wait([asking], timeout=QUICK)
    return asking.done()


def _allowed(about: Asked) -> None:
    """Raises HTTPException where this visitor asks for mail that he may not see."""
    try:
        about.selected()
    except Nothing:
        raise HTTPException(403) from None


def _of(about: Asked, report: str) -> Asked:
    """The same time and mail, in another report."""
    return replace(about, report=report, by=BY[report][0])


def _older(about: Asked, events: list[Json]) -> str:
    """The address of the page with what came before: a time may have more events than a page."""
    last = moment(str(events[MESSAGES - 1].get("time", "")))
    if last is None or last <= about.since:
        return ""
    return replace(about, until=min(last + 1, about.until - 1), span="").messages()


def _field(event: Json, name: str) -> Any:
    if name in ("code", "enhanced", "text"):
        reply = event.get("reply")
        return reply.get(name) if isinstance(reply, dict) else reply if name == "text" else None
    return event.get(name)


def _as_file(text: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="postlane-{name}.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
