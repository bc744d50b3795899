"""What needs a person, worst first, and what does not."""

from typing import Any

import pytest

from relay.reporting.findings import Finding
from relay.reporting.needs import Need, of_findings, of_status, worst_first


def finding(category: str, count: int = 100, share: float | None = 0.5, usual: float | None = 0.0) -> Finding:
    return Finding(category, count, 200, share, usual, {"stream": "news"}, {})


def test_alerts_go_before_what_is_stopped_and_that_before_what_was_promised() -> None:
    needs = of_status(
        {
            "alerts": [
                {"name": "flag", "severity": "warning", "summary": "a check", "advice": ""},
                {"name": "spool", "severity": "critical", "summary": "the disk is full", "advice": "make room"},
            ],
            "suspensions": [{"said": "stream win-back", "waiting": 9120, "reason": "old", "undo": "postlane resume"}],
            "reviews": [
                {"stream": "a", "review_by": "2026-01-15", "past": True},
                {"stream": "b", "review_by": "2027-01-15", "past": False},
            ],
            "needs": [{"what": "automation birthday decays", "see": "postlane report streams"}],
        }
    )
    assert [need.what for need in worst_first(needs)] == [
        "spool: the disk is full",
        "suspended stream win-back, 9,120 waiting: old",
        "flag: a check",
        "automation birthday decays",
        "stream a was to be looked at again by 2026-01-15",
    ]
    assert of_status({}) == []


@pytest.mark.parametrize(
    ("more", "needed"),
    [
        ({"category": "auth-failure"}, True),
        ({"category": "auth-failure", "share": 0.01, "usual": 0.01}, False),
        ({"category": "auth-failure", "share": 0.03, "usual": 0.01}, True),
        ({"category": "reputation-block", "count": 9}, False),
        ({"category": "bad-mailbox", "share": 0.02, "usual": 0.005}, True),
        ({"category": "bad-mailbox", "share": 0.12, "usual": None}, True),
        ({"category": "bad-mailbox", "share": 0.01, "usual": None}, False),
        ({"category": "quota"}, False),
        ({"category": "expired"}, False),
        ({"category": "something new"}, False),
        ({"category": "auth-failure", "share": None}, False),
    ],
)
def test_what_heals_by_itself_needs_nobody(more: dict[str, Any], needed: bool) -> None:
    assert bool(of_findings([finding(**more)])) is needed


def test_what_an_alert_tells_of_no_finding_says_again() -> None:
    said = {
        "summary": "stream news: 50 % of 20 messages refused with 550 5.7.26",
        "advice": "postlane keys dns a.example",
    }
    fault = {"name": "auth-failure", "severity": "warning", "what": {"stream": "news"}, **said}
    lost = {"name": "state", "severity": "critical", "what": {}, "summary": "State is lost", "advice": ""}
    of_node = of_status({"alerts": [fault, lost]})
    elsewhere = Finding("auth-failure", 100, 200, 0.5, 0.0, {"stream": "order", "site": "google"}, {})
    same = Finding("auth-failure", 100, 200, 0.5, 0.0, {"stream": "news", "site": "google"}, {})
    found = of_findings([same, elsewhere, finding("bad-sender")], of_node)
    assert [need.what.partition(":")[0] for need in worst_first([*found, *of_node])] == [
        "state",
        "auth-failure, stream order, site google",
        "bad-sender, stream news",
        "auth-failure",
    ]
    assert of_node[0].where == {"category": "auth-failure", "stream": "news"}, "by which its mail is found"


def test_a_need_says_what_where_and_how_much() -> None:
    assert of_findings([finding("auth-failure", share=0.5, usual=0.001)]) == [
        Need(
            2,
            100,
            "auth-failure, stream news: 100 of 200 (50.0 %, usually 0.1 %)",
            "what DKIM, SPF or DMARC of the From domain lack: postlane keys dns DOMAIN prints the records",
            see="postlane report messages --category auth-failure --stream news",
            where={"category": "auth-failure", "stream": "news"},
        )
    ]
