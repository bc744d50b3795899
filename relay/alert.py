"""What needs a person while a node runs, and how it is told: in `status`, in metrics, and as an `alert` event. Pure."""

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from relay.config import Problem
from relay.config.reader import shown_path
from relay.egress.replies import printable
from relay.egress.security.unmet import Demand
from relay.kept import Decision
from relay.policy.badhour import BadHour
from relay.policy.contradiction import Trouble
from relay.policy.faults import Fault
from relay.policy.flags import Flag
from relay.policy.health import SLOW, SUSPENDED, Standing, percent
from relay.policy.runaway import Runaway
from relay.policy.streams import Stream
from relay.schedule.watchdog import Stall
from relay.shaping.health import Aside
from relay.tally import DNS


@dataclass(frozen=True, slots=True)
class Alert:
    """One trouble, for as long as it lasts. `problems`: the lines that say it all; `advice`: the cure; `what`: whom it
    concerns, nobody in particular if empty."""

    name: str
    summary: str
    problems: tuple[str, ...] = ()
    advice: str = ""
    severity: str = "critical"
    what: Mapping[str, str | None] = field(default_factory=dict)

    def event(self, state: str) -> dict[str, Any]:
        """The facts of an `alert` event; `state` is firing or resolved."""
        about = {"name": self.name, "severity": self.severity, "what": dict(self.what), "summary": self.summary}
        if state == "resolved":
            return {"state": state, **about}
        return {"state": state, **about, "advice": self.advice, "problems": list(self.problems)}


POLICIES = "policies"  # the one of files that are not in force
STATE = "state"  # the one of limits that cannot be looked up
CONTRADICTION = "contradiction"  # those of claims that the evidence contradicts
SOURCE = "source"  # those of sources that stand aside
STALLED = "stalled"  # those of due mail that does not move
WORKER = "worker"  # the one of a process that does not answer
RUNAWAY = "runaway"  # those of apps that send the same message to the same person again and again
SPOOL = "spool"  # the one of a disk that is full
SOURCES = 200  # alerts of sources and sites that a worker tells at a time
WHY = 200  # characters of a reply in a summary
HEALTH = "health"  # those of streams over their limits
BAD_HOUR = "bad-hour"  # those of sites that bounce nearly everybody
CHECK = "check"  # those of checks that mail does not pass
TLS = "tls"  # those of domains whose mail waits for want of it
SOON = timedelta(days=14)  # ahead of its day a review is announced: time to find whoever started the automation
_ADVICE = "postlane check names every error; then postlane reload"
_PENDING = "postlane suppress list --stop pending --site {0}; then suppress confirm or suppress drop --site {0}"
_LOGIN = ("530", "534", "535", "538")  # RFC 4954 6


def started_with_last_good(problems: Sequence[Problem], decision: Decision, timezone: str, policies: Path) -> Alert:
    """`postlane serve` found broken files on disk."""
    zone = ZoneInfo(timezone)
    good = f"Started with the last good ones, {decision.policies} of {when(decision.at, zone)}."
    return _of_files(problems, policies, f" (below). {good} Fix and reload.")


def files_refused(problems: Sequence[Problem], in_force: str, policies: Path) -> Alert:
    """`postlane reload` found broken files on disk."""
    return _of_files(problems, policies, f". {in_force} stays in force. Fix and reload.")


def not_taken(refusals: Sequence[str], version: str, in_force: str) -> Alert:
    """The files are right, and something else was in the way."""
    summary = f"{version} could not be put in force. {in_force} stays in force."
    return Alert(POLICIES, summary, tuple(refusals), "see the log; then postlane reload")


def behind(version: str, node: str, in_force: str, problems: Sequence[str]) -> Alert:
    """The cluster has decided for a version that this node, which was away then, cannot take."""
    summary = f"{version}, which {node} put in force on all nodes, cannot be taken here: {in_force} stays in force"
    advice = "mend config/ of this node and reload it; it tries again by itself"
    return Alert(POLICIES, summary, tuple(problems), advice, what={"version": version})


def _of_files(problems: Sequence[Problem], policies: Path, rest: str) -> Alert:
    errors = [problem for problem in problems if not problem.warning]
    folder = shown_path(policies)
    of_policies = [problem.file.startswith(f"{folder}/") for problem in errors]
    names = [name for name, there in (("config/", not all(of_policies)), ("policies/", any(of_policies))) if there]
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    summary = f"{' and '.join(names)} on disk {'has' if len(names) == 1 else 'have'} {count}{rest}"
    return Alert(POLICIES, summary, tuple(map(str, errors)), _ADVICE)


