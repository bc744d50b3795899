"""What follows from the outcome of an attempt: the one place that turns scope, category and hardness into consequences. Pure.

`judge` returns a Verdict, which attempt() carries out in one transaction. Of one delivery all is decided here, of later mail to
its recipient with aftermath.py, which has the rules of [suppress]:

| what follows | from | here |
|---|---|---|
| again at once, from another source of the pool | scope SOURCE; a reputation block with 5xx | `blames_source` |
| again later | 4xx; scope HOST, SITE, SOURCE, however hard; 5xx of a category that passes (`taxonomy.MEANINGS`) | `judge` |
| from the same source | 4xx to RCPT, DATA or the final dot, which may be greylisting | `Outcome.keeps_source` |
| given up, bounced | 5xx about recipient or message; what was tried until its time was over | `judge` |
| the app is told | bounced, late or relayed, as NOTIFY, BY and the credential's `dsn` have it | `owes_...` |
| the address is suppressed | bounced in a peer's words or DNS's, never our own; by its category | `judge`, `aftermath` |
| what was pending is taken off, refusals count anew | delivered | `judge` |
| it counts for or against its stream | its end: hard, as spam, for a fault of ours | `aftermath.kind_of` |

`follows` says for each category in words what that comes to. What needs more than this outcome, mostly what many add up to, is
decided elsewhere:

| what follows | decided by | from |
|---|---|---|
| the next host of the site is tried | egress/courier.py, opening.py | scope HOST, where the hosts are known |
| the pace at a site is cut | shaping/pace.py `sign_of`, shaping/backoff.py | replies to one source, rules on their words |
| a source is set aside | shaping/health.py `sign_of` | scope SOURCE, blocks in a row |
| failures on days enough suppress | aftermath.py `counted`, for relay/learning.py | those that State knows of |
| a suppression waits for a second word | aftermath.py `believed`, likewise | whether its site is believed |
| a site is not believed | policy/badhour.py | its share of unknown users against its usual one |
| DNS is not believed | denials.py | whether it knows domains that took mail |
| a stream is slowed or suspended | policy/health.py | shares of its mail over a day |
| the postmaster is told of the sender's faults | policy/faults.py | shares of what sites refuse for them |
| the postmaster is told of TLS that cannot be had | egress/security/unmet.py | whose mail is put off for it |
| and of all this | alert.py, reporting/needs.py | what stands |
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from relay.event import Facts, Recorder, iso
from relay.feedback.aftermath import Aftermath, announced
from relay.feedback.providers import provider_of
from relay.feedback.replies import diagnose
from relay.feedback.rulings import NO_RULINGS, Rulings
from relay.feedback.taxonomy import MEANINGS, Category
from relay.message import Delivery
from relay.outcome import NO_DOMAIN, Outcome, Reply, Scope
from relay.person import REFUSED
from relay.tally import DNS


class Report(Enum):
    """The delivery status notifications of RFC 3464 that we send, by their Action."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"


@dataclass(slots=True)
class Verdict:
    """again: ms when to try next, None if the delivery has ended. outcome: what a report is to tell. learnt: what follows for
    later mail to the recipient (relay/learning.py)."""

    events: list[bytes]
    again: int | None
    report: Report | None
    outcome: Outcome
    learnt: Facts | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """What the retry policy says of this delivery, worked out by the caller: `again` None means give up; `warn`: it is late
    and the app was not told yet."""

    again: int | None
    warn: bool


class Bench(Protocol):
    """What else a judgement needs. `aftermath`: which suppressions follow from what; `doubts`: is a site's word that there is no
    such user not taken now?"""

    @property
    def recorder(self) -> Recorder: ...
    @property
    def aftermath(self) -> Aftermath: ...
    @property
    def doubts(self) -> Callable[[str], bool]: ...


def judge(
    delivery: Delivery, outcome: Outcome, retry: Callable[[], Retry], pool: str, now: int, bench: Bench
) -> Verdict:
    """Updates the delivery's own row (attempts, last reply, source kept) and says what follows. `outcome` has its category;
    `now`: when it was tried."""
    delivery.attempts += 1
    if outcome.delivered:
        return _delivered(delivery, outcome, pool, bench)
    category = outcome.category
    delivery.last_reply = str(outcome.reply)
    facts: Facts = {"category": category, "permanent": outcome.permanent, "rule": outcome.rule or None}
    if outcome.transcript:
        facts["transcript"] = outcome.transcript
    if outcome.permanent:
        return _bounced(delivery, outcome, pool, now, bench, facts)
    plan = retry()
    if plan.again is None:
        late = Reply(550, "5.4.7", f"Not delivered in time; the last answer was: {outcome.reply}")
        facts |= {"category": "expired", "rule": "not delivered in time"}
        verdict = _bounced(delivery, outcome, pool, now, bench, facts)
        verdict.outcome = replace(outcome, reply=late, category=Category.EXPIRED, internal=True)
        return verdict
    if outcome.keeps_source:
        delivery.source = outcome.source
    delivery.next_attempt = plan.again
    facts["next_attempt"] = iso(plan.again)
    events = [bench.recorder.of_attempt("deferred", delivery, outcome, pool, facts)]
    return Verdict(events, plan.again, _delay_report(delivery, plan), outcome)


def understand(outcome: Outcome, site: str, rulings: Rulings = NO_RULINGS) -> None:
    """Puts down what a failure means, for a recipient of `site`: its category, and whether it will pass. Our own words are for no
    rule of the admin's, and mean what their code says."""
    if outcome.delivered:
        return
    own = NO_RULINGS if outcome.internal else rulings
    found = diagnose(outcome.reply, outcome.command, provider_of(outcome.mx), outcome.site or site, own)
    outcome.category, outcome.rule = found.category, found.rule
    outcome.passing = outcome.reply.permanent and not found.permanent and not outcome.internal


