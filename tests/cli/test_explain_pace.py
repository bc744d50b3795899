"""How mail may go to a site and how it goes now, as `explain` tells it."""

from pathlib import Path
from typing import Any

import pytest

from relay.cli.explain_pace import NOTHING_SAID, Pacing
from relay.message import MailClass

SHAPING = """\
[default]
rate = "100/second"
[provider.google]
connections = 8
[provider.google.pool.marketing]
rate = "40/second"
[domain."firm.example"]
rate = "5/second"
tls = "verify"
[domain."10.0.0.9"]
site_rate = "7/second"
"""
ROW: dict[str, Any] = {
    "site": "google", "source": "192.0.2.1", "pool": "marketing", "direction": "recovering", "until": None,
    "said": "31 of 40/s, recovering since 14:02 (421 4.7.28)",
}  # fmt: skip
TWO = ["192.0.2.1", "192.0.2.2"]


@pytest.fixture
def pacing(tmp_path: Path) -> Pacing:
    (tmp_path / "shaping.toml").write_text(SHAPING)
    return Pacing(tmp_path, {})


def limits(pacing: Pacing, *way: str) -> dict[str, str]:
    return {f"{one.key}{one.beside}": f"{one.value} {one.place}" for one in pacing.limits(*way)}


def test_each_limit_with_its_place(pacing: Pacing) -> None:
    assert limits(pacing, "google", "marketing", "gmail.com") == {
        "connections": "8 policies/shaping.toml:4",
        "rate": "40/second policies/shaping.toml:6",
        "reserved": "2 shipped",
        "messages_per_connection": "50 shipped",
        "tls": "required shipped",
    }
    assert limits(pacing, "google", "service", "gmail.com")["rate"] == "100/second policies/shaping.toml:2"
    assert limits(pacing, "small.example", "marketing", "small.example")["connections"] == "10 shipped"
    assert limits(NOTHING_SAID, "google", "marketing", "gmail.com") == {}


def test_a_domain_speaks_for_its_own_site_and_beside_a_shared_one(pacing: Pacing) -> None:
    own = limits(pacing, "firm.example", "marketing", "firm.example")
    assert (own["rate"], own["tls"]) == ("5/second policies/shaping.toml:8", "verify policies/shaping.toml:9")
    shared = limits(pacing, "google", "marketing", "firm.example")
    assert (shared["rate"], shared["ratefirm.example"]) == (
        "40/second policies/shaping.toml:6",
        "5/second policies/shaping.toml:8",
    )
    assert (shared["tls"], shared["connections"]) == ("verify policies/shaping.toml:9", "8 policies/shaping.toml:4")
    (alone,) = [one for one in pacing.limits("google", "marketing", "firm.example") if one.beside]
    assert str(alone) == "rate 5/second for firm.example alone (shaping.toml:8)"


def test_a_host_the_admin_named_has_the_rates_that_are_said_of_it(pacing: Pacing) -> None:
    said = limits(pacing, "10.0.0.9:25", "marketing", "x.example", "10.0.0.9")
    assert (said["site_rate"], "rate" in said) == ("7/second policies/shaping.toml:11", False)
    assert limits(pacing, "10.0.0.8:25", "marketing", "x.example", "10.0.0.8").keys() == {
        "connections", "reserved", "messages_per_connection", "tls",
    }  # fmt: skip


def said(*rows: dict[str, Any], standing: tuple[dict[str, Any], ...] = (), **more: Any) -> list[str]:
    about: dict[str, Any] = {
        "sources": TWO,
        "pool": "marketing",
        "stream": "news",
        "mail_class": MailClass.MARKETING,
    } | more
    return list(Pacing(None, {"paces": rows, "standing": standing}).said("google", **about))


def test_the_pace_of_the_sources_that_may_carry_it() -> None:
    others = ({**ROW, "site": "yahoo"}, {**ROW, "source": "192.0.2.99"})
    free = {**ROW, "source": "192.0.2.2", "direction": "free"}
    assert said(ROW, free, *others) == [
        "google: pace now 31 of 40/s, recovering since 14:02 (421 4.7.28) from 192.0.2.1"
    ]
    assert said(free) == ["google: pace now free"]
    assert said(*others) == [], "no mail of these sources went there lately"
    assert said(ROW, sources=["192.0.2.1"], mail_class=MailClass.TRANSACTIONAL) == [
        "google: pace now 31 of 40/s, recovering since 14:02 (421 4.7.28) (transactional mail is not held by it)"
    ]
    paused = {**ROW, "direction": "paused", "said": "paused: shipped: 550", "until": 1_795_262_731_104}
    assert said(paused) == ["google: pace now paused: shipped: 550 from 192.0.2.1 until 2026-11-21T12:05:31.104Z"]
    many = [{**ROW, "source": f"192.0.2.{number}"} for number in range(5)]
    assert said(*many, sources=[row["source"] for row in many])[3:] == [
        "google: 2 more sources are slowed; postlane pace --site google"
    ]


def test_orders_and_what_rules_have_stopped() -> None:
    until = 1_795_262_731_104
    order = {"kind": "order", "site": "google", "rate": "10/second", "until": until, "by": "noa", "reason": ""}
    stopped = {"kind": "aside", "site": "google", "place": "shaping.toml:22", "why": "550 S3140", "until": until}
    standing = (
        {**order, "pool": "*"}, {**order, "pool": "cold"}, {**order, "site": "yahoo", "pool": "*"},
        {**stopped, "who": "stream/news"}, {**stopped, "who": "stream/other"},
    )  # fmt: skip
    at = "2026-11-21T12:05:31.104Z"
    assert said(standing=standing) == [
        f"google: at most 10/second from each source until {at}, by noa",
        f"google: stream news waits until {at}, by shaping.toml:22: 550 S3140",
    ]
    assert said(standing=standing, mail_class=MailClass.TRANSACTIONAL) == [
        f"google: at most 10/second from each source until {at}, by noa (transactional mail is not held by it)"
    ]
