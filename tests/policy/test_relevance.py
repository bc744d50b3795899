"""When a message is worth nothing any more."""

import pytest

from relay.message import MailClass, Message
from relay.policy.relevance import end_of, stale, until_end
from relay.policy.streams import Stream

NOW = 1_795_262_400_000  # 2026-11-21T12:00:00Z
HOUR = 3_600_000


def message(valid_until: int | None = None, contradiction: str | None = None) -> Message:
    return Message(
        "0" * 16, NOW, "shop", "", "reset", MailClass.MARKETING, "shop@a.example", "<1@a.example>", "Hi", 90,
        valid_until=valid_until, contradiction=contradiction,
    )  # fmt: skip


def stream(valid_for: int | None = None) -> Stream:
    return Stream("reset", "policies/streams.toml:1", valid_for=valid_for)


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
    assert stale(message(), stream(HOUR), NOW + HOUR) == "valid_for of stream reset ended 2026-11-21T13:00:00.000Z"
    by_app = "X-Postlane-Valid-Until ended 2026-11-21T12:00:00.000Z"
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
