"""What a message does not pass, and when that refuses it."""

from collections.abc import Sequence
from dataclasses import replace

from relay.header import split
from relay.identity import Brand, Credential
from relay.message import MailClass
from relay.policy.checks import BUILT_IN, Checks, Level, built_in
from relay.policy.contradiction import Ledger
from relay.policy.decide import Law, Refusal
from relay.policy.evidence.classify import Evidence
from relay.policy.letter import Letter
from relay.policy.sample import Sample
from relay.policy.streams import Streams
from relay.policy.weigh import Memory, Weighed, weigh

CRM = Credential("crm", MailClass.MARKETING, frozenset({"*"}))
AUTO = Credential("auto", None, frozenset({"*"}))
BRANDS = {"arava": Brand("arava", domains=frozenset({"arava.example"}))}
LETTER = b"From: Arava <a@arava.example>\r\nSubject: Sale\r\n\r\nhi"


def law(**levels: Level) -> Law:
    asked = [(BUILT_IN[name.replace("_", "-")], level) for name, level in levels.items()]
    checks = Checks([(rule, level, built_in(rule.name, [], [])) for rule, level in asked])
    return Law("abc123", "postmaster@relay.example", BRANDS, Streams(), {"arava": checks}, lambda domain: domain)


def service(letter: Letter, credential: str, now: int) -> Evidence:
    return Evidence(MailClass.SERVICE, 0.9)


def weighed(said: Law, app: Credential = CRM, content: bytes = LETTER) -> Weighed | Refusal:
    fields, rest = split(content)
    return weigh(Letter(fields, content, rest, "Sale", domains=["b.example"]), app, "", 7, said, service)


def passed_not(said: Law, app: Credential = CRM, content: bytes = LETTER) -> Sequence[tuple[str, str]]:
    found = weighed(said, app, content)
    assert isinstance(found, Weighed), found
    return [(one.name, one.level) for one in found.checks]


def test_what_does_not_pass_is_told_and_carried_all_the_same() -> None:
    said = law(israel_30a="warn", postal_address="flag", alignment="refuse")
    assert passed_not(said) == [("israel-30a", "warn"), ("postal-address", "flag")]


def test_checks_are_those_of_the_brand_and_of_the_class_in_the_end() -> None:
    said = law(postal_address="refuse")
    assert passed_not(said, content=LETTER.replace(b"arava.ex", b"marom.ex")) == []
    assert passed_not(said, AUTO) == []


def test_a_refusal_names_the_check_what_is_missing_and_who_asks_for_it() -> None:
    found = weighed(law(israel_30a="warn", postal_address="refuse", one_click_unsubscribe="refuse"))
    assert isinstance(found, Refusal)
    assert (found.reason, found.detail) == ("check", "postal-address")
    assert str(found.reply) == (
        "550 5.7.1 Check postal-address of brand arava, marketing mail: the brand's postal_address is not in the text "
        "(CAN-SPAM, 15 U.S.C. 7704(a)(5)(A)(iii)); nor does it pass one-click-unsubscribe"
    )


def test_who_may_not_write_from_there_is_refused_before_any_check() -> None:
    found = weighed(law(alignment="refuse"), Credential("x", MailClass.MARKETING, frozenset({"x.example"})))
    assert isinstance(found, Refusal)
    assert found.reason == "from-domain"


def test_of_rerouted_mail_is_asked_what_its_app_says_it_is() -> None:
    """It reads as marketing, and never was asked for an address before."""
    app = Credential("shop", MailClass.TRANSACTIONAL, frozenset({"*"}))
    fields, rest = split(LETTER)
    letter = Letter(fields, LETTER, rest, "Sale", domains=["b.example"])

    def offer(letter: Letter, credential: str, now: int, unseen: int = 0) -> Evidence:
        return Evidence(MailClass.MARKETING, 0.95, "offer")

    for act, end in (("reroute", "rerouted"), ("enforce", "check")):
        said = replace(law(postal_address="refuse"), streams=Streams((), act))
        memory = Memory(Sample(offer), Ledger())
        found = [weigh(letter, app, "", 7, said, offer, memory) for _ in range(8)][-1]
        assert end == (found.reason if isinstance(found, Refusal) else found.contradiction)
