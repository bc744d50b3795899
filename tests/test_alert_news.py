"""What there is to tell of alerts, when, and in which words."""

from dataclasses import asdict
from email import message_from_bytes
from email.policy import SMTP
from typing import Any

import orjson

from relay.alert import Alert, state_back, state_lost
from relay.alert_news import Change, News, body, letter, subject_of

NOW = 1_795_300_000_000
PAUSE = 300_000


def alert(name: str = "state", **what: str | None) -> dict[str, Any]:
    return asdict(Alert(name, f"{name} is lost", ("a.toml:1: x",), "look", what=what))


def told(news: News, *standing: dict[str, Any], at: int = NOW) -> list[tuple[str, str]]:
    """One telling that succeeds."""
    changes = news.to_tell(standing, at)
    if changes:
        news.told(changes, at)
    return [(state, one["name"]) for state, one in changes]


def test_what_begins_and_what_ends_is_told_once() -> None:
    news = News(PAUSE, 900_000)
    assert told(news) == []
    assert told(news, alert()) == [("firing", "state")]
    assert told(news, alert(), at=NOW + PAUSE) == []
    assert told(news, at=NOW + PAUSE) == [("resolved", "state")]
    assert told(news, at=NOW + 2 * PAUSE) == []


def test_what_flaps_does_not_flood_and_what_lasts_is_not_lost() -> None:
    news, tellings = News(PAUSE, 900_000), 0
    for second in range(3_600):
        standing = [alert()] if second % 2 else []
        tellings += bool(told(news, *standing, at=NOW + second * 1_000))
    assert tellings <= 12
    news = News(PAUSE, 900_000)
    assert told(news, alert("a")) == [("firing", "a")]
    assert told(news, alert("b"), at=NOW + 1) == []
    assert told(news, alert("b"), alert("c"), at=NOW + PAUSE) == [("firing", "b"), ("firing", "c"), ("resolved", "a")]


def test_what_becomes_critical_is_told_again_once() -> None:
    news, warned = News(PAUSE, 900_000), alert() | {"severity": "warning"}
    assert told(news, warned) == [("firing", "state")]
    assert told(news, alert(), at=NOW + 1) == [], "not before the pause is over"
    assert told(news, alert(), at=NOW + PAUSE) == [("firing", "state")]
    for number, one in enumerate((alert(), warned, alert())):
        assert told(news, one, at=NOW + (2 + number) * PAUSE) == []
    assert told(news, at=NOW + 5 * PAUSE) == [("resolved", "state")]


def test_troubles_of_the_same_name_are_told_apart_by_whom_they_concern() -> None:
    news = News(PAUSE, 900_000)
    assert len(told(news, alert("check", brand="a"), alert("check", brand="b"))) == 2
    same = alert("check", brand="a", skeleton="1")
    assert told(news, same, alert("check", brand="b"), at=NOW + PAUSE) == [], "templates of one trouble are one"


def test_who_cannot_be_reached_is_tried_less_and_less() -> None:
    news = News(10_000, 900_000)
    changes = news.to_tell([alert()], NOW)
    assert [news.failed(NOW) for _ in range(9)] == [10_000 << n for n in range(7)] + [900_000, 900_000]
    assert news.to_tell([alert()], NOW + 899_999) == []
    assert news.to_tell([alert()], NOW + 900_000) == changes
    assert repr(news) == "<News: 0 told, 9 tries in vain>"
    news.told(changes, NOW)
    assert news.failed(NOW) == 10_000


def test_the_mail_is_from_the_node_and_says_that_it_is_automatic() -> None:
    changes = [Change("firing", alert()), Change("resolved", asdict(state_back()))]
    content = letter(changes, "relay-1", "mx.a.example", ["a@b.example", "c@d.example"], "01ab", NOW)
    message = message_from_bytes(content, policy=SMTP)
    assert message["From"] == "Postlane relay-1 <postlane@mx.a.example>"
    assert message["To"] == "a@b.example, c@d.example"
    assert message["Subject"] == "[relay-1] alerts: 1 firing, 1 resolved"
    assert (message["Auto-Submitted"], message["Message-ID"]) == ("auto-generated", "<01ab@mx.a.example>")
    assert message["Date"] == "Sat, 21 Nov 2026 22:26:40 +0000"
    text = message.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert text.decode().splitlines() == [
        "firing: state is lost",
        "  a.toml:1: x",
        "  look",
        "",
        "resolved: limits can be looked up again",
        "",
        "postlane status on relay-1 shows what stands now.",
    ]
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert content.isascii()


def test_a_subject_is_one_line_whatever_a_summary_holds() -> None:
    wild = Change("firing", alert() | {"summary": "one\r\nBcc: x@y.example " + "לא " * 100})
    assert subject_of([wild]).startswith("firing: one Bcc: x@y.example ")
    content = letter([wild], "relay-1", "mx.a.example", ["a@b.example"], "01ab", NOW)
    assert message_from_bytes(content, policy=SMTP)["Bcc"] is None
    assert content.isascii()
    assert subject_of([Change("resolved", alert())]) == "resolved: state is lost"


def test_the_body_of_a_webhook_is_events() -> None:
    content = orjson.loads(body([Change("firing", asdict(state_lost("gone")))], "relay-1", NOW))
    (event,) = content.pop("events")
    assert content == {"type": "alert", "timestamp": "2026-11-21T22:26:40.000Z", "node": "relay-1"}
    assert (event["type"], event["state"], event["name"], event["severity"]) == ("alert", "firing", "state", "critical")
    assert event["summary"].startswith("limits cannot be looked up (gone)")
