"""Users of an admin page in a data_dir, and a browser that knows their passwords."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from relay.users import User, Users, hashed
from relay.web.login.service import Login
from tests.support.web import NOW

PASSWORD = "correct horse battery"


@cache
def hash_of(password: str) -> str:
    """Made once: each takes 0.1 s."""
    return hashed(password)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


def add_user(data_dir: Path, name: str, role: str = "operator", *credentials: str, password: str = PASSWORD) -> Users:
    users = Users(data_dir)
    users.add(User(name, role, credentials, hash_of(password), NOW))
    return users


def login_of(data_dir: Path, clock: Clock | None = None, *, loopback: bool = True) -> Login:
    return Login(data_dir, loopback=loopback, clock=clock or Clock())


def browser(app: Any, host: str = "localhost:8025", peer: str = "127.0.0.1", scheme: str = "http") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, client=(peer, 4711))
    return httpx.AsyncClient(transport=transport, base_url=f"{scheme}://{host}")


def form_in(page: str) -> str:
    """The token of a page's form."""
    found = re.search(r'name="form" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]


async def log_in(client: httpx.AsyncClient, name: str, password: str = PASSWORD, **more: str) -> httpx.Response:
    page = (await client.get("/login")).text
    return await client.post("/login", data={"name": name, "password": password, "form": form_in(page), **more})
