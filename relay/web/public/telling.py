"""What the journal holds is told: first to the desk (relay/people.py, by the control socket), then to the app whose own
unsubscribe URL ours took the place of. Again and again until it is taken; an app is told within bounds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import structlog

from relay.control import Json, NodeDown
from relay.web.public.journal import Entry, Journal
from relay.webhook import WebhookError, post

log = structlog.get_logger()

Ask = Callable[[Json], Awaitable[Json]]
Sleep = Callable[[float], Awaitable[None]]

AGAIN = (0.2, 1.0, 5.0, 15.0)  # s between tries to reach the desk; the last one repeats
CALL_AGAIN = (60.0, 600.0, 3_600.0, 21_600.0)  # s between tries to reach an app's URL; then it is given up
TOGETHER = 200  # of the 500 that the desk takes in one question
_BODY = b"List-Unsubscribe=One-Click"
_FORM = "application/x-www-form-urlencoded"


def entry(at: int, questions: Sequence[Json], calls: str = "") -> Entry:
    """`questions`: for the desk, in their order; `calls`: an app's URL, "" for none; `at` in ms."""
    return {"at": at, "ask": list(questions), "calls": calls}


class Telling:
    """`asked` holds what people asked for, `calls` what apps are still to be told; both are run here."""

    def __init__(
        self, asked: Journal, calls: Journal, ask: Ask, *, allow_private: bool = False, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._asked, self._calls = asked, calls
        self._ask = ask
        self._allow_private = allow_private
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"<Telling {self._asked!r} {self._calls!r}>"

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._asked.run(self.tell))
            group.create_task(self._calls.run(self.call))

    async def tell(self, entries: Sequence[Entry]) -> None:
        """To the desk; then what apps are to hear is written down, so that one that is down keeps nobody waiting."""
        for question in _joined(entries):
            await self._tell(question)
        for one in entries:
            if one["calls"]:
                await self._calls.append({"at": one["at"], "url": one["calls"]})

    async def _tell(self, question: Json) -> None:
        """Until it is taken. What the desk refuses is a fault of ours: it is kept aside, and the others go on."""
        for number in range(1_000_000_000):
            try:
                answer = await self._ask(question)
            except NodeDown as error:
                answer = {"error": str(error), "again": True}
            if "error" not in answer:
                return
            if not answer.get("again") and not _soon(answer["error"]):
                log.error("a wish of a recipient is refused", error=answer["error"], what=question.get("what"))
                await self._asked.put_aside({"error": answer["error"], "ask": question})
                return
            wait = AGAIN[min(number, len(AGAIN) - 1)]
            if wait == AGAIN[-1]:
                log.warning("wishes of recipients wait", error=answer["error"], waiting=self._asked.waiting)
            await self._sleep(wait)

    async def call(self, entries: Sequence[Entry]) -> None:
        await asyncio.gather(*[self._call(one["url"]) for one in entries])

    async def _call(self, url: str) -> None:
        try:
            host = urlsplit(url).hostname
        except ValueError:
            log.error(
                "what an app gave as its unsubscribe URL is none", octets=len(url)
            )  # a person's token may be in it
            return
        for wait in (*CALL_AGAIN, None):
            try:
                await post(url, _BODY, {}, kind=_FORM, allow_private=self._allow_private)
                return
            except WebhookError as error:
                if wait is None:
                    log.error("an app could not be told of an unsubscription", host=host, error=str(error))
                    return
                log.info("an app's unsubscribe URL failed; trying again", host=host, error=str(error), in_seconds=wait)
            await self._sleep(wait)


def _soon(error: str) -> bool:
    """The node is starting: no worker is there, or it opens its spool."""
    return error in ("no worker is running", "the worker is still opening its spool")


def _joined(entries: Sequence[Entry]) -> list[Json]:
    """The questions in their order; up to TOGETHER blocks that follow each other, of one way, are one."""
    joined: list[dict[str, Any]] = []
    for question in (question for one in entries for question in one["ask"]):
        last = joined[-1] if joined else {}
        same = last.get("what") == question["what"] == "block" and last.get("via") == question.get("via")
        if same and len(last["entries"]) < TOGETHER:
            last["entries"] = [*last["entries"], *question["entries"]]
        else:
            joined.append(dict(question))
    return joined
