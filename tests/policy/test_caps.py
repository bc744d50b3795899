"""Which caps hold for a message, and what follows where there is no room."""

from typing import Any

import pytest

from relay.identity import Rate
from relay.message import MailClass, Message
from relay.policy.caps import LATEST, TURN, Cap, Caps, refused
from relay.policy.relevance import Postponed, Withheld
from relay.policy.streams import Stream
from relay.room import Bound, Full, mark_of

NOW = 1_795_262_400_000  # 2026-11-21T12:00:00Z
DAY = 86_400_000
MARKETING, SERVICE = MailClass.MARKETING, MailClass.SERVICE
ARAVA, MAROM = mark_of("arava", "marketing"), mark_of("marom", "marketing")
ARAVA_SERVICE = mark_of("arava", "service")
A_DAY, A_WEEK = Rate(1, 90_000, "day", "1/day"), Rate(4, 7 * 86_400, "", "4/7d")


def cap(name: str = "arava", over: str = "postpone", limits: tuple[Rate, ...] = (A_DAY, A_WEEK), **more: Any) -> Cap:
    facts = {"brands": {"arava"}, "counts": {MARKETING, SERVICE}, "blocks": {MARKETING}, **more}
    return Cap(name, **{key: frozenset(value) for key, value in facts.items()}, limits=limits, over=over)


GROUP = cap("group", brands={"arava", "marom"}, counts={MARKETING}, limits=(Rate(5, 608_400, "week", "5/week"),))
ZONES = {"arava": "Asia/Jerusalem", "marom": "Europe/Berlin", "kinor": "UTC"}
CAPS = Caps([cap(), GROUP], ZONES)


def message(mail_class: MailClass = MARKETING, brand: str = "arava", **more: Any) -> Message:
    return Message(
        "0" * 16, NOW, "crm", brand, "offers", mail_class, "crm@a.example", "<1@a.example>", "Hi", 90, **more
    )


def test_every_cap_of_the_brand_holds_each_limit_in_its_time_zone() -> None:
    terms = CAPS.terms(message())
    assert terms is not None
    mine, both = frozenset({ARAVA, ARAVA_SERVICE}), frozenset({ARAVA, MAROM})
    assert terms.mark == ARAVA
    assert terms.bounds == (
        Bound(A_DAY, "Asia/Jerusalem", mine), Bound(A_WEEK, "Asia/Jerusalem", mine),
        Bound(GROUP.limits[0], "Asia/Jerusalem", both),
    )  # fmt: skip
    assert [one.name for one in terms.caps if one] == ["arava", "arava", "group"]
    assert CAPS.terms(message()) is terms, "made once"
    other = CAPS.terms(message(brand="marom"))
    assert other is not None
    assert [bound.timezone for bound in other.bounds] == ["Europe/Berlin"]


@pytest.mark.parametrize(
    ("mail", "bounds"),
    [
        (message(SERVICE), 0),
        (message(contradiction="rerouted"), 0),
        (message(contradiction="flagged"), 3),
    ],
)
def test_what_is_counted_alone_has_no_bounds(mail: Message, bounds: int) -> None:
    terms = CAPS.terms(mail)
    assert terms is not None
    assert len(terms.bounds) == bounds
    assert CAPS.judge(terms, (), mail, None, NOW) is None


@pytest.mark.parametrize("mail", [message(MailClass.TRANSACTIONAL), message(brand="kinor"), message(brand="")])
def test_what_no_cap_speaks_of_asks_nothing(mail: Message) -> None:
    assert CAPS.terms(mail) is None
    assert Caps().terms(mail) is None


def test_service_mail_may_be_held_too() -> None:
    terms = Caps([cap(blocks={SERVICE})], ZONES).terms(message(SERVICE))
    assert terms is not None
    assert len(terms.bounds) == 2


def test_a_wish_is_one_more_bound_of_the_brands_marketing() -> None:
    terms = CAPS.terms(message(), "1/week")
    assert terms is not None
    assert terms.caps[-1] is None
    assert terms.bounds[-1] == Bound(Rate(1, 608_400, "week", "1/week"), "Asia/Jerusalem", frozenset({ARAVA}))
    alone = CAPS.terms(message(brand="kinor"), "1/month")
    assert alone is not None
    assert [bound.rate.text for bound in alone.bounds] == ["1/month"]
    assert CAPS.terms(message(brand="kinor"), "as often as you like") is None
    assert CAPS.terms(message(SERVICE), "1/week") == CAPS.terms(message(SERVICE))
    assert CAPS.terms(message(MailClass.TRANSACTIONAL), "1/day") is None


def full(bound: int, wait: int, *used: tuple[int, int]) -> Full:
    return Full(bound, wait, used or ((ARAVA, 4), (MAROM, 1)))


