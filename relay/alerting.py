"""Alerts reach those who do not look: by mail through our own queue, and by webhook ([alerts] in config/). In the supervisor.

It asks each worker for what stands, and says itself what a worker cannot say: that it does not answer, that its disk is
full, or what others found (webhooks of apps). Mail is put by whichever worker is up, so it is signed, queued and tried again like
all mail.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

import structlog

from relay.alert import Alert, one_each, spool_full, worker_silent
from relay.alert_news import Change, News, Shown, body
from relay.control import Json, NodeDown
from relay.identity import HookSecret
from relay.webhook import WebhookError, post, signed

log = structlog.get_logger()

LOOK = 5.0  # s between two looks
ANSWER = 5.0  # s a worker has to tell its alerts
SILENT = 60.0  # s after which one that does not answer is an alert: a restart takes a few
MAIL_PAUSE = 300_000  # ms between two mails: a person reads the first at once, and twelve an hour at most
HOOK_PAUSE = 10_000  # ms between two posts: a program wants to know soon, and bears more
PATIENCE = 900_000  # ms between tries, at most


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told: `mail` addresses; `webhook` with its secrets, "" for none."""

    mail: tuple[str, ...] = ()
    webhook: str = ""
    secrets: tuple[HookSecret, ...] = ()
    allow_private: bool = False


class Asked(Protocol):
    """A worker, as the supervisor knows it."""

    @property
    def name(self) -> str: ...

    async def ask(self, question: Json, timeout: float = ...) -> Json: ...


def clock() -> int:
    return time.time_ns() // 1_000_000


async def _nobody() -> list[Alert]:
    return []


@dataclass(slots=True)
class Alerting:
    """`own`: the supervisor's own alerts; `record` writes an `alert` event of what it finds itself; `ask_any` asks a worker that
    is up; `listeners` as they are in force; `others`: what somebody finds who writes no events, None if he does not answer."""

    node: str
    workers: Sequence[Asked]
    own: Callable[[], list[Alert]]
    listeners: Callable[[], Listeners]
    ask_any: Callable[[Json], Awaitable[Json]]
    record: Callable[[str, Alert], None]
    clock: Callable[[], int] = clock
    others: Callable[[], Awaitable[list[Alert] | None]] = _nobody
    _mail: News = field(default_factory=lambda: News(MAIL_PAUSE, PATIENCE))
    _hook: News = field(default_factory=lambda: News(HOOK_PAUSE, PATIENCE))
    _heard: dict[str, int] = field(default_factory=dict)
    _found: dict[str, Alert] = field(default_factory=dict)
    _last: dict[str, list[Json]] = field(default_factory=dict)  # what each worker said when it last answered
    _others: list[Alert] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Alerting mail {self._mail!r}, webhook {self._hook!r}>"

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self.look()
            except Exception:
                log.exception("alerts could not be told")

    async def look(self) -> None:
        """See what stands, and tell it."""
        standing = await self.standing()
        listeners, now = self.listeners(), self.clock()
        if listeners.mail and (changes := self._mail.to_tell(standing, now)):
            await self._write(changes, listeners)
        if listeners.webhook and (changes := self._hook.to_tell(standing, now)):
            await self._post(changes, listeners)

    @property
    def found(self) -> list[Alert]:
        """What was found here when it was last looked."""
        return list(self._found.values())

    async def standing(self) -> list[Shown]:
        alerts: list[Json] = [asdict(alert) for alert in self.own()]
        found: dict[str, Alert] = {}
        for answer, worker in zip(await asyncio.gather(*map(_asked, self.workers)), self.workers, strict=True):
            # One that is busy, or being started anew, has not ended its troubles.
            self._last[worker.name] = answer.get("alerts", self._last.get(worker.name, []))
            alerts += self._last[worker.name]
            trouble = self._trouble(worker.name, answer)
            if trouble is not None:
                found[worker.name] = trouble
        told = await self.others()
        self._others = self._others if told is None else told
        found |= {f"{one.name} {sorted(one.what.items())}": one for one in self._others}
        self._tell_found(found)
        return list(one_each([*alerts, *map(asdict, found.values())]))

    def _trouble(self, name: str, answer: Json) -> Alert | None:
        now = self.clock()
        heard = self._heard.setdefault(name, now)
        if "alerts" in answer:
            self._heard[name] = now
            return None if answer["healthy"] else spool_full(name)
        if now - heard >= SILENT * 1000:
            return worker_silent(name, int(now - heard) // 1000)
        return self._found.get(name)

    def _tell_found(self, found: dict[str, Alert]) -> None:
        for name, alert in found.items():
            if name not in self._found:
                self.record("firing", alert)
        for name, alert in self._found.items():
            if name not in found:
                self.record("resolved", alert)
        self._found = found

    async def _write(self, changes: Sequence[Change], listeners: Listeners) -> None:
        question = {
            "do": "alert.mail",
            "to": list(listeners.mail),
            "changes": [{"state": state, "alert": dict(alert)} for state, alert in changes],
        }
        answer = await self.ask_any(question)
        if "error" in answer:
            wait = self._mail.failed(self.clock())
            log.error("an alert could not be mailed", error=answer["error"], again_in_seconds=wait // 1000)
        else:
            self._mail.told(changes, self.clock())

    async def _post(self, changes: Sequence[Change], listeners: Listeners) -> None:
        now = self.clock()
        content = body(changes, self.node, now)
        fields = signed(f"msg_{secrets.token_hex(12)}", content, listeners.secrets, now)
        try:
            await post(listeners.webhook, content, fields, allow_private=listeners.allow_private)
        except WebhookError as error:
            wait = self._hook.failed(self.clock())
            log.error("the webhook of [alerts] failed", error=str(error), again_in_seconds=wait // 1000)
        else:
            self._hook.told(changes, self.clock())


async def _asked(worker: Asked) -> Json:
    with contextlib.suppress(NodeDown):
        return await worker.ask({"do": "alerts"}, ANSWER)
    return {}
