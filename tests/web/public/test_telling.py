"""What the journal holds reaches the desk, then apps; again and again, apps within bounds."""

import asyncio
from pathlib import Path

import orjson
import pytest

from relay.control import Json, NodeDown
from relay.web.public import standing, telling
from relay.web.public.journal import Journal
from relay.web.public.telling import AGAIN, CALL_AGAIN, Telling, entry
from relay.webhook import WebhookError
from tests.support.public import NOW, TICKET


class World:
    """A desk that gives these answers, then agrees; the pauses that were made."""

    def __init__(self, folder: Path, *answers: Json | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[Json] = []
        self.pauses: list[float] = []
        self.journal, self.calls = Journal(folder), Journal(folder / "calls", 2)
        self.telling = Telling(self.journal, self.calls, self.ask, sleep=self.pause)

    async def ask(self, question: Json) -> Json:
        self.asked.append(question)
        answer = self.answers.pop(0) if self.answers else {"changed": 1}
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def __aenter__(self) -> "World":
        self.journal.open()
        self.calls.open()
        self._running = asyncio.create_task(self.telling.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def told(self, *entries: Json) -> None:
        for done in await asyncio.gather(*(self.journal.append(one) for one in entries)):
            await done


class Posted:
    """What apps were sent; `answers` are raised, one after the other."""

    def __init__(self) -> None:
        self.answers: list[Exception] = []
        self.urls: list[tuple[str, bytes, str]] = []

    async def post(self, url: str, content: bytes, fields: object, *, kind: str, allow_private: bool) -> int:
        self.urls.append((url, content, kind))
        if self.answers:
            raise self.answers.pop(0)
        return 200


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch) -> Posted:
    made = Posted()
    monkeypatch.setattr(telling, "post", made.post)
    return made


LEAVE = standing.leaves(TICKET, "one-click", NOW)


@pytest.mark.parametrize(
    "trouble",
    [
        NodeDown("no answer"),
        {"error": "State cannot be reached: no", "again": True},
        {"error": "no worker is running"},
        {"error": "the worker is still opening its spool"},
    ],
)
async def test_it_goes_on_until_the_desk_takes_it(tmp_path: Path, trouble: Json | Exception) -> None:
    async with World(tmp_path, *[trouble] * 6) as world:
        await world.told(entry(NOW, LEAVE))
        assert len(world.asked) == 7
        assert world.pauses == [*AGAIN, AGAIN[-1], AGAIN[-1]]
    assert repr(world.telling) == f"<Telling {world.journal!r} {world.calls!r}>"


async def test_what_the_desk_refuses_keeps_nothing_else_back(tmp_path: Path) -> None:
    async with World(tmp_path, {"error": '"x" is no address'}) as world:
        await world.told(entry(NOW, LEAVE), entry(NOW, standing.returns(TICKET)))
        assert [one["what"] for one in world.asked] == ["block", "unblock"]
    aside = orjson.loads((tmp_path / "refused.jsonl").read_bytes())
    assert aside == {"error": '"x" is no address', "ask": LEAVE[0]}, "kept for a person to look at"


async def test_many_that_leave_are_one_question_in_their_order_with_all_else(tmp_path: Path) -> None:
    asked = [entry(NOW, standing.leaves(TICKET, way, NOW)) for way in ("one-click", "one-click", "page")]
    asked.append(entry(NOW, standing.returns(TICKET)))
    asked += [entry(NOW, LEAVE)] * 2
    world = World(tmp_path)
    await world.telling.tell(asked)
    assert [(one["what"], len(one.get("entries", ()))) for one in world.asked] == [
        ("block", 2),
        ("block", 1),
        ("unblock", 0),
        ("block", 2),
    ]
    assert len(LEAVE[0]["entries"]) == 1, "what was asked is not changed by it"
    world.asked.clear()
    await world.telling.tell([entry(NOW, LEAVE)] * 450)
    assert [len(one["entries"]) for one in world.asked] == [200, 200, 50], "no more than the desk takes"


async def test_an_app_is_told_after_the_desk_as_a_mailbox_provider_would(tmp_path: Path, posted: Posted) -> None:
    async with World(tmp_path) as world:
        await world.told(entry(NOW, LEAVE, "https://crm.example/u?id=7"))
        async with asyncio.timeout(10):
            while world.calls.waiting:  # noqa: ASYNC110 nobody tells
                await asyncio.sleep(0.005)
    assert posted.urls == [
        ("https://crm.example/u?id=7", b"List-Unsubscribe=One-Click", "application/x-www-form-urlencoded")
    ]


async def test_an_app_that_is_down_is_tried_again_and_then_given_up(tmp_path: Path, posted: Posted) -> None:
    world = World(tmp_path)
    posted.answers = [WebhookError("crm.example answered 500"), WebhookError("no answer in 10 s")]
    await world.telling.call([{"at": NOW, "url": "https://crm.example/u"}])
    assert (len(posted.urls), world.pauses) == (3, [*CALL_AGAIN[:2]])
    posted.answers = [WebhookError("crm.example is 10.0.0.1: private")] * 100
    posted.urls.clear()
    await world.telling.call([{"at": NOW, "url": "https://crm.example/u"}, {"at": NOW, "url": "https://[::/"}])
    assert len(posted.urls) == len(CALL_AGAIN) + 1, "what is no URL is not even tried"