_DONE = {
    "flag": "which is recorded only; on_contradiction in streams.toml can do more",
    "reroute": "so it goes by the pool of that class",
    "enforce": "so it is treated as of that class",
    "refuse": "so it is refused",
}


def contradiction(trouble: Trouble, on_contradiction: str) -> Alert:
    """Mail of a stream is not what it claims to be. Each worker judges by itself, so of one stream there is an event of each
    worker that finds it, firing and resolved, with the same `what` but for the skeleton; `one_each` shows people one."""
    claimed, judged = trouble.claimed.label, trouble.judged_as.label
    of = "" if trouble.whole else f" of template {', '.join(trouble.skeletons)}"
    if not trouble.whole and trouble.templates > 1:
        more = trouble.templates - len(trouble.skeletons)
        of = f" of {trouble.templates} templates ({', '.join(trouble.skeletons)}{f' and {more} more' if more else ''})"
    done = _DONE[on_contradiction]
    if trouble.judged_as < trouble.claimed:
        done = "which is recorded only: nothing makes mail better than its app says"
    who = f"{trouble.stream} of {trouble.credential}"
    return Alert(
        CONTRADICTION,
        f"{who} says {claimed}, but {trouble.contrary} of the last {trouble.judged} messages{of} read as {judged}, {done}",
        advice=f"postlane events --json --type accepted --credential {trouble.credential} --stream {trouble.stream} shows why; "
        f"then give that mail a stream of class {judged}",
        severity="warning",
        what=trouble.what,
    )


def contradiction_over(trouble: Trouble) -> Alert:
    """The same, ended: `what` is as it was when it began."""
    summary = (
        f"{trouble.stream} of {trouble.credential} says {trouble.claimed.label}, and nothing lately contradicts it"
    )
    return Alert(CONTRADICTION, summary, severity="warning", what=trouble.what)


def flagged(flag: Flag) -> Alert:
    """Mail does not pass a check that its brand wants flagged. Each worker counts for itself, so there is an event of each
    that meets such mail, firing and resolved, with the same `what`; `one_each` shows people one."""
    some = "1 message does" if flag.messages == 1 else f"{flag.messages} messages do"
    return Alert(
        CHECK,
        f"{some} not pass {flag.check} of brand {flag.brand}: {flag.lacks} ({flag.source})",
        advice=f"postlane events --type accepted --brand {flag.brand} --json: checks names what each did not pass",
        severity="warning",
        what=_of_flag(flag),
    )


def flagged_over(flag: Flag) -> Alert:
    """The same, ended."""
    summary = f"For an hour all mail has passed {flag.check} of brand {flag.brand}"
    return Alert(CHECK, summary, severity="warning", what=_of_flag(flag))


def _of_flag(flag: Flag) -> dict[str, str | None]:
    return {"brand": flag.brand, "check": flag.check}


def runaway(one: Runaway) -> Alert:
    """An app sends the same transactional message to the same person again and again. Each worker counts what it held, so
    there is an event of each, firing and resolved, with the same `what`; `one_each` shows people one."""
    some = "1 message is" if one.held == 1 else f"{one.held:,} messages are"
    return Alert(
        RUNAWAY,
        f"{some} held, the same again and again: {one}",
        advice=f"stop the app; postlane queue list --held --stream {one.stream} shows them, postlane queue release or cancel "
        "ends it; exempt_streams in caps.toml lets a stream do this",
        what=_of_runaway(one),
    )


def runaway_over(one: Runaway) -> Alert:
    """The same, ended."""
    return Alert(RUNAWAY, f"For an hour {one.stream} of {one.credential} has not run away", what=_of_runaway(one))


def _of_runaway(one: Runaway) -> dict[str, str | None]:
    return {"credential": one.credential, "stream": one.stream, "skeleton": one.skeleton}


def stalled(stall: Stall) -> Alert:
    """Due mail does not move (schedule/watchdog.py). Each worker looks at its own; `one_each` shows people one of a class."""
    label = stall.mail_class.label
    where = f"{', '.join(stall.sites)}{f' ({stall.lanes:,} lanes)' if stall.lanes > len(stall.sites) else ''}"
    return Alert(
        STALLED,
        f"{label} mail to {where} has been due since {when(stall.due, ZoneInfo('UTC'))} UTC, and nothing of it moves",
        advice=f"postlane queue list --class {label} --site {stall.sites[0]} says why; the log of the worker what went wrong",
        what={"class": label},
    )


