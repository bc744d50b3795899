"""Feedback-ID has four parts, none of which shares a value with another, whatever is called how."""

import re

from hypothesis import given
from hypothesis import strategies as st

from relay.policy.feedback_id import LONGEST, SENDER, FeedbackIds, safe

FIELD = re.compile(rb"Feedback-ID: ([A-Za-z0-9._-]*):([A-Za-z0-9._-]*):([A-Za-z0-9._-]*):(postlane)\r\n")


def parts(ids: FeedbackIds, campaign: str, credential: str, brand: str) -> list[str]:
    found = FIELD.fullmatch(ids.field(campaign, credential, brand))
    assert found is not None
    return [one.decode() for one in found.groups()]


def test_names_stand_as_they_are() -> None:
    ids = FeedbackIds(["arava", "marom"], ["crm", "shop-web"])
    assert parts(ids, "weekend-47", "crm", "arava") == ["weekend-47", "crm", "arava", SENDER]
    assert repr(ids) == "<FeedbackIds ['arava', 'crm', 'marom', 'postlane', 'shop-web']>"
    assert 5 <= len(SENDER) <= 15, "as Google has it"


def test_one_name_for_two_things_is_told_apart_in_all_mail() -> None:
    ids = FeedbackIds(["arava"], ["arava", "crm"])
    assert parts(ids, "crm", "crm", "arava") == ["crm_", "crm", "arava", SENDER]
    assert parts(ids, "arava", "arava", "arava") == ["arava__", "arava_", "arava", SENDER]
    assert parts(ids, "arava_", "crm", "arava")[0] == "arava__", (
        "a campaign of that name, in mail of another credential"
    )
    assert parts(ids, SENDER, "crm", "arava")[0] == f"{SENDER}_"


def test_who_is_in_no_file_and_has_no_brand() -> None:
    ids = FeedbackIds(["arava"], ["crm"])
    assert parts(ids, "news", "arava", "") == ["news", "arava_", "", SENDER]


def test_what_an_app_calls_a_campaign_cannot_break_the_field() -> None:
    assert safe("Sale: 20 % off\r\nBcc: x") == "Sale-20-off-Bcc-x"
    assert safe("") == ""
    assert safe("מבצע") != safe("מבצע חורף")
    assert len(safe("x" * 200)) <= LONGEST
    assert safe("x" * 200) != safe("x" * 201)
    assert safe("!!") not in ("", "-")


names = st.sampled_from(["a", "a_", "b", "b__", SENDER, "c"]) | st.text(max_size=80)


@given(st.lists(names, max_size=4), st.lists(names, max_size=4), st.lists(st.tuples(names, names, names), max_size=5))
def test_no_value_stands_in_two_parts(brands: list[str], apps: list[str], mails: list[tuple[str, str, str]]) -> None:
    ids = FeedbackIds(brands, apps)
    known = [(campaign, app, brand) for campaign in ("a", "b", SENDER) for app in apps for brand in brands]
    values = [parts(ids, *one) for one in known]
    for first in range(4):
        for second in range(first):
            assert not {one[first] for one in values} & {one[second] for one in values} - {""}
    for one in (parts(ids, *mail) for mail in mails):
        told = [part for part in one if part]
        assert len(set(told)) == len(told)
