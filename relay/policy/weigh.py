"""All that policy says of one message: the one path that live mail and `postlane explain` take. Pure.

Whose word counts (INTERFACE): where nobody says a class, the evidence decides. Where somebody does, it checks the claim:
what several messages showed is acted on as the stream says, on no single one, and never upwards.
"""

from dataclasses import dataclass
from typing import Protocol

from relay.identity import Credential
from relay.message import MailClass
from relay.outcome import Reply
from relay.policy.checks import Failed
from relay.policy.decide import Decision, Law, Refusal, decide
from relay.policy.evidence.classify import Evidence
from relay.policy.letter import Letter
from relay.policy.road import examined
from relay.policy.sample import Sample
from relay.policy.unsubscribe import Offer, offered

_REASONS = 3  # that a refused app is told


class Judge(Protocol):
    """What a message is by its own evidence; `now` in ms."""

    def __call__(self, letter: Letter, credential: str, now: int) -> Evidence: ...


class Claims(Protocol):
    """Which contradictions stand: a worker's Ledger, or Told."""

    def troubled(self, credential: str, stream: str) -> bool: ...

    def count(
        self, credential: str, stream: str, claimed: MailClass, evidence: Evidence, messages: int, now: int
    ) -> bool: ...


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of the mail before, to hold claims against."""

    sample: Sample
    ledger: Claims


@dataclass(slots=True)
class Weighed:
    """What a message is, in the end.

    evidence       None where nobody asked for it
    contradiction  None | "flagged" | "rerouted" | "enforced": what was done about a claim that does not stand
    remembered     the evidence is that of messages like it, this one was passed over
    checks         of its brand, those that it does not pass
    offer          the List-Unsubscribe of ours that it gets; None: it gets none
    """

    decision: Decision
    mail_class: MailClass
    evidence: Evidence | None = None
    contradiction: str | None = None
    remembered: bool = False
    checks: tuple[Failed, ...] = ()
    offer: Offer | None = None

    @property
    def asked_as(self) -> MailClass:
        """The class whose checks are asked: of rerouted mail what its app says it is, because it always arrives."""
        claimed = self.decision.mail_class if self.contradiction == "rerouted" else None
        return self.mail_class if claimed is None else claimed


def weigh(
    letter: Letter, credential: Credential, stream: str, now: int, law: Law, judge: Judge, memory: Memory | None = None
) -> Weighed | Refusal:
    """`stream` is the one of the user name (`name+stream`), "" if none; `now` in ms. Without a `memory` the message is
    looked at by itself, so nothing is held against its claim. Never raises for what a message holds."""
    weighed = _judged(letter, credential, stream, now, law, judge, memory)
    if isinstance(weighed, Refusal):
        return weighed
    decision, said = weighed.decision, weighed.decision.said
    replace = said is not None and said.unsubscribe == "replace"
    weighed.offer = offered(letter.fields, decision.brand, weighed.asked_as, law.pages, replace=replace)
    failed = examined(letter, decision, weighed.asked_as, law, weighed.offer)
    if isinstance(failed, Refusal):
        return failed
    weighed.checks = failed
    return weighed


def _judged(
    letter: Letter, credential: Credential, stream: str, now: int, law: Law, judge: Judge, memory: Memory | None
) -> Weighed | Refusal:
    decision = decide(letter, credential, stream, now, law)
    if isinstance(decision, Refusal):
        return decision
    claimed = decision.mail_class
    if claimed is None:
        evidence = judge(letter, credential.name, now)
        return Weighed(decision, evidence.mail_class, evidence)
    if decision.on_contradiction == "trust":
        return Weighed(decision, claimed)
    if memory is None:
        return Weighed(decision, claimed, judge(letter, credential.name, now))
    name, in_full = credential.name, memory.ledger.troubled(credential.name, decision.stream)
    evidence, messages = memory.sample.look(letter, name, decision.stream, claimed, now, in_full=in_full)
    if not messages:
        return Weighed(decision, claimed, evidence, remembered=True)
    if not memory.ledger.count(name, decision.stream, claimed, evidence, messages, now):
        return Weighed(decision, claimed, evidence)
    return _contradicted(decision, claimed, evidence, credential, law)


def _contradicted(
    decision: Decision, claimed: MailClass, evidence: Evidence, credential: Credential, law: Law
) -> Weighed | Refusal:
    """This message and several before it: what the stream says is done about it."""
    said, act = evidence.mail_class, decision.on_contradiction
    if act == "flag" or said < claimed:  # or an app could buy its way into the better pool
        return Weighed(decision, claimed, evidence, "flagged")
    if act == "refuse":
        return Refusal(_refused(decision, claimed, evidence, credential, law), "contradiction")
    return Weighed(decision, said, evidence, "rerouted" if act == "reroute" else "enforced")


def _refused(decision: Decision, claimed: MailClass, evidence: Evidence, credential: Credential, law: Law) -> Reply:
    """What the developer of an app can do something about: it stands in their log."""
    said = evidence.mail_class
    why = [term.term for term in evidence.terms if term.mail_class is said][:_REASONS]
    named = [law.streams.named.get(name) for name in credential.streams]
    fit = next((f"X-Postlane-Stream: {one.name}" for one in named if one is not None and one.mail_class is said), "")
    reads = f"{decision.stream} is {claimed.label}, but mail like this reads as {said.label} ({', '.join(why)})"
    cure = f"hand it in with {fit or f'a credential of class {said.label}'}, or ask {law.postmaster}"
    return Reply(550, "5.7.1", f"{reads}; {cure}")
