"""What a message does not pass of its brand's checks, and the refusal where one of them refuses. Pure."""

from relay.message import MailClass
from relay.outcome import Reply
from relay.policy.checks import Case, Failed
from relay.policy.decide import Decision, Law, Refusal
from relay.policy.letter import Letter
from relay.policy.unsubscribe import Offer


def examined(
    letter: Letter, decision: Decision, mail_class: MailClass, law: Law, offer: Offer | None = None
) -> tuple[Failed, ...] | Refusal:
    """Asked are the checks of this class, of the message as it leaves: with our `offer`. Never raises for what it holds."""
    checks = law.checks.get(decision.brand)
    if checks is None:
        return ()
    failed = checks.failed(Case(letter, decision.author_domain, mail_class, law.signer_of, offers=offer is not None))
    refusing = [one for one in failed if one.level == "refuse"]
    if not refusing:
        return failed
    first = refusing[0]
    text = f"Check {first.name} of brand {decision.brand}, {mail_class.label} mail: {first.lacks} ({first.source})"
    others = f"; nor does it pass {', '.join(one.name for one in refusing[1:])}" if refusing[1:] else ""
    return Refusal(Reply(550, "5.7.1", text + others), "check", first.name)
