"""The public site as an ASGI application: /u/{token} (RFC 8058), /p/{token}, and what these pages are made of.

A link lets whoever has it change what one recipient gets of one brand, and nothing else: there is no login, no cookie and no
script, so no other site can make a browser change anything. Only POST changes: with `List-Unsubscribe=One-Click`, as mailbox
providers send it, or with a form of ours, which carries a stamp. Each change is in the journal before it is answered.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from relay.control import Json, NodeDown
from relay.identity import Face
from relay.tokens import Ticket, Tokens
from relay.web.body import Broken, TooLong, body_of
from relay.web.guard import PAGE_POLICY, Hardened
from relay.web.public import standing
from relay.web.public.faces import Looks
from relay.web.public.forms import MAX_BODY, Fields, fields_of, first, one_click
from relay.web.public.journal import Journal, JournalFull
from relay.web.public.languages import CODES, Language, isolated, language, listed, masked, quoted, wanted
from relay.web.public.limits import PerTicket
from relay.web.public.standing import FREQUENCIES, Standing
from relay.web.public.telling import entry
from relay.web.templating import environment, versioned

HERE = Path(__file__).parent
SHOW_SECONDS = 3.0  # a page waits for the desk
TOLD_SECONDS = 2.0  # and, after a change, for it to have taken effect: then the next page shows it
BODY_SECONDS = 10.0
LOGO_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"  # a picture that may be SVG
FOR_EVER = "public, max-age=31536000, immutable"

Ask = Callable[[Json], Awaitable[Json]]


@dataclass(frozen=True, slots=True)
class PublicSettings:
    """What the pages need to know, as plain values. `host`: how the sender is called where there is no brand; `clock`: ms."""

    tokens: Tokens
    journal: Journal
    ask: Ask
    looks: Mapping[str, Looks] = field(default_factory=dict)
    host: str = ""
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class _Visit:
    """One request with a good token."""

    request: Request
    token: str
    ticket: Ticket
    looks: Looks
    language: Language
    asked: str  # language, by the page's own links
    now: int


Handler = Callable[[_Visit], Awaitable[Response]]


def create_public_app(settings: PublicSettings) -> Starlette:
    pages = Pages(settings)
    routes = [
        Route("/u/{token}", pages.visited(pages.unsubscribe_page)),
        Route("/u/{token}", pages.visited(pages.one_click, limited=False), methods=["POST"]),
        Route("/p/{token}", pages.visited(pages.preferences)),
        Route("/p/{token}", pages.visited(pages.change), methods=["POST"]),
        Route("/s/{name}", pages.static),
        Route("/b/{key}/{name}", pages.of_brand),
        Route("/robots.txt", pages.robots),
        Route("/favicon.ico", pages.no_icon),  # every browser asks for one
    ]
    errors: Mapping[Any, Any] = {404: pages.not_found}
    return Starlette(routes=routes, middleware=[Middleware(Hardened, policy=PAGE_POLICY)], exception_handlers=errors)


class Pages:
    """The views."""

    def __init__(self, settings: PublicSettings) -> None:
        self._settings = settings
        self._nobody = Looks("", Face(names={"en": settings.host}), b"")
        self._by_key = {looks.key: looks for looks in (*settings.looks.values(), self._nobody)}
        self._per_ticket = PerTicket()
        self._css = (HERE / "static" / "public.css").read_bytes()
        self._env = environment(HERE / "templates")
        self._env.globals.update(css=versioned("public.css", self._css), frequencies=tuple(FREQUENCIES))

    def __repr__(self) -> str:
        return f"<Pages of {len(self._settings.looks)} brands>"

    # --- what a token lets one do

    def visited(self, handler: Handler, *, limited: bool = True) -> Callable[[Request], Awaitable[Response]]:
        """Opens the token; one that is not ours, or is used too often, gets no further."""

        async def answer(request: Request) -> Response:
            token = request.path_params["token"]
            ticket = self._settings.tokens.open(token)
            if ticket is None:
                raise HTTPException(404)
            now, asked = self._settings.clock(), _asked(request)
            tongue = language(wanted(request.headers.get("accept-language", ""), asked))
            looks = self._settings.looks.get(ticket.brand, self._nobody)
            visit = _Visit(request, token, ticket, looks, tongue, asked, now)
            if limited and not self._per_ticket.allows(ticket, now):
                return self._message(visit, "many", status=429, headers={"Retry-After": "60"})
            return await handler(visit)

        return answer

    async def unsubscribe_page(self, visit: _Visit) -> Response:
        return self._page("unsubscribe.html", visit, title=self._say(visit, "unsubscribe_title"))

    async def one_click(self, visit: _Visit) -> Response:
        """RFC 8058 3.1: no cookies, no redirect. A request that was made already need not be written down again."""
        fields = await _fields(visit.request)
        if not one_click(fields):
            return self._page("unsubscribe.html", visit, status=400, title=self._say(visit, "unsubscribe_title"))
        ticket = visit.ticket
        if not self._per_ticket.done_lately(ticket, visit.now):
            try:
                await self._settings.journal.append(
                    entry(visit.now, standing.leaves(ticket, "one-click", visit.now), ticket.calls)
                )
            except JournalFull:
                return PlainTextResponse("Not saved; try again.\n", 503, {"Retry-After": "300"})
            self._per_ticket.done(ticket, visit.now)
        return PlainTextResponse("You are unsubscribed.\n")

    async def preferences(self, visit: _Visit) -> Response:
        found = await self._standing(visit)
        return self._preferences(visit, found, status=200 if found.known else 503)

    async def change(self, visit: _Visit) -> Response:
        fields = await _fields(visit.request)
        asked = first(fields, "lang")
        if asked in CODES:
            visit = replace(visit, asked=asked, language=language(asked))
        topics = visit.looks.topics
        choice = standing.chosen(fields, topics, visit.language.weeks, visit.now)
        if not self._settings.tokens.stamped(visit.token, first(fields, "stamp"), visit.now):
            return self._preferences(visit, choice, note="old", status=400)
        ticket, now = visit.ticket, visit.now
        shown: Standing | None = choice
        match first(fields, "action"):
            case "save":
                asked_for, note = entry(now, standing.wishes(ticket, choice, topics)), "saved"
            case "leave":
                asked_for, note = entry(now, standing.leaves(ticket, "page", now), ticket.calls), "left"
                shown = Standing(left=True)
            case "return":
                asked_for, note, shown = entry(now, standing.returns(ticket)), "returned", None
            case _:
                return self._preferences(visit, choice, note="old", status=400)
        try:
            told = await self._settings.journal.append(asked_for)
        except JournalFull:
            return self._message(visit, "failed", status=503, headers={"Retry-After": "300"})
        self._per_ticket.changed(ticket)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(told), TOLD_SECONDS)
        return self._preferences(visit, shown or await self._standing(visit), note=note)

    async def _standing(self, visit: _Visit) -> Standing:
        """What the desk knows; UNKNOWN where it does not answer in time."""
        try:
            async with asyncio.timeout(SHOW_SECONDS):
                answer = await self._settings.ask(standing.shown(visit.ticket))
        except (NodeDown, TimeoutError):
            return standing.UNKNOWN
        return standing.standing_of(answer, visit.ticket.brand, visit.now)

    # --- pages

    def _preferences(self, visit: _Visit, found: Standing, note: str = "", status: int = 200) -> Response:
        """`note`: what was done: saved, left, returned, old, or nothing."""
        tongue, looks = visit.language, visit.looks
        gone = (found.left or found.blocked) and note != "left"
        key = f"{note}_title" if note else "gone_title" if gone else "title"
        return self._page(
            "preferences.html",
            visit,
            status=status,
            title=self._say(visit, key),
            heading=self._say(visit, "title" if note in ("saved", "returned") else key),
            note=note,
            found=found,
            topics=[(topic, quoted(texts, tongue.code)) for topic, texts in looks.topics.items()],
            weeks=tongue.weeks,
            until=tongue.date(found.paused_until) if found.paused_until is not None else "",
        )

    async def not_found(self, request: Request, _: Exception) -> Response:
        asked = _asked(request)
        tongue = language(wanted(request.headers.get("accept-language", ""), asked))
        visit = _Visit(request, "", Ticket("", "", "", 0), self._nobody, tongue, asked, 0)
        return self._message(visit, "broken", status=404)

    def _message(self, visit: _Visit, key: str, *, status: int, headers: Mapping[str, str] | None = None) -> Response:
        title, text = self._say(visit, f"{key}_title"), self._say(visit, key)
        return self._page("message.html", visit, status=status, headers=headers, title=title, text=text)

    def _say(self, visit: _Visit, key: str) -> Markup:
        """Our text, or the brand's own in its place."""
        brand = isolated(visit.looks.title(visit.language.code))
        own = visit.looks.face.texts.get(key)
        return quoted(own, visit.language.code) if own else visit.language.say(key, brand=brand)

    def _page(
        self,
        template: str,
        visit: _Visit,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        title: Markup,
        **facts: Any,
    ) -> Response:
        tongue, looks = visit.language, visit.looks
        services = [quoted(looks.face.topics[one], tongue.code) for one in sorted(looks.service_topics)]
        body = self._env.get_template(template).render(
            title=title,
            t=lambda key: self._say(visit, key),
            until_said=lambda date: tongue.say("pause_until", date=date),
            about=tongue.say("about", address=Markup('<bdi dir="ltr">{}</bdi>').format(masked(visit.ticket.recipient))),
            service_topics=tongue.say("service_topics", topics=listed(services)) if services else "",
            language=tongue,
            languages=[language(code) for code in CODES],
            asked=visit.asked,
            looks=looks,
            brand=looks.title(tongue.code),
            token=visit.token,
            stamp=self._settings.tokens.stamp(visit.token, visit.now) if visit.token else "",
            up="../" * max(1, visit.request.scope["path"].count("/") - 1),
            **facts,
        )
        said = {"Content-Language": tongue.code, "Vary": "Accept-Language", "X-Robots-Tag": "noindex, nofollow"}
        return Response(body, status, said | dict(headers or {}), "text/html")

    # --- what pages are made of

    async def static(self, request: Request) -> Response:
        if request.path_params["name"] != "public.css":
            raise HTTPException(404)
        return Response(self._css, headers={"Cache-Control": FOR_EVER}, media_type="text/css")

    async def of_brand(self, request: Request) -> Response:
        looks = self._by_key.get(request.path_params["key"])
        match request.path_params["name"]:
            case "colors.css" if looks is not None and looks.css:
                return Response(looks.css, headers={"Cache-Control": FOR_EVER}, media_type="text/css")
            case "logo" if looks is not None and looks.logo is not None:
                said = {"Cache-Control": FOR_EVER, "Content-Security-Policy": LOGO_POLICY}
                return Response(looks.logo.octets, headers=said, media_type=looks.logo.kind)
        raise HTTPException(404)

    async def no_icon(self, _: Request) -> Response:
        return Response(status_code=204, headers={"Cache-Control": "public, max-age=86400"})

    async def robots(self, _: Request) -> Response:
        return PlainTextResponse("User-agent: *\nDisallow: /\n")


def _asked(request: Request) -> str:
    """The language that was chosen on the page; "" where none was."""
    code: str = request.query_params.get("lang", "")
    return code if code in CODES else ""


async def _fields(request: Request) -> Fields:
    """What was posted; nothing where it is too much, too slow, or no form."""
    try:
        body = await body_of(request, MAX_BODY, BODY_SECONDS)
    except (TooLong, Broken):
        return {}
    return fields_of(request.headers.get("content-type", ""), body)
