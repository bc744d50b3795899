"""All that policy says of one message: the one path that live mail and `postlane explain` take. Pure."""

from dataclasses import dataclass
from typing import Protocol

from relay.identity import Credential
from relay.message import MailClass
from relay.policy.checks import Failed
from relay.policy.decide import Decision, Law, Refusal, decide
from relay.policy.evidence.classify import Evidence
from relay.policy.letter import Letter
from relay.policy.road import examined


class Judge(Protocol):
    """What a message is by its own evidence; `now` in ms."""

    def __call__(self, letter: Letter, credential: str, now: int) -> Evidence: ...


@dataclass(slots=True)
class Weighed:
    """What a message is, in the end. `evidence` is None where nobody asked for it; `checks`: those it did not pass."""

    decision: Decision
    mail_class: MailClass
    evidence: Evidence | None = None
    checks: tuple[Failed, ...] = ()


def weigh(letter: Letter, credential: Credential, stream: str, now: int, law: Law, judge: Judge) -> Weighed | Refusal:
    """`stream` is the one of the user name (`name+stream`), "" if none; `now` in ms. Never raises for what a message holds."""
    weighed = _judged(letter, credential, stream, now, law, judge)
    if isinstance(weighed, Refusal):
        return weighed
    failed = examined(letter, weighed.decision, weighed.mail_class, law)
    if isinstance(failed, Refusal):
        return failed
    weighed.checks = failed
    return weighed


def _judged(letter: Letter, credential: Credential, stream: str, now: int, law: Law, judge: Judge) -> Weighed | Refusal:
    decision = decide(letter, credential, stream, law)
    if isinstance(decision, Refusal):
        return decision
    if decision.mail_class is not None:
        return Weighed(decision, decision.mail_class)
    evidence = judge(letter, credential.name, now)
    return Weighed(decision, evidence.mail_class, evidence)