def blames_source(outcome: Outcome) -> bool:
    """Is it our address that cannot be used, or that the site refuses for good? Then another may do."""
    blocked = outcome.category == Category.REPUTATION_BLOCK and outcome.reply.permanent and not outcome.internal
    return outcome.scope is Scope.SOURCE or blocked


def put_off(outcome: Outcome) -> Outcome:
    """What follows where sources are left that could try, but not now: however hard the reply was, it ends nothing."""
    return replace(outcome, scope=Scope.SOURCE)


def _delivered(delivery: Delivery, outcome: Outcome, pool: str, bench: Bench) -> Verdict:
    event = bench.recorder.of_attempt("delivered", delivery, outcome, pool, {})
    report = Report.RELAYED if _owes_success_report(delivery, outcome) else None
    return Verdict([event], None, report, outcome, None if outcome.captured else _refuted(delivery))


def _refuted(delivery: Delivery) -> Facts | None:
    """What its arrival takes off: that there is no such mailbox, and that he refuses mail of this stream."""
    if not (delivery.pending_since or delivery.refusals):
        return None
    own = f"stream:{delivery.message.stream}"
    over = [name for name in delivery.refusals if name == REFUSED or own in name.split(" ")]
    if not (delivery.pending_since or over):
        return None
    return {"recipient": delivery.recipient, "arrived": True} | ({"over": over} if over else {})


def _owes_success_report(delivery: Delivery, outcome: Outcome) -> bool:
    """Nobody further on will, or its sender follows each hand-over (RFC 2852 4.1.4). Where the next host knows nothing of BY
    and DSN, nobody will tell of a delay either, and the sender is told that (4.1.4.2)."""
    message, passed_on = delivery.message, outcome.relayed_dsn and not delivery.ours
    if not delivery.sender:
        return False
    if message.by is not None and delivery.notify != "NEVER" and message.dsn != "none":
        return message.by_trace or not passed_on
    return "SUCCESS" in delivery.notify and not passed_on


def _bounced(delivery: Delivery, outcome: Outcome, pool: str, now: int, bench: Bench, facts: Facts) -> Verdict:
    learnt = _learnt(delivery, outcome, now, bench)
    facts["suppressed"] = learnt["told"] if learnt is not None else None
    event = bench.recorder.of_attempt("bounced", delivery, outcome, pool, facts)
    return Verdict([event], None, Report.FAILED if owes_failure_report(delivery) else None, outcome, learnt)


def _learnt(delivery: Delivery, outcome: Outcome, now: int, bench: Bench) -> Facts | None:
    """What a peer's refusal means for later mail, or DNS's word: of a mailbox unknown until the message expired the same as of a
    5xx."""
    if outcome.internal and not outcome.dns:
        return None
    site = word_of(delivery, outcome)
    called_for = bench.aftermath.of_failure(delivery, outcome.category, outcome.condemning, site, now)
    return told_of(called_for, delivery, now, bench.doubts)


def word_of(delivery: Delivery, outcome: Outcome) -> str:
    """By whose word it ended: a site's, or DNS's that there is no such domain, which is one site for all of them."""
    return outcome.site or (DNS if outcome.dns == NO_DOMAIN else delivery.site)


def told_of(called_for: Facts | None, delivery: Delivery, now: int, doubts: Callable[[str], bool]) -> Facts | None:
    """With what the event says of it (`told`)."""
    if called_for is None:
        return None
    waits = [delivery.pending_since] if delivery.pending_since else []
    return {**called_for, "told": announced(called_for, waits, now, doubted=doubts(called_for["site"]))}


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


_FOLLOWS: dict[Category, str] = {
    Category.RECIPIENT_REFUSED: "give up; stop this sender's mail to the address after several refusals in a row",
    Category.QUOTA: "retry slowly; suppress the address only after several such bounces over days",
    Category.SUPPRESSED: "nothing more: the address stands on a suppression list already",
    Category.BAD_SENDER: "give up; tell the postmaster: the sender's address or domain is not accepted",
    Category.AUTH_FAILURE: "tell the postmaster: SPF, DKIM, DMARC or reverse DNS of the sending side",
    Category.POLICY_BLOCK: "give up; the address stays good",
    Category.REPUTATION_BLOCK: "retry later or from another address; alert: a source or domain of ours is blocked",
    Category.RATE_LIMITED: "slow down to this site and retry",
    Category.GREYLISTED: "retry in some minutes from the same address",
    Category.RELAY_DENIED: "give up; the host contacted does not take mail for this domain",
    Category.SPAM_BLOCK: "give up; counted against the stream and campaign, never against the address",
    Category.CONTENT_ERROR: "give up; tell the app: the message is at fault",
    Category.MESSAGE_TOO_LARGE: "give up; tell the app: the message is too large",
    Category.EXPIRED: "count; the address stays good",
    Category.PROTOCOL_ERROR: "tell the postmaster: most likely a fault of ours",
    Category.REMOTE_ERROR: "retry: the receiving system is in trouble",
    Category.DNS_FAILURE: "retry: DNS did not answer",
    Category.NETWORK_ERROR: "retry, also by another host of the site",
    Category.TLS_FAILURE: "retry; alert where policy demands TLS",
    Category.OTHER: "by the code alone: retry 4xx, give up 5xx; the address stays good",
}


def follows(category: Category, permanent: bool, action: str) -> str:
    """What is to be done about a failure, in words for people. `action` of a report: "delayed" changes nothing yet."""
    if action == "delayed":
        return "wait: delayed is no failure, the other side goes on trying"
    if MEANINGS[category].condemns:
        return "suppress the address" if permanent else "retry; suppress the address if the message expires like this"
    return _FOLLOWS[category]
