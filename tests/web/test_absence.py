"""The note of who is away: to people, marked, and never to a machine."""

from email import message_from_bytes
from email.policy import default

import pytest

from relay.web.absence import LONGEST, note

NOW = 1_795_262_731_104
LETTER = "From: shop@a.example\r\nSubject: Your\r\n order\r\nMessage-ID: <7@a.example>\r\n{}\r\nHello\r\n"


def answer(extra: str = "", sender: str = "shop@a.example") -> bytes | None:
    return note("away@sim.test", sender, LETTER.format(extra).encode(), NOW, "capture.example")


def test_it_goes_to_the_return_path_marked_and_names_what_it_answers() -> None:
    content = answer(sender="b-7@bounce.a.example")
    assert content is not None
    told = message_from_bytes(content, policy=default)
    assert {name: told[name] for name in ("From", "To", "Subject", "Auto-Submitted", "In-Reply-To")} == {
        "From": "away@sim.test",
        "To": "b-7@bounce.a.example",
        "Subject": "Auto: Your order",
        "Auto-Submitted": "auto-replied",
        "In-Reply-To": "<7@a.example>",
    }
    assert told["Message-ID"] == f"<away.{NOW}@capture.example>"


def test_a_null_return_path_is_never_answered() -> None:
    assert answer(sender="") is None


@pytest.mark.parametrize(
    "extra",
    [
        "Auto-Submitted: auto-replied\r\n",
        "Auto-Submitted: Auto-Generated; x=y\r\n",
        "List-Unsubscribe: <https://a.example/u>\r\n",
        "List-Id: <news.a.example>\r\n",
        "Precedence: bulk\r\n",
    ],
)
def test_nor_is_what_machines_answer_or_lists_carry(extra: str) -> None:
    assert answer(extra) is None


@pytest.mark.parametrize("extra", ["Auto-Submitted: no\r\n", "Precedence: special-delivery\r\n"])
def test_what_says_that_a_person_wrote_it_is_answered(extra: str) -> None:
    assert answer(extra) is not None


def test_its_own_answer_gets_none() -> None:
    first = answer()
    assert first is not None
    assert note("shop@a.example", "away@sim.test", first, NOW, "capture.example") is None


def test_nothing_of_any_size_is_repeated_and_a_header_of_nothing_is_answered() -> None:
    long = note("away@sim.test", "a@b.example", b"Subject: " + b"x" * 10_000 + b"\r\n\r\n", NOW, "h.example")
    assert long is not None
    assert len(long) < LONGEST + 400
    bare = note("away@sim.test", "a@b.example", b"\r\nhello", NOW, "h.example")
    assert bare is not None
    assert b"In-Reply-To" not in bare
