"""A company's week as the postmaster's desk sees it: events on disk, a node that answers, users, the site served for browsers."""

import asyncio
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from relay.event import iso
from relay.reporting import Reader
from relay.web.tail import EventTail
from tests.support.desk_node import DeskNode
from tests.support.event_folder import DAY, HOUR, NOON, EventFolder, said
from tests.support.logins import add_user, login_of
from tests.support.serving import on_loopback
from tests.support.web import site, stats

Json = dict[str, Any]

DANA = "dana.levi@gmail.com"
STORY = "01kaj2m8q4x7desk"  # a message's id
SUSPENSION = 1_795_255_200_000 << 10

STREAMS: dict[str, Json] = {
    "order": {"credential": "shop-web", "class": "transactional", "campaign": None, "pool": "transactional"},
    "password-reset": {"credential": "shop-web", "class": "transactional", "campaign": None, "pool": "transactional"},
    "delivery-notice": {"credential": "warehouse", "class": "service", "campaign": None, "pool": "service"},
    "arava-newsletter": {"credential": "crm", "class": "marketing", "campaign": "weekend-47"},
    "win-back": {"credential": "crm", "class": "marketing", "campaign": "winback-7"},
    "marom-newsletter": {"credential": "marom-woo", "brand": "marom", "class": "marketing", "campaign": "autumn"},
}
SITES = {
    "google": "gmail.com", "microsoft": "outlook.com", "yahoo": "yahoo.com", "walla": "walla.co.il", "gmx": "gmx.de",
}  # fmt: skip
_HOURLY = {
    "order": 9,
    "password-reset": 5,
    "delivery-notice": 7,
    "arava-newsletter": 22,
    "win-back": 4,
    "marom-newsletter": 9,
}
_SHARE = {"google": 10, "microsoft": 5, "yahoo": 3, "walla": 2, "gmx": 1}


class FewFiles(EventFolder):
    """For the first hour, for what is usual, and for the last day: many are slow to read. Events may stand in a later file."""

    def __init__(self, folder: Path, first: int) -> None:
        super().__init__(folder)
        self._first = first

    def file_of(self, at: int) -> str:
        return super().file_of(at if at < self._first + HOUR else NOON - DAY - HOUR if at < NOON - DAY else NOON - HOUR)