def judged(
    *room: Full,
    caps: Caps = CAPS,
    mail: Message | None = None,
    stream: Stream | None = None,
    now: int = NOW,
    wish: str = "",
) -> Withheld | Postponed | None:
    mail = mail or message()
    terms = caps.terms(mail, wish)
    assert terms is not None
    return caps.judge(terms, room, mail, stream, now)


def test_it_waits_for_the_last_bound_to_open_and_says_who_used_it_up() -> None:
    found = judged(full(0, 5_000, (ARAVA, 1)), full(2, 60_000))
    assert found == Postponed(
        NOW + 60_000, "capped", "cap group: 5/week, used up by arava marketing 4, marom marketing 1"
    )


def test_who_goes_before_is_said_where_nothing_else_is_in_the_way() -> None:
    found = judged(full(1, 0, (ARAVA, 3)), now=NOW + DAY)
    assert isinstance(found, Postponed)
    assert found.until == NOW + DAY + TURN
    assert found.detail == "cap arava: 4/7d: others that wait go first"


def test_marks_of_brands_that_are_gone_have_no_name() -> None:
    assert CAPS.used([(77, 2), (ARAVA_SERVICE, 1)]) == "another brand 2, arava service 1"


def test_mail_under_way_is_waited_for_half_as_long_again() -> None:
    waited = [(0, 1_000), (1_500, 1_000), (30_000, 15_000), (10 * DAY, LATEST)]
    for age, pause in waited:
        now = NOW + age
        found = judged(full(0, 0), caps=Caps([cap(limits=(Rate(1, 30 * 86_400, "", "1/30d"),))], ZONES), now=now)
        assert isinstance(found, Postponed)
        assert found.until == now + pause


def test_it_waits_no_longer_than_it_is_worth_anything() -> None:
    stream = Stream("offers", "policies/streams.toml:1", valid_for=DAY)
    found = judged(full(1, 3 * DAY), stream=stream)
    assert isinstance(found, Postponed)
    assert found.until == NOW + DAY
    assert found.detail.endswith("; room again 2026-11-24T12:00:00.000Z, when it will be stale")
    soon = judged(full(1, DAY // 2), stream=stream)
    assert isinstance(soon, Postponed)
    assert "stale" not in soon.detail


def test_without_an_end_it_waits_as_long_as_the_longest_window_and_is_withheld_then() -> None:
    patience = 608_400_000  # of 5/week
    found = judged(full(2, 60_000), now=NOW + patience - 1)
    assert isinstance(found, Postponed)
    assert found.until == NOW + patience
    late = judged(full(2, 60_000), now=NOW + patience)
    assert late == Withheld(
        "capped", "cap group: 5/week, used up by arava marketing 4, marom marketing 1; waited for 7 days"
    )
    later = judged(full(2, 60_000), mail=message(send_at=NOW + DAY), now=NOW + patience)
    assert isinstance(later, Postponed)


@pytest.mark.parametrize("over", ["drop", "reject"])
def test_it_is_withheld_where_one_cap_says_so(over: str) -> None:
    caps = Caps([cap(over="postpone", limits=(A_DAY,)), cap("hard", over)], ZONES)
    assert judged(full(0, 9), full(2, 5, (ARAVA, 4)), caps=caps) == Withheld(
        "capped", "cap hard: 4/7d, used up by arava marketing 4"
    )
    assert isinstance(judged(full(0, 9), caps=caps), Postponed)
    terms = caps.terms(message())
    assert terms is not None
    assert not terms.waits
    assert refused(terms, (full(0, 9), full(2, 5))) is (over == "reject")
    assert not refused(terms, (full(0, 9),))


def test_nothing_at_all_is_a_cap_too() -> None:
    caps = Caps([cap(limits=(Rate(0, 90_000, "day", "0/day"),), over="drop")], ZONES)
    assert judged(Full(0, 0, ()), caps=caps) == Withheld("capped", "cap arava: 0/day")


def test_a_wish_alone_is_the_reason_where_no_cap_is_in_the_way() -> None:
    found = judged(full(3, 5_000, (ARAVA, 1)), wish="1/day")
    assert isinstance(found, Postponed)
    assert (found.reason, found.detail) == (
        "preference", "the recipient's own wish: at most 1/day, used up by arava marketing 1",
    )  # fmt: skip
    both = judged(full(0, 9), full(3, 5_000), wish="1/day")
    assert isinstance(both, Postponed)
    assert both.reason == "capped"


def test_sends_are_kept_for_the_longest_window() -> None:
    assert Caps().keep == 33 * 86_400
    assert Caps([cap(limits=(Rate(1, 90 * 86_400, "", "1/90d"),))], ZONES).keep == 92 * 86_400
    terms = CAPS.terms(message())
    assert terms is not None
    assert terms.waits
    assert "arava, group" in repr(CAPS)


def test_marks_differ_and_never_change() -> None:
    assert len({mark_of(brand, one.label) for brand in ZONES for one in MailClass}) == 9
    assert mark_of("arava", "marketing") == 15_761_224
