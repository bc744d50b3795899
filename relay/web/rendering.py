"""The pages of the admin site from their templates."""

from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from relay import top
from relay.web import metrics, show
from relay.web.desk.tables import NAMES
from relay.web.login.visitor import Visitor
from relay.web.settings import WebSettings
from relay.web.stories import STATES, reply_text
from relay.web.templating import environment, versioned

HERE = Path(__file__).parent
STATIC = {"postlane.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
MARKER = Markup("<!-- here -->")


class Pages:
    """Renders the templates of the admin site."""

    def __init__(self, settings: WebSettings) -> None:
        self.static = {name: (HERE / "static" / name).read_bytes() for name in STATIC}
        self._pages = environment(HERE / "templates")
        self._pages.globals.update(
            settings=settings,
            states=STATES,
            classes=metrics.CLASSES,
            dimensions=NAMES,
            static={name: f"/static/{versioned(name, data)}" for name, data in self.static.items()},
        )
        zone = ZoneInfo(settings.timezone)
        self._pages.filters.update(
            clock=partial(show.clock, zone=zone),
            day=partial(show.day, zone=zone),
            size=show.size,
            span=show.span,
            count=show.count,
            speed=show.speed,
            in_short=top.in_short,
            facts=show.facts,
            reply=reply_text,
            transcript=show.transcript,
        )

    def __repr__(self) -> str:
        return f"<Pages {len(self.static)} files>"

    def page(self, template: str, visitor: Visitor | None, *, status: int = 200, **facts: Any) -> Response:
        """`visitor`: None where nobody is let in yet, and the page has no way to others."""
        return HTMLResponse(self.text(template, visitor, **facts), status_code=status)

    def text(self, template: str, visitor: Visitor | None, layout: str = "layout.html", **facts: Any) -> str:
        """Of a page that may come in two parts: its main part alone with the layout "fragment.html"."""
        return self._pages.get_template(template).render(visitor=visitor, layout=layout, **facts)

    def around(
        self, visitor: Visitor, title: str, here: str, doing: str = "Reading the event log …"
    ) -> tuple[str, str]:
        """What stands before and behind the main part of a page that is still to come."""
        whole = self.text("desk/reading.html", visitor, title=title, here=here, doing=doing, marker=MARKER)
        before, _, behind = whole.partition(MARKER)
        return before, behind