def pool_stalled(pool: str, since: int, why: str) -> Alert:
    """None of a pool's sources can be used, so its mail cannot go at all. Each worker finds out for itself."""
    return Alert(
        STALLED,
        f"mail of pool {pool} cannot go since {when(since, ZoneInfo('UTC'))} UTC: none of its sources can be used ({why[:WHY]})",
        advice=f"put an address of this machine, or a proxy that answers, into [pool.{pool}] of config/pools.toml, and reload; "
        f"postlane queue move --pool {pool} --to POOL sends what waits by another",
        what={"pool": pool},
    )


def pool_moves(pool: str) -> Alert:
    """The same, ended."""
    return Alert(STALLED, f"a source of pool {pool} can be used again", what={"pool": pool})


def moving(stall: Stall) -> Alert:
    """The same, ended."""
    return Alert(STALLED, f"{stall.mail_class.label} mail moves again", what={"class": stall.mail_class.label})


def state_lost(trouble: str) -> Alert:
    """Each worker says so for itself; `one_each` shows people one."""
    return Alert(
        STATE,
        f"limits cannot be looked up ({trouble}): transactional mail goes on within each worker's share, the rest waits",
        advice="nothing is lost, and mail moves again by itself when [state] url is reachable",
    )


def people_lost(forgot: str) -> Alert:
    """Each worker says so for itself."""
    return Alert(
        STATE,
        f"{forgot}: nobody can say who wants no marketing, so that and service mail wait",
        advice="on each node: postlane suppress restore; then once: postlane suppress restore --done",
    )


def state_back() -> Alert:
    return Alert(STATE, "limits can be looked up again")


def unhealthy(one: Standing) -> Alert:
    """A stream's mail is not welcome."""
    advice = "postlane health show --by campaign (or credential, site) shows whose; limits: [health] in policies/bounces.toml"
    done = {
        SLOW: f"so it goes at {one.rate:,}/hour",
        SUSPENDED: f"so it is suspended; postlane resume --stream {shlex.quote(one.stream)} lets it go, by and by",
    }.get(one.state, "which is told only")
    stream = f"transactional mail of stream {one.stream}" if one.urgent else f"stream {one.stream}"
    severity = "critical" if one.state == SUSPENDED or one.urgent else "warning"
    what = {"stream": one.stream} | ({"class": "transactional"} if one.urgent else {})
    where = f" ({one.mostly})" if one.mostly else ""
    return Alert(HEALTH, f"{stream}: {one.reason}{where}, {done}", advice=advice, severity=severity, what=what)


def unhealthy_over(one: Standing) -> Alert:
    """The same, ended."""
    what = {"stream": one.stream} | ({"class": "transactional"} if one.urgent else {})
    return Alert(HEALTH, f"stream {one.stream} goes again", severity="warning", what=what)


def at_fault(one: Fault) -> Alert:
    """Sites refuse a stream's mail for a fault of the sending side; the alert is called as the category of the refusals."""
    see = f"postlane report bounces --category {one.category} --stream {shlex.quote(one.stream)} --samples"
    severity = "critical" if one.most else "warning"
    summary = f"stream {one.stream}: {percent(one.share)} of {one.of:,} messages refused with {one.said}"
    advice = f"{_cure(one)}; {see} shows their words"
    return Alert(one.category, summary, advice=advice, severity=severity, what={"stream": one.stream})


def _cure(one: Fault) -> str:
    domain = shlex.quote(printable(one.domain))  # as an app wrote it, where it may write from any subdomain
    if one.category == "bad-sender":
        return f"do {domain} and the domain of the return path exist, and take mail?"
    if one.category == "protocol-error":
        return "most likely a fault of this program: please report it"
    if one.said[:3] in _LOGIN:
        return "the next host wants another login: relay_user and relay_password_file in config/postlane.toml"
    return f"postlane keys dns {domain} prints the DKIM records that DNS must have; its SPF must name our addresses"


def at_fault_no_more(one: Fault) -> Alert:
    """The same, ended."""
    summary = f"mail of stream {one.stream} is not refused with {one.said} any more"
    return Alert(one.category, summary, severity="warning", what={"stream": one.stream})


def bad_hour(one: BadHour) -> Alert:
    """A site says of nearly everybody that there is no such user; or DNS, that there are no such domains."""
    if one.site == DNS:
        advice = f"look at the name servers of [dns], or the system's; {_PENDING.format('dns')}"
        summary = (
            f"DNS denied {round(one.share * one.of)} of {one.of} domains that took mail lately: nobody is suppressed on its "
            f"word{' any more' if one.until is not None else ''} that there is no such domain, what it said is pending"
        )
        return Alert(BAD_HOUR, summary, advice=advice, what={"site": DNS})
    summary = (
        f"{one.site} bounced {percent(one.share)} of {one.of:,} as unknown users"
        f"{f', usually {percent(one.usual)}' if one.known else ', and little is known of it'}: "
        f"nobody is suppressed on its word{' any more' if one.until is not None else ''}, what it said is pending"
    )
    advice, severity = _PENDING.format(shlex.quote(one.site)), "critical" if one.known else "warning"
    return Alert(BAD_HOUR, summary, advice=advice, severity=severity, what={"site": one.site})


