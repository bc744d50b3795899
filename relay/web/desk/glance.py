"""Today in a few figures, each with what is usual beside it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from relay.reporting import Answer
from relay.reporting.findings import Finding
from relay.reporting.needs import Need, of_findings, of_status, worst_first
from relay.web.desk import words
from relay.web.desk.asked import Asked
from relay.web.desk.tables import jump, unit_of

MOST = 8  # needs on the page


@dataclass(frozen=True, slots=True)
class Card:
    """`share` of all mail, where that says more than the count; `usual`: of the share, or of the count; "": nobody knows."""

    name: str
    count: str
    share: str
    usual: str
    jump: bool
    address: str


_CARDS = (  # name, count, share, report
    ("Accepted", "accepted", "", "streams"),
    ("Delivered", "delivered", "", "sites"),
    ("Bounced", "bounces", "bounce_share", "bounces"),
    ("Complaints", "complained", "complaint_share", "complaints"),
    ("Deferred", "deferred", "deferral_share", "sites"),
    ("Withheld", "withheld", "", "streams"),
)


@dataclass(frozen=True, slots=True)
class Todo:
    """What needs a person, with the way to the messages it is about ("": there are none)."""

    need: Need
    address: str = ""


def needs(findings: Sequence[Finding], status: Mapping[str, Any] | None, asked: Asked) -> list[Todo]:
    """Worst first. What stands suspended has a place of its own on the page."""
    of_node = of_status({**status, "suspensions": ()}) if status is not None else []
    bounces = replace(asked, report="bounces", by="")
    return [
        Todo(need, bounces.messages(**need.where) if need.where else "")
        for need in worst_first([*of_node, *of_findings(findings, of_node)])[:MOST]
    ]


def cards(summary: Answer, asked: Asked) -> list[Card]:
    found = []
    for name, count, share, report in _CARDS:
        about = share or count
        usual = summary.usual(summary.total, about)
        found.append(
            Card(
                name,
                words.figure(summary.total.now.value(count), "count"),
                words.share(summary.total.now.value(share)) if share else "",
                words.figure(usual, unit_of(about)) if usual is not None else "",
                jump(summary.total, share, summary) if share else False,
                asked.address(f"/report/{report}"),
            )
        )
    return found
