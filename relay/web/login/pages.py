"""The page of login, the way out, and the page that says why nobody can come in."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relay.users import UsersError
from relay.web.login.forms import sent
from relay.web.login.gate import LOGIN, visitor_of
from relay.web.login.service import BROWSER, FORM, SESSION, Closed, Denied, Entered, Login
from relay.web.login.sessions import LASTS
from relay.web.login.visitor import OPEN
from relay.web.public.forms import first

KNOWN_FOR = 180 * 86_400  # s that a browser is known which once logged in
Page = Callable[..., Response]


class LoginPages:
    """`page` renders a template."""

    def __init__(self, login: Login, page: Page) -> None:
        self._login, self._page = login, page

    def __repr__(self) -> str:
        return f"<LoginPages {self._login!r}>"

    async def show(self, request: Request) -> Response:
        there = local(request.query_params.get("next", ""))
        if visitor_of(request).name or visitor_of(request).role == OPEN:
            return RedirectResponse(there, status_code=303)
        return self._form(request, there)

    async def enter(self, request: Request) -> Response:
        fields = await sent(request, self._login, FORM)
        there, name = local(first(fields, "next")), first(fields, "name")
        peer = request.client.host if request.client else ""
        try:
            found = await self._login.enter(name, first(fields, "password"), peer, request.cookies)
        except (OSError, UsersError):
            return self.closed(Closed("broken"))
        if isinstance(found, Denied):
            return self._form(request, there, name, found)
        return self._inside(request, found, there)

    async def leave(self, request: Request) -> Response:
        await sent(request, self._login)
        await self._login.leave(request.cookies)
        answer = RedirectResponse(LOGIN, status_code=303)
        answer.delete_cookie(SESSION, path="/")
        return answer

    def closed(self, why: Closed) -> Response:
        return self._page("closed.html", None, status=503 if why.why == "broken" else 403, why=why.why)

    def _form(self, request: Request, there: str, name: str = "", denied: Denied | None = None) -> Response:
        cookie = self._login.form_cookie(request.cookies)
        status = 200 if denied is None else 429 if denied.wait else 401
        facts = {"form": self._login.form_of(cookie), "next": there, "name": name[:64], "denied": denied}
        answer = self._page("login.html", None, status=status, **facts)
        _set(request, answer, FORM, cookie, 3600, "strict")
        if denied is not None and denied.wait:
            answer.headers["Retry-After"] = str(denied.wait)
        return answer

    def _inside(self, request: Request, found: Entered, there: str) -> Response:
        answer = RedirectResponse(there, status_code=303)
        # Lax: who follows a link in an alert's mail is logged in when he arrives. Nothing that is got changes anything.
        _set(request, answer, SESSION, found.session, LASTS // 1000, "lax")
        _set(request, answer, BROWSER, found.browser, KNOWN_FOR, "strict")
        answer.delete_cookie(FORM, path="/")
        return answer


def _set(request: Request, answer: Response, name: str, value: str, seconds: int, same_site: str) -> None:
    """Secure where the page came by TLS, also through a proxy of this machine, which says so (X-Forwarded-Proto)."""
    secure = request.url.scheme == "https"
    answer.set_cookie(name, value, seconds, path="/", secure=secure, httponly=True, samesite=same_site)  # type: ignore[arg-type]


def local(address: str) -> str:
    """A page of ours to go on to, never one elsewhere."""
    plain = address.startswith("/") and not address.startswith("//") and "\\" not in address
    return address if plain and address.isprintable() and address.isascii() and len(address) <= 1000 else "/"
