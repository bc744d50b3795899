"""What needs a person while a node runs, and how it is told: in `status`, in metrics, and as an `alert` event. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from relay.config import Problem
from relay.config.reader import shown_path
from relay.kept import Decision
from relay.policy.flags import Flag


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
CHECK = "check"  # those of checks that mail does not pass
_ADVICE = "postlane check names every error; then postlane reload"


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


def _of_files(problems: Sequence[Problem], policies: Path, rest: str) -> Alert:
    errors = [problem for problem in problems if not problem.warning]
    folder = shown_path(policies)
    of_policies = [problem.file.startswith(f"{folder}/") for problem in errors]
    names = [name for name, there in (("config/", not all(of_policies)), ("policies/", any(of_policies))) if there]
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    summary = f"{' and '.join(names)} on disk {'has' if len(names) == 1 else 'have'} {count}{rest}"
    return Alert(POLICIES, summary, tuple(map(str, errors)), _ADVICE)


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


def one_each(alerts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of alerts as JSON, several workers' among them, the first of each trouble."""
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    for alert in alerts:
        found.setdefault((alert["name"], *sorted(alert["what"].items())), alert)
    return list(found.values())


def when(at: int, zone: ZoneInfo) -> str:
    """Fri 20 Nov 17:02"""
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).strftime("%a %-d %b %H:%M")
