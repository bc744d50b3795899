"""The pages. Each view gathers its facts, hands them to a template, and changes nothing."""

import asyncio
from hashlib import sha256
from pathlib import Path
from typing import Any

import structlog
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from relay import top
from relay.web import metrics, show
from relay.web.capture import PARTS, SIM_DOMAIN
from relay.web.captures import Capture
from relay.web.connect import best_port, snippets
from relay.web.guard import MAIL_POLICY
from relay.web.metrics import Stats
from relay.web.reading import Reading, Verdict, read, verdicts
from relay.web.settings import Control, WebSettings
from relay.web.stories import STATES, Story, matches, refusals, reply_text, stories

log = structlog.get_logger()

HERE = Path(__file__).parent
STATIC = {"postlane.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
SHOWN = 100  # messages on the dashboard: a screenful or three
REFUSED_SHOWN = 5
SITES_SHOWN = 200  # on the page of the queue
MOST = 200  # recipients, and events, on the page of one message
CONTROL_SECONDS = 6.0  # above the supervisor's own limit of 5 s for a worker that does not answer
VERSION_SECONDS = 1.0  # the supervisor knows it by itself, and who asks whether we live will not wait for long
TABS = (("html", "HTML"), ("text", "Text"), ("headers", "Headers"), ("source", "Source"))


class Views:
    """The views of one site. Reads of files and MIME run in threads, so that a slow disk holds up nobody else."""

    def __init__(self, settings: WebSettings, control: Control) -> None:
        self._settings, self._control = settings, control
        self._static = {name: (HERE / "static" / name).read_bytes() for name in STATIC}
        self._pages = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._pages.globals.update(
            settings=settings,
            states=STATES,
            classes=metrics.CLASSES,
            # The content's hash in its address: it may be kept for ever, and a new version is fetched at once.
            static={name: f"/static/{name}?{sha256(data).hexdigest()[:12]}" for name, data in self._static.items()},
        )
        self._pages.filters.update(
            clock=show.clock,
            day=show.day,
            size=show.size,
            span=show.span,
            count=show.count,
            speed=show.speed,
            in_short=top.in_short,
            facts=show.facts,
            reply=reply_text,
        )

    def __repr__(self) -> str:
        return f"<Views of {self._settings.node}>"

    # --- pages for people ---------------------------------------------------------------------------------------

    async def dashboard(self, request: Request) -> Response:
        query = request.query_params
        words, state, mail_class = query.get("q", "")[:200], query.get("state", ""), query.get("class", "")
        stats, events = await asyncio.gather(self._stats(), asyncio.to_thread(self._settings.events.recent))
        found = [s for s in stories(events) if matches(s, words, state, mail_class)]
        return self._page(
            "dashboard.html",
            stories=found[:SHOWN],
            more=max(0, len(found) - SHOWN),
            refusals=refusals(events)[:REFUSED_SHOWN],
            filtered=bool(words or state or mail_class),
            asked={"q": words, "state": state, "class": mail_class},
            live="live" in query,
            stats=stats,
            troubles=metrics.troubles(stats),
            tiles=show.tiles(stats, events),
        )

    async def queue(self, request: Request) -> Response:
        query = request.query_params
        words, sort = query.get("q", "")[:200], query.get("sort", "")
        sort = sort if sort in top.SORTS else top.SORTS[0]
        now = await self._ask({"do": "queue.top"})
        found = top.arranged(top.filtered(now["sites"], words), sort) if now else []
        return self._page(
            "queue.html",
            top=now,
            rows=found[:SITES_SHOWN],
            more=max(0, len(found) - SITES_SHOWN),
            sorts=top.SORTS,
            asked={"q": words, "sort": sort},
            live="live" in query,
        )

    async def connect(self, _: Request) -> Response:
        port = best_port(self._settings.ports)
        return self._page(
            "connect.html",
            port=port,
            snippets=snippets(port) if port else [],
            parts=[(f"{name}@{SIM_DOMAIN}", part) for name, part in PARTS.items()],
        )

    async def message(self, request: Request) -> Response:
        identifier = request.path_params["id"]
        events = await asyncio.to_thread(self._settings.events.story, identifier)
        captures = self._captures(identifier)
        told = stories(events)
        if not told and not captures:
            raise HTTPException(404)
        story = told[0] if told else Story(identifier, "", {})
        chosen = self._chosen(request, captures)
        reading, signatures = await self._read(chosen)
        return self._page(
            "message.html",
            story=story,
            waiting=await self._waiting(story),
            most=MOST,
            captures=captures,
            chosen=chosen,
            reading=reading,
            verdicts=signatures,
            tabs=[(key, title) for key, title in TABS if _has(reading, key)],
            tab=_tab(request.query_params.get("view", ""), reading),
        )

    async def message_html(self, request: Request) -> Response:
        """The message's HTML for the sandboxed frame: its policy forbids scripts and everything remote."""
        chosen = self._chosen(request, self._captures(request.path_params["id"]))
        reading, _ = await self._read(chosen, with_verdicts=False)
        if reading is None or not reading.html:
            raise HTTPException(404)
        return HTMLResponse(reading.html, headers={"Content-Security-Policy": MAIL_POLICY})

    async def message_source(self, request: Request) -> Response:
        chosen = self._chosen(request, self._captures(request.path_params["id"]))
        content = await asyncio.to_thread(self._content, chosen)
        if chosen is None or content is None:
            raise HTTPException(404)
        disposition = f'attachment; filename="{chosen.id}.eml"'  # an id is plain letters and digits
        return Response(content, media_type="message/rfc822", headers={"Content-Disposition": disposition})

    async def not_found(self, _: Request, __: Exception) -> Response:
        return self._page("not_found.html", status=404)

    # --- for machines -------------------------------------------------------------------------------------------

    async def healthz(self, _: Request) -> Response:
        """200 while this process answers; with the version in force, where the node tells it."""
        told = await self._ask({"do": "versions"}, VERSION_SECONDS)
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
        return Response(self._static[name], headers=headers)

    # --- facts --------------------------------------------------------------------------------------------------

    def _page(self, template: str, *, status: int = 200, **facts: Any) -> Response:
        return HTMLResponse(self._pages.get_template(template).render(facts), status_code=status)

    async def _stats(self) -> Stats | None:
        return await self._ask({"do": "stats"})

    async def _ask(self, question: dict[str, Any], seconds: float = CONTROL_SECONDS) -> dict[str, Any] | None:
        """None when the node gives no answer; that is a state to show, not a fault of this page."""
        try:
            async with asyncio.timeout(seconds):
                answer = await self._control(question)
        except (OSError, RuntimeError, ValueError, EOFError, TimeoutError) as error:
            log.warning("the node does not answer", error=str(error) or type(error).__name__)
            return None
        return None if "error" in answer else answer

    async def _waiting(self, story: Story) -> dict[int, dict[str, Any]]:
        """Of recipients that it was not delivered to yet, by their index: what the node says of why, and when next."""
        found: dict[int, dict[str, Any]] = {}
        cursor: Any = None
        while any(way.open for way in story.ways.values()) and len(found) < MOST:
            page = await self._ask({"do": "queue.page", "selector": {"id": story.id}, "cursor": cursor})
            if page is None:
                break
            found |= {item["rcpt"]: item for item in page.get("items", ())}
            cursor = page.get("cursor")
            if cursor is None:
                break
        return found

    def _captures(self, identifier: str) -> list[Capture]:
        return self._settings.captures.of_message(identifier) if self._settings.captures else []

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
