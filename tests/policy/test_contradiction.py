"""When the evidence contradicts a claim: after several messages, and never on one."""

from collections.abc import Iterable
from dataclasses import asdict, replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.message import MailClass
from relay.policy.contradiction import (
    LATELY,
    LEAST_TEMPLATES,
    NAMED,
    SURE,
    Ledger,
    Told,
    Trouble,
    contradicts,
    trouble_of,
)
from relay.policy.evidence.classify import Evidence

URGENT, SERVICE, BULK = MailClass
HOUR = 3_600_000
DAY = 24 * HOUR


def nobody(stream: str) -> bool:
    return False


class Book:
    """A ledger and what people were told; `now` is the clock."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger or Ledger()
        self.now = DAY

    def count(
        self,
        judged: MailClass = BULK,
        skeleton: str = "ad",
        *,
        claimed: MailClass = URGENT,
        confidence: float = 0.97,
        stream: str = "order",
        messages: int = 1,
        credential: str = "shop",
    ) -> bool:
        evidence = Evidence(judged, confidence, skeleton)
        return self.ledger.count(credential, stream, claimed, evidence, messages, self.now)

    def several(self, count: int, judged: MailClass = BULK, skeleton: str = "ad", **more: object) -> list[bool]:
        return [self.count(judged, skeleton, **more) for _ in range(count)]  # type: ignore[arg-type]

    def told(self, trusted: Iterable[str] = ()) -> list[tuple[str, dict[str, str | None]]]:
        trusting = frozenset(trusted)
        return [(state, one.what) for state, one in self.ledger.news(self.now, trusting.__contains__)]


@pytest.mark.parametrize(
    ("claimed", "judged", "contrary"),
    [
        (URGENT, BULK, True), (SERVICE, BULK, True), (BULK, URGENT, True), (BULK, SERVICE, False),
        (URGENT, SERVICE, False), (SERVICE, URGENT, False), *((one, one, False) for one in MailClass),
    ],
)  # fmt: skip
def test_what_contradicts(claimed: MailClass, judged: MailClass, contrary: bool) -> None:
    assert contradicts(claimed, judged) is contrary
    assert any(Book().several(8, judged, claimed=claimed)) is contrary


def test_a_template_is_contradicted_from_the_fifth_message_on() -> None:
    book = Book()
    assert book.several(7) == [False] * 4 + [True] * 3
    assert book.ledger.troubled("shop", "order")
    assert not book.ledger.troubled("shop", "reset")
    assert not book.ledger.troubled("crm", "order")


def test_what_the_message_itself_does_not_say_is_not_held_against_it() -> None:
    book = Book()
    book.several(8)
    assert not book.count(URGENT)
    assert not book.count(confidence=SURE - 0.01)
    assert book.count(confidence=SURE)


def test_another_template_of_the_stream_has_messages_of_its_own() -> None:
    """A password reset that reads like an advertisement, beside any number of copies of one advertisement."""
    book = Book()
    book.several(200)
    assert book.several(5, skeleton="reset") == [False] * 4 + [True]


def test_a_stream_of_many_templates_is_contradicted_as_a_whole() -> None:
    book = Book()
    assert [book.count(skeleton=f"letter{n}") for n in range(7)] == [False] * 4 + [True] * 3
    assert not book.count(URGENT, "receipt")
    (trouble,) = book.ledger.troubles(nobody)
    assert (trouble.whole, trouble.contrary, trouble.judged, trouble.skeletons) == (True, 7, 8, ())
    assert trouble.what == {"credential": "shop", "stream": "order", "skeleton": None}


def test_doubtful_ones_are_no_several() -> None:
    assert not any(Book().several(50, confidence=SURE - 0.01))


def test_those_are_no_clear_majority() -> None:
    """Of a template whose copies differ, and of a stream whose templates do."""
    book = Book()
    for _ in range(30):
        assert not book.count()
        assert not book.count(URGENT)
    for number in range(60):
        assert not book.count(skeleton=f"ad{number}", stream="mixed")
        assert not book.count(URGENT, f"receipt{number}", stream="mixed")


def test_messages_that_were_passed_over_speak_for_the_stream() -> None:
    """Of a stream nearly all of whose mail is of one steady template, judged once in sixteen."""
    book = Book()
    for number in range(20):
        book.count(URGENT, "receipt", messages=16)
        assert not book.count(skeleton=f"ad{number}")


def test_five_in_a_month_are_not_several_lately() -> None:
    book = Book()
    for _ in range(20):
        assert not book.count()
        book.now += 6 * DAY


def test_a_new_template_a_fortnight_is_no_stream_of_many() -> None:
    book = Book()
    for number in range(20):
        assert not any(book.several(4, skeleton=f"ad{number}"))
        book.now += 14 * DAY


def test_one_a_day_adds_up() -> None:
    book = Book()
    found = []
    for _ in range(12):
        found.append(book.count())
        book.now += DAY
    assert found.index(True) in range(6, 10)


def test_it_ends_with_good_copies() -> None:
    book = Book()
    book.several(100)
    good = 0
    while book.ledger.troubled("shop", "order"):
        book.count(URGENT)
        good += 1
    assert 12 <= good <= 20
    assert not book.count()
    assert book.several(30)[-1], "and begins again where that is so"


def test_a_stream_as_a_whole_ends_with_good_mail() -> None:
    book = Book()
    for number in range(200):
        book.count(skeleton=f"letter{number}")
    good = 0
    while book.ledger.troubled("shop", "order"):
        book.count(URGENT, "receipt")
        good += 1
    assert 60 <= good <= 80


def test_it_ends_by_itself_when_no_such_mail_comes() -> None:
    book = Book()
    book.several(30)
    for number in range(30):
        book.count(skeleton=f"letter{number}", stream="letters")
    assert [state for state, _ in book.told()] == ["firing", "firing"]
    book.now += 2 * LATELY
    assert book.told() == []
    book.now += 8 * LATELY
    assert [state for state, _ in book.told()] == ["resolved", "resolved"]
    assert not book.ledger.troubled("shop", "order")


def test_a_clock_that_goes_back_does_no_harm() -> None:
    book = Book()
    book.several(4)
    book.now -= HOUR
    assert book.count()


def test_people_are_told_once_of_each_stream() -> None:
    book = Book()
    for template in range(300):
        book.several(6, skeleton=f"ad{template}")
        book.several(6, skeleton=f"ad{template}", stream="reset")
    told = book.told()
    assert [state for state, _ in told] == ["firing", "firing"]
    assert {what["stream"] for _, what in told} == {"order", "reset"}
    assert book.told() == []
    for trouble in book.ledger.troubles(nobody):
        assert len(trouble.skeletons) <= NAMED


def test_the_template_is_named_where_it_is_one_and_the_end_is_told_as_the_beginning() -> None:
    book = Book()
    book.several(6)
    what = {"credential": "shop", "stream": "order", "skeleton": "ad"}
    assert book.told() == [("firing", what)]
    book.several(6, skeleton="other")
    (trouble,) = book.ledger.troubles(nobody)
    assert (trouble.skeletons, trouble.templates, trouble.what["skeleton"]) == (("ad", "other"), 2, None)
    assert (trouble.contrary, trouble.judged) == (12, 12)
    book.several(40, URGENT)
    assert book.told() == []
    book.several(40, URGENT, "other")
    assert book.told() == [("resolved", what)]


def test_who_claims_another_class_begins_anew() -> None:
    book = Book()
    book.several(9)
    assert [state for state, _ in book.told()] == ["firing"]
    assert not book.count(claimed=BULK)
    assert [state for state, _ in book.told()] == ["resolved"]
    assert book.several(9, URGENT, "receipt", claimed=BULK)[-1]
    (trouble,) = book.ledger.troubles(nobody)
    assert (trouble.claimed, trouble.judged_as) == (BULK, URGENT)


def test_a_stream_that_is_trusted_is_no_trouble() -> None:
    book = Book()
    book.several(9)
    book.several(9, stream="reset")
    book.told()
    assert [one.stream for one in book.ledger.troubles({"order"}.__contains__)] == ["reset"]
    assert [(state, what["stream"]) for state, what in book.told(trusted=["order"])] == [("resolved", "order")]
    assert not book.ledger.troubled("shop", "order")


def test_streams_are_remembered_so_far_and_those_that_are_forgotten_are_resolved() -> None:
    book = Book(Ledger(streams=2))
    for stream in ("a", "b", "a"):
        book.several(6, stream=stream)
    book.told()
    book.several(6, stream="c")
    assert "streams=2 " in repr(book.ledger)
    assert [(state, what["stream"]) for state, what in book.told()] == [("resolved", "b"), ("firing", "c")]


def test_one_apps_many_templates_do_not_drive_out_anothers_few() -> None:
    book = Book(Ledger(templates=100))
    book.several(4)
    for number in range(1000):
        book.count(URGENT, f"receipt{number}", credential="crm")
        book.count(URGENT, f"receipt{number}", stream="other")
    assert book.count()


def test_room_is_made_for_streams_that_come_later() -> None:
    book = Book(Ledger(templates=4 * LEAST_TEMPLATES))
    for number in range(4 * LEAST_TEMPLATES):
        book.count(URGENT, f"receipt{number}")
    for stream in ("a", "b", "c"):
        book.count(URGENT, stream=stream)
    book.told()
    assert f"templates={LEAST_TEMPLATES + 3} " in repr(book.ledger)


def test_a_template_that_stands_outlives_those_that_do_not() -> None:
    book = Book(Ledger(templates=LEAST_TEMPLATES))
    book.several(6)
    for number in range(1000):
        book.count(URGENT, f"receipt{number}")
    assert book.count()
    for number in range(1000):
        book.several(6, skeleton=f"ad{number}")
    (trouble,) = book.ledger.troubles(nobody)
    assert trouble.templates <= LEAST_TEMPLATES
    assert f"templates={LEAST_TEMPLATES} " in repr(book.ledger)


MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(MailClass),
        st.sampled_from(["a", "b", "c", "d", "e", "f", "g"]),
        st.floats(0.34, 1.0),
        st.integers(1, 40),
        st.integers(-DAY, DAY),
    ),
    max_size=80,
)


@given(MESSAGES, st.sampled_from(MailClass), st.integers(1, 4))
def test_whatever_comes_it_takes_five_messages_and_a_majority_and_the_message_itself(
    messages: list[tuple[MailClass, str, float, int, int]], claimed: MailClass, room: int
) -> None:
    book = Book(Ledger(streams=1, templates=room))
    sure = 0
    for judged, skeleton, confidence, count, later in messages:
        book.now += later
        contrary = confidence >= SURE and contradicts(claimed, judged)
        sure += contrary
        acted = book.count(judged, skeleton, claimed=claimed, confidence=confidence, messages=count)
        assert not acted or (contrary and sure >= 5)
        assert not book.ledger.troubled("shop", "order") or sure >= 5
    assert len(book.told()) <= 1


def test_what_a_node_tells_stands_as_it_does_there() -> None:
    of_template = Trouble("shop", "order", URGENT, BULK, 9, 11, 1, ("0ffe",), whole=False)
    told = Told([trouble_of(orjson.loads(orjson.dumps(asdict(of_template))))])
    surely, hardly = Evidence(BULK, 0.95, "0ffe"), Evidence(BULK, 0.7, "0ffe")

    def stands(evidence: Evidence = surely, stream: str = "order", claimed: MailClass = URGENT) -> bool:
        return told.count("shop", stream, claimed, evidence, 1, 0)

    assert told.troubled("shop", "order")
    assert stands()
    assert not stands(hardly)
    assert not stands(replace(surely, skeleton="another"))
    assert not stands(stream="reset")
    assert not stands(claimed=SERVICE)
    assert Told([replace(of_template, whole=True)]).count(
        "shop", "order", URGENT, replace(surely, skeleton="another"), 1, 0
    )
