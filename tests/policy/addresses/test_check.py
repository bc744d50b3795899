"""All that is found of an address, and what a refusal says."""

import pytest

from relay.policy.addresses.check import NOTHING, Checker, Finding, Modes, Takes, refusal
from relay.policy.addresses.slips import Slips

CHECKER = Checker(Slips(), frozenset({"mailinator.com"}))


def test_most_addresses_are_worth_mail() -> None:
    assert CHECKER.find("ada", "shop.example") is NOTHING
    assert not NOTHING
    assert refusal(NOTHING, "shop.example") is None


@pytest.mark.parametrize(
    ("local", "domain", "takes", "tags"),
    [
        ("ada", "gmial.com", Takes.UNKNOWN, ["typo"]),
        ("info", "gmial.com", Takes.NO_DOMAIN, ["typo", "no-domain", "role"]),
        ("ada", "mailinator.com", Takes.UNKNOWN, ["disposable"]),
        ("ada", "mx.mailinator.com", Takes.UNKNOWN, ["disposable"]),
        ("ada", "shop.example", Takes.NULL_MX, ["null-mx"]),
        ("ada", "shop.example", Takes.BY_ADDRESS, ["no-mx"]),
        ("ada", "[192.0.2.1]", Takes.NO_HOST, ["no-host"]),
    ],
)
def test_tags(local: str, domain: str, takes: Takes, tags: list[str]) -> None:
    finding = CHECKER.find(local, domain, takes)
    assert finding
    assert finding.facts["tags"] == tags
    assert finding.facts.get("did_you_mean") == ("gmail.com" if "typo" in tags else None)


@pytest.mark.parametrize(
    ("finding", "said"),
    [
        (Finding(("typo",), "gmail.com"), "550 5.1.2 x.example looks mistyped; did you mean gmail.com?"),
        (Finding(("no-domain",), "", Takes.NO_DOMAIN), "550 5.1.2 No such domain: x.example"),
        (
            Finding(("typo", "no-domain"), "gmail.com", Takes.NO_DOMAIN),
            "550 5.1.2 No such domain: x.example; did you mean gmail.com?",
        ),
        (Finding(("no-host",), "", Takes.NO_HOST), "550 5.1.2 x.example has neither MX nor address"),
        (Finding(("null-mx",), "", Takes.NULL_MX), "556 5.1.10 x.example accepts no mail (null MX)"),
    ],
)
def test_what_a_refusal_says(finding: Finding, said: str) -> None:
    assert str(refusal(finding, "x.example")).startswith(said)


@pytest.mark.parametrize("tags", [("disposable",), ("role",), ("no-mx",)])
def test_what_is_tagged_only(tags: tuple[str, ...]) -> None:
    takes = Takes.BY_ADDRESS if tags == ("no-mx",) else Takes.UNKNOWN
    assert refusal(Finding(tags, "", takes), "x.example") is None


def test_each_credential_may_have_its_own_mode() -> None:
    modes = Modes("tag", {"shop": "refuse"})
    assert (modes.of("shop"), modes.of("erp")) == ("refuse", "tag")


def test_what_never_takes_mail() -> None:
    assert [one for one in Takes if one.never] == [Takes.NO_HOST, Takes.NO_DOMAIN, Takes.NULL_MX]
