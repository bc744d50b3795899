"""Figures of Google's Postmaster Tools, as its API and its dashboard tell them."""

import json
from datetime import date

import pytest

from relay.policy.postmaster import Fault, Figure, Figures, read

TODAY = date(2026, 11, 22)
DAY = (date(2026, 11, 20) - date(1970, 1, 1)).days


def told(text: str, domain: str = "") -> list[Figure | Fault]:
    return list(read(text, domain, TODAY))


def test_what_the_api_answers() -> None:
    one = {
        "name": "domains/News.Arava.example/trafficStats/20261120",
        "userReportedSpamRatio": 0.0021,
        "spammyFeedbackLoops": [{"id": "may", "spamRatio": 0.004}, {"id": "crm"}],
        "domainReputation": "MEDIUM",
    }
    wanted = [
        Figure("news.arava.example", DAY, "", 0.0021),
        Figure("news.arava.example", DAY, "may", 0.004),
        Figure("news.arava.example", DAY, "crm", 0.0),
    ]
    assert told(json.dumps(one)) == wanted
    assert told(json.dumps({"trafficStats": [one]})) == wanted
    assert told(f"\ufeff{json.dumps([one])}") == wanted
    assert told(json.dumps({"name": "domains/a.example/trafficStats/2026-11-20"})) == [
        Figure("a.example", DAY, "", 0.0)
    ]


@pytest.mark.parametrize("text", ["{", '{"name": "x"}', "[1]", '[{"name": 1}]'])
def test_json_that_says_nothing(text: str) -> None:
    (fault,) = told(text)
    assert isinstance(fault, Fault)


def test_json_without_entries() -> None:
    assert told('{"trafficStats": 1}') == []


def test_what_the_dashboard_saves() -> None:
    text = 'Date,User reported spam rate\n2026-11-20,0.31 %\n\n2026-11-19,"0,1%"\n'
    assert told(text, "arava.example") == [
        Figure("arava.example", DAY, "", 0.0031),
        Figure("arava.example", DAY - 1, "", 0.001),
    ]
    more = "domain,date,id,rate\nxn--mgbh0fb.example,2026-11-20,may,0.004\n"
    assert told(more) == [Figure("xn--mgbh0fb.example", DAY, "may", 0.004)]


def test_what_is_wrong_is_said_by_line() -> None:
    text = "date,rate\n2026-11-20,0.1\nyesterday,1\n2026-12-20,0.1\n1950-01-01,0.1\n2026-11-20,7\n2026-11-20,much\n"
    whys = [one.why if isinstance(one, Fault) else one.share for one in told(text, "a.example")]
    assert whys == [
        0.1,
        '"yesterday" is no date, such as 2026-11-23',
        "2026-12-20 is yet to come",
        "1950-01-01 is before there was mail",
        '"7" is no rate: a share such as 0.0031, or 0.31 %',
        '"much" is no rate: a share such as 0.0031, or 0.31 %',
    ]
    assert told("date,rate\n2026-11-20,0.1\n") == [Fault(2, "no domain; add a column, or --domain")]
    assert told("date,rate\n2026-11-20,0.1\n", "not a domain") == [Fault(2, '"not a domain" is no domain')]
    assert told("day,x\n") == [Fault(1, "the header names no column date, or none rate")]
    (fault,) = told('date,rate\n"' + "x" * 200_000, "a.example")
    assert isinstance(fault, Fault)


def test_the_closest_figure_counts() -> None:
    figures = Figures(
        [
            Figure("a.example", 5, "", 0.001),
            Figure("b.example", 5, "", 0.002),
            Figure("a.example", 5, "may", 0.01),
            Figure("b.example", 5, "may", 0.02),
            Figure("a.example", 5, "crm", 0.003),
        ]
    )
    domains = ("a.example", "b.example")
    assert figures.share(5, ["may", "crm", "arava"], domains) == 0.02
    assert figures.share(5, ["june", "crm", "arava"], domains) == 0.003
    assert figures.share(5, ["june", "shop", ""], domains) == 0.002
    assert figures.share(5, [], ["c.example"]) is None
    assert figures.share(6, ["may"], domains) is None
    assert repr(figures) == "<Figures 5>"
