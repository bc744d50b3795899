"""What follows from the outcome of an attempt: the one place that turns scope and hardness into consequences. Pure.

It returns a Verdict: the events to record, when to try again or that the delivery is finished, and which report the
sender is owed. attempt() carries it out in one transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from relay.event import Facts, Recorder, iso
from relay.feedback.providers import provider_of
from relay.feedback.replies import diagnose
from relay.feedback.rulings import NO_RULINGS, Rulings
from relay.feedback.taxonomy import Category
from relay.message import Delivery
from relay.outcome import Outcome, Reply


class Report(Enum):
    """The delivery status notifications of RFC 3464 that we send, by their Action."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"


@dataclass(slots=True)
class Verdict:
    """again: ms when to try next, None if the delivery has ended. outcome: what a report is to tell."""

    events: list[bytes]
    again: int | None
    report: Report | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Retry:
    """What the retry policy says of this delivery, worked out by the caller: `again` None means give up; `warn`: it is late
    and the app was not told yet."""

    again: int | None
    warn: bool


def judge(delivery: Delivery, outcome: Outcome, retry: Callable[[], Retry], pool: str, recorder: Recorder) -> Verdict:
    """Updates the delivery's own row (attempts, last reply, source kept) and says what follows. `outcome` has its category."""
    delivery.attempts += 1
    if outcome.delivered:
        return _delivered(delivery, outcome, pool, recorder)
    category = outcome.category
    delivery.last_reply = str(outcome.reply)
    facts: Facts = {"category": category, "permanent": outcome.permanent}
    if outcome.transcript:
        facts["transcript"] = outcome.transcript
    if outcome.permanent:
        return _bounced(delivery, outcome, pool, recorder, facts)
    plan = retry()
    if plan.again is None:
        late = Reply(550, "5.4.7", f"Not delivered in time; the last answer was: {outcome.reply}")
        facts["category"] = "expired"
        verdict = _bounced(delivery, outcome, pool, recorder, facts)
        verdict.outcome = replace(outcome, reply=late, category=Category.EXPIRED, internal=True)
        return verdict
    if outcome.keeps_source:
        delivery.source = outcome.source
    delivery.next_attempt = plan.again
    facts["next_attempt"] = iso(plan.again)
    events = [recorder.of_attempt("deferred", delivery, outcome, pool, facts)]
    return Verdict(events, plan.again, _delay_report(delivery, plan), outcome)


def understand(outcome: Outcome, site: str, rulings: Rulings = NO_RULINGS) -> None:
    """Puts down what a failure means, for a recipient of `site`: its category, and whether it will pass. Our own words are for no
    rule of the admin's, and mean what their code says."""
    if outcome.delivered:
        return
    own = NO_RULINGS if outcome.internal else rulings
    found = diagnose(outcome.reply, outcome.command, provider_of(outcome.mx), outcome.site or site, own)
    outcome.category = found.category
    outcome.passing = outcome.reply.permanent and not found.permanent and not outcome.internal


def _delivered(delivery: Delivery, outcome: Outcome, pool: str, recorder: Recorder) -> Verdict:
    event = recorder.of_attempt("delivered", delivery, outcome, pool, {})
    return Verdict([event], None, Report.RELAYED if _owes_success_report(delivery, outcome) else None, outcome)


def _owes_success_report(delivery: Delivery, outcome: Outcome) -> bool:
    """Nobody further on will, or its sender follows each hand-over (RFC 2852 4.1.4). Where the next host knows nothing of BY
    and DSN, nobody will tell of a delay either, and the sender is told that (4.1.4.2)."""
    message, passed_on = delivery.message, outcome.relayed_dsn and not delivery.ours
    if not delivery.sender:
        return False
    if message.by is not None and delivery.notify != "NEVER" and message.dsn != "none":
        return message.by_trace or not passed_on
    return "SUCCESS" in delivery.notify and not passed_on


def _bounced(delivery: Delivery, outcome: Outcome, pool: str, recorder: Recorder, facts: Facts) -> Verdict:
    event = recorder.of_attempt("bounced", delivery, outcome, pool, facts)
    return Verdict([event], None, Report.FAILED if owes_failure_report(delivery) else None, outcome)


def owes_failure_report(delivery: Delivery) -> bool:
    """RFC 3461 4.1: without NOTIFY a failure is reported. Never to <>: a bounce of a bounce (RFC 5321 6.1)."""
    if not delivery.sender or delivery.message.dsn == "none":
        return False
    return not delivery.notify or "FAILURE" in delivery.notify


def owes_withheld_report(delivery: Delivery) -> bool:
    """What is withheld did not fail: it is reported where NOTIFY=FAILURE was asked in so many words, or where NOTIFY says
    nothing and the credential wants its reports in full."""
    if not delivery.sender or delivery.message.dsn == "none":
        return False
    return "FAILURE" in delivery.notify if delivery.notify else delivery.message.dsn == "full"


def _delay_report(delivery: Delivery, plan: Retry) -> Report | None:
    if not plan.warn:
        return None
    delivery.warned = True
    return Report.DELAYED if owes_delay_report(delivery) else None


def owes_delay_report(delivery: Delivery) -> bool:
    """RFC 3461 4.1; who said by when is told without NOTIFY as well."""
    if not delivery.sender or delivery.message.dsn == "none":
        return False
    return "DELAY" in delivery.notify or (delivery.message.by is not None and not delivery.notify)