def bad_hour_over(one: BadHour) -> Alert:
    """The same: a person has said what becomes of it."""
    whom = "unknown users" if one.site != DNS else "missing domains"
    return Alert(BAD_HOUR, f"what {one.site} said of {whom} is {one.word or 'settled'}", what={"site": one.site})


def source_aside(aside: Aside) -> Alert:
    """A source is not used, everywhere or for a site. Each worker finds out for itself; `one_each` shows people one."""
    return Alert(
        SOURCE,
        f"nothing leaves from {aside.source}{f' to {aside.site}' if aside.site else ''} for a while: {aside.why[:WHY]}",
        advice="it is tried again by itself; its siblings in the pool carry its mail, and where there is none mail waits",
        severity="warning",
        what=_of_source(aside.source, aside.site),
    )


def sources_aside(asides: Collection[Aside]) -> list[Alert]:
    """The first of them, and how many there are besides: a listed address may be refused by thousands of sites."""
    named = [source_aside(aside) for aside in islice(asides, SOURCES)]
    more = len(asides) - len(named)
    if more > 0:
        summary = f"nothing leaves from some sources to {more:,} more sites for a while"
        nobody = {"source": None, "site": None}
        named.append(Alert(SOURCE, summary, advice=named[0].advice, severity="warning", what=nobody))
    return named


def source_back(source: str, site: str) -> Alert:
    """The same, ended."""
    to = f" to {site}" if site else ""
    return Alert(SOURCE, f"mail leaves from {source}{to} again", severity="warning", what=_of_source(source, site))


def _of_source(source: str, site: str) -> dict[str, str | None]:
    return {"source": source, "site": site or None}


def insecure(one: Demand) -> Alert:
    """A domain's mail waits for want of TLS. Each worker finds out for itself; `one_each` shows people one."""
    since = f"{when(one.since, ZoneInfo('UTC'))} UTC"
    return Alert(
        TLS,
        f"mail to {one.domain} waits since {since}, as the TLS that is asked for cannot be had: {one.why[:WHY]}",
        advice="it is tried again by itself; their host or its policy is at fault, or tls in policies/shaping.toml asks too "
        f"much; postlane queue list --domain {shlex.quote(one.domain)}",
        severity="warning",
        what={"domain": one.domain},
    )


def secure(one: Demand) -> Alert:
    """The same, ended."""
    return Alert(
        TLS, f"no mail to {one.domain} waits for TLS any more", severity="warning", what={"domain": one.domain}
    )


def worker_silent(name: str, seconds: int) -> Alert:
    """The supervisor asks, and hears nothing."""
    return Alert(
        WORKER,
        f"{name} has not answered for {seconds // 60} min: what it accepted waits",
        advice="postlane status shows whether it is being restarted; the log says why it died or what it waits for",
        what={"worker": name},
    )


def spool_full(name: str) -> Alert:
    return Alert(
        SPOOL,
        f"{name} cannot write its spool (disk full?): mail is answered 452, and none is sent",
        advice="make room on the disk of data_dir; it goes on by itself",
        what={"worker": name},
    )


def one_each(alerts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of alerts as JSON, several workers' among them: the first of each trouble, whatever templates of it each has met."""
    found: dict[object, dict[str, Any]] = {}
    for alert in alerts:
        found.setdefault(key_of(alert), alert)
    return list(found.values())


def key_of(alert: Mapping[str, Any]) -> tuple[object, ...]:
    """What makes two alerts, as JSON, one trouble."""
    return alert["name"], *sorted((key, value) for key, value in alert["what"].items() if key != "skeleton")


def reviews(streams: Iterable[Stream], today: date) -> list[dict[str, Any]]:
    """Streams whose `review_by` is over (`past`), or will be soon, the longest due first. No alert: mail goes on as ever."""
    due = [
        {"stream": stream.name, "review_by": stream.review_by.isoformat(), "past": stream.review_by < today}
        for stream in streams
        if stream.review_by is not None and stream.review_by <= today + SOON
    ]
    return sorted(due, key=lambda one: (one["review_by"], one["stream"]))


def when(at: int, zone: ZoneInfo) -> str:
    """Fri 20 Nov 17:02"""
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).strftime("%a %-d %b %H:%M")
