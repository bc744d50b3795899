"""What every answer of the admin site has in common: who may ask, by which method, and the headers that bind browsers. The
apps' API, where it is here, has methods and tokens of its own.

Without users the admin site is open, and bound to loopback. A page elsewhere could still reach it through the visitor's
own browser once its name points at 127.0.0.1 (DNS rebinding), so the Host header must name this machine: a loopback
name or address, or a configured name. Nobody can point an address elsewhere, so where the site is bound to a wildcard
(a container, a lab) any address literal will do.
"""

from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relay.web.api.operations import PREFIX

# No script at all, no form but our own, no frame but our own sandboxed one, nothing from other hosts.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
# A captured message's own HTML: no script, no remote content, an origin of its own; shown only inside our pages.
MAIL_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'"
)
# What the policy does not cover: names looked up ahead.
MAIL_HEADERS = {"Content-Security-Policy": MAIL_POLICY, "X-DNS-Prefetch-Control": "off"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


def allowed(host: str, names: frozenset[str], any_address: bool) -> bool:
    """May a request with this Host header be answered? (RFC 9110 7.2; the port does not matter)"""
    if host.startswith("["):
        name = host[1:].partition("]")[0]
    else:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and ":" in host else host
    name = name.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost") or name in names:  # RFC 6761 6.3
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or any_address


class Hardened:
    """ASGI middleware: the headers that bind browsers, on every answer. Those that a view has set itself stay as they are."""

    def __init__(self, app: ASGIApp, policy: str = PAGE_POLICY, referrer: str = "no-referrer") -> None:
        self._app, self._policy, self._referrer = app, policy, referrer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", self._policy)
                headers.setdefault("Referrer-Policy", self._referrer)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, hardened)


class Guard:
    """ASGI middleware. Headers that a view has set itself stay as they are."""

    def __init__(self, app: ASGIApp, names: frozenset[str], any_address: bool) -> None:
        self._app, self._names, self._any_address = app, names, any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        # Not "no-referrer": browsers would then say "Origin: null" of our own forms (Fetch, 3.2), which login/gate.py refuses.
        await Hardened(self._refusal(scope) or self._app, referrer="same-origin")(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        if not allowed(Headers(scope=scope).get("host", ""), self._names, self._any_address):
            return PlainTextResponse(
                "This name is not one of the admin page's. Use its address, or localhost.\n", status_code=421
            )
        if scope["method"] not in ("GET", "HEAD", "POST") and not scope["path"].startswith(f"{PREFIX}/"):
            return PlainTextResponse("Only GET and POST\n", status_code=405, headers={"Allow": "GET, HEAD, POST"})
        return None
