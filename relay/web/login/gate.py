"""Before every page: who asks? ASGI middleware that puts a Visitor into the scope, or answers in the page's place.

What programs read (health, metrics, the apps' API with its tokens) and what the page of login itself needs stays as it is.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from relay.web.api.operations import PREFIX
from relay.web.login.service import Closed, Login
from relay.web.login.visitor import Visitor

FOR_PROGRAMS = ("/healthz", "/readyz", "/metrics")
LOGIN = "/login"
_FREE = (f"{PREFIX}/", "/static/")


class Gate:
    """`closed` makes the page that says why nobody can come in."""

    def __init__(self, app: ASGIApp, login: Login, closed: Callable[[Closed], Response]) -> None:
        self._app, self._login, self._closed = app, login, closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await (self._before(scope) or self._app)(scope, receive, send)

    def _before(self, scope: Scope) -> ASGIApp | None:
        path = scope["path"]
        if path in FOR_PROGRAMS or path.startswith(_FREE):
            return None
        if scope["method"] == "POST" and not _from_here(scope):
            return PlainTextResponse("This form was not sent by a page of ours\n", status_code=403)
        headers = Headers(scope=scope)
        forwarded = "x-forwarded-for" in headers or "forwarded" in headers
        found = self._login.visitor(Request(scope).cookies, forwarded=forwarded)
        if isinstance(found, Closed):
            return self._closed(found)
        if found is None and path != LOGIN:
            return _to_login(scope)
        scope["visitor"] = found or Visitor(role="nobody", credentials=("",))
        return None


def visitor_of(request: Request) -> Visitor:
    """Whom the gate let in."""
    visitor: Any = request.scope["visitor"]
    assert isinstance(visitor, Visitor)
    return visitor


def _from_here(scope: Scope) -> bool:
    """What browsers say of the page that sent a form (Fetch Metadata; Origin, RFC 6454 7.3). Those that say nothing have the
    form's own token to prove it."""
    headers = Headers(scope=scope)
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return False
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _to_login(scope: Scope) -> Response:
    if scope["method"] not in ("GET", "HEAD"):
        return PlainTextResponse("Log in first\n", status_code=401)
    query = scope.get("query_string", b"").decode("latin-1")
    asked = scope["path"] + (f"?{query}" if query else "")
    there = "" if asked == "/" or len(asked) > 1000 else f"?next={quote(asked, safe='')}"
    return RedirectResponse(f"{LOGIN}{there}", status_code=303)
