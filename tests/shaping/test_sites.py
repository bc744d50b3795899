"""Which domains share limits."""

import pytest

from relay.policy.patterns import parse
from relay.policy.routes import AnyOf
from relay.shaping import sites
from relay.shaping.sites import Provider, Sites

MX = tuple[tuple[int, str], ...]


def provider(name: str, domains: str = "", mx: str = "") -> Provider:
    return Provider(name, frozenset(domains.split()), AnyOf([parse(one) for one in mx.split() or ["-"]]))


def known() -> Sites:
    return Sites(
        [
            provider("house", mx="*.own.google.com"),
            provider("google", "gmail.com googlemail.com", "*.google.com"),
            provider("walla", "walla.co.il"),
        ]
    )


@pytest.mark.parametrize(
    ("domain", "exchanges", "site"),
    [
        ("gmail.com", ((5, "gmail-smtp-in.l.google.com"),), "google"),
        ("gmail.com", ((5, "mx.elsewhere.example"),), "google"),  # by its name
        ("shop.example", ((1, "aspmx.l.google.com"), (5, "alt1.aspmx.l.google.com")), "google"),
        ("shop.example", ((1, "aspmx.l.google.com"), (20, "old.hoster.example")), "google"),  # a forgotten spare
        ("shop.example", ((1, "mx.hoster.example"), (20, "aspmx.l.google.com")), "aspmx.l.google.com+f8b916"),
        ("shop.example", ((1, "mx.own.google.com"),), "house"),  # the first that fits
        ("walla.co.il", ((1, "mx.walla.co.il"),), "walla"),
        ("x.walla.co.il", ((1, "mx.walla.co.il"),), "mx.walla.co.il"),  # no pattern, and the domain is another
        ("bank.example", ((0, "bank.example"),), "bank.example"),  # implicit MX
        ("bank.example", ((1, "mx1.bank.example"), (2, "mx2.bank.example")), "bank.example"),
        ("mybank.example", ((1, "mx.bank.example"),), "mx.bank.example"),
        ("small.example", ((1, "mx.hoster.example"),), "mx.hoster.example"),
        ("[192.0.2.1]", ((0, "[192.0.2.1]"),), "[192.0.2.1]"),
    ],
)
def test_site_of_a_route(domain: str, exchanges: MX, site: str) -> None:
    assert known().of(domain, exchanges) == site


def test_of_the_hosts_those_that_are_any_provider_s_are_looked_for_first() -> None:
    asked: list[str] = []

    class Asked:
        def __contains__(self, name: str) -> bool:
            asked.append(name)
            return name.endswith(".google.com")

    found = Sites([Provider("google", frozenset(), Asked())], frozenset({"aspmx.l.google.com"}))
    assert found.of("a.example", ((1, "aspmx.l.google.com"), (1, "mx.hoster.example"))) == "google"
    assert found.of("b.example", ((1, "mx.hoster.example"),)) == "mx.hoster.example"
    assert asked == ["aspmx.l.google.com"]


def test_the_same_set_has_the_same_name_whatever_its_order_and_another_set_another() -> None:
    found = known()
    one = found.of("a.example", ((1, "mx2.hoster.example"), (2, "mx1.hoster.example")))
    assert one == found.of("b.example", ((5, "mx1.hoster.example"), (5, "mx2.hoster.example")))
    assert one.startswith("mx1.hoster.example+")
    assert one != found.of("c.example", ((1, "mx1.hoster.example"), (1, "mx3.hoster.example")))
    assert one.replace("+", "").replace(".", "").isalnum(), "nothing that a shell would want quoted"


def test_what_is_expected_is_what_was_seen_last() -> None:
    found = known()
    assert [found.expected(domain) for domain in ("gmail.com", "shop.example")] == ["google", "shop.example"]
    found.of("shop.example", ((1, "aspmx.l.google.com"),))
    assert found.expected("shop.example") == "google"
    found.of("shop.example", ((1, "mx.hoster.example"),))
    assert found.expected("shop.example") == "mx.hoster.example"
    assert repr(found) == "<Sites of 3 providers, 1 learned>"
    found.of("shop.example", ((1, "mx.shop.example"),))
    assert found.expected("shop.example") == "shop.example"
    assert repr(found) == "<Sites of 3 providers, 0 learned>"


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sites, "MAX_LEARNED", 2)
    found = Sites()
    for name in "abc":
        found.of(f"{name}.example", ((1, "mx.hoster.example"),))
    assert [found.expected(f"{name}.example") for name in "abc"] == [
        "a.example",
        "mx.hoster.example",
        "mx.hoster.example",
    ]
