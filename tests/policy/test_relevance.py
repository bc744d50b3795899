"""When a message may go, and when it is worth nothing any more."""

from dataclasses import replace
from datetime import UTC
from typing import Any

import pytest

from relay.identity import Rate
from relay.message import MailClass, Message
from relay.policy.relevance import Postponed, Withheld, begin_of, end_of, paced_by, postponed, stale, until_end
from relay.policy.streams import Stream
from relay.policy.windows import Window

NOW = 1_795_262_400_000  # 2026-11-21T12:00:00Z
HOUR = 3_600_000
AFTERNOON = Window("afternoon", UTC, (((840, 1080),),) * 7)  # 14:00-18:00


def message(valid_until: int | None = None, contradiction: str | None = None, **more: Any) -> Message:
    return Message(
        "0" * 16, NOW, "shop", "", "reset", MailClass.MARKETING, "shop@a.example", "<1@a.example>", "Hi", 90,
        valid_until=valid_until, contradiction=contradiction, **more,
    )  # fmt: skip


def stream(valid_for: int | None = None, window: Window | None = None) -> Stream:
    return Stream("reset", "policies/streams.toml:1", valid_for=valid_for, window=window)


@pytest.mark.parametrize(
    ("app", "by_stream", "end"),
    [
        (None, None, None),
        (NOW + HOUR, None, NOW + HOUR),
        (None, HOUR, NOW + HOUR),
        (NOW + HOUR, 2 * HOUR, NOW + HOUR),
        (NOW + 2 * HOUR, HOUR, NOW + HOUR),
    ],
)
def test_the_tighter_word_counts(app: int | None, by_stream: int | None, end: int | None) -> None:
    assert end_of(message(app), stream(by_stream)) == end


def test_a_stream_that_is_gone_says_nothing() -> None:
    assert end_of(message(), None) is None
    assert end_of(message(NOW + HOUR), None) == NOW + HOUR


def test_it_is_stale_from_its_end_on_and_says_by_whose_word() -> None:
    assert stale(message(), stream(HOUR), NOW + HOUR - 1) is None
    found = stale(message(), stream(HOUR), NOW + HOUR)
    assert found == Withheld("stale", "valid_for of stream reset ended 2026-11-21T13:00:00.000Z", "5.4.7")
    by_app = Withheld("stale", "X-Postlane-Valid-Until ended 2026-11-21T12:00:00.000Z", "5.4.7")
    assert stale(message(NOW), stream(HOUR), NOW) == stale(message(NOW), None, NOW) == by_app
    assert stale(message(), stream(), NOW + 1000 * HOUR) is None


def test_rerouted_mail_is_never_stale() -> None:
    spared = message(NOW, "rerouted")
    assert stale(spared, stream(HOUR), NOW + 1000 * HOUR) is None
    assert until_end(NOW + 9, spared, stream(HOUR)) == NOW + 9
    assert stale(message(NOW, "enforced"), stream(HOUR), NOW) is not None


def test_nothing_waits_beyond_its_end() -> None:
    assert until_end(NOW + 9 * HOUR, message(), stream()) == NOW + 9 * HOUR
    assert until_end(NOW + 9 * HOUR, message(), stream(HOUR)) == NOW + HOUR
    assert until_end(NOW + 9, message(), stream(HOUR)) == NOW + 9


def test_it_waits_until_its_window_opens() -> None:
    shut = Postponed(NOW + 2 * HOUR, "send-window", "window afternoon is closed")
    assert postponed(message(), stream(window=AFTERNOON), NOW) == shut
    assert shut.facts == {
        "reason": "send-window", "detail": "window afternoon is closed", "until": "2026-11-21T14:00:00.000Z",
    }  # fmt: skip
    assert postponed(message(), stream(window=AFTERNOON), NOW + 2 * HOUR) is None
    assert postponed(message(), stream(window=AFTERNOON), NOW + 6 * HOUR) is not None
    assert postponed(message(), stream(), NOW) is None
    assert postponed(message(), None, NOW) is None


def test_it_waits_until_its_app_wants_it_sent_and_then_for_its_window() -> None:
    ordered, windowed = message(send_at=NOW + HOUR), stream(window=AFTERNOON)
    assert postponed(ordered, None, NOW) == Postponed(NOW + HOUR, "send-at", "as X-Postlane-Send-At asks")
    assert postponed(ordered, windowed, NOW) == postponed(ordered, None, NOW)
    assert postponed(ordered, windowed, NOW + HOUR) == Postponed(
        NOW + 2 * HOUR, "send-window", "window afternoon is closed"
    )
    assert postponed(ordered, None, NOW + HOUR) is None
    assert postponed(message(send_at=NOW - HOUR), None, NOW) is None


def test_transactional_mail_waits_for_no_window_but_when_its_app_says() -> None:
    urgent = replace(message(), mail_class=MailClass.TRANSACTIONAL)
    assert postponed(urgent, stream(window=AFTERNOON), NOW) is None
    assert begin_of(urgent, stream(window=AFTERNOON)) == NOW
    assert postponed(replace(urgent, send_at=NOW + 1), None, NOW) is not None


def test_rerouted_mail_waits_for_nothing() -> None:
    spared = message(NOW, "rerouted", send_at=NOW + HOUR)
    for now in (NOW - 1, NOW, NOW + 6 * HOUR):
        assert postponed(spared, stream(window=AFTERNOON), now) is None
    assert begin_of(spared, stream(window=AFTERNOON)) == NOW
    assert postponed(message(None, "enforced"), stream(window=AFTERNOON), NOW) is not None


def test_what_would_be_stale_before_it_opens_is_looked_at_when_it_is() -> None:
    said = "window afternoon is closed until 2026-11-21T14:00:00.000Z, when it will be stale"
    assert postponed(message(), stream(HOUR, AFTERNOON), NOW) == Postponed(NOW + HOUR, "send-window", said)
    early = postponed(message(NOW + HOUR, send_at=NOW + 2 * HOUR), None, NOW)
    assert early is not None
    assert early.until == NOW + HOUR


def test_time_counts_from_when_it_may_go_first() -> None:
    ordered = message(send_at=NOW + 3 * HOUR)
    assert end_of(ordered, stream(HOUR)) == NOW + 4 * HOUR
    assert end_of(message(send_at=NOW - 1), stream(HOUR)) == NOW + HOUR
    assert begin_of(ordered, stream()) == begin_of(ordered, stream(window=AFTERNOON)) == NOW + 3 * HOUR
    assert begin_of(message(), stream(window=AFTERNOON)) == NOW + 2 * HOUR
    assert begin_of(message(), None) == NOW


def test_what_paces_it() -> None:
    rate = Rate(10, 60, "", "10/minute")
    limited = replace(stream(), rate=rate)
    limit = paced_by(message(), limited)
    assert limit is not None
    assert (limit.key, limit.rate, limit.reason) == ("stream:reset", rate, "rate")
    assert paced_by(message(None, "rerouted"), limited) is None
    assert paced_by(message(), stream()) is None
    assert paced_by(message(), None) is None
