"""Which suppression follows from what."""

import pytest

from relay.feedback.aftermath import ASLEEP, after_complaint, after_failure
from relay.feedback.taxonomy import Category
from tests.support.house import NOW, waiting_delivery


@pytest.mark.parametrize(
    ("category", "reason", "until"),
    [
        (Category.BAD_MAILBOX, "dead-mailbox", None),
        (Category.BAD_DOMAIN, "dead-mailbox", None),
        (Category.INACTIVE_MAILBOX, "inactive-mailbox", NOW + ASLEEP),
    ],
)
def test_a_mailbox_that_takes_nothing_gets_nothing_more(category: Category, reason: str, until: int | None) -> None:
    delivery = waiting_delivery()
    entry = after_failure(delivery, category, True, "google", NOW)
    assert entry is not None
    assert entry == {
        "recipient": delivery.recipient, "stop": "all", "brand": "", "reason": reason, "source": "feedback",
        "until": until, "site": "google", "stream": delivery.message.stream,
    }  # fmt: skip
    assert after_failure(delivery, category, False, "google", NOW) is None, "temporary, whatever it is"


@pytest.mark.parametrize(
    "category", [one for one in Category if one not in ("bad-mailbox", "bad-domain", "inactive-mailbox")]
)
def test_what_blames_another_stops_nothing(category: Category) -> None:
    assert after_failure(waiting_delivery(), category, True, "", NOW) is None
    assert after_failure(waiting_delivery(), "of a newer version", True, "", NOW) is None


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("abuse", "complaint"), ("Fraud", "complaint"), ("", "complaint"), ("opt-out", "unsubscribed")],
)
def test_a_complaint_stops_the_brands_marketing(kind: str, reason: str) -> None:
    delivery = waiting_delivery()
    delivery.message.brand = "arava"
    entry = after_complaint(delivery, kind)
    assert entry is not None
    assert (entry["stop"], entry["brand"], entry["reason"], entry["until"]) == ("marketing", "arava", reason, None)
    assert entry["site"] == delivery.site


@pytest.mark.parametrize("kind", ["not-spam", "virus", "auth-failure"])
def test_reports_of_other_things_stop_nothing(kind: str) -> None:
    assert after_complaint(waiting_delivery(), kind) is None
