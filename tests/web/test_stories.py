"""What became of messages, told from their events; and values as people read them."""

import pytest

from relay.web import show
from relay.web.stories import matches, reply_text, stories
from tests.support.web import IDS, event, reply


def test_the_last_event_is_the_state_and_earlier_facts_stay() -> None:
    (story,) = stories(
        [
            event("accepted", IDS[0], subject="Order 77"),
            event(
                "deferred", IDS[0], reply=reply(421, "", "busy"), mx="mx1", pool="p", category="remote-error", attempt=1
            ),
            event("postponed", IDS[0], reason="held", detail="by hand", until="2026-11-22T00:00:00.000Z"),
        ]
    )
    way = story.ways[0]
    assert (story.subject, story.mail_class, len(story.events)) == ("Order 77", "transactional", 3)
    assert (way.state, way.word, way.tone) == ("postponed", "postponed", "warning")
    assert (way.reply, way.mx, way.pool, way.attempts) == ("421 busy", "mx1", "p", 1)
    assert (way.detail, way.again) == ("held by hand", "2026-11-22T00:00:00.000Z")


def test_what_was_captured() -> None:
    captured, left = stories(
        [
            event("delivered", IDS[0], mx="mx.b.example"),
            event("deferred", IDS[1], captured=True),
            event("delivered", IDS[1], rcpt=1),
        ]
    )
    assert [way.captured for way in captured.ways.values()] == [True, False]
    assert [captured.captured, left.captured] == [True, False]


def test_a_state_that_is_not_known_speaks_for_itself() -> None:
    (story,) = stories([event("teleported", IDS[0])])
    assert (story.ways[0].word, story.ways[0].tone) == ("teleported", "waiting")


def test_matching_needs_every_word_in_any_case() -> None:
    (story,) = stories([event("accepted", IDS[0], subject="Straße")])
    assert matches(story, "STRASSE dana@", "", "")
    assert not matches(story, "strasse noa@", "", "")


@pytest.mark.parametrize(
    ("event_reply", "text"),
    [(reply(550, "5.1.1", "no"), "550 5.1.1 no"), (reply(250, "", ""), "250"), (None, ""), ("x", "")],
)
def test_replies_as_text(event_reply: object, text: str) -> None:
    assert reply_text({"reply": event_reply}) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(38, "38 ms"), (2_449, "2.4 s"), (90_000, "2 min"), (7_200_000, "2 h"), (172_800_000, "2 d"), ("x", "")],
)
def test_spans(value: object, text: str) -> None:
    assert show.span(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_500, "1.5 KB"),
        (38_211, "38 KB"),
        (25_000_000, "25 MB"),
        (3_000_000_000, "3000 MB"),
        ("x", ""),
    ],
)
def test_sizes(value: object, text: str) -> None:
    assert show.size(value) == text


def test_times() -> None:
    assert show.clock("2026-11-21T12:05:31.104Z") == show.clock(1_795_262_731_104) == "12:05:31"
    assert show.day("2026-11-21T12:05:31.104Z") == show.day(1_795_262_731_104) == "Sat 21 Nov 2026"
    assert show.day("yesterday") == show.clock(None) == ""


def test_counts() -> None:
    assert (show.count(182_406), show.count(None)) == ("182,406", "–")


def test_tiles_count_the_recent_events_where_the_node_counts_nothing() -> None:
    events = [
        event("delivered", IDS[0]),
        event("bounced", IDS[1]),
        event("delivered", IDS[2], **{"class": "marketing"}),
    ]
    transactional, service, marketing = show.tiles({"workers": []}, events)
    assert transactional.ended == {"delivered": 1, "deferred": 0, "bounced": 1}
    assert service.ended == {"delivered": 0, "deferred": 0, "bounced": 0}
    assert marketing.ended["delivered"] == 1
    assert (service.waiting, show.tiles(None, events)[0].waiting) == (0, None)


def test_what_an_event_has_beside_the_usual() -> None:
    facts = show.facts(event("delivered", IDS[0], size=38_211, delay_ms=38, tls="", site="google", until=None))
    assert facts == [("size", "38 KB"), ("delay ms", "38 ms"), ("site", "google")]
