"""All that policy says of one message: the one path that live mail and `postlane explain` take. Pure."""

from dataclasses import dataclass
from typing import Protocol

from relay.identity import Credential
from relay.message import MailClass
from relay.outcome import Reply
from relay.policy.checks import Case, Failed
from relay.policy.decide import Decision, Law, Refusal, decide
from relay.policy.evidence.classify import Evidence
from relay.policy.letter import Letter


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
    decision = decide(letter, credential, stream, law)
    if isinstance(decision, Refusal):
        return decision
    evidence = judge(letter, credential.name, now) if decision.mail_class is None else None
    mail_class = evidence.mail_class if evidence is not None else decision.mail_class
    assert mail_class is not None  # where nobody said it, the evidence did
    failed = checked(letter, decision, mail_class, law)
    if isinstance(failed, Refusal):
        return failed
    return Weighed(decision, mail_class, evidence, failed)


def checked(letter: Letter, decision: Decision, mail_class: MailClass, law: Law) -> tuple[Failed, ...] | Refusal:
    """What a message of this class does not pass of its brand's checks; the refusal where one of them refuses."""
    checks = law.checks.get(decision.brand)
    if checks is None:
        return ()
    failed = checks.failed(Case(letter, decision.author_domain, mail_class, law.signer_of))
    refusing = [one for one in failed if one.level == "refuse"]
    if not refusing:
        return failed
    first = refusing[0]
    text = f"Check {first.name} of brand {decision.brand}, {mail_class.label} mail: {first.lacks} ({first.source})"
    others = f"; nor does it pass {', '.join(one.name for one in refusing[1:])}" if refusing[1:] else ""
    return Refusal(Reply(550, "5.7.1", text + others), "check", first.name)
