"""Whose word counts: the app's, a rule's, or the evidence's; and what is done about claims that do not stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.header import split
from relay.identity import Credential
from relay.message import MailClass
from relay.policy.contradiction import SURE, Ledger, contradicts
from relay.policy.decide import Law, Refusal
from relay.policy.evidence.classify import Evidence, Shown
from relay.policy.letter import Letter
from relay.policy.patterns import parse
from relay.policy.sample import FIRST, Sample
from relay.policy.streams import Match, Stream, Streams
from relay.policy.weigh import Memory, Weighed, weigh

URGENT, SERVICE, BULK = MailClass
NOW = 1_795_267_531_104
ACTS = ("trust", "flag", "reroute", "enforce", "refuse")
REASONS: tuple[Shown, ...] = (
    ("order", "text", "", (1.9, 0.0, 0.0)),
    ("discount", "subject", "", (0.0, 0.0, 2.6)),
    ("percentage", "subject", "", (0.0, 0.0, 1.4)),
)
OFFER = Evidence(BULK, 0.93, "offer", REASONS)
RECEIPT = Evidence(URGENT, 0.99, "receipt")


class Rig:
    """Mail of one credential, weighed one after the other; `evidence` is what the judge answers, `asked` how often."""

    def __init__(self, act: str = "flag", claimed: MailClass | None = URGENT, streams: Streams | None = None) -> None:
        self.evidence = OFFER
        self.asked = 0
        self.credential = Credential("shop", claimed, frozenset({"a.example"}), streams=("order", "offers"))
        self.law = Law("abc123", "postmaster@relay.example", {}, streams or Streams((), act))
        self.memory: Memory | None = Memory(Sample(self.judge), Ledger())

    def judge(self, letter: Letter, credential: str, now: int, unseen: int = 0) -> Evidence:
        self.asked += 1
        return self.evidence

    def weigh(self, header: str = "") -> Weighed | Refusal:
        content = f"From: shop@a.example\r\n{header}\r\nHello".encode()
        fields, rest = split(content)
        letter = Letter(fields, content, rest, "Your order", domains=["b.example"])
        return weigh(letter, self.credential, "", NOW, self.law, self.judge, self.memory)

    def weighed(self, header: str = "") -> Weighed:
        found = self.weigh(header)
        assert isinstance(found, Weighed), found
        return found

    def ruled(self, count: int) -> list[tuple[MailClass, str | None]]:
        return [(one.mail_class, one.contradiction) for one in (self.weighed() for _ in range(count))]


def test_where_nobody_says_a_class_the_evidence_does_for_each_message() -> None:
    rig = Rig(claimed=None)
    for _ in range(30):
        one = rig.weighed()
        assert (one.mail_class, one.evidence, one.contradiction) == (BULK, OFFER, None)
    assert rig.asked == 30


def test_with_trust_the_evidence_is_not_asked() -> None:
    rig = Rig("trust")
    assert rig.ruled(10) == [(URGENT, None)] * 10
    assert rig.weighed().evidence is None
    assert rig.asked == 0


@pytest.mark.parametrize(
    ("act", "mail_class", "done"),
    [("flag", URGENT, "flagged"), ("reroute", BULK, "rerouted"), ("enforce", BULK, "enforced")],
)
@pytest.mark.parametrize("claimed", [URGENT, SERVICE])
def test_several_messages_are_acted_on_as_the_stream_says(
    act: str, mail_class: MailClass, done: str, claimed: MailClass
) -> None:
    rig = Rig(act, claimed)
    final = claimed if act == "flag" else mail_class
    assert rig.ruled(8) == [(claimed, None)] * 4 + [(final, done)] * 4
    rig.evidence = RECEIPT
    assert rig.ruled(1) == [(claimed, None)], "this one does not say so"


def test_the_evidence_of_each_is_there_whatever_is_done() -> None:
    rig = Rig()
    one = rig.weighed()
    assert (one.evidence, one.contradiction, one.remembered) == (OFFER, None, False)


def test_a_refusal_tells_the_app_what_to_do() -> None:
    rig = Rig("refuse")
    assert rig.ruled(4) == [(URGENT, None)] * 4
    refused = rig.weigh()
    assert isinstance(refused, Refusal)
    assert refused.reason == "contradiction"
    assert str(refused.reply) == (
        "550 5.7.1 shop is transactional, but mail like this reads as marketing (discount, percentage); hand it in with a "
        "credential of class marketing, or ask postmaster@relay.example"
    )


def test_a_refusal_names_a_stream_that_the_app_may_use() -> None:
    offers = Stream("offers", "policies/streams.toml:9", BULK)
    rig = Rig(streams=Streams([(offers, None)], "refuse"))
    found = [rig.weigh() for _ in range(5)][-1]
    assert isinstance(found, Refusal)
    assert "; hand it in with X-Postlane-Stream: offers, or ask" in found.reply.text
    assert rig.weighed("X-Postlane-Stream: offers\r\n").mail_class is BULK


@pytest.mark.parametrize("act", ACTS[1:])
def test_mail_is_never_made_better_than_its_app_says(act: str) -> None:
    rig = Rig(act, BULK)
    rig.evidence = RECEIPT
    assert rig.ruled(8) == [(BULK, None)] * 4 + [(BULK, "flagged")] * 4


def test_neighbours_are_left_alone() -> None:
    rig = Rig("enforce", SERVICE)
    rig.evidence = RECEIPT
    assert set(rig.ruled(40)) == {(SERVICE, None)}


def test_a_stream_has_its_own_word_on_it() -> None:
    order = Stream("order", "policies/streams.toml:3", URGENT, on_contradiction="reroute")
    by_rule = Match(texts={"header.x-job": (parse("order"),)})
    rig = Rig(streams=Streams([(order, by_rule)], "enforce"))
    assert [rig.weighed("X-Job: order\r\n").contradiction for _ in range(5)][-1] == "rerouted"
    assert [rig.weighed().contradiction for _ in range(5)] == [None, None, None, None, "enforced"]


def test_steady_mail_is_passed_over_and_marked() -> None:
    rig = Rig("enforce")
    rig.evidence = RECEIPT
    found = [rig.weighed() for _ in range(100)]
    assert [one.remembered for one in found[: FIRST + 1]] == [False] * FIRST + [True]
    assert rig.asked < FIRST + 10
    assert found[FIRST].evidence == Evidence(URGENT, 0.99, "receipt")
    assert {one.mail_class for one in found} == {URGENT}


def test_while_a_contradiction_stands_each_message_of_the_stream_is_judged() -> None:
    rig = Rig("reroute")
    rig.evidence = RECEIPT
    for _ in range(FIRST + 1):
        rig.weighed()
    assert rig.weighed().remembered
    rig.evidence = OFFER
    many = [rig.weighed("List-Id: <offers.a.example>\r\n") for _ in range(8)]
    assert many[-1].contradiction == "rerouted"
    rig.evidence = RECEIPT
    assert not any(rig.weighed().remembered for _ in range(40))


def test_a_message_by_itself_is_judged_and_nothing_is_held_against_it() -> None:
    """As `postlane explain` looks at one."""
    rig = Rig("refuse")
    rig.memory = None
    for _ in range(20):
        one = rig.weighed()
        assert (one.mail_class, one.evidence, one.contradiction) == (URGENT, OFFER, None)


EVIDENCE = st.builds(
    Evidence, st.sampled_from(MailClass), st.floats(0.34, 1.0), st.sampled_from("abcdefgh"), st.just(REASONS)
)


@given(st.sampled_from(ACTS), st.sampled_from(MailClass), st.lists(EVIDENCE, max_size=60))
def test_never_upwards_and_never_before_several(act: str, claimed: MailClass, given: list[Evidence]) -> None:
    rig = Rig(act, claimed)
    against = 0
    for rig.evidence in given:
        before = rig.asked
        one = rig.weigh()
        sure = rig.evidence.confidence >= SURE and contradicts(claimed, rig.evidence.mail_class)
        against += sure and rig.asked > before
        if isinstance(one, Refusal):
            assert act == "refuse"
            assert against >= 5
            continue
        assert one.mail_class >= claimed
        assert one.mail_class == claimed or one.contradiction in ("rerouted", "enforced")
        assert one.contradiction is None or (against >= 5 and sure and not one.remembered)
