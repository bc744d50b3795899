"""What workers tell of one site, added up."""

from typing import Any

from relay import top_site
from relay.lately import Lately
from relay.message import MailClass
from relay.pause import Pause
from relay.top import Facts, Waiting

NOW = 1_795_267_531_000  # 2026-11-21T13:25:31Z
SERVICE, MARKETING = MailClass.SERVICE, MailClass.MARKETING


def facts(**changes: Any) -> Facts:
    usual: dict[str, Any] = {
        "pools": {}, "waiting": {}, "flying": {}, "connections": {}, "limits": {}.get, "pauses": [], "rates": {},
        "lately": Lately(),
    }  # fmt: skip
    return Facts(**(usual | changes))


def test_lanes_of_two_workers_are_one_by_class_and_stream() -> None:
    one = facts(
        waiting={
            (MARKETING, "google", "news"): Waiting(10, 2, NOW - 1),
            (SERVICE, "google", "note"): Waiting(1, 0, NOW + 9_000),
            (MARKETING, "yahoo", "news"): Waiting(99, 0, NOW),
        },
        flying={
            (MARKETING, "google", "news", 0): 3,
            (MARKETING, "google", "news", 5): 1,
            (MARKETING, "yahoo", "x", 0): 1,
        },
    )
    other = facts(waiting={(MARKETING, "google", "news"): Waiting(5, 0, NOW + 4_000)})
    found = top_site.joined(
        "google", [top_site.part("google", each) for each in (one, other)], {"paces": [], "standing": []}, NOW
    )
    assert found["site"] == "google"
    assert found["lanes"] == [
        {"class": "marketing", "stream": "news", "waiting": 15, "due": 2, "sending": 4, "next": None},
        {
            "class": "service",
            "stream": "note",
            "waiting": 1,
            "due": 0,
            "sending": 0,
            "next": "2026-11-21T13:25:40.000Z",
        },
    ]


def test_of_pauses_the_longest_of_each_limit_and_of_paces_the_site_s_own() -> None:
    parts = [
        top_site.part("google", facts(pauses=[(MARKETING, pause) for pause in pauses]))
        for pauses in (
            [Pause(NOW + 100, "pace", "google", "cold"), Pause(NOW + 900, "other", "yahoo", "cold")],
            [Pause(NOW + 200, "rate", "google", "cold"), Pause(NOW, "over", "google", "warm")],
            [Pause(NOW + 150, "pace", "google", "cold")],
        )
    ]
    shaping = {
        "paces": [{"site": "google", "pace": 3}, {"site": "yahoo", "pace": 4}],
        "standing": [{"site": "google", "kind": "aside", "until": NOW + 1_000}, {"site": "yahoo", "until": NOW}],
    }
    found = top_site.joined("google", parts, shaping, NOW)
    assert found["pauses"] == [
        {"class": "marketing", "limit": "cold", "until": "2026-11-21T13:25:31.200Z", "why": "rate"}
    ]
    assert found["paces"] == [{"site": "google", "pace": 3}]
    assert found["standing"] == [{"site": "google", "kind": "aside", "until": "2026-11-21T13:25:32.000Z"}]
