"""Fakes for the admin site: events as the log has them, a node's answer to `stats`, and an application over both."""

import tempfile
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from relay.ids import Ids
from relay.web.app import create_app
from relay.web.captures import Captures
from relay.web.connect import SubmissionPort
from relay.web.login.service import Login
from relay.web.settings import WebSettings
from relay.web.stories import Event

NOW = 1_795_262_731_104
_IDS = Ids("relay-1", 0, lambda: NOW)
IDS = [_IDS.next() for _ in range(6)]


class Events:
    """An EventSource made of a list."""

    def __init__(self, *events: Event) -> None:
        self.events = list(events)

    def recent(self) -> list[Event]:
        return list(self.events)

    def story(self, identifier: str) -> list[Event]:
        return [e for e in self.events if e.get("id") == identifier]


def event(kind: str, identifier: str, **facts: Any) -> Event:
    """An event of a message to dana, as relay.event records it."""
    usual: Event = {
        "v": 1,
        "time": "2026-11-21T12:05:31.104Z",
        "type": kind,
        "event_id": "01kaj2m8q4x7zz00",
        "node": "relay-1",
        "policies": "3f9a1c",
        "id": identifier,
        "rcpt": 0,
        "message_id": f"<{identifier}@shop.example>",
        "credential": "shop-web",
        "brand": "marom",
        "stream": "order",
        "class": "transactional",
        "campaign": None,
        "metadata": {},
        "sender": "bounces@shop.example",
        "from": "shop@shop.example",
        "recipient": "dana@rcpt.example",
        "domain": "rcpt.example",
    }
    return usual | facts


def reply(code: int, enhanced: str, text: str) -> dict[str, Any]:
    return {"code": code, "enhanced": enhanced, "text": text}


def stats(**changes: Any) -> dict[str, Any]:
    """A healthy node with one worker, as relay.web.metrics documents it."""
    worker = {
        "name": "worker-0",
        "up": True,
        "healthy": True,
        "pid": 4711,
        "deaths": 0,
        "counters": {
            "accepted": 12,
            "delivered": [{"class": "transactional", "value": 1204}, {"class": "marketing", "value": 182406}],
            "bounced": [{"class": "marketing", "value": 41}],
        },
        "gauges": {"connections": 3},
        "egress": {"open": 2},
        "shards": [
            {
                "shard": 0,
                "healthy": True,
                "schedule": {"in_flight": 4},
                "queue": {
                    "waiting": 31,
                    "held": 2,
                    "oldest": NOW - 41_000,
                    "lanes": [
                        {"class": "marketing", "site": "google", "waiting": 28},
                        {"class": "transactional", "site": "rcpt.example", "waiting": 3},
                    ],
                },
            }
        ],
    }
    return {
        "node": "relay-1",
        "version": "0.1.0",
        "policies": "3f9a1c",
        "mode": "capture",
        "workers": [worker | changes],
    }


class Node:
    """What the node answers to the site's questions; an exception is raised."""

    def __init__(self, answer: dict[str, Any] | Exception | None = None) -> None:
        self.answer = stats() if answer is None else answer
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, question: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(question)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def site(
    events: Events,
    directory: Path | None = None,
    node: Node | None = None,
    login: Login | None = None,
    reader: Any = None,
    **changes: Any,
) -> Starlette:
    """The admin application; captures are kept in `directory`, if one is given. Without `login` it is open."""
    facts: dict[str, Any] = {
        "node": "relay-1",
        "hostname": "relay-1.example",
        "mode": "capture",
        "events": events,
        "clock": lambda: NOW,
        "version": "0.1.0",
        "ports": (SubmissionPort("127.0.0.1", 2525),),
        "captures": Captures(directory) if directory else None,
    }
    settings = WebSettings(**(facts | changes))
    return create_app(settings, node or Node(), login or open_login(), reader or NO_REPORTS)


class NoReports:
    """A reader without events."""

    def messages(self, *_: Any) -> list[Event]:
        return []


NO_REPORTS: Any = NoReports()


def open_login() -> Login:
    """Of a page on loopback, where there are no users."""
    return Login(Path(tempfile.gettempdir()) / "no-such-data-dir", loopback=True, clock=lambda: NOW)
