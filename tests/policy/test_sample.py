"""Which claimed mail is judged, and what is known of the rest."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.header import Field, split
from relay.message import MailClass
from relay.policy.evidence.classify import Evidence
from relay.policy.letter import Letter
from relay.policy.sample import CYCLE, FIRST, Look, Sample, outline_of

URGENT, SERVICE, BULK = MailClass
NOW = 1_795_267_531_104
RECEIPT = Evidence(URGENT, 0.98, "receipt", (("order", "subject", "", (2.0, 0.0, 0.0)),))
OFFER = Evidence(BULK, 0.91, "offer", (("sale", "subject", "", (0.0, 0.0, 2.0)),))


def letter(subject: str = "Your order 1042", header: str = "", body: bytes = b"Thank you", to: int = 1) -> Letter:
    content = f"To: Dana <dana@b.example>\r\n{header}\r\n".encode() + body
    fields, rest = split(content)
    return Letter(fields, content, rest, subject, domains=["b.example"] * to)


class Rig:
    """A sample over a judge that answers with `evidence` and remembers what it was asked."""

    def __init__(self, room: int = 100) -> None:
        self.evidence = RECEIPT
        self.asked: list[tuple[str, int, int]] = []
        self.sample = Sample(self.judge, room)

    def judge(self, letter: Letter, credential: str, now: int, unseen: int) -> Evidence:
        self.asked.append((credential, now, unseen))
        return self.evidence

    def look(
        self, one: Letter | None = None, claimed: MailClass = URGENT, stream: str = "order", *, in_full: bool = False
    ) -> Look:
        return self.sample.look(one or letter(), "shop", stream, claimed, NOW, in_full=in_full)

    def judged(self, count: int, one: Letter | None = None) -> Iterator[bool]:
        """Which of so many messages were."""
        for _ in range(count):
            before = len(self.asked)
            self.look(one)
            yield len(self.asked) > before


def test_the_first_dozen_are_judged_and_then_one_in_sixteen() -> None:
    rig = Rig()
    assert list(rig.judged(FIRST)) == [True] * FIRST
    rest = list(rig.judged(16 * 100))
    assert 90 <= sum(rest) <= 110
    places = [place for place, judged in enumerate(rest) if judged]
    gaps = {later - earlier for earlier, later in pairwise(places)}
    assert gaps == set(range(1, CYCLE + 1)), "of all lengths"


def test_what_is_remembered_is_the_last_one_judged_without_its_reasons() -> None:
    rig = Rig()
    for _ in range(FIRST):
        assert rig.look() == Look(RECEIPT, 1)
    assert rig.look() == Look(Evidence(URGENT, 0.98, "receipt"), 0)
    assert "outlines=1 steady=1" in repr(rig.sample)


def test_one_that_is_judged_speaks_for_those_before_it() -> None:
    rig = Rig()
    spoken_for = sum(rig.look(letter(to=3)).messages for _ in range(200))
    assert 200 - CYCLE < spoken_for <= 200
    assert sum(unseen for _, _, unseen in rig.asked) == 3 * (spoken_for - len(rig.asked))


@pytest.mark.parametrize("claimed", [URGENT, SERVICE])
def test_what_contradicts_is_never_passed_over_and_puts_its_outline_back(claimed: MailClass) -> None:
    rig = Rig()
    rig.evidence = OFFER
    for _ in range(50):
        assert rig.look(claimed=claimed).messages == 1
    rig.evidence = RECEIPT
    for _ in range(FIRST):
        assert rig.look(claimed=claimed).messages
    assert not rig.look(claimed=claimed).messages
    rig.evidence = OFFER
    while not (seen := rig.look(claimed=claimed)).messages:
        pass
    assert seen.evidence is OFFER
    rig.evidence = RECEIPT
    assert [rig.look(claimed=claimed).messages for _ in range(FIRST + 1)] == [1] * FIRST + [0]


def test_everything_is_judged_where_that_is_asked() -> None:
    rig = Rig()
    list(rig.judged(FIRST + 1))
    assert rig.look(in_full=True) == Look(RECEIPT, 2)


def test_each_outline_has_a_dozen_of_its_own() -> None:
    rig = Rig()
    list(rig.judged(FIRST))
    others = [
        letter("Your password"),
        letter(header="List-Unsubscribe: <https://a.example/u>\r\n"),
        letter(body=b"x" * 500),
    ]
    for one in others:
        assert all(rig.judged(FIRST, one))
    assert rig.look(stream="reset").messages
    assert rig.look(claimed=SERVICE).messages
    assert not rig.look().messages


def test_an_outline_of_several_templates_has_no_skeleton() -> None:
    rig = Rig()
    for number in range(FIRST):
        rig.evidence = Evidence(URGENT, 0.98, f"answer{number % 2}")
        rig.look()
    assert rig.look() == Look(Evidence(URGENT, 0.98), 0)


def test_the_latest_outlines_are_remembered() -> None:
    rig = Rig(room=2)
    list(rig.judged(FIRST))
    rig.look(letter("Your password"))
    assert not rig.look().messages
    rig.look(letter("Your invoice"))
    assert not rig.look().messages
    assert "outlines=2 " in repr(rig.sample)


def test_an_outline_leaves_out_what_was_filled_in() -> None:
    def kept(subject: str) -> str:
        return outline_of(letter(subject), "shop", "order", URGENT)[3]

    assert kept("Dana, your order #1042 is ready!") == kept("your order A-77 is ready") == "your order is ready"
    assert kept("הזמנה 17 יצאה לדרך") == "הזמנה יצאה לדרך"
    assert kept("") == ""


def test_kind_and_size_are_of_the_outline() -> None:
    def outline(header: str, size: int) -> tuple[object, ...]:
        return outline_of(letter(header=header, body=b"x" * size), "shop", "order", URGENT)

    mixed = 'Content-Type: multipart/alternative; boundary="{}"\r\n'
    assert outline(mixed.format("abc1"), 9000) == outline(mixed.format("def2"), 9100)
    assert outline(mixed.format("abc1"), 9000) != outline("Content-Type: text/html; charset=utf-8\r\n", 9030)
    assert outline("", 9000) != outline("", 90_000)


@given(st.lists(st.tuples(st.sampled_from(["to", "list-id", "content-type", ""]), st.binary(max_size=400))), st.text())
def test_an_outline_can_be_made_of_anything(fields: list[tuple[str, bytes]], subject: str) -> None:
    one = Letter([Field(*each) for each in fields], subject=subject)
    assert hash(outline_of(one, "shop", "order", URGENT)) is not None