class Remembered:
    """A reader that is asked the same only once: its folder does not change."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        def ask(*args: Any) -> Any:
            key = f"{name} {args!r}"
            if key not in self._known:
                self._known[key] = getattr(self._reader, name)(*args)
            return self._known[key]

        return ask


class Company:
    """Events in `folder`/events, until noon of Saturday 21 November 2026."""

    def __init__(self, folder: Path, *, days: int = 8) -> None:
        self.events = FewFiles(folder / "events", NOON - days * DAY)
        for hour in range(days * 24, 0, -1):
            self._hour(NOON - hour * HOUR, hour)
        self._bad_day()
        self._story()
        self.events.archive()

    def _hour(self, at: int, ago: int) -> None:
        """A night is quiet; each hour has its few failures."""
        lively = (1, 1, 1, 1, 1, 2, 3, 4, 5, 5, 5, 5, 4, 4, 4, 4, 4, 4, 3, 3, 3, 2, 2, 1)[at // HOUR % 24]
        for number, (stream, facts) in enumerate(STREAMS.items()):
            for place, (name, domain) in enumerate(SITES.items()):
                many = max(1, _HOURLY[stream] * _SHARE[name] * lively // 60)
                mail = {**facts, "stream": stream, "site": name, "domain": domain, "skeleton": f"tpl-{stream}"}
                self.events.add("accepted", at + 60_000, many, **mail)
                self.events.add("delivered", at + 61_000, many, delay_ms=180 + 40 * number + 90 * place, **mail)
                if (ago * 7 + number * 3 + place) % 29 == 0:
                    self._bounce(at + 62_000, 1, "bad-mailbox", "550 5.1.1 The email account does not exist", mail)
                if (ago * 5 + number + place * 11) % 37 == 0:
                    self.events.add(
                        "deferred",
                        at + 63_000,
                        category="rate-limited",
                        reply=said(421, "4.7.0 Try again later"),
                        **mail,
                    )
                if facts["class"] == "marketing" and (ago + number * 5 + place) % 61 == 0:
                    self.events.add("complained", at + 64_000, feedback_type="abuse", **mail)

    def _bounce(self, at: int, many: int, category: str, text: str, mail: Json, **more: Any) -> None:
        code, _, words = text.partition(" ")
        self.events.add(
            "bounced",
            at,
            many,
            **{
                **mail,
                "category": category,
                "reply": said(int(code), words),
                "command": "RCPT",
                "permanent": True,
                **more,
            },
        )

    def _bad_day(self) -> None:
        """Outlook blocks an address of ours from half past eight on; the win-back list is old; helpdesk has no key."""
        news = {
            **STREAMS["arava-newsletter"],
            "stream": "arava-newsletter",
            "site": "microsoft",
            "domain": "outlook.com",
        }
        block = (
            "550 5.7.1 Unfortunately, messages from [198.51.100.20] weren't sent. Please contact your provider (S3140)"
        )
        for hour, many in ((4, 34), (3, 61), (2, 22), (1, 9)):
            self._bounce(NOON - hour * HOUR + 30 * 60_000, many, "reputation-block", block, news, command="MAIL")
        old = {**STREAMS["win-back"], "stream": "win-back", "site": "google", "domain": "gmail.com"}
        gone = "550 5.1.1 The email account that you tried to reach does not exist"
        self._bounce(NOON - 5 * HOUR, 41, "bad-mailbox", gone, old, suppressed="all")
        self.events.add("complained", NOON - 2 * HOUR, 6, feedback_type="abuse", **old)
        helpdesk = {
            "credential": "helpdesk",
            "class": "service",
            "stream": "helpdesk",
            "campaign": None,
            "site": "google",
        }
        unsigned = "550 5.7.26 Your email has been blocked because the sender is unauthenticated. DKIM = did not pass"
        self._bounce(NOON - HOUR, 14, "auth-failure", unsigned, helpdesk, command="DATA")

    def _story(self) -> None:
        """One message to one person, which failed twice."""
        mail = {**STREAMS["order"], "stream": "order", "site": "google", "domain": "gmail.com", "id": STORY, "rcpt": 0}
        mail |= {
            "recipient": DANA,
            "subject": "Your order #1042",
            "from": "orders@arava.example",
            "message_id": "<1042@arava>",
            "skeleton": "tpl-order",
        }
        at = NOON - 40 * 60_000
        self.events.add("accepted", at, size=18_231, **mail)
        for attempt in (1, 2):
            reply = {"code": 452, "enhanced": "4.2.2", "text": f"The recipient {DANA} is over quota"}
            self.events.add(
                "deferred", at + attempt * 60_000, reply=reply, category="quota", attempt=attempt, command="RCPT",
                transcript=TRANSCRIPT, mx="gmail-smtp-in.l.google.com", tls="TLSv1.3", delay_ms=attempt * 60_000, **mail,
            )  # fmt: skip
        self.events.add(
            "delivered", at + 30 * 60_000, reply={"code": 250, "enhanced": "2.0.0", "text": "OK"}, attempt=3,
            mx="gmail-smtp-in.l.google.com", tls="TLSv1.3", delay_ms=30 * 60_000, **mail,
        )  # fmt: skip


CAPS = [
    {"cap": "arava", "limit": "3/week", "used": 2, "by": {"arava marketing": 2}, "under_way": 1},
    {"cap": "all", "limit": "8/30d", "used": 5, "by": {"arava marketing": 4, "marom marketing": 1}, "under_way": 1},
]
QUEUE: Json = {
    "time": iso(NOON), "nodes": ["relay-1"], "unseen": [], "silent": [], "totals": {"in": 41.2}, "p99_ms": 61, "oldest_due": None,
    "held": 0, "guarded": 0, "runaways": [f"shop-web to {DANA}, more than 6/hour"], "suspensions": [], "sites": [],
}  # fmt: skip
TRANSCRIPT = [
    "< 220 mx.google.com ESMTP",
    "> EHLO t1.arava.example",
    "< 250-mx.google.com at your service",
    "< 250 STARTTLS",
    "> MAIL FROM:<bounces@arava.example>",
    "< 250 2.1.0 OK",
    f"> RCPT TO:<{DANA}>",
    f"< 452 4.2.2 The recipient {DANA} is over quota",
]


class Node:
    """Answers as a node does: people by the real desk of relay/people.py, the rest as told."""

    def __init__(self, folder: Path) -> None:
        self.people = DeskNode(folder)
        self.asked: list[Json] = []
        self.down = False
        self.refuses = ""  # what it is asked to do and does not
        self.suspensions: list[Json] = [
            {
                "id": SUSPENSION, "what": {"stream": "win-back"}, "said": "stream win-back", "by": "postlane", "node": "relay-1",
                "reason": "hard bounces 3.2 % of 1,280 in 24h, limit 3 %", "since": iso(NOON - 2 * HOUR), "until": None,
                "undo": "postlane resume --stream win-back", "waiting": 9120,
            }
        ]  # fmt: skip
        self.alerts: list[Json] = [
            {
                "name": "auth-failure", "severity": "critical", "what": {"stream": "helpdesk"},
                "summary": "helpdesk: 14 of 14 refused with 550 5.7.26 (DKIM did not pass)",
                "advice": "postlane keys dns marom.example",
            }
        ]  # fmt: skip

    async def __call__(self, question: Json) -> Json:
        self.asked.append(question)
        if self.down:
            raise OSError("gone")
        match question["do"]:
            case self.refuses:
                return {"error": "State cannot be reached"}
            case "stats":
                return {**stats(), "mode": "live", "suspensions": self.suspensions, "alerts": self.alerts}
            case "resume":
                ended = [one for one in self.suspensions if one["what"] == question["what"]]
                if not question.get("dry_run"):
                    self.suspensions = [one for one in self.suspensions if one not in ended]
                return {"ended": ended, "left": []}
            case "queue.page":
                return {"items": [], "cursor": None}
            case "queue.top":
                return QUEUE
        answer: Json = await asyncio.to_thread(self.people, Path(), question)
        return answer | {"caps": CAPS} if question.get("what") == "show" else answer

    def block(self, *addresses: str, **facts: Any) -> None:
        entry = {"stop": "all", "reason": "bad-mailbox", "site": "google", **facts}
        question: Json = {
            "do": "people",
            "what": "block",
            "by": "postlane",
            "via": "feedback",
            "entries": [{"recipient": one, **entry} for one in addresses or (DANA,)],
        }
        self.tell(question)

    def doubt(self, site: str, *addresses: str) -> None:
        """A bad hour of that site: what it said of them is pending."""
        self.block(*addresses, stop="pending:all", reason="bad-mailbox", site=site, source="feedback")
        usual = "usually 0.4 %: nobody is suppressed on its word, what it said is pending"
        summary = f"{site} bounced 96 % of 250 as unknown users, {usual}"
        advice = f"postlane suppress list --stop pending --site {site}; then suppress confirm or drop --site {site}"
        alert = {"name": "bad-hour", "severity": "critical", "what": {"site": site}}
        self.alerts.append({**alert, "summary": summary, "advice": advice})

    def tell(self, question: Json) -> None:
        """The desk of people, which runs a loop of its own."""
        asking = threading.Thread(target=self.people.reply, args=(question,))
        asking.start()
        asking.join()


def desk_site(folder: Path, node: Node, **changes: Any) -> Starlette:
    """Over the events in `folder`; with the users that are in it."""
    facts: Json = {"mode": "live", "clock": lambda: NOON, "timezone": "Asia/Jerusalem", **changes}
    tail = EventTail(folder / "events", lambda _: ())
    clock = facts.pop("login_clock", None)
    login = login_of(folder, clock)
    return site(tail, node=node, login=login, reader=facts.pop("reader", None) or Reader([folder / "events"]), **facts)  # type: ignore[arg-type]


def served(app: Starlette) -> AbstractContextManager[int]:
    """On a port of loopback, in a thread of its own."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", loop="uvloop")
    return on_loopback(lambda: uvicorn.Server(config))


def users(folder: Path) -> None:
    add_user(folder, "noa", "operator")
    add_user(folder, "dan", "viewer")
    add_user(folder, "shop", "viewer", "shop-web")
