"""What needs a person while a node runs, and how it is told: in `status`, in metrics, and as an `alert` event. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from relay.config import Problem
from relay.config.reader import shown_path
from relay.kept import Decision


@dataclass(frozen=True, slots=True)
class Alert:
    """One trouble, for as long as it lasts. `problems`: the lines that say it all; `advice`: the cure."""

    name: str
    summary: str
    problems: tuple[str, ...] = ()
    advice: str = ""
    severity: str = "critical"

    def event(self, state: str) -> dict[str, Any]:
        """The facts of an `alert` event; `state` is firing or resolved."""
        about = {"name": self.name, "severity": self.severity, "what": {}, "summary": self.summary}
        if state == "resolved":
            return {"state": state, **about}
        return {"state": state, **about, "advice": self.advice, "problems": list(self.problems)}


POLICIES = "policies"  # the one of files that are not in force
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


def when(at: int, zone: ZoneInfo) -> str:
    """Fri 20 Nov 17:02"""
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).strftime("%a %-d %b %H:%M")
