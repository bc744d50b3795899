"""Webhooks as a part of the web process: the log is read, each endpoint is told by a task of its own, commands are answered."""

import asyncio
import contextlib
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson
import structlog

from relay.config import ConfigErrors, hook_secret_path, load_hook_secret, rotate_hook_secret
from relay.control import Json
from relay.feedback.eventforget import Forgotten
from relay.hooks.queue import Post, Queue, Try
from relay.hooks.reading import ends, new_events, past_events, stem, whole
from relay.hooks.telling import DEAD, Endpoint, body, example, wait
from relay.identity import HookSecret, speaks_for
from relay.in_force import InForce
from relay.webhook import WebhookError, post, signed

log = structlog.get_logger()

T = TypeVar("T")

LOOK = 1.0  # s between looks into the log: what happened is told within two
TIDY = 60.0  # s between looks for what is too old
AGAIN = 5.0  # s until what failed by our own fault (a full disk, say) is tried again
PERSON_PAGE = 5_000  # events looked through for one person, beside the loop: some 20 ms
PERSON_FOUND = (
    1_000  # of these told in one answer, which has bounds (control.MAX_LINE): an app's own address may get all mail
)
ROWS = 1_000  # of the log of tries in one answer


class Hooks:
    """`apply` puts other endpoints in force; `run` until cancelled. `chance`: 0 to 1, for jitter."""

    def __init__(
        self, in_force: InForce, clock: Callable[[], int], chance: Callable[[], float] = random.random
    ) -> None:
        node = in_force.deployment.node
        self._node = node.name
        self._events = node.data_dir / "events"
        self._path = node.data_dir / "hooks.db"
        self._clock, self._chance = clock, chance
        self._endpoints: dict[str, Endpoint] = {}
        self._queue: Queue | None = None
        self._left = self._path.exists()  # something may wait in it, to be given up
        self._marks: dict[str, int] = {}
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="hooks"
        )  # the database, and the log: one after the other
        self._past = ThreadPoolExecutor(1, thread_name_prefix="hooks-past")  # the past may take its time
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self.apply(in_force)

    def __repr__(self) -> str:
        return f"<Hooks {sorted(self._endpoints)} {self._queue!r}>"

    def apply(self, in_force: InForce) -> None:
        """What waits for an endpoint that is gone stays until it is given up: it may come back."""
        self._in_force = in_force
        self._endpoints = {one.credential: one for one in _endpoints(in_force)}
        for news in self._news.values():
            news.set()

    def read(self, path: Path) -> bool:
        """May this event file become Parquet? Not before what apps are to be told of it is queued."""
        return not self._endpoints or (self._queue is not None and whole(path, self._marks))

    async def run(self) -> None:
        """Until cancelled; then `close` once."""
        async with asyncio.TaskGroup() as group:
            for work, pause in ((self.step, LOOK), (self.fetch, LOOK), (self.tidy, TIDY)):
                group.create_task(_again_and_again(work, pause))

    async def close(self) -> None:
        """What is under way is cut; it is told again, under the same id."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._past.shutdown(wait=False, cancel_futures=True)
        if self._queue is not None:
            await self._do(self._queue.close)
        self._thread.shutdown()

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # -- from the log into the queue

    async def step(self) -> None:
        """All that is new is queued, and each endpoint has its task."""
        if self._queue is None and (self._endpoints or self._left):
            await self._do(self._open)
        if not self._endpoints:
            if self._queue is not None and self._marks:  # the next one is told from when it is there
                await self._do(partial(self._queue.forget_marks, list(self._marks)))
                self._marks = {}
            return
        if not self._marks:
            await self._do(self._begin)
        more = True
        while more:
            more, names = await self._do(self._take)
            self._wake(names)
        for name in self._endpoints:
            if name not in self._tasks or self._tasks[name].done():
                self._news[name] = asyncio.Event()
                self._tasks[name] = asyncio.create_task(self._tell(name))

    def _open(self) -> None:
        self._queue = Queue(self._path)
        self._marks = self._queue.marks()

    def _begin(self) -> None:
        """The first endpoint there is: what was before it, it is not told."""
        assert self._queue is not None
        marks = {"": 0, **ends(self._events)}  # never none: a later look must not take itself for the first
        self._queue.take((), marks, self._clock())
        self._marks = marks

    def _take(self) -> tuple[bool, set[str]]:
        """Is there more, and for whom something came."""
        assert self._queue is not None
        found, moved, more = new_events(self._events, self._marks, self._endpoints.values())
        if moved:
            self._queue.take(found, moved, self._clock())
            self._marks.update(moved)
        return more, {one.credential for one in found}

    def _wake(self, names: Iterable[str]) -> None:
        for name in names:
            if (news := self._news.get(name)) is not None:
                news.set()

    async def fetch(self) -> None:
        """Past events that were asked for, as far as there is room."""
        if self._queue is None:
            return
        queue, loop = self._queue, asyncio.get_running_loop()
        await self._do(partial(queue.fetch_beyond, self._clock()))
        for one in await self._do(queue.resends):
            if (endpoint := self._endpoints.get(one.credential)) is not None:
                found, upto = await loop.run_in_executor(self._past, partial(past_events, self._events, endpoint, one))
                await self._do(partial(queue.resent, one, found, upto, self._clock()))
                self._wake([one.credential])

    async def tidy(self) -> None:
        """Gives up what is too old, and forgets marks of files that are gone."""
        if self._queue is None:
            return
        for credential, events in (await self._do(partial(self._queue.tidy, self._clock()))).items():
            self._counts[credential, "given-up"] += events
            log.error("a webhook was not told: given up after three days", credential=credential, events=events)
        there = {stem(path) for path in self._events.glob("*.jsonl")}
        gone = [name for name in self._marks if name and name not in there]
        await self._do(partial(self._queue.forget_marks, gone))
        for name in gone:
            del self._marks[name]

    # -- from the queue to an endpoint

    async def _tell(self, name: str) -> None:
        """One endpoint, one post after the other. It ends where the endpoint does."""
        assert self._queue is not None
        queue, news = self._queue, self._news[name]
        while (endpoint := self._endpoints.get(name)) is not None:
            news.clear()
            try:
                found = await self._do(partial(queue.due, name, self._clock(), _identifier()))
                if isinstance(found, Post):
                    tried = await self._try(endpoint, found.id, body(found.events, self._node, found.made))
                    again = self._clock() + wait(found.tries + 1, self._chance())
                    await self._do(partial(queue.settle, found, tried, again))
                    continue
            except Exception as error:  # it is told again, under the same id
                log.error("a webhook stands still; trying again", credential=name, error=repr(error))
                await asyncio.sleep(AGAIN)
                continue
            seconds = None if found is None else max(0.0, (found - self._clock()) / 1000)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), seconds)

    async def _try(self, endpoint: Endpoint, identifier: str, content: bytes) -> Try:
        at = self._clock()
        ok, status, answer = True, 0, ""
        try:
            if endpoint.trouble:
                raise WebhookError(endpoint.trouble)
            fields = signed(identifier, content, endpoint.secrets, at)
            status = await post(endpoint.url, content, fields, allow_private=endpoint.allow_private)
        except WebhookError as error:
            ok, status, answer = False, error.status, str(error)
            log.info("a webhook failed", credential=endpoint.credential, post=identifier, error=answer)
        self._counts[endpoint.credential, "taken" if ok else "failed"] += 1
        return Try(at, ok, status, answer or f"{status}", self._clock() - at)

    # -- commands

    async def answer(self, question: Json) -> Json:
        """{"do": "webhooks", "what": list | log | test | resend | rotate, ...}; see relay/cli/webhooks.py.

        {"what": "person", "recipient", "key", "forget", "cursor"} -> {"items", "changed", "cursor"}: a page of what waits to be
        told of somebody; to `forget` him, how much of it there was, that tells nothing of him any more."""
        match question.get("what"):
            case "list":
                return {"rows": [await self._row(one) for one in self._endpoints.values()], "counts": self._counted()}
            case "person":
                return await self._do(partial(self._of_person, question))
        endpoint = self._endpoints.get(str(question.get("credential")))
        if endpoint is None:
            known = ", ".join(sorted(self._endpoints)) or "none"
            why = f"{question.get('credential')} has no webhook in credentials.toml; those with one: {known}"
            return {"error": why}
        if self._queue is None:
            return {"error": "webhooks are just being opened; try again"}
        match question.get("what"):
            case "log":
                before = question.get("before")
                return {"rows": await self._do(partial(self._queue.log, endpoint.credential, ROWS, before))}
            case "test":
                return await self._test(endpoint, str(question.get("type") or "delivered"))
            case "resend":
                since, until = int(question["since"]), int(question["until"])
                await self._do(partial(self._queue.ask_again, endpoint.credential, since, until))
                return {"credential": endpoint.credential, "since": since, "until": until}
            case "rotate":
                return await self._rotate(endpoint, int(question["overlap"]))
        return {"error": f"nobody here knows how to {question.get('what')}"}

    def _of_person(self, question: Json) -> Json:
        if self._queue is None:
            return {"items": [], "changed": 0, "cursor": None}
        gone = Forgotten(str(question["recipient"]), bytes.fromhex(str(question["key"])))
        page = self._queue.page(int(question.get("cursor") or 0), PERSON_PAGE)
        found = [(sequence, credential, line, gone.of_line(line)) for sequence, credential, line in page]
        his = [(sequence, credential, line, other) for sequence, credential, line, other in found if other is not None]
        cursor = page[-1][0] if len(page) == PERSON_PAGE else None
        if len(his) > PERSON_FOUND:
            his = his[:PERSON_FOUND]
            cursor = his[-1][0]
        if question.get("forget"):
            self._queue.change((sequence, orjson.dumps(other)) for sequence, _, _, other in his)
        items = [{"credential": credential, "event": orjson.loads(line)} for _, credential, line, _ in his]
        return {"items": [] if question.get("forget") else items, "changed": len(his), "cursor": cursor}

    async def _rotate(self, endpoint: Endpoint, overlap: int) -> Json:
        """A new secret; also of other endpoints that share its file."""
        path = Path(endpoint.secret_path)
        try:
            new, until = await asyncio.to_thread(rotate_hook_secret, path, self._clock(), overlap)
        except ConfigErrors as error:
            return {"error": error.problems[0].message}
        self.apply(self._in_force)
        return {"credential": endpoint.credential, "secret": new, "until": until, "secret_file": endpoint.secret_path}

    async def _row(self, endpoint: Endpoint) -> Json:
        about: dict[str, Any] = {
            "credential": endpoint.credential,
            "url": endpoint.url,
            "events": sorted(endpoint.events),
            "brands": sorted(endpoint.brands),
            "secret_file": endpoint.secret_path,
            "secrets": [{"until": one.until or None} for one in endpoint.secrets],
            "trouble": endpoint.trouble,
        }
        if self._queue is None:
            return {**about, "waiting": 0, "oldest": None, "failing": None, "beyond": None, "last": None, "dead": False}
        shown = await self._do(partial(self._queue.shown, endpoint))
        failing = shown["failing"]
        return {
            **about,
            **shown,
            "dead": failing is not None and shown["waiting"] > 0 and self._clock() - failing >= DEAD,
        }

    def _counted(self) -> list[Json]:
        return [{"credential": of, "result": what, "value": n} for (of, what), n in sorted(self._counts.items())]

    async def _test(self, endpoint: Endpoint, kind: str) -> Json:
        assert self._queue is not None
        identifier, now = _identifier(), self._clock()
        event = example(kind, endpoint, self._node, f"{identifier}-0", now)
        content = body([event], self._node, now, "test")
        tried = await self._try(endpoint, identifier, content)
        await self._do(partial(self._queue.note, endpoint.credential, tried, identifier))
        sent = content.decode()
        return {
            "id": identifier,
            "ok": tried.ok,
            "status": tried.status,
            "answer": tried.answer,
            "ms": tried.ms,
            "sent": sent,
        }


async def _again_and_again(work: Callable[[], Awaitable[None]], pause: float) -> None:
    while True:
        try:
            await work()
        except Exception as error:  # a full disk, say: the log keeps what there is to tell
            log.error("webhooks stand still; trying again", error=repr(error))
            await asyncio.sleep(AGAIN)
        await asyncio.sleep(pause)


def _identifier() -> str:
    return f"msg_{secrets.token_hex(12)}"


def _endpoints(in_force: InForce) -> Iterable[Endpoint]:
    deployment, policies = in_force.deployment, in_force.policies
    for name, credential in policies.credentials.items():
        hook = credential.webhook
        if hook is not None:
            known: tuple[HookSecret, ...] = ()
            trouble = ""
            try:
                known = load_hook_secret(deployment, credential)
            except ConfigErrors as error:  # its posts fail with these words, and its events wait
                trouble = error.problems[0].message
            yield Endpoint(
                name, hook.url, known, hook.events, frozenset(speaks_for(credential, policies.brands)),
                hook.allow_private, str(hook_secret_path(deployment, credential)), trouble,
            )  # fmt: skip
