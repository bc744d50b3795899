"""All that policy says of one message: the one path that live mail and `postlane explain` take. Pure."""

from dataclasses import dataclass
from typing import Protocol

from relay.identity import Credential
from relay.message import MailClass
from relay.policy.decide import Decision, Law, Refusal, decide
from relay.policy.evidence.classify import Evidence
from relay.policy.letter import Letter


class Judge(Protocol):
    """What a message is by its own evidence; `now` in ms."""

    def __call__(self, letter: Letter, credential: str, now: int) -> Evidence: ...


@dataclass(slots=True)
class Weighed:
    """What a message is, in the end. `evidence` is None where nobody asked for it."""

    decision: Decision
    mail_class: MailClass
    evidence: Evidence | None = None


def weigh(letter: Letter, credential: Credential, stream: str, now: int, law: Law, judge: Judge) -> Weighed | Refusal:
    """`stream` is the one of the user name (`name+stream`), "" if none; `now` in ms. Never raises for what a message holds."""
    decision = decide(letter, credential, stream, law)
    if isinstance(decision, Refusal):
        return decision
    if decision.mail_class is not None:
        return Weighed(decision, decision.mail_class)
    evidence = judge(letter, credential.name, now)
    return Weighed(decision, evidence.mail_class, evidence)
