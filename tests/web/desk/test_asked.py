from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from relay.reporting.question import ask
from relay.web.desk.asked import BY, DAY, HOUR, Asked, Nothing, asked
from relay.web.login.visitor import Visitor
from tests.support.event_folder import NOON

NOA = Visitor("noa", "operator")
SHOP = Visitor("shop", "viewer", ("shop-web", "club"))


def of(query: str, visitor: Visitor = NOA, report: str = "bounces") -> Asked:
    return asked(report, QueryParams(query), visitor, NOON)


def query_of(address: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(address).query)


@pytest.mark.parametrize(
    ("query", "since", "until", "span"),
    [
        ("", NOON - DAY, NOON, "24h"),
        ("span=7d", NOON - 7 * DAY, NOON, "7d"),
        ("span=9d", NOON - DAY, NOON, "24h"),
        (f"since={NOON - HOUR}&until={NOON}", NOON - HOUR, NOON, ""),
        ("since=2026-11-21T10:00:00Z", NOON - 2 * HOUR, NOON, ""),
        ("since=2026-11-21T12:00:00%2B02:00&until=2026-11-21T11:00:00Z", NOON - 2 * HOUR, NOON - HOUR, ""),
        (f"since={NOON}&until={NOON - HOUR}", NOON - DAY, NOON, "24h"),
        (f"since={NOON + 5 * DAY}", NOON - DAY, NOON, "24h"),
        ("since=1&until=2000000000000", NOON - DAY, NOON, "24h"),
        ("since=0001-01-01&until=0001-06-01", NOON - DAY, NOON, "24h"),
        ("since=²", NOON - DAY, NOON, "24h"),
        ("since=" + "9" * 30, NOON - DAY, NOON, "24h"),
    ],
)
def test_of_which_time(query: str, since: int, until: int, span: str) -> None:
    found = of(query)
    assert (found.since, found.until, found.span) == (since, until, span)


def test_by_what_and_of_which_mail() -> None:
    found = of("by=stream&stream=order&site=google&site=gmx&nonsense=x&category=&campaign=" + "x" * 500)
    assert found.by == "stream"
    assert found.where == (("stream", ("order",)), ("site", ("google", "gmx")))
    assert of("by=nonsense").by == "category"
    assert of("category=quota").by == "stream", "by what is not chosen yet"
    assert of("span=7d").step == "hour"
    assert of("span=30d").step == "day"


def test_addresses_of_other_pages_ask_the_same_but_for_what_they_change() -> None:
    found = of("span=7d&by=stream&site=google")
    assert found.address() == "/report/bounces?span=7d&by=stream&site=google"
    assert query_of(found.address(site="")) == {"span": ["7d"], "by": ["stream"]}
    assert query_of(found.drilled("stream", "a&b=c")) == {
        "span": ["7d"], "site": ["google"], "stream": ["a&b=c"], "by": ["category"]
    }  # fmt: skip
    assert found.messages().startswith("/found?")
    assert query_of(found.messages(category="quota"))["report"] == ["bounces"]
    hour = query_of(found.within(NOON - HOUR))
    assert (hour["since"], hour["until"]) == ([str(NOON - HOUR)], [str(NOON)])
    assert "span" not in hour
    then = of(f"since={NOON - HOUR}&until={NOON}")
    assert query_of(then.address(span="7d")) == {"span": ["7d"], "by": ["category"]}


def test_an_answer_is_kept_by_all_that_it_depends_on() -> None:
    keys = [of("span=7d").key, of("").key, of("site=gmx").key, of("", SHOP).key, of("", report="sites").key]
    assert len(set(keys)) == len(keys)
    later = asked("bounces", QueryParams(""), NOA, NOON + 5000)
    assert later.key == of("").key, "what it was some seconds ago will do"


@pytest.mark.parametrize(
    ("query", "credentials"),
    [
        ("", ["shop-web", "club"]),
        ("credential=club", ["club"]),
        ("credential=club&credential=crm", ["club"]),
        ("credential=*", None),
        ("credential=crm", None),
        ("credential=CLUB", None),
    ],
)
def test_who_is_limited_asks_of_his_own_whatever_he_writes(query: str, credentials: list[str] | None) -> None:
    found = of(query, SHOP)
    if credentials is None:
        with pytest.raises(Nothing):
            found.selected()
    else:
        assert found.selected()["credential"] == credentials


def test_a_credential_that_is_a_pattern_opens_nothing() -> None:
    with pytest.raises(Nothing):
        of("", Visitor("x", "viewer", ("*",))).selected()


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["since", "until", "span", "by", "stream", "site", "credential"]), st.text(max_size=40)
    )
)
def test_nothing_that_stands_in_an_address_is_a_fault(words: dict[str, str]) -> None:
    for report in BY:
        found = asked(report, QueryParams(words), NOA, NOON)
        ask(report, found.since, found.until, by=[found.by], where=found.selected())
        assert query_of(found.address())
