"""Which suppression follows from what."""

import pytest

from relay.event import Facts
from relay.feedback.aftermath import (
    DAY,
    KINDS,
    MOST,
    SHIPPED,
    Aftermath,
    Rule,
    announced,
    believed,
    counted,
    unsubscription,
)
from relay.feedback.taxonomy import Category
from relay.person import PENDING_FOR
from tests.support.house import NOW, waiting_delivery

SHIPS = Aftermath()


@pytest.mark.parametrize(
    ("category", "reason", "until"),
    [
        (Category.BAD_MAILBOX, "bad-mailbox", None),
        (Category.BAD_DOMAIN, "bad-domain", None),
        (Category.INACTIVE_MAILBOX, "inactive-mailbox", NOW + 180 * DAY),
    ],
)
def test_a_mailbox_that_takes_nothing_gets_nothing_more(category: Category, reason: str, until: int | None) -> None:
    delivery = waiting_delivery()
    entry = SHIPS.of_failure(delivery, category, True, "google", NOW)
    assert entry is not None
    assert (entry["recipient"], entry["stop"], entry["brand"]) == (delivery.recipient, "all", "")
    assert (entry["reason"], entry["until"], entry["site"], entry["after"]) == (reason, until, "google", 1)
    assert entry["credential"] == "shop", "whose app is told, too"
    assert SHIPS.of_failure(delivery, category, False, "google", NOW) is None, "temporary, whatever it is"


def test_full_and_unwilling_mailboxes_are_given_several_chances() -> None:
    delivery = waiting_delivery()
    full = SHIPS.of_failure(delivery, Category.QUOTA, False, "", NOW)
    assert full is not None
    assert (full["stop"], full["after"], full["within"], full["until"]) == ("all", 3, 14 * DAY, NOW + 30 * DAY)
    unwilling = SHIPS.of_failure(delivery, Category.RECIPIENT_REFUSED, True, "", NOW)
    assert unwilling is not None
    assert (unwilling["stop"], unwilling["after"]) == (f"stream:{delivery.message.stream}", 3)
    assert unwilling["site"] == delivery.site


@pytest.mark.parametrize("category", sorted(set(Category) - set(SHIPPED)))
def test_what_blames_another_stops_nothing(category: str) -> None:
    assert SHIPS.of_failure(waiting_delivery(), category, True, "", NOW) is None
    assert SHIPS.of_failure(waiting_delivery(), "of a newer version", True, "", NOW) is None


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("abuse", "complaint"), ("Fraud", "complaint"), ("", "complaint"), ("opt-out", "unsubscribed")],
)
def test_a_complaint_stops_the_brands_marketing(kind: str, reason: str) -> None:
    delivery = waiting_delivery()
    delivery.message.brand = "arava"
    entry = SHIPS.of_complaint(delivery, kind, NOW)
    assert entry is not None
    assert (entry["stop"], entry["brand"], entry["reason"], entry["until"]) == ("marketing", "arava", reason, None)
    assert entry["site"] == delivery.site
    assert ("campaign" in entry) is (reason == "unsubscribed"), "its event is one of the message"


@pytest.mark.parametrize("kind", ["not-spam", "virus", "auth-failure"])
def test_reports_of_other_things_stop_nothing(kind: str) -> None:
    assert SHIPS.of_complaint(waiting_delivery(), kind, NOW) is None


def test_who_leaves_by_mail_leaves_as_by_a_click() -> None:
    delivery = waiting_delivery()
    delivery.message.brand = "arava"
    entry = unsubscription(delivery, NOW)
    assert entry is not None
    assert (entry["recipient"], entry["stop"], entry["brand"]) == (delivery.recipient, "marketing", "arava")
    assert (entry["reason"], entry["source"], entry["until"], entry["after"]) == ("unsubscribed", "mailto", None, 1)
    message = delivery.message
    assert (entry["id"], entry["rcpt"], entry["credential"]) == (message.id, delivery.index, message.credential)
    assert (entry["class"], entry["metadata"], entry["from"]) == (message.mail_class.label, {}, message.author)


def test_the_files_word_counts() -> None:
    said = Aftermath({"bad-mailbox": Rule("nothing"), "complaint": Rule("all", span=DAY)})
    assert said.of_failure(waiting_delivery(), "bad-mailbox", True, "", NOW) is None
    entry = said.of_complaint(waiting_delivery(), "abuse", NOW)
    assert entry is not None
    assert (entry["stop"], entry["brand"], entry["until"]) == ("all", "", NOW + DAY)
    none = Aftermath({})
    assert none.of_complaint(waiting_delivery(), "abuse", NOW) is None
    assert none.of_complaint(waiting_delivery(), "opt-out", NOW) is not None, "who opts out is out"
    assert repr(none) == "<Aftermath of >"


def test_only_failures_about_the_recipient_may_have_consequences() -> None:
    assert set(SHIPPED) <= set(KINDS)
    assert not set(KINDS) & {"reputation-block", "policy-block", "spam-block", "rate-limited", "greylisted", "other"}


def called_for(category: str = "bad-mailbox", span: int | None = None) -> Facts:
    """What a failure of that category calls for, now; `span`: as the file has it."""
    found = Aftermath({category: Rule("all", span=span)} if span else SHIPPED).of_failure(
        waiting_delivery(), category, True, "google", NOW
    )
    assert found is not None
    return found


def test_an_event_says_what_is_suppressed_at_once() -> None:
    assert announced(called_for(), [], NOW, doubted=False) == "all"
    assert announced(None, [], NOW, doubted=False) is None
    assert announced(called_for("quota"), [], NOW, doubted=False) is None, "its third day's failure does, not this one"


@pytest.mark.parametrize("category", ["bad-mailbox", "bad-domain"])
def test_a_doubted_site_s_word_is_pending_until_the_same_comes_on_another_day(category: str) -> None:
    entry, morning, yesterday = called_for(category), NOW - DAY // 8, NOW - DAY
    assert announced(entry, [], NOW, doubted=True) == "pending:all"
    assert announced(entry, [morning], NOW, doubted=True) == "pending:all"
    assert believed(entry, [morning], NOW, doubted=True) is None, "it waits already"
    assert announced(entry, [morning], NOW, doubted=False) == "pending:all"
    assert believed(entry, [morning], NOW, doubted=False) is None
    assert announced(entry, [yesterday], NOW, doubted=False) == "all"
    assert announced(entry, [yesterday, morning], NOW, doubted=False) == "pending:all"
    assert believed(entry, [yesterday], NOW, doubted=False) == entry
    sleeping = called_for("inactive-mailbox")
    assert believed(sleeping, [morning], NOW, doubted=True) == sleeping, "a bad hour is of unknown users"


def test_what_is_pending_keeps_how_long_it_is_to_stop_mail() -> None:
    left = believed(called_for(), [], NOW + 9, doubted=True)
    assert left is not None
    assert (left["stop"], left["until"], left["span"]) == ("pending:all", NOW + 9 + PENDING_FOR, None)
    left = believed(called_for(span=90 * DAY), [], NOW + 9, doubted=True)
    assert left is not None
    assert (left["until"], left["span"]) == (NOW + 9 + PENDING_FOR, 90 * DAY)


def test_what_is_kept_of_failures_is_bounded() -> None:
    known: list[tuple[str, int]] = []
    for number in range(3 * MOST):
        known = counted(known, f"m{number}/0", number * DAY, 1_000 * DAY)
    assert len(known) == MOST
    assert known[-1] == (f"m{3 * MOST - 1}/0", (3 * MOST - 1) * DAY)
