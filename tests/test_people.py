"""The desk: what is known of people changes, and whoever should hear of it does."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay.engaging import Engaging
from relay.event import Facts, iso
from relay.ids import Ids, maker_of
from relay.people import MAX_ENTRIES, People, Records
from relay.person import ADDRESS
from relay.policy.engagement import DAY, Tiers
from relay.recipient import Keys
from relay.return_path import MAX_AGE
from relay.returns import board, loaded
from relay.state.sqlite import SqliteState
from tests.support.clocks import Clock

HOUR = 3_600_000
BY = {"by": "noa", "via": "cli"}


class Desk:
    """`said`: the events it recorded."""

    def __init__(self, state: SqliteState) -> None:
        self.state = state
        self.said: list[tuple[str, Facts]] = []
        self.keys = Keys([b"s" * 32])
        self.engaging = Engaging(state, self.keys, Tiers(), state.now)
        self.people = People(
            state, self.keys, self.record, lambda _, domain: f"site of {domain}", ["a", "b"], self.engaging
        )

    async def record(self, records: Records) -> None:
        self.said += records

    async def ask(self, what: str, **more: Any) -> dict[str, Any]:
        return await self.people.answer({"do": "people", "what": what, **BY, **more})

    async def block(self, recipient: str, **more: Any) -> dict[str, Any]:
        return await self.ask("block", entries=[{"recipient": recipient, **more}])

    async def blocks(self, recipient: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.ask("show", recipient=recipient))["blocks"]
        return found

    async def facts(self, recipient: str) -> dict[str, str]:
        return (await self.state.told([self.keys.key(recipient)]))[0]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def desk(tmp_path: Path, clock: Clock) -> AsyncIterator[Desk]:
    state = SqliteState(tmp_path / "state.db", clock)
    await state.open()
    yield Desk(state)
    await state.close()


async def test_a_block_is_kept_told_and_shown(desk: Desk, clock: Clock) -> None:
    until = clock.now + HOUR
    answer = await desk.block("Dana@B.Example", stop="topic:offers", brand="a", until=until, note="asked by phone")
    assert answer == {"changed": 1, "same": 0}
    ((kind, event),) = desk.said
    assert kind == "suppressed"
    assert event["recipient"], event["domain"] == ("Dana@B.Example", "b.example")
    assert (event["stop"], event["brand"], event["reason"], event["source"]) == ("topic:offers", "a", "manual", "cli")
    assert (event["by"], event["note"], event["site"]) == ("noa", "asked by phone", "site of b.example")
    assert event["expires"].endswith("Z")
    (block,) = await desk.blocks("dana@b.example")
    assert (block["stop"], block["brand"], block["over"]) == ("topic:offers", "a", False)
    clock.now = until
    assert (await desk.blocks("dana@b.example"))[0]["over"] is True


async def test_what_is_so_already_is_not_told_again_and_what_lasts_longer_is(desk: Desk, clock: Clock) -> None:
    await desk.block("dana@b.example", until=clock.now + HOUR, note="x")
    for entry, changed in (
        ({"until": clock.now + HOUR}, 0),
        ({"until": clock.now + HOUR // 2}, 0),
        ({"until": clock.now + 2 * HOUR}, 1),
        ({}, 1),
        ({"until": clock.now + HOUR}, 0),
        ({"note": "y"}, 1),
        ({"stop": "marketing"}, 1),
        ({"reason": "complaint"}, 1),
    ):
        assert (await desk.block("dana@b.example", **entry))["changed"] == changed, entry
    assert len(desk.said) == 6
    assert len(await desk.blocks("dana@b.example")) == 3


async def test_one_that_was_over_begins_again(desk: Desk, clock: Clock) -> None:
    await desk.block("dana@b.example", until=clock.now + HOUR)
    clock.now += HOUR
    assert (await desk.block("dana@b.example", until=clock.now + HOUR))["changed"] == 1


async def test_an_unsubscribe_is_an_event_of_its_own(desk: Desk) -> None:
    for stop in ("marketing", "topic:offers", "stream:news"):
        entry = {"recipient": "dana@b.example", "stop": stop, "brand": "a", "reason": "unsubscribed", "stream": "news"}
        await desk.ask("block", entries=[entry | {"source": "one-click"}])
    assert [kind for kind, _ in desk.said] == ["unsubscribed"] * 3
    assert [event["topic"] for _, event in desk.said] == [None, "offers", None]
    assert {event["stream"] for _, event in desk.said} == {"news"}
    assert {(event["via"], event["brand"]) for _, event in desk.said} == {("one-click", "a")}


async def test_who_leaves_by_a_message_is_told_of_and_counted_by_it(desk: Desk, clock: Clock) -> None:
    message = Ids("node", 1, clock).next()
    mail = {
        "id": message,
        "rcpt": 3,
        "credential": "crm",
        "class": "marketing",
        "campaign": "may",
        "metadata": {"user": "8"},
    }
    left = {
        "recipient": "dana@b.example",
        "stop": "marketing",
        "brand": "a",
        "reason": "unsubscribed",
        "stream": "news",
    }
    for _ in range(2):
        await desk.ask("block", entries=[left | mail | {"source": "one-click"}], via="one-click")
    ((kind, event),) = desk.said
    assert kind == "unsubscribed"
    assert {name: event[name] for name in mail} == mail
    assert (event["recipient"], event["stream"], event["site"]) == ("dana@b.example", "news", "site of b.example")
    notes = await desk.state.pinned(board(maker_of(message)))
    (report,) = map(loaded, notes.values())
    assert (report.about, report.kind) == ((message, 3), "left")
    assert report.facts == {
        "stream": "news", "brand": "a", "credential": "crm", "campaign": "may", "site": "site of b.example",
    }  # fmt: skip


async def test_by_which_message_somebody_left_long_ago_counts_no_more(desk: Desk, clock: Clock) -> None:
    message = Ids("node", 1, clock).next()
    clock.now += MAX_AGE
    left = {"recipient": "dana@b.example", "stop": "marketing", "brand": "a", "reason": "unsubscribed"}
    for who, identifier in (("dana", message), ("noa", "no id of ours")):
        await desk.ask("block", entries=[left | {"recipient": f"{who}@b.example", "id": identifier, "rcpt": 0}])
    assert [event["id"] for _, event in desk.said] == [message, "no id of ours"]
    assert await desk.state.pinned(board(maker_of(message))) == {}


async def test_a_block_is_taken_off_by_what_it_is_and_nothing_is_kept_of_whom_nothing_is_known(desk: Desk) -> None:
    for stop, brand in (("all", ""), ("marketing", "a"), ("marketing", "b")):
        await desk.block("dana@b.example", stop=stop, brand=brand)
    desk.said.clear()
    answer = await desk.ask("unblock", recipient="dana@b.example", where={"brand": "a"}, reason="ticket 5512")
    assert [one["brand"] for one in answer["removed"]] == ["a"]
    ((kind, event),) = desk.said
    assert (kind, event["stop"], event["was"], event["by"]) == ("unsuppressed", "marketing", "manual", "noa")
    assert event["reason"] == "ticket 5512"
    assert ADDRESS in await desk.facts("dana@b.example")
    assert (await desk.ask("unblock", recipient="dana@b.example", where={"reason": "complaint"}))["removed"] == []
    assert "error" in await desk.ask("unblock", recipient="dana@b.example")
    assert len((await desk.ask("unblock", recipient="dana@b.example", where={}))["removed"]) == 2
    assert await desk.facts("dana@b.example") == {}


async def test_a_wish_is_told_with_what_was_before_and_is_gone_when_it_is_every_mail_again(desk: Desk) -> None:
    wish = {"recipient": "dana@b.example", "brand": "a", "via": "page"}
    await desk.ask("wish", **wish, topics_off=["tips", "offers"], at_most="1/week", paused_until=HOUR)
    await desk.ask("wish", **wish, topics_off=["tips", "offers"], at_most="1/week", paused_until=HOUR)
    ((kind, event),) = desk.said
    assert (kind, event["brand"], event["via"]) == ("preferences-changed", "a", "page")
    assert event["before"] == {"topics_off": [], "at_most": "each", "paused_until": None}
    assert event["after"]["topics_off"] == ["offers", "tips"]
    shown = await desk.ask("show", recipient="dana@b.example")
    assert shown["preferences"]["a"] == event["after"]
    await desk.ask("wish", **wish)
    assert "w:a" not in await desk.facts("dana@b.example")


async def test_changes_of_one_person_are_made_together_each_after_those_before_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = {"recipient": "dana@b.example", "via": "page"}
    left = {"brand": "a", "reason": "unsubscribed"}
    for stop in ("topic:tips", "marketing"):
        await desk.block("dana@b.example", stop=stop, **left)
    desk.said.clear()
    told: list[Any] = []
    tell = desk.state.tell

    async def once(key: bytes, facts: Any) -> None:
        told.append(facts)
        await tell(key, facts)

    monkeypatch.setattr(desk.state, "tell", once)
    changes = [
        {"what": "wish", "brand": "a", "topics_off": ["offers"]},
        {"what": "unblock", "where": {"stop": "topic:tips", **left}, "reason": "asked"},
        {"what": "unblock", "where": {"stop": "topic:offers", **left}},
        {"what": "block", "stop": "marketing", **left},
        {"what": "block", "stop": "marketing", "brand": "b", "reason": "unsubscribed"},
    ]
    assert await desk.ask("together", **who, changes=changes) == {"changed": 3}
    assert len(told) == 1
    assert [kind for kind, _ in desk.said] == ["preferences-changed", "unsuppressed", "unsubscribed"]
    assert (desk.said[1][1]["stop"], desk.said[1][1]["reason"]) == ("topic:tips", "asked")
    shown = await desk.ask("show", **who)
    assert shown["preferences"]["a"]["topics_off"] == ["offers"]
    assert {(one["stop"], one["brand"]) for one in shown["blocks"]} == {("marketing", "a"), ("marketing", "b")}
    assert await desk.ask("together", **who, changes=changes[:1]) == {"changed": 0}
    assert len(told) == 1, "it is so already"


async def test_of_changes_that_cannot_all_be_made_none_is(desk: Desk) -> None:
    changes = [
        {"what": "wish", "brand": "a", "topics_off": ["tips"]},
        {"what": "wish", "brand": "b", "at_most": "2/day"},
    ]
    for bad in (changes, [changes[0], {"what": "forget"}], [changes[0], {"what": "block", "stop": "it"}]):
        assert "error" in await desk.ask("together", recipient="dana@b.example", changes=bad)
    assert (desk.said, await desk.facts("dana@b.example")) == ([], {})


async def test_an_engagement_is_only_ever_later(desk: Desk) -> None:
    for day, changed in ((20_000, 1), (19_999, 0), (20_001, 1)):
        entries = [{"recipient": "dana@b.example", "brand": "a", "day": day}]
        assert (await desk.ask("engaged", entries=entries))["changed"] == changed
    shown = await desk.ask("show", recipient="dana@b.example")
    assert shown["engaged"] == {"a": {"last_engaged": "2024-10-05", "unanswered": 0, "tier": "cold"}}
    assert desk.said == []
    assert desk.engaging.table.fed == {"a": desk.state.now() // DAY}
    assert (await desk.ask("brands"))["brands"] == ["a", "b"]


async def test_that_somebody_never_engaged_is_told_once(desk: Desk, clock: Clock) -> None:
    told = [{"recipient": "dana@b.example", "brand": "a", "day": None}]
    assert (await desk.ask("engaged", entries=told * 2))["changed"] == 1
    first = (await desk.facts("dana@b.example"))["e:a"]
    assert first == f"[null,{clock.now // DAY}]"
    clock.now += 9 * DAY
    assert (await desk.ask("engaged", entries=told))["changed"] == 0
    assert (await desk.facts("dana@b.example"))["e:a"] == first, "since then his silence counts"
    day = clock.now // DAY - 3
    later = [{"recipient": "dana@b.example", "brand": "a", "day": one} for one in (day, day + 1, day)]
    assert (await desk.ask("engaged", entries=later))["changed"] == 1
    assert (await desk.facts("dana@b.example"))["e:a"] == f"[{day + 1}]"


async def test_what_is_no_engagement_is_refused_and_feeds_nothing(desk: Desk, clock: Clock) -> None:
    for brand, day in (("arva", 20_000), ("", 20_000), ("a", clock.now // DAY + 2), ("a", -1), ("a", "yesterday")):
        told = {"recipient": "dana@b.example", "brand": brand, "day": day}
        assert "error" in await desk.ask("engaged", entries=[told])
    assert desk.engaging.table.fed == {}
    assert await desk.facts("dana@b.example") == {}


async def test_who_comes_back_by_his_page_keeps_his_address(desk: Desk) -> None:
    await desk.block("dana@b.example", brand="a", stop="marketing", reason="unsubscribed")
    where = {"brand": "a", "stop": "marketing", "reason": "unsubscribed"}
    await desk.ask("unblock", recipient="dana@b.example", where=where, via="page")
    assert set(await desk.facts("dana@b.example")) == {ADDRESS, "e:a"}


@pytest.mark.parametrize(
    ("reason", "via", "days"), [("complaint", "feedback", 1), ("bad-mailbox", "feedback", 0), ("complaint", "cli", 0)]
)
async def test_who_complains_has_read_it(desk: Desk, clock: Clock, reason: str, via: str, days: int) -> None:
    entry = {"recipient": "dana@b.example", "brand": "a", "stop": "marketing", "reason": reason, "source": "feedback"}
    await desk.ask("block", entries=[entry], via=via)
    found = (await desk.ask("show", recipient="dana@b.example"))["engaged"]
    assert [one["last_engaged"] for one in found.values()] == [iso(clock.now)[:10]] * days


async def test_who_uses_a_link_of_his_own_has_engaged_and_feeds_nothing(desk: Desk, clock: Clock) -> None:
    async def last() -> object:
        found = (await desk.ask("show", recipient="dana@b.example"))["engaged"]
        return found.get("a", {}).get("last_engaged")

    await desk.block("dana@b.example", brand="a", stop="topic:tips", reason="unsubscribed", source="cli")
    await desk.ask("wish", recipient="dana@b.example", brand="a", at_most="1/day", via="api")
    assert await last() is None, "somebody else did that"
    await desk.block("dana@b.example", brand="a", stop="topic:news", reason="unsubscribed", source="one-click")
    assert await last() is None, "a list may say so of any year"
    left = {"recipient": "dana@b.example", "brand": "a", "stop": "topic:new", "reason": "unsubscribed"}
    await desk.ask("block", entries=[left | {"source": "one-click"}], via="one-click")
    assert await last() == iso(clock.now)[:10]
    clock.now += DAY
    await desk.ask("wish", recipient="dana@b.example", brand="a", at_most="1/week", via="page")
    assert await last() == iso(clock.now)[:10]
    clock.now += DAY
    where = {"brand": "a", "stop": "topic:new", "reason": "unsubscribed"}
    await desk.ask("unblock", recipient="dana@b.example", where=where, via="page")
    assert await last() == iso(clock.now)[:10], "who comes back is no reader of long ago"
    await desk.block("dana@b.example", stop="all", reason="unsubscribed", source="page")
    assert desk.engaging.table.fed == {}


async def test_everybody_with_a_block_is_listed_page_by_page_and_by_what_is_asked(desk: Desk, clock: Clock) -> None:
    for number in range(10):
        more = {"reason": "complaint"} if number % 2 else {"brand": "a"}
        await desk.block(f"d{number}@b.example", **more)
        clock.now += 1000
    await desk.block("gone@b.example", until=clock.now)
    await desk.ask("wish", recipient="wish@b.example", brand="a", at_most="1/day")

    async def listed(**where: object) -> set[str]:
        found, cursor = set[str](), ""
        while True:
            page = await desk.ask("list", where=where, cursor=cursor, limit=3)
            found |= {row["recipient"] for row in page["rows"]}
            if not (cursor := page["cursor"]):
                return found

    assert await listed() == {f"d{n}@b.example" for n in range(10)}
    assert await listed(reason="complaint") == {f"d{n}@b.example" for n in range(1, 10, 2)}
    assert await listed(brand="a", site="site of b.example") == {f"d{n}@b.example" for n in range(0, 10, 2)}
    assert await listed(site="elsewhere") == set()
    begin = clock.now - 10_000
    assert await listed(since=begin + 2_000, until=begin + 4_000) == {"d2@b.example", "d3@b.example"}
    assert "gone@b.example" in await listed(over=True)
    counted = await desk.ask("list", count=True, where={"reason": "complaint"})
    assert (counted["rows"], counted["found"]) == ([], 5)


async def test_an_address_that_no_secret_opens_is_listed_without_it(desk: Desk) -> None:
    await desk.block("dana@b.example")
    await desk.state.tell(desk.keys.key("dana@b.example"), {ADDRESS: "AAAA"})
    (row,) = (await desk.ask("list"))["rows"]
    assert (row["recipient"], row["key"]) == (None, desk.keys.key("dana@b.example").hex())


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ({"what": "dance"}, "nobody here knows how to dance"),
        ({"what": "show", "recipient": "dana"}, '"dana" is no address'),
        ({"what": "show"}, "is no address"),
        ({"what": "block", "entries": [{"recipient": "d@b.example", "stop": "some"}]}, "stops nothing"),
        ({"what": "block", "entries": [{"recipient": "d@b.example", "stop": "topic:a|b"}]}, "stops nothing"),
        ({"what": "block", "entries": [{"recipient": "d@b.example", "reason": "Because!"}]}, "is no reason"),
        (
            {"what": "block", "entries": [{"recipient": "d@b.example", "brand": "c"}]},
            'no brand "c" in brands.toml; there are a, b',
        ),
        ({"what": "block", "entries": [{"key": "abc"}]}, "is no key of a person"),
        ({"what": "block", "entries": [{"key": "ab" * 15}]}, "is no key of a person"),
        ({"what": "block", "entries": [{}] * (MAX_ENTRIES + 1)}, "more than the 500"),
        ({"what": "block", "entries": [{"recipient": "d@b.example", "until": 10**15}]}, "is no time in ms"),
        ({"what": "block", "entries": [{"recipient": "d@b.example", "since": "soon"}]}, "is no time in ms"),
        ({"what": "wish", "recipient": "d@b.example", "paused_until": -1}, "is no time in ms"),
        ({"what": "list", "limit": "many"}, "it cannot be read"),
        ({"what": "wish", "recipient": "d@b.example", "at_most": "2/day"}, "is no frequency"),
    ],
)
async def test_a_bad_question_changes_nothing_and_says_why(desk: Desk, question: dict[str, Any], why: str) -> None:
    answer = await desk.people.answer({"do": "people", **BY, **question})
    assert why in answer["error"]
    assert desk.said == []


async def test_a_link_in_an_old_mail_may_name_a_brand_that_is_gone(desk: Desk) -> None:
    entry = {"recipient": "d@b.example", "stop": "marketing", "brand": "sold", "reason": "unsubscribed"}
    assert (await desk.ask("block", entries=[entry], via="one-click"))["changed"] == 1


async def test_one_bad_entry_spoils_all_of_them(desk: Desk) -> None:
    assert "error" in await desk.ask("block", entries=[{"recipient": "d@b.example"}, {"recipient": "nobody"}])
    assert await desk.facts("d@b.example") == {}


async def test_without_state_it_says_so(desk: Desk) -> None:
    await desk.state.close()
    answer = await desk.block("dana@b.example")
    assert answer["again"] is True
    assert desk.said == []
    assert "People" in repr(desk.people)


async def test_many_blocks_are_taken_off_page_by_page_by_what_they_are(desk: Desk) -> None:
    for number in range(5):
        await desk.block(f"d{number}@b.example", reason="bad-mailbox", site="hotmail")
        await desk.block(f"d{number}@b.example", stop="marketing", reason="complaint")
    desk.said.clear()
    removed, cursor = 0, ""
    while True:
        where = {"reason": ["bad-domain", "bad-mailbox"], "site": "hotmail"}
        page = await desk.ask("clear", where=where, cursor=cursor, limit=2)
        removed += page["removed"]
        if not (cursor := page["cursor"]):
            break
    assert removed == 5
    assert {(kind, event["recipient"], event["was"]) for kind, event in desk.said} == {
        ("unsuppressed", f"d{n}@b.example", "bad-mailbox") for n in range(5)
    }
    assert [one["reason"] for one in await desk.blocks("d3@b.example")] == ["complaint"]


async def test_what_a_bounce_suppresses_is_told_with_its_mail_and_as_our_own_doing(desk: Desk) -> None:
    gone = {"recipient": "dana@b.example", "stop": "all", "reason": "bad-mailbox", "source": "feedback", "told": "all"}
    entry = {**gone, "id": "01kaj2n1c0b3", "rcpt": 2, "credential": "shop"}
    await desk.ask("block", entries=[entry], via="feedback", by="")
    left = {"recipient": "noa@b.example", "stop": "marketing", "brand": "a", "reason": "unsubscribed", "id": "m1"}
    await desk.ask("block", entries=[left], via="feedback", by="")
    (kind, event), (other, unsubscribed) = desk.said
    assert (kind, event["id"], event["rcpt"], event["by"]) == ("suppressed", "01kaj2n1c0b3", 2, "postlane")
    assert event["credential"] == "shop", "so that its app is told, though it holds for every brand"
    assert (event["stop"], event["brand"], event["reason"], event["expires"]) == ("all", None, "bad-mailbox", None)
    assert (other, unsubscribed["id"], "by" in unsubscribed) == ("unsubscribed", "m1", False)
    await desk.block("tal@b.example")
    assert "id" not in desk.said[-1][1], "no mail led to it"


@pytest.mark.parametrize("span", [None, 90 * DAY])
async def test_what_was_pending_stops_mail_for_as_long_as_the_rule_had_it(
    desk: Desk, clock: Clock, span: int | None
) -> None:
    """Counted from when it is confirmed: while it waited it stopped nothing."""
    entry = {"recipient": "dana@b.example", "reason": "bad-mailbox", "site": "google"}
    left = {**entry, "stop": "pending:all", "until": clock.now + 30 * DAY, "span": span}
    await desk.ask("block", entries=[left], via="feedback")
    before = {**entry, "recipient": "noa@b.example", "until": clock.now + span if span else None}
    await desk.ask("block", entries=[before], via="feedback")
    assert (await desk.ask("doubt", where={"site": "google"}))["changed"] == 1
    clock.now += 20 * DAY
    assert (await desk.ask("confirm", where={"site": "google"}))["changed"] == 2
    expires = iso(clock.now + span) if span is not None else None
    for name in ("dana", "noa"):
        assert [(one["stop"], one["expires"]) for one in await desk.blocks(f"{name}@b.example")] == [("all", expires)]
    confirmed = [event for kind, event in desk.said if kind == "suppressed"][-2:]
    assert [event["expires"] for event in confirmed] == [expires] * 2


async def test_an_event_that_said_too_much_before_its_worker_heard_of_the_doubt_is_taken_back(desk: Desk) -> None:
    left = {"recipient": "dana@b.example", "stop": "pending:all", "reason": "bad-mailbox", "site": "google"}
    await desk.ask("block", entries=[{**left, "told": "pending:all"}], via="feedback", by="")
    assert desk.said == []
    await desk.ask("block", entries=[{**left, "recipient": "noa@b.example", "told": "all"}], via="feedback", by="")
    ((kind, event),) = desk.said
    assert (kind, event["recipient"], event["stop"], event["was"]) == (
        "unsuppressed", "noa@b.example", "all", "bad-mailbox",
    )  # fmt: skip
    assert (event["by"], event["reason"]) == ("postlane", "google says so of nearly everybody")


async def test_who_asks_to_be_forgotten_is_known_by_his_key_alone_and_what_stops_mail_stays(desk: Desk) -> None:
    await desk.block("dana@b.example", note="Dana called", reason="complaint", stop="marketing", brand="a")
    await desk.ask("wish", recipient="dana@b.example", brand="a", at_most="1/day")
    desk.said.clear()
    answer = await desk.ask("forget", recipient="Dana@b.example", stop="marketing")
    assert [(one["reason"], one["note"]) for one in answer["kept"]] == [("complaint", ""), ("erased", "")]
    assert desk.said == [], "nothing is written down about it here"
    facts = await desk.facts("dana@b.example")
    assert set(facts) == {"b:marketing|a|complaint", "b:marketing||erased"}
    await desk.block("dana@b.example", reason="imported")
    await desk.ask("wish", recipient="dana@b.example", brand="a", at_most="1/day", via="page")
    assert ADDRESS not in await desk.facts("dana@b.example"), "neither a list nor a link in an old mail brings it back"
    shown = await desk.ask("show", recipient="dana@b.example")
    assert (shown["address_kept"], len(shown["blocks"])) == (False, 3)


async def test_what_is_known_by_key_alone_is_exported_and_comes_back(desk: Desk) -> None:
    await desk.ask("forget", recipient="dana@b.example", stop="all")
    (row,) = (await desk.ask("list"))["rows"]
    assert (row["recipient"], row["reason"]) == (None, "erased")
    await desk.ask("clear")
    assert (await desk.ask("list"))["rows"] == []
    assert desk.said[-1][1]["recipient"] is None
    await desk.ask("block", entries=[{"key": row["key"], "stop": "all", "reason": "erased"}])
    assert [one["reason"] for one in await desk.blocks("dana@b.example")] == ["erased"]
    assert desk.said[-1][1]["recipient"] is None
    assert (await desk.ask("forget", recipient="new@b.example", stop=""))["kept"] == []
    assert await desk.facts("new@b.example") == {}


async def test_what_is_stopped_for_who_is_forgotten_is_as_the_files_say(desk: Desk) -> None:
    desk.people.stop_forgotten = "all"
    assert [one["stop"] for one in (await desk.ask("forget", recipient="dana@b.example"))["kept"]] == ["all"]


async def test_who_asks_is_told_what_counts_and_what_failed(desk: Desk) -> None:
    day = 86_400_000
    await desk.state.tell(desk.keys.key("dana@b.example"), {"f:quota": f'[["m1/0", {5 * day}], ["m2/0", {6 * day}]]'})
    assert "failures" not in await desk.ask("show", recipient="dana@b.example")
    found = await desk.ask("show", recipient="dana@b.example", all=True)
    assert (found["failures"], found["counted"]) == ({"quota": ["1970-01-06", "1970-01-07"]}, [])

    async def sends(address: str) -> list[dict[str, Any]]:
        return [{"at": "now", "of": f"mail to {address}"}]

    desk.people.sends = sends
    found = await desk.ask("show", recipient="dana@b.example", all=True)
    assert found["counted"] == [{"at": "now", "of": "mail to dana@b.example"}]


async def test_what_is_told_again_is_no_event(desk: Desk) -> None:
    await desk.ask("block", entries=[{"recipient": "dana@b.example", "brand": "gone"}], via="restore", silent=True)
    await desk.ask("wish", recipient="dana@b.example", brand="a", at_most="1/day", silent=True)
    assert desk.said == []
    assert len(await desk.blocks("dana@b.example")) == 1
    assert await desk.ask("restored") == {}


async def test_of_whom_events_hold_a_key_alone_is_told_again_by_it(desk: Desk) -> None:
    key = desk.keys.key("dana@b.example").hex()
    await desk.ask("block", entries=[{"key": key}], via="restore", silent=True)
    await desk.ask("wish", key=key, brand="a", at_most="1/day", silent=True)
    shown = await desk.ask("show", recipient="dana@b.example")
    assert (len(shown["blocks"]), shown["preferences"]["a"]["at_most"]) == (1, "1/day")
    assert not shown["address_kept"], "nobody told it"
    entry = {"brand": "a", "class": "marketing", "at": desk.state.now()}
    assert await desk.ask("got", entries=[{"key": key, **entry}, {"recipient": "dana@b.example", **entry}]) == {}
    assert "no key" in (await desk.ask("got", entries=[{"key": "abc", **entry}]))["error"]


async def test_what_cannot_be_read_of_one_does_not_hide_the_others(desk: Desk) -> None:
    await desk.block("dana@b.example")
    await desk.state.tell(desk.keys.key("noa@b.example"), {"b:all||manual": "{}"})
    assert [row["recipient"] for row in (await desk.ask("list"))["rows"]] == ["dana@b.example"]
    assert "it cannot be read" in (await desk.ask("show", recipient="noa@b.example"))["error"]
