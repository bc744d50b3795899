"""May this person be sent this message? What stops what, for which brand and class."""

from dataclasses import replace

import pytest

from relay.message import MailClass, Message
from relay.person import NOBODY, Block, Person, Wish
from relay.policy.consent import judge, refused_at_rcpt, stopped_by
from relay.policy.relevance import Postponed, Withheld
from relay.policy.streams import Stream
from tests.support.house import NOW, SHOP, waiting_delivery

HOUR = 3_600_000
NEWS = Stream("news", "policies/streams.toml:1", topic="offers")
CLASSES = list(MailClass)
TRANSACTIONAL, SERVICE, MARKETING = CLASSES


def message(mail_class: MailClass = MARKETING, brand: str = "a", stream: str = "news", spared: bool = False) -> Message:
    contradiction = "rerouted" if spared else None
    found = waiting_delivery().message
    return replace(found, mail_class=mail_class, brand=brand, stream=stream, contradiction=contradiction)


def blocked(stop: str, brand: str = "", reason: str = "manual", **more: object) -> Person:
    return Person((Block(stop, brand, reason, "cli", NOW - HOUR, **more),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stop", "stopped"),
    [
        ("all", CLASSES),
        ("marketing", [MARKETING]),
        ("topic:offers", [SERVICE, MARKETING]),
        ("topic:tips", []),
        ("stream:news", [SERVICE, MARKETING]),
        ("stream:other", []),
        ("mystery:offers", []),
    ],
)
def test_a_block_stops_what_it_says(stop: str, stopped: list[MailClass]) -> None:
    person = blocked(stop)
    assert [c for c in CLASSES if isinstance(judge(person, message(c), NEWS, NOW), Withheld)] == stopped


def test_of_one_brand_it_stops_that_alone() -> None:
    for brand, stopped in (("a", True), ("b", False), ("", False)):
        assert (judge(blocked("marketing", "a"), message(brand=brand), NEWS, NOW) is not None) is stopped
        assert judge(blocked("marketing"), message(brand=brand), NEWS, NOW) is not None


def test_a_stream_that_is_gone_has_no_topic() -> None:
    assert judge(blocked("topic:offers"), message(), None, NOW) is None
    assert judge(Person(wishes={"a": Wish(frozenset({"offers"}))}), message(), None, NOW) is None


def test_it_ends_at_its_end() -> None:
    person = blocked("all", until=NOW)
    assert judge(person, message(), NEWS, NOW - 1) is not None
    assert judge(person, message(), NEWS, NOW) is None


def test_rerouted_mail_is_stopped_by_what_stops_transactional_mail_alone() -> None:
    assert judge(blocked("marketing"), message(spared=True), NEWS, NOW) is None
    assert judge(blocked("all"), message(spared=True), NEWS, NOW) is not None
    paused = Person(wishes={"a": Wish(frozenset({"offers"}), paused_until=NOW + HOUR)})
    assert judge(paused, message(spared=True), NEWS, NOW) is None


def test_it_says_why_in_the_words_of_its_event() -> None:
    unsubscribed = Person((Block("topic:offers", "a", "unsubscribed", "one-click", NOW),))
    said = "topic offers, one-click on 2026-11-21"
    assert judge(unsubscribed, message(), NEWS, NOW) == Withheld("unsubscribed", said, "5.7.1")
    dead = Person((Block("all", "", "bad-mailbox", "dsn", NOW, NOW + 48 * HOUR),))
    said = "all, bad-mailbox, dsn on 2026-11-21, until 2026-11-23"
    assert judge(dead, message(), NEWS, NOW) == Withheld("suppressed", said, "5.1.1")
    by_hand = Person((Block("all", "", "manual", "", NOW),))
    assert judge(by_hand, message(), NEWS, NOW) == Withheld("suppressed", "all, manual on 2026-11-21", "5.7.1")


def test_of_several_the_widest_is_named() -> None:
    blocks = [Block(stop, "", "manual") for stop in ("stream:news", "topic:offers", "marketing", "all")]
    for count in (1, 2, 3, 4):
        assert stopped_by(blocks[:count], MARKETING, "a", "news", "offers", NOW) is blocks[count - 1]
    assert stopped_by([], MARKETING, "a", "news", "offers", NOW) is None


def test_topics_that_are_off_are_withheld_and_a_pause_postpones_marketing() -> None:
    off = Person(wishes={"a": Wish(frozenset({"offers"}), since=NOW)})
    for mail_class, goes in ((TRANSACTIONAL, True), (SERVICE, False), (MARKETING, False)):
        found = judge(off, message(mail_class), NEWS, NOW)
        assert found == (None if goes else Withheld("preference", "topic offers is off since 2026-11-21"))
    assert judge(off, message(brand="b"), NEWS, NOW) is None
    paused = Person(wishes={"a": Wish(paused_until=NOW + HOUR)})
    assert judge(paused, message(), NEWS, NOW) == Postponed(NOW + HOUR, "preference", "paused until 2026-11-21")
    assert judge(paused, message(SERVICE), NEWS, NOW) is None
    assert judge(paused, message(), NEWS, NOW + HOUR) is None
    soon_stale = replace(NEWS, valid_for=HOUR // 2)
    found = judge(paused, message(), soon_stale, NOW)
    assert isinstance(found, Postponed)
    assert found.until == message().accepted_at + HOUR // 2, "then it is withheld as stale"


def test_of_whom_nothing_is_known_he_may_be_sent_everything() -> None:
    assert [judge(NOBODY, message(c), NEWS, NOW) for c in CLASSES] == [None] * 3
    assert judge(Person(sealed="x"), message(), None, NOW) is None


@pytest.mark.parametrize(
    ("mail_class", "stop", "refused"),
    [
        (MARKETING, "all", True),
        (MARKETING, "marketing", True),
        (MARKETING, "topic:offers", False),
        (MARKETING, "stream:news", False),
        (SERVICE, "marketing", False),
        (None, "marketing", False),
        (None, "all", True),
    ],
)
def test_at_rcpt_only_what_stops_all_that_the_app_may_send_is_refused(
    mail_class: MailClass | None, stop: str, refused: bool
) -> None:
    app = replace(SHOP, mail_class=mail_class, brand="a")
    assert (refused_at_rcpt(blocked(stop, "a"), app, NOW) is not None) is refused
    assert refused_at_rcpt(blocked(stop, "b"), app, NOW) is None


def test_a_dead_mailbox_alone_is_refused_as_one() -> None:
    for stop, reason, said in (
        ("all", "bad-mailbox", "550 5.1.1 No such mailbox: all, bad-mailbox, cli on 2026-11-21"),
        ("all", "bad-domain", "550 5.1.1 No such mailbox: all, bad-domain, cli on 2026-11-21"),
        ("all", "complaint", "550 5.7.1 Suppressed: all, complaint, cli on 2026-11-21"),
        ("marketing", "bad-mailbox", "550 5.7.1 Suppressed: marketing, bad-mailbox, cli on 2026-11-21"),
    ):
        reply = refused_at_rcpt(blocked(stop, reason=reason), replace(SHOP, mail_class=MARKETING), NOW)
        assert str(reply) == f"{said}; it is not sent to any more"
    assert refused_at_rcpt(NOBODY, SHOP, NOW) is None
