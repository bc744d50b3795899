"""The login of one admin site: who a request comes from, who may enter, and how sessions end."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from relay.users import LONGEST, User, Users, UsersError
from relay.web.login.checking import Busy, Checker
from relay.web.login.limits import Tries, network
from relay.web.login.sessions import Sessions
from relay.web.login.visitor import Visitor

log = structlog.get_logger()

SESSION, BROWSER, FORM = "postlane_session", "postlane_browser", "postlane_form"  # cookies
BUSY = 2  # seconds: how long all that wait for a look at their password take


@dataclass(frozen=True, slots=True)
class Closed:
    """Nobody can come in, and why: "no-users" where the page is not on loopback alone, "broken" where the file cannot be read."""

    why: str


@dataclass(frozen=True, slots=True)
class Entered:
    """The values of two cookies."""

    session: str
    browser: str


@dataclass(frozen=True, slots=True)
class Denied:
    """`wait`: seconds until it may be tried again; 0: name and password do not fit."""

    wait: int = 0


class Login:
    """`loopback`: only this machine reaches the page, so without users it is open. `clock`: ms."""

    def __init__(self, data_dir: Path, *, loopback: bool, clock: Callable[[], int]) -> None:
        self._loopback, self._clock = loopback, clock
        self._users, self._sessions = Users(data_dir), Sessions(data_dir)
        self._tries, self._checker = Tries(), Checker()
        self._turn = asyncio.Lock()  # of the file of sessions

    def __repr__(self) -> str:
        return f"<Login {self._users!r} {self._sessions!r} {self._tries!r}>"

    def visitor(self, cookies: Mapping[str, str], *, forwarded: bool) -> Visitor | Closed | None:
        """None: he must log in. `forwarded`: a proxy of this machine asks for somebody elsewhere."""
        try:
            users = self._users.current()
        except UsersError as error:
            log.error("nobody can log in to the admin page", error=str(error))
            return Closed("broken")
        if not users:
            return Visitor() if self._loopback and not forwarded else Closed("no-users")
        token = cookies.get(SESSION, "")
        user = self._sessions.find(token, users, self._clock())
        if user is None:
            return None
        return Visitor(user.name, user.role, user.credentials, self._sessions.form(token))

    async def enter(self, name: str, password: str, peer: str, cookies: Mapping[str, str]) -> Entered | Denied:
        """Takes as long for a name that is nobody's. Raises OSError, UsersError."""
        users, name = self._users.current(), name.strip().lower()[:64]
        user = users.get(name)
        browser = self._sessions.known_browser(cookies.get(BROWSER, ""), user)
        if wait := self._tries.wait(name, peer, browser, users, self._clock() / 1000):
            log.warning("too many tries to log in", user=_told(user), peer=peer)
            return Denied(wait)
        try:
            kept = user.password if user is not None else None
            good = await self._checker.fits(password[: LONGEST + 1], kept, network(peer), stranger=not browser)
        except Busy:
            return Denied(BUSY)
        if not good or user is None:
            log.warning("a login failed", user=_told(user), peer=peer)
            return Denied()
        return await self._begun(user, peer)

    async def _begun(self, user: User, peer: str) -> Entered:
        async with self._turn:
            session = await asyncio.to_thread(self._sessions.begin, user, self._clock())
        log.info("logged in", user=user.name, peer=peer)
        return Entered(session, self._sessions.browser(user))

    async def leave(self, cookies: Mapping[str, str]) -> None:
        async with self._turn:
            await asyncio.to_thread(self._sessions.end, cookies.get(SESSION, ""))

    # -- forms

    def form_cookie(self, cookies: Mapping[str, str]) -> str:
        """For who is not logged in: what his forms hang on."""
        there = cookies.get(FORM, "")
        return there if 20 <= len(there) <= 60 else secrets.token_urlsafe(24)

    def form_of(self, cookie: str) -> str:
        return self._sessions.form(cookie)

    def is_ours(self, said: str, cookies: Mapping[str, str], hangs_on: str = SESSION) -> bool:
        """Was the form shown by us to who sends it? It hangs on his session; the form of login on a cookie of its own."""
        return self._sessions.form_fits(said, cookies.get(hangs_on, ""))

    # -- recipients in the addresses of pages

    def seal(self, address: str) -> str:
        return self._sessions.seal(address)

    def open(self, sealed: str) -> str:
        return self._sessions.open(sealed)

    def close(self) -> None:
        self._checker.close()


def _told(user: User | None) -> str:
    """For the log. Whose name it is not may be a password, in the wrong field."""
    return user.name if user is not None else "(nobody)"
