"""An operator's hand on a shard: which mail a selector means, what is done to it, what is left alone."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

import orjson
import pytest

from relay.egress.pools import Pool, Source
from relay.event import iso
from relay.message import HELD, RUNAWAY, Change, Delivery, MailClass
from relay.outcome import Outcome, Reply
from relay.pause import Pause
from relay.policy.patterns import parse
from relay.policy.routes import AnyOf as Streams
from relay.policy.routes import Route, RouteMatch, Routes
from relay.policy.streams import Stream
from relay.policy.suspension import Suspension, given
from relay.policy.windows import Window
from relay.queue_commands import PAGE, QueueCommands, SelectorError, selector
from relay.schedule.dispatcher import Dispatcher
from relay.spool.store import Selector, Spool
from relay.wildcard import any_of
from tests.support.house import Rig, waiting_delivery
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
        ({"suspended": 7}, Selector(suspended=7)),
        ({"class": "Marketing"}, Selector(classes=frozenset({MARKETING}))),
        ({"class": "*"}, Selector()),
        ({"class": ["*e", "x"]}, Selector(classes=frozenset({SERVICE}))),
    ],
)
def test_what_is_meant(wanted: dict[str, Any], meant: Selector) -> None:
    assert selector(wanted) == meant


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"class": "bulk"}, 'no class is "bulk"; there are marketing, service, transactional'),
        ({"stream": "x" * 400}, "none longer than 320"),
    ],
)
def test_what_can_be_nothing(wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(SelectorError, match=said):
        selector(wanted)


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
    rig = Rig(Outcome(Reply(250, "2.0.0", "OK"), "END"))
    rig.now = NOW
    house = rig.attempting()
    house.spool, house.streams = spool, STREAMS
    house.pools = {c: Pool(name, (Source("", ""),)) for c, name in POOLS.items()}
    house.named = {name: Pool(name, (Source("", ""),)) for name in ("fast", "Bulk-1", "bulk-2", "spare")}
    return QueueCommands(spool, Dispatcher(spool, never, lambda: 0), house)  # by its clock nothing is due


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
    assert await streams(pool="spare") == set()
    here = RouteMatch(streams=Streams([parse("s-service")]))
    commands.house.routes = Routes([(here, Route("routes.toml:1", pool="spare"))])
    assert await streams(pool="spare") == {"s-service"}
    assert await streams(pool="bulk-*") == {"s-marketing"}
    said = await commands.page({"selector": {"pool": ["cold", "x*"]}})
    assert said == {"error": 'no mail goes to pool "cold, x*"; there are Bulk-1, bulk-2, fast, spare'}
    assert "error" in await commands.change({"selector": {"pool": "cold"}, "action": "cancel"})
    assert "error" in await commands.count({"selector": {"class": "cold"}})
    assert await commands.count({"selector": {}}) == {
        "count": 6,
        "by_class": {"transactional": 2, "service": 2, "marketing": 2},
        "after": None,
    }


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


async def test_what_is_held_or_cancelled_gives_its_place_up(spool: Spool, commands: QueueCommands) -> None:
    letters = [letter(number, 1, mail_class=MARKETING, stream=f"s{number}") for number in range(3)]
    for _, (delivery,) in letters[1:]:
        delivery.counted = True
    await spool.put(Change(put=letters))
    for action, stream in (("hold", "s0"), ("hold", "s1"), ("cancel", "s2")):
        await commands.change({"selector": {"stream": stream}, "action": action, "reason": ""})
    held = (await spool.page(Selector(held=True), None, 10)).deliveries
    assert [one.counted for one in held] == [False, False]
    found = await spool.effects(9)
    assert found is not None
    told = [orjson.loads(line) for line in found[1].splitlines()]
    assert [line[0] for line in told] == [message.id for message, _ in letters[1:]]
    assert all(line[5:7] == [0, True] for line in told), "it did not arrive, and held a place"


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


async def left(spool: Spool) -> list[Delivery]:
    return (await spool.page(Selector(), None, 5000)).deliveries


async def told(spool: Spool) -> list[dict[str, Any]]:
    found = await spool.outbox(10_000_000)
    return [orjson.loads(line) for line in found[1].splitlines()] if found else []


def stopped(number: int, **what: Any) -> Suspension:
    return Suspension(number, given(what), NOW, reason="look")


async def test_a_suspension_holds_its_own_and_its_end_frees_no_others(spool: Spool, commands: QueueCommands) -> None:
    put = [letter(n, 3, mail_class=MARKETING, stream=f"news{n % 2}") for n in range(4)] + [letter(9, stream="news1")]
    await spool.put(Change(put=put))
    await commands.change({"selector": {"recipient": "dana0@*", "stream": "news1"}, "action": "hold"})
    news, google = stopped(100, stream="news1"), stopped(200, site="google", **{"class": "*"})
    commands.house.suspensions.put([news])
    assert await commands.suspend(news, lambda: True) == 4
    assert {(d.message.stream, d.index, d.held) for d in await left(spool) if d.held} == {
        ("news1", 0, HELD), ("news1", 1, 100), ("news1", 2, 100),
    }  # fmt: skip
    assert [(e["reason"], e["detail"]) for e in await told(spool)][-1] == ("held", "suspended: stream news1 (look)")
    commands.house.suspensions.put([news, google])
    assert await commands.suspend(google, lambda: True) == 6, "what is held already stays with its own"
    assert await commands.change({"selector": {}, "action": "release"}) == {"changed": 3, "in_flight": 0, "after": None}
    commands.house.suspensions.put([google])
    assert await commands.resume(100, 4, commands.house.suspensions) == 0, "the other holds them now"
    assert await spool.holding() == {200: 10}
    commands.house.suspensions.put([])
    assert await commands.resume(200, 10, commands.house.suspensions) == 10
    assert {d.held for d in await left(spool)} == {0}


async def test_a_suspension_of_old_mail_holds_what_is_old_by_now(spool: Spool, commands: QueueCommands) -> None:
    await spool.put(Change(put=[letter(1, 2, mail_class=MARKETING)]))
    age = (NOW - (await left(spool))[0].message.accepted_at) // 1000
    assert await commands.suspend(stopped(100, **{"older-than": f"{age}s"}), lambda: True) == 0
    assert await commands.suspend(stopped(101, **{"older-than": f"{age - 1}s"}), lambda: True) == 2


async def test_what_is_set_free_together_comes_back_spread(spool: Spool, commands: QueueCommands) -> None:
    await spool.put(Change(put=[letter(0, 1000, mail_class=MARKETING, held=100)]))
    assert await commands.resume(100, 1000, commands.house.suspensions) == 1000
    times = sorted(d.next_attempt - NOW for d in await left(spool))
    assert times[0] >= 0
    assert 15_000 < times[-1] <= 20_000
    assert times[500] == pytest.approx(10_000, abs=2_000)
    await spool.put(Change(put=[letter(1, held=100)]))
    await commands.resume(100, 1, commands.house.suspensions)
    assert (await left(spool))[-1].next_attempt == NOW, "one goes at once"
    await spool.put(Change(put=[letter(2, 500, held=HELD)]))
    await commands.change({"selector": {"held": True}, "action": "release", "total": 1_000_000})
    assert max(d.next_attempt for d in await left(spool)) > NOW + 500_000, "with those of other pages"


async def test_a_sweep_ends_with_its_suspension(spool: Spool, commands: QueueCommands) -> None:
    await put(spool)
    assert await commands.suspend(stopped(100), lambda: False) == 0
    assert await commands.suspend(stopped(100, **{"class": "transactional"}), lambda: True) == 2
    assert await commands.suspend(stopped(100, **{"class": "none"}), lambda: True) == 0


async def test_what_was_sent_to_somebody_is_forgotten(spool: Spool, commands: QueueCommands) -> None:
    about, (delivery,) = letter(1)
    await spool.put(Change(put=[(about, [delivery])]))
    await spool.settle(Change(finished=[delivery], sent=[(delivery, "192.0.2.1", "google")]))
    assert await spool.sent(about.id, 0) is not None
    assert await commands.answer({"do": "queue.unsend", "sent": [[about.id, 0]]}) == {"after": None}
    assert await spool.sent(about.id, 0) is None


async def test_what_was_sent_to_somebody_is_found_in_pages(
    spool: Spool, commands: QueueCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.queue_commands.SENT_PAGE", 3)
    delivery = waiting_delivery()
    people = ("Da.na@GMAIL.com", "dana@gmail.com.example", "noa@gmail.com", "d.ana+x@googlemail.com", "lea@b.example")
    for index, address in enumerate(people):
        sent = replace(delivery, index=index, recipient=address, domain=address.rpartition("@")[2].lower(), arrived=NOW)
        await spool.settle(Change(sent=[(sent, "192.0.2.1", "google")]))
    await spool.settle(Change(heard=[(delivery.message.id, 3, 1)]))
    pages, after = list[dict[str, Any]](), None
    while not pages or after is not None:
        pages.append(await commands.answer({"do": "queue.sent", "recipient": "dana@gmail.com", "after": after}))
        after = pages[-1]["after"]
    first, last = (item for page in pages for item in page["items"])
    assert len(pages) == 2
    assert (first["recipient"], first["rcpt"], first["came_back"]) == ("Da.na@GMAIL.com", 0, False)
    assert (last["recipient"], last["rcpt"], last["came_back"]) == ("d.ana+x@googlemail.com", 3, True)
    assert (first["id"], first["site"], first["delivered"]) == (delivery.message.id, "google", iso(NOW))
    assert (await commands.answer({"do": "queue.sent", "recipient": "tal@b.example"}))["items"] == []


async def test_of_an_address_that_gets_all_mail_no_more_is_told_at_once_than_fits(
    spool: Spool, commands: QueueCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.queue_commands.SENT_FOUND", 2)
    delivery = waiting_delivery()
    for index in range(5):
        sent = replace(delivery, index=index, recipient="audit@shop.example", domain="shop.example", arrived=NOW)
        await spool.settle(Change(sent=[(sent, "192.0.2.1", "google")]))
    numbers, after = list[list[int]](), None
    while not numbers or after is not None:
        answer = await commands.answer({"do": "queue.sent", "recipient": "audit@shop.example", "after": after})
        numbers.append([item["rcpt"] for item in answer["items"]])
        after = answer["after"]
    assert numbers == [[0, 1], [2, 3], [4]]


async def test_mail_is_moved_to_another_pool(spool: Spool, commands: QueueCommands) -> None:
    await put(spool)
    question = {"action": "move", "to": "spare", "selector": {}}
    answer = await commands.change(question)
    assert (answer["changed"], answer["left"]) == (4, {"transactional": 2}), "transactional mail only where it is named"
    assert {d.message.mail_class: d.pool for d in await left(spool)} == {
        TRANSACTIONAL: "", SERVICE: "spare", MARKETING: "spare",
    }  # fmt: skip
    (page,) = await ask(commands, "page", selector={"pool": "spare"})
    assert [item["class"] for item in page["items"]] == ["service"] * 2 + ["marketing"] * 2
    assert (await commands.change({**question, "selector": {"class": "transactional"}}))["changed"] == 2
    answer = await commands.change(question)
    assert (answer["changed"], "left" in answer) == (0, False), "they are there"
    assert (await commands.change({**question, "to": "fast"}))["changed"] == 0, "that is for transactional mail alone"
    said = await commands.change({**question, "to": "nowhere"})
    assert said == {"error": 'there is no pool "nowhere"; there are Bulk-1, bulk-2, fast, spare'}


async def test_each_says_why_it_is_not_delivered_yet(spool: Spool, commands: QueueCommands) -> None:
    put = [
        letter(0, held=HELD),
        letter(1, held=100, stream="news"),
        letter(2, stream="news", mail_class=MARKETING),
        letter(3),
        letter(4, attempts=2, next_attempt=NOW + 5, last_reply="451 later"),
        letter(5, attempts=1, next_attempt=NOW + 5),
        letter(6, next_attempt=NOW + 5),
        letter(7, held=99),
    ]
    for message, _ in put:
        message.valid_until = message.send_at = None
    await spool.put(Change(put=put))
    commands.house.suspensions.put([stopped(100, stream="news")])
    (page,) = await ask(commands, "page", selector={})
    suspended = "suspended: stream news (look); postlane resume --stream news"
    assert [item["why"] for item in page["items"]] == [
        "held by hand; postlane queue release 01kaj2m8q4x70000",
        suspended,
        suspended,
        "it is due, and goes when those before it have gone",
        "tried 2 times, then put off: 451 later",
        "tried once, then put off: no reply",
        "its time has not come; its events say what put it off",
        "held by a suspension that is over; it is being let go",
    ]
    assert [item["suspension"] is not None for item in page["items"]] == [False, True, True] + [False] * 5


async def test_what_waits_for_its_site_says_so(
    spool: Spool, commands: QueueCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spool.put(Change(put=[letter(0, valid_until=None, send_at=None)]))
    for until, said in ((NOW + 1, "google: 20/s, again 2025-11-22T08:26:40.001Z"), (NOW, "google: 20/s")):
        pause = Pause(until, "google: 20/s", "google")
        monkeypatch.setattr(Dispatcher, "pause_of", lambda _, __, pause=pause: pause)
        (page,) = await ask(commands, "page", selector={})
        assert page["items"][0]["why"] == f"its site has no room: {said}"


async def test_what_a_runaway_left_is_released_by_hand_like_all_that_is_held(
    spool: Spool, commands: QueueCommands
) -> None:
    await spool.put(Change(put=[letter(1, held=RUNAWAY, next_attempt=NOW + 5000), letter(2, held=7)]))
    (page,) = await ask(commands, "page", selector={"held": True, "id": letter(1)[0].id})
    (item,) = page["items"]
    assert item["why"] == f"held, as one too many of its kind to this recipient; postlane queue release {item['id']}"
    assert (item["held"], item["suspension"], item["waits_for"]) == (True, None, None)
    counts = await spool.counts()
    assert (counts["held"], counts["guarded"], counts["suspended"]) == (2, 1, {7: 1})
    assert await spool.holding() == {7: 1}, "no suspension has its number"
    (done,) = await ask(commands, "change", action="release", selector={})
    assert done["changed"] == 1
    assert [(delivery.held, delivery.next_attempt == NOW) for delivery in await left(spool)] == [(0, True), (7, False)]


async def test_what_a_runaway_left_goes_by_itself_as_far_as_there_is_room(
    spool: Spool, commands: QueueCommands
) -> None:
    rows = [letter(n, held=RUNAWAY, next_attempt=NOW - 5 + n, valid_until=None) for n in range(8)] + [
        letter(9, held=HELD)
    ]
    rows[4][0].valid_until, rows[5][0].valid_until = NOW, NOW + 30_000
    await spool.put(Change(put=rows))
    asked: list[str] = []

    async def wait_of(delivery: Delivery) -> int:
        asked.append(delivery.message.id)
        return 0 if len(asked) <= 2 else 60_000

    assert await commands.let_go(wait_of) == 3
    assert asked == [rows[n][0].id for n in (0, 1, 2, 3, 5)], "nor what is not due, nor what is worth nothing any more"
    after = await left(spool)
    assert [delivery.held for delivery in after] == [0, 0, RUNAWAY, RUNAWAY, 0, *[RUNAWAY] * 3, HELD]
    assert [delivery.next_attempt - NOW for delivery in after if delivery.held == RUNAWAY] == [
        60_000,
        60_000,
        30_000,
        1,
        2,
    ]
    assert await commands.let_go(wait_of) == 0


async def test_one_recipient_of_a_message_is_looked_at_now(spool: Spool, commands: QueueCommands) -> None:
    await spool.put(Change(put=[letter(1, 2, next_attempt=NOW + 90_000), letter(2, next_attempt=NOW + 90_000)]))
    first = (await left(spool))[0]
    await commands.look_at(first.message.id, first.recipient.upper())
    await commands.look_at("0" * 16, first.recipient)
    assert [delivery.next_attempt - NOW for delivery in await left(spool)] == [0, 90_000, 90_000]
