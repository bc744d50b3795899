import pytest

from relay.reporting.question import SELECTORS
from relay.web.desk import people
from relay.web.login.visitor import SEALED, Visitor
from tests.support.event_folder import NOON

NOA, SHOP = Visitor("noa", "operator"), Visitor("shop", "viewer", ("shop-web", "*"))
KEY = "0f" * 16


def test_events_of_a_person_are_asked_by_every_spelling_and_by_his_key() -> None:
    question = people.events_of("Dana.Levi@googlemail.com", KEY, NOA, NOON - 5, NOON)
    for spelling in ("danalevi@gmail.com", "Dana.Levi+x@gmail.com", '"dana.levi"@googlemail.com'):
        assert spelling in question.where["recipient"]
    assert "xdanalevi@gmail.com" not in question.where["recipient"]
    assert question.where["domain"].patterns == ("gmail.com", "googlemail.com")
    assert f"~{KEY}@gmail.com" in question.where["recipient"]
    assert "credential" not in question.where
    assert (question.since, question.until) == (NOON - 5, NOON)


def test_who_is_limited_is_shown_his_apps_events_of_anybody() -> None:
    question = people.events_of("dana@gmail.com", "", SHOP, NOON - 5, NOON)
    assert question.where["credential"].patterns == ("shop-web",)
    assert set(question.where) <= set(SELECTORS)


@pytest.mark.parametrize(
    ("recipient", "his"),
    [
        ("dana.levi@gmail.com", True),
        ("DanaLevi+shop@gmail.com", True),
        (f"~{KEY}@gmail.com", True),
        (f"~{'1' * 32}@gmail.com", False),
        ("danalevin@gmail.com", False),
        (None, False),
        (7, False),
    ],
)
def test_what_fits_is_compared(recipient: object, his: bool) -> None:
    assert people.is_his({"recipient": recipient}, "danalevi@gmail.com", KEY) is his


def test_rows_are_masked_for_viewers_and_lead_to_the_persons_page() -> None:
    row = {
        "recipient": "dana.levi@gmail.com",
        "key": KEY,
        "reason": "bad-mailbox",
        "note": "asked by dana.levi@gmail.com",
    }
    shown = people.shown_row(row, Visitor("dan", "viewer"), lambda address: f"sealed-{len(address)}")
    assert (shown["recipient"], shown[SEALED], shown["note"]) == (
        "d***@gmail.com",
        "sealed-19",
        "asked by d***@gmail.com",
    )
    assert people.shown_row(row, NOA, lambda _: "s")["recipient"] == "dana.levi@gmail.com"
    assert people.shown_row({**row, "recipient": None}, NOA, lambda _: "s")[SEALED] == ""
    assert "dana" not in str(people.shown_person({"recipient": "dana.levi@gmail.com"}, Visitor("dan", "viewer")))


def test_filters_of_the_list_are_those_that_state_knows() -> None:
    filters = people.filters_of({"reason": "quota", "site": "", "over": "true", "stop": "x" * 300, "since": "ever"})
    assert filters == {"reason": "quota", "stop": "x" * 100}
    assert people.where_of(filters, NOON) == {**filters, "pending": False}


def test_what_is_pending_stands_apart() -> None:
    filters = people.filters_of({"pending": "1", "stop": "all", "since": "24h"})
    where = {"stop": "pending:all", "since": NOON - 86_400_000, "pending": True}
    assert people.where_of(filters, NOON) == where
    later = people.fixed(filters, NOON)
    assert people.where_of(people.filters_of(later), NOON + 5) == where, "what was counted is what is changed"


def test_a_form_means_one_block() -> None:
    assert people.block_in({"stop": "all", "brand": "", "reason": "quota"}.__getitem__) == {
        "stop": "all", "brand": "", "reason": "quota"
    }  # fmt: skip
