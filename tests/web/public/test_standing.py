"""What the desk says, in the eyes of a page; what a form says, in questions to the desk."""

from typing import Any

import pytest

from relay.web.public.standing import MAX_WEEKS, UNKNOWN, WEEK, Standing, chosen, leaves, returns, standing_of, wishes
from tests.support.public import NOW, TICKET

OF_MESSAGE = TICKET._replace(
    message="01kaj2n0b1k40000", rcpt=3, credential="crm", campaign="weekend-47", skeleton="0ffe12345678"
)


def block(stop: str, brand: str | None, reason: str = "unsubscribed", over: bool = False) -> dict[str, Any]:
    return {"stop": stop, "brand": brand, "reason": reason, "over": over}


def of(*blocks: dict[str, Any], brand: str = "arava", **preferences: Any) -> Standing:
    wish = {"topics_off": [], "at_most": "each", "paused_until": None} | preferences
    return standing_of({"blocks": list(blocks), "preferences": {"arava": wish}}, brand, NOW)


def test_of_whom_nothing_is_known() -> None:
    assert standing_of({"blocks": [], "preferences": {}}, "arava", NOW) == Standing()
    assert standing_of({"error": "State cannot be reached"}, "arava", NOW) == UNKNOWN


def test_what_he_chose() -> None:
    found = of(topics_off=["tips"], at_most="1/month", paused_until="2026-12-24T00:00:00.000Z")
    assert found == Standing(frozenset({"tips"}), "monthly", 1_798_070_400_000)
    assert of(paused_until="2025-12-24T00:00:00.000Z").paused_until is None, "it is over"
    assert of(at_most="1/year").frequency == "each", "what a newer Postlane may say"
    assert of(topics_off=["tips"], brand="marom") == Standing()


def test_a_topic_he_unsubscribed_from_elsewhere_is_off() -> None:
    assert of(block("topic:tips", "arava"), topics_off=["new"]).topics_off == {"tips", "new"}
    assert of(block("topic:tips", "marom")).topics_off == frozenset()


@pytest.mark.parametrize(
    ("blocks", "left", "blocked"),
    [
        ([block("marketing", "arava")], True, False),
        ([block("marketing", "arava", over=True)], False, False),
        ([block("marketing", "marom")], False, False),
        ([block("marketing", None)], False, True),
        ([block("marketing", "arava", "complaint")], False, True),
        ([block("marketing", None, "erased")], False, True),
        ([block("all", None, "bad-mailbox"), block("marketing", "arava")], True, True),
        ([block("stream:tips", "arava")], False, False),
    ],
)
def test_who_left_and_who_is_stopped_by_others(blocks: list[dict[str, Any]], left: bool, blocked: bool) -> None:
    found = of(*blocks)
    assert (found.left, found.blocked) == (left, blocked)


def test_mail_of_no_brand_is_left_for_every_brand_and_can_be_returned_to() -> None:
    assert standing_of({"blocks": [block("marketing", None)], "preferences": {}}, "", NOW).left
    (question,) = returns(TICKET._replace(brand=""))
    assert question["where"] == {"stop": "marketing", "brand": "", "reason": "unsubscribed"}


def test_who_leaves_says_by_which_message_where_the_link_knows() -> None:
    ((asked,), (plain,)) = (
        question["entries"] for ticket in (OF_MESSAGE, TICKET) for question in leaves(ticket, "one-click", NOW)
    )
    assert asked == plain | {
        "id": "01kaj2n0b1k40000", "rcpt": 3, "credential": "crm", "class": "marketing", "campaign": "weekend-47",
        "skeleton": "0ffe12345678",
    }  # fmt: skip
    assert "id" not in plain, "an old link, or one that no message brought"
    ((none,),) = (one["entries"] for one in leaves(OF_MESSAGE._replace(campaign="", skeleton=""), "page", NOW))
    assert none["campaign"] is None
    assert "skeleton" not in none


@pytest.mark.parametrize(
    ("fields", "until"),
    [
        ({}, None),
        ({"pause": ["0"]}, None),
        ({"pause": ["4"]}, NOW + 4 * WEEK),
        ({"pause": ["5"]}, None),
        ({"pause": ["keep"], "until": [str(NOW + 1)]}, NOW + 1),
        ({"pause": ["keep"], "until": [str(NOW)]}, None),
        ({"pause": ["keep"], "until": [str(NOW + MAX_WEEKS * WEEK + 1)]}, None),
        ({"pause": ["keep"], "until": ["9" * 30]}, None),
        ({"pause": ["keep"], "until": ["²"]}, None),
        ({"pause": ["٤"]}, None),
    ],
)
def test_pauses(fields: dict[str, list[str]], until: int | None) -> None:
    assert chosen(fields, ["tips"], [1, 4], NOW) == Standing(frozenset({"tips"}), "each", until)


def test_what_is_wished_for_lifts_what_stood_against_it() -> None:
    (asked,) = wishes(TICKET, Standing(frozenset({"tips"}), "daily"), ["tips", "new"])
    wish, lifted = asked["changes"]
    assert (wish["topics_off"], wish["at_most"], wish["paused_until"]) == (["tips"], "1/day", None)
    assert (lifted["what"], lifted["where"]["stop"], lifted["where"]["brand"]) == ("unblock", "topic:new", "arava")
