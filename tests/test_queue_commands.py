"""An operator's hand on a shard: which mail a selector means, what is done to it, what is left alone."""

from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path
from typing import Any

import orjson
import pytest

from relay.event import Recorder
from relay.ids import Ids
from relay.message import Change, Delivery, MailClass
from relay.policy.streams import Stream
from relay.policy.windows import Window
from relay.queue_commands import PAGE, QueueCommands, SelectorError, selector
from relay.schedule.dispatcher import Dispatcher
from relay.spool.store import Selector, Spool
from relay.wildcard import any_of
from tests.support.letters import letter

NOW = 1_763_800_000_000
POOLS = {
    MailClass.TRANSACTIONAL: "fast",
    MailClass.SERVICE: "Bulk-1",
    MailClass.MARKETING: "bulk-2",
}
SHUT = Window("never-now", UTC, (((0, 1),),) * 7)
STREAMS = {"s-marketing": Stream("s-marketing", "", window=SHUT)}
MARKETING, SERVICE, TRANSACTIONAL = MailClass.MARKETING, MailClass.SERVICE, MailClass.TRANSACTIONAL


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ({}, Selector()),
        ({"id": "01*"}, Selector(id="01*")),
        ({"domain": "Bücher.example"}, Selector(domain=any_of("xn--bcher-kva.example"))),
        ({"site": ["google", "*.X"]}, Selector(site=any_of(["google", "*.x"]))),
        ({"held": True, "older_than": 5}, Selector(held=True, older_than=5)),
        ({"class": "Marketing"}, Selector(classes=frozenset({MARKETING}))),
        ({"class": "*"}, Selector()),
        ({"pool": "bulk-*"}, Selector(classes=frozenset({SERVICE, MARKETING}))),
        ({"pool": ["fast", "BULK-1"]}, Selector(classes=frozenset({TRANSACTIONAL, SERVICE}))),
        ({"pool": "bulk-*", "class": "*e"}, Selector(classes=frozenset({SERVICE}))),
        ({"pool": "fast", "class": "marketing"}, Selector(classes=frozenset())),
    ],
)
def test_what_is_meant(wanted: dict[str, Any], meant: Selector) -> None:
    assert selector(wanted, POOLS) == meant


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"pool": "cold"}, 'no mail goes to pool "cold"; there are Bulk-1, bulk-2, fast'),
        ({"pool": ["cold", "x*"]}, 'no mail goes to pool "cold, x\\*"; there'),
        ({"class": "bulk"}, 'no class is "bulk"; there are marketing, service, transactional'),
        ({"stream": "x" * 400}, "none longer than 320"),
    ],
)
def test_what_can_be_nothing(wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(SelectorError, match=said):
        selector(wanted, POOLS)


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    spool = Spool(tmp_path / "0.db", clock=lambda: NOW, on_fatal=lambda error: pytest.fail(repr(error)))
    await spool.open()
    yield spool
    await spool.close()


async def never(_: Delivery) -> int | None:
    raise AssertionError("nothing is sent in these tests")


@pytest.fixture
def commands(spool: Spool) -> QueueCommands:
    ids = Ids("test", 0, lambda: NOW)
    recorder = Recorder("test", lambda: NOW, ids.next)
    dispatcher = Dispatcher(spool, never, lambda: NOW)
    return QueueCommands(spool, dispatcher, recorder, lambda: NOW, lambda c: POOLS[c], STREAMS.get)


async def ask(commands: QueueCommands, do: str, **question: Any) -> list[dict[str, Any]]:
    """All pages of the answer."""
    pages: list[dict[str, Any]] = []
    after = None
    while not pages or after is not None:
        answer = await getattr(commands, do)({**question, "after": after})
        assert "error" not in answer, answer
        after = answer["after"]
        pages.append(answer)
        assert len(pages) < 100
    return pages


async def put(spool: Spool) -> None:
    """One letter a class, with two recipients each."""
    letters = [letter(number, 2, mail_class=one, stream=f"s-{one.label}") for number, one in enumerate(MailClass)]
    await spool.put(Change(put=letters))


async def test_a_pool_means_the_mail_that_goes_to_it_now(spool: Spool, commands: QueueCommands) -> None:
    await put(spool)

    async def streams(**wanted: Any) -> set[str]:
        return {item["stream"] for page in await ask(commands, "page", selector=wanted) for item in page["items"]}

    assert await streams(pool="bulk-*") == {"s-service", "s-marketing"}
    assert await streams(pool="bulk-*", stream=["s-m*", "s-t*"]) == {"s-marketing"}
    assert await streams(pool="fast", stream="s-marketing") == set()
    commands.pool_of = lambda _: "fast"
    assert await streams(pool="fast") == {"s-transactional", "s-service", "s-marketing"}
    assert "error" in await commands.page({"selector": {"pool": "bulk-2"}})
    assert "error" in await commands.change({"selector": {"pool": "bulk-2"}, "action": "cancel"})


async def test_commands_act_on_what_fits_alone(spool: Spool, commands: QueueCommands) -> None:
    await put(spool)
    question = {"selector": {"recipient": "dana1@*", "pool": "bulk-*"}, "reason": "look"}
    (held,) = await ask(commands, "change", action="hold", **question)
    assert held == {"changed": 2, "in_flight": 0, "after": None}
    assert [d.key for d in (await spool.page(Selector(held=True), None, 10)).deliveries] == [(2, 1), (3, 1)]
    (cancelled,) = await ask(commands, "change", action="cancel", selector={"class": "market*"}, reason="")
    assert cancelled["changed"] == 2
    left = (await spool.page(Selector(), None, 10)).deliveries
    assert [d.message.mail_class for d in left] == [TRANSACTIONAL] * 2 + [SERVICE] * 2
    found = await spool.outbox(100_000)
    assert found is not None
    events = [orjson.loads(line) for line in found[1].splitlines()]
    assert [event["type"] for event in events] == ["postponed"] * 2 + ["withheld"] * 2


async def test_a_command_goes_through_the_whole_queue_in_pages(
    spool: Spool, commands: QueueCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.spool.store.LOOKS", 1)
    monkeypatch.setattr("relay.spool.queries.SCAN", PAGE)
    await spool.put(Change(put=[letter(number, 700) for number in range(3)]))
    pages = await ask(commands, "change", action="hold", selector={"recipient": "dana69*"}, reason="")
    assert sum(page["changed"] for page in pages) == 3 * 11
    assert len(pages) == 3 * 700 // PAGE + 1, "one for each look, whether anything fits or not"


async def test_what_our_own_rules_keep_waiting_says_so(spool: Spool, commands: QueueCommands) -> None:
    letters = [
        letter(0, mail_class=MARKETING, stream="s-marketing"),
        letter(1, mail_class=TRANSACTIONAL, stream="s-marketing"),
        letter(2, mail_class=TRANSACTIONAL, stream="s-marketing", quota=True, paced=True),
        letter(3, stream="gone", send_at=NOW + 1),
        letter(4, stream="gone", send_at=NOW + 1, held=True),
        letter(5, stream="gone", send_at=NOW + 1, valid_until=NOW),
    ]
    for message, _ in letters[:5]:
        message.valid_until = None
    await spool.put(Change(put=letters))
    (page,) = await ask(commands, "page", selector={})
    assert [item["waits_for"] for item in page["items"]] == [
        "send-window: window never-now is closed", None, "quota, rate", "send-at: as X-Postlane-Send-At asks", None, None,
    ]  # fmt: skip
