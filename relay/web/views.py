"""The pages. Each view gathers its facts, hands them to a template, and changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from relay import top
from relay.masking import masked
from relay.web import metrics, show
from relay.web.capture import PARTS, SIM_DOMAIN
from relay.web.captures import Capture
from relay.web.connect import best_port, snippets
from relay.web.guard import MAIL_HEADERS
from relay.web.login.gate import visitor_of
from relay.web.login.visitor import Visitor, shown_to
from relay.web.metrics import Stats
from relay.web.node import Node
from relay.web.reading import Reading, Verdict, read, verdicts
from relay.web.rendering import STATIC, Pages
from relay.web.settings import WebSettings
from relay.web.stories import Event, Story, matches, refusals, stories

SHOWN = 100  # messages on the dashboard: a screenful or three
REFUSED_SHOWN = 5
SITES_SHOWN = 200  # on the page of the queue
MOST = 200  # recipients, and events, on the page of one message
VERSION_SECONDS = 1.0  # the supervisor knows it by itself, and who asks whether we live will not wait for long
TABS = (("html", "HTML"), ("text", "Text"), ("headers", "Headers"), ("source", "Source"))
Elsewhere = Callable[[str], Awaitable[list[Event]]]  # a message's events from the whole log


class Views:
    """The views of one site. Reads of files and MIME run in threads, so that a slow disk holds up nobody else."""

    def __init__(
        self, settings: WebSettings, node: Node, pages: Pages, seal: Callable[[str], str], elsewhere: Elsewhere
    ) -> None:
        self._settings, self._node, self._pages, self._seal = settings, node, pages, seal
        self._elsewhere = elsewhere

    def __repr__(self) -> str:
        return f"<Views of {self._settings.node}>"

    # --- pages for people ---------------------------------------------------------------------------------------

    async def dashboard(self, request: Request) -> Response:
        query = request.query_params
        words, state, mail_class = query.get("q", "")[:200], query.get("state", ""), query.get("class", "")
        visitor = visitor_of(request)
        stats, found = await asyncio.gather(self._stats(), asyncio.to_thread(self._settings.events.recent))
        events = shown_to(visitor, found)
        fitting = [s for s in stories(events) if matches(s, words, state, mail_class)]
        return self._page(
            request,
            "dashboard.html",
            stories=fitting[:SHOWN],
            more=max(0, len(fitting) - SHOWN),
            refusals=refusals(events)[:REFUSED_SHOWN],
            filtered=bool(words or state or mail_class),
            asked={"q": words, "state": state, "class": mail_class},
            live="live" in query,
            stats=stats,
            troubles=metrics.troubles(stats),
            tiles=[] if visitor.limited else show.tiles(stats, events),
        )

    async def queue(self, request: Request) -> Response:
        query = request.query_params
        words, sort = query.get("q", "")[:200], query.get("sort", "")
        sort = sort if sort in top.SORTS else top.SORTS[0]
        visitor = visitor_of(request)
        if visitor.limited:
            raise HTTPException(403)
        now = await self._node.ask({"do": "queue.top"})
        if now and visitor.masked:
            now = masked(now)
        found = top.arranged(top.filtered(now["sites"], words), sort) if now else []
        return self._page(
            request,
            "queue.html",
            top=now,
            rows=found[:SITES_SHOWN],
            more=max(0, len(found) - SITES_SHOWN),
            sorts=top.SORTS,
            asked={"q": words, "sort": sort},
            live="live" in query,
        )

    async def connect(self, request: Request) -> Response:
        port = best_port(self._settings.ports)
        return self._page(
            request,
            "connect.html",
            port=port,
            snippets=snippets(port) if port else [],
            parts=[(f"{name}@{SIM_DOMAIN}", part) for name, part in PARTS.items()],
        )

    async def message(self, request: Request) -> Response:
        visitor, identifier = visitor_of(request), request.path_params["id"]
        events = await self._story(identifier)
        told = stories(shown_to(visitor, events, self._seal))
        captures = self._captures(request, told)
        if not told and not captures:
            raise HTTPException(404)
        story = told[0] if told else Story(identifier, "", {})
        chosen = self._chosen(request, captures)
        reading, signatures = await self._read(chosen)
        return self._page(
            request,
            "message.html",
            story=story,
            waiting=await self._waiting(story, visitor),
            most=MOST,
            captures=captures,
            chosen=chosen,
            reading=reading,
            verdicts=signatures,
            tabs=[(key, title) for key, title in TABS if _has(reading, key)],
            tab=_tab(request.query_params.get("view", ""), reading),
        )

    async def message_html(self, request: Request) -> Response:
        """The message's HTML for the sandboxed frame: its policy forbids scripts and everything remote. Nowhere else: by itself
        in a tab it could still lead away from here."""
        if request.headers.get("sec-fetch-dest", "iframe") != "iframe":
            return PlainTextResponse("This is shown inside the message's page only.\n", status_code=403)
        chosen = await self._chosen_now(request)
        reading, _ = await self._read(chosen, with_verdicts=False)
        if reading is None or not reading.html:
            raise HTTPException(404)
        return HTMLResponse(reading.html, headers=MAIL_HEADERS)

    async def message_source(self, request: Request) -> Response:
        chosen = await self._chosen_now(request)
        content = await asyncio.to_thread(self._content, chosen)
        if chosen is None or content is None:
            raise HTTPException(404)
        disposition = f'attachment; filename="{chosen.id}.eml"'  # an id is plain letters and digits
        return Response(content, media_type="message/rfc822", headers={"Content-Disposition": disposition})

    async def not_found(self, request: Request, _: Exception) -> Response:
        return self._page(request, "not_found.html", status=404)

    async def not_ours(self, request: Request, _: Exception) -> Response:
        """What this visitor may not see or do, and a form that our page did not show to him."""
        return self._page(request, "not_yours.html", status=403, sent=request.method == "POST")

    # --- for machines -------------------------------------------------------------------------------------------

    async def healthz(self, _: Request) -> Response:
        """200 while this process answers; with the version in force, where the node tells it."""
        told = await self._node.ask({"do": "versions"}, VERSION_SECONDS)
        return PlainTextResponse(f"ok\npolicies {told['policies']}\n" if told else "ok\n")

    async def readyz(self, _: Request) -> Response:
        """200 when every worker is up and can save mail, else 503 and why.

        Without State mail is taken, and the urgent part delivered: were it 503, a cluster that loses its Redis would turn
        all apps away. It is said behind the first line.
        """
        stats = await self._stats()
        troubles = metrics.troubles(stats)
        lines = [*(troubles or ["ready"]), *metrics.notes(stats)]
        return PlainTextResponse("\n".join(lines) + "\n", status_code=503 if troubles else 200)

    async def metrics(self, _: Request) -> Response:
        page = metrics.exposition(await self._stats(), self._settings.clock())
        return Response(page, headers={"Content-Type": metrics.CONTENT_TYPE})

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            raise HTTPException(404)
        headers = {"Content-Type": STATIC[name], "Cache-Control": "public, max-age=31536000, immutable"}
        return Response(self._pages.static[name], headers=headers)

    # --- facts --------------------------------------------------------------------------------------------------

    def _page(self, request: Request, template: str, *, status: int = 200, **facts: Any) -> Response:
        return self._pages.page(template, request.scope.get("visitor"), status=status, **facts)

    async def _stats(self) -> Stats | None:
        return await self._node.ask({"do": "stats"})

    async def _waiting(self, story: Story, visitor: Visitor) -> dict[int, dict[str, Any]]:
        """Of recipients that it was not delivered to yet, by their index: what the node says of why, and when next."""
        found: dict[int, dict[str, Any]] = {}
        cursor: Any = None
        while any(way.open for way in story.ways.values()) and len(found) < MOST:
            page = await self._node.ask({"do": "queue.page", "selector": {"id": story.id}, "cursor": cursor})
            if page is None:
                break
            items = page.get("items", ())
            found |= {item["rcpt"]: masked(item) if visitor.masked else item for item in items}
            cursor = page.get("cursor")
            if cursor is None:
                break
        return found

    def _captures(self, request: Request, told: list[Story]) -> list[Capture]:
        """Content names recipients, so viewers are not shown it; nor is who is limited what no event says is of his apps."""
        visitor, captures = visitor_of(request), self._settings.captures
        if captures is None or visitor.masked or (visitor.limited and not told):
            return []
        return captures.of_message(request.path_params["id"])

    async def _story(self, identifier: str) -> list[Event]:
        """Of this node, whose newest events are at hand; else of all whose events are here."""
        found = await asyncio.to_thread(self._settings.events.story, identifier)
        return found or await self._elsewhere(identifier)

    async def _chosen_now(self, request: Request) -> Capture | None:
        events = await self._story(request.path_params["id"])
        return self._chosen(request, self._captures(request, stories(shown_to(visitor_of(request), events))))

    def _chosen(self, request: Request, captures: list[Capture]) -> Capture | None:
        """The capture named in the address, else the first."""
        wanted = request.query_params.get("copy", "")
        return next((c for c in captures if c.name == wanted), captures[0] if captures else None)

    def _content(self, capture: Capture | None) -> bytes | None:
        return self._settings.captures.content(capture) if capture and self._settings.captures else None

    async def _read(
        self, capture: Capture | None, *, with_verdicts: bool = True
    ) -> tuple[Reading | None, tuple[Verdict, ...]]:
        def work() -> tuple[Reading | None, tuple[Verdict, ...]]:
            content = self._content(capture)
            if content is None:
                return None, ()
            return read(content), verdicts(content, self._settings.public_keys) if with_verdicts else ()

        return await asyncio.to_thread(work)


def _has(reading: Reading | None, tab: str) -> bool:
    return reading is not None and (tab not in ("html", "text") or bool(getattr(reading, tab)))


def _tab(wanted: str, reading: Reading | None) -> str:
    """The tab asked for, if this message has it; else the first it has."""
    present = [key for key, _ in TABS if _has(reading, key)]
    return wanted if wanted in present else next(iter(present), "")
