"""Whom a returned mail is about: each thing it says, with the delivery of ours that it is said of. Pure.

A bounce is believed where it arrives at a return path of ours (relay/return_path.py), which names the delivery; else, and all
complaints, where the message that came back carries our trace id. What names neither is nobody's: anybody can write a bounce.
Automatic replies and reports of success are told apart and change nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

from relay.feedback.returned import Kind, Mail, Recipient
from relay.feedback.taxonomy import Category

MAX_TEXT = 1_000  # characters of a reply that are kept

KINDS = ("bounced-late", "complained")

About = tuple[str, int]  # message id, recipient index
Facts = dict[str, object]


class Report(NamedTuple):
    """One thing that is said of one delivery. `kind`: of KINDS; `facts`: what the event tells of it."""

    about: About
    kind: str
    facts: Facts


def reports(mail: Mail, returned_to: Sequence[About], traced: About | None) -> list[Report]:
    """`returned_to`: by the return paths it arrived at; `traced`: by the trace id in what came back."""
    if mail.kind is Kind.BOUNCE:
        failed = next((one for one in mail.recipients if one.action == "failed"), None)
        if failed is None:  # delayed, delivered, relayed, expanded: nothing has ended that had not
            return []
        about = list(returned_to) or ([traced] if traced is not None else [])
        return [Report(one, "bounced-late", _failure(mail, failed)) for one in about]
    if mail.kind is Kind.COMPLAINT and traced is not None:
        return [Report(traced, "complained", {"feedback_type": mail.feedback_type, "reporter": mail.reporter})]
    return []


def _failure(mail: Mail, failed: Recipient) -> Facts:
    return {
        "category": failed.category or Category.OTHER,
        "permanent": failed.permanent,
        "status": failed.status,
        "reply": failed.reply[:MAX_TEXT],
        "command": failed.command,
        "rule": failed.rule,
        "reporter": mail.reporter,
        "final_recipient": failed.final or failed.address,
    }
