"""Alerts as those hear of them who do not look: what there is to tell now, as a mail and as a webhook's body. Pure.

What is told is the difference between what they know and what is so. An alert that comes and goes within a pause is not
told, one that flaps is told once a pause with how it stands then, one that becomes critical is told again, and many at once
are one mail: nothing floods, and what lasts is never lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, NamedTuple

import orjson

from relay.alert import key_of
from relay.event import iso

Shown = Mapping[str, Any]  # an alert as JSON
SUBJECT = 120  # characters of a summary in a subject line


class Change(NamedTuple):
    """`state`: firing or resolved."""

    state: str
    alert: Shown


@dataclass(slots=True)
class News:
    """What one listener has been told, and when he may be told more. `pause`: ms between two tellings; `patience`: the
    longest pause where he cannot be reached, each try doubling it."""

    pause: int
    patience: int
    _known: dict[object, Shown] = field(default_factory=dict)
    _again: int = 0
    _failed: int = 0

    def __repr__(self) -> str:
        return f"<News: {len(self._known)} told, {self._failed} tries in vain>"

    def to_tell(self, standing: Sequence[Shown], now: int) -> list[Change]:
        """Nothing before the pause is over. What began comes first."""
        if now < self._again:
            return []
        keys = {key_of(alert) for alert in standing}
        begun = [Change("firing", alert) for alert in standing if self._is_news(alert)]
        return begun + [Change("resolved", alert) for key, alert in self._known.items() if key not in keys]

    def _is_news(self, alert: Shown) -> bool:
        """It began, or got worse."""
        before = self._known.get(key_of(alert))
        return before is None or (alert["severity"] == "critical" != before["severity"])

    def told(self, changes: Sequence[Change], now: int) -> None:
        self._failed = 0
        self._again = now + self.pause
        for state, alert in changes:
            if state == "firing":
                self._known[key_of(alert)] = alert
            else:
                self._known.pop(key_of(alert), None)

    def failed(self, now: int) -> int:
        """He could not be reached; in how many ms he is tried again."""
        self._failed += 1
        wait = min(self.pause << min(self._failed - 1, 16), self.patience)
        self._again = now + wait
        return wait


def letter(changes: Sequence[Change], node: str, hostname: str, to: Sequence[str], identifier: str, now: int) -> bytes:
    """A whole message (RFC 5322) from the node itself, said to be automatic (RFC 3834 5)."""
    message = EmailMessage(policy=SMTP)
    message["From"] = f"Postlane {node} <postlane@{hostname}>"
    message["To"] = ", ".join(to)
    message["Subject"] = f"[{node}] {subject_of(changes)}"
    message["Date"] = format_datetime(datetime.fromtimestamp(now / 1000, UTC))
    message["Message-ID"] = f"<{identifier}@{hostname}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join(_lines(changes, node)), cte="quoted-printable")
    return message.as_bytes()


def subject_of(changes: Sequence[Change]) -> str:
    if len(changes) == 1:
        state, alert = changes[0]
        return f"{state}: {' '.join(alert['summary'].split())}"[:SUBJECT]
    counts = [(state, sum(one.state == state for one in changes)) for state in ("firing", "resolved")]
    return "alerts: " + ", ".join(f"{count} {state}" for state, count in counts if count)


def _lines(changes: Sequence[Change], node: str) -> list[str]:
    lines = []
    for state, alert in changes:
        lines.append(f"{state}: {alert['summary']}")
        if state == "firing":
            lines += [f"  {problem}" for problem in alert["problems"]]
            lines += [f"  {alert['advice']}"] if alert["advice"] else []
        lines.append("")
    return [*lines, f"postlane status on {node} shows what stands now.", ""]


def body(changes: Sequence[Change], node: str, now: int) -> bytes:
    """Of the webhook: events as in the event log, under `events`."""
    events = [
        {"time": iso(now), "type": "alert", "node": node, "state": state, **_facts(alert)} for state, alert in changes
    ]
    return orjson.dumps({"type": "alert", "timestamp": iso(now), "node": node, "events": events})


def _facts(alert: Shown) -> dict[str, Any]:
    return {name: alert[name] for name in ("name", "severity", "what", "summary", "advice", "problems")}
