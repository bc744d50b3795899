"""Whom a returned mail is about: each thing it says, with the delivery of ours that it is said of. Pure.

A bounce is believed where it arrives at a return path of ours (relay/return_path.py), which names the delivery; else, and all
complaints, where it tells such a return path of the message that came back, or where that carries our trace id; else by its
Message-ID together with the address that the report names. Those two are no secret among the recipients of one message, so what
is found by them is told, and where a message had several recipients it teaches nothing (relay/hindsight.py). What names no
delivery is nobody's: anybody can write a bounce. Automatic replies and reports of success are told apart and change nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

from relay.clue import Sought, plain
from relay.feedback.returned import Kind, Mail, Recipient
from relay.feedback.taxonomy import Category
from relay.return_path import About

MAX_TEXT = 1_000  # characters of a reply that are kept
SOUGHT = 10  # recipients of one report that are looked for by Message-ID: we hand over a recipient at a time

KINDS = ("bounced-late", "complained", "unsubscribed", "left")
NOBODY: About = ("", 0)

Facts = dict[str, object]


class Report(NamedTuple):
    """One thing that is said of one delivery. `kind`: of KINDS ("left": the desk has told it, it is to be counted); `facts`: what
    the event tells of it, and in `texts` what else the report says of a failure. `sought`: by what the delivery is to be found
    where `about` is NOBODY, or was found; `at`: when (ms) the search began."""

    about: About
    kind: str
    facts: Facts
    sought: Sought = ("", "")
    at: int = 0


def label(mail: Mail) -> str:
    """What it is, in a word, for who counts: a bounce says that something failed, the others by their action (RFC 3464 2.3.3)."""
    actions = [one.action for one in _told(mail)]
    if mail.kind is not Kind.BOUNCE or not actions:
        return mail.kind.value
    return mail.kind.value if "failed" in actions else actions[0]


def reports(mail: Mail, returned_to: Sequence[About], traced: About | None, named: About | None = None) -> list[Report]:
    """`returned_to`: by the return paths it arrived at; `named`: by the one that it tells of what came back; `traced`: by the
    trace id in that."""
    found, by = (named, "token") if named is not None else (traced, "trace-id")
    if mail.kind is Kind.BOUNCE:
        failed = [one for one in _told(mail) if one.action == "failed"]
        if not failed:  # delayed, delivered, relayed, expanded: nothing has ended that had not
            return []
        if returned_to:
            return [Report(one, "bounced-late", _failure(mail, failed[0], "token")) for one in returned_to]
        if found is not None:
            return [Report(found, "bounced-late", _failure(mail, failed[0], by))]
        return [
            Report(NOBODY, "bounced-late", _failure(mail, one, "message-id"), sought)
            for one, sought in _sought(mail, failed)
        ]
    if mail.kind is Kind.COMPLAINT:
        facts: Facts = {"feedback_type": mail.feedback_type, "reported_by": mail.reporter}
        if found is not None:
            return [Report(found, "complained", facts | {"matched_by": by})]
        facts["matched_by"] = "message-id"
        return [Report(NOBODY, "complained", facts, sought) for _, sought in _sought(mail, mail.recipients)]
    return []


def farewells(mail: Mail, sender: str, leavers: Sequence[About]) -> list[Report]:
    """Of a mail to addresses by which recipients unsubscribe. Nobody leaves by what a machine answers: bounces, automatic
    replies, and whatever comes from <>."""
    if not sender or mail.kind is not Kind.OTHER:
        return []
    return [Report(one, "unsubscribed", {}) for one in leavers]


def _told(mail: Mail) -> Sequence[Recipient]:
    """What a bounce says, of each whom it names, or of the one whom it does not."""
    return mail.recipients or ([mail.unnamed] if mail.unnamed is not None else [])


def _sought(mail: Mail, people: Sequence[Recipient]) -> list[tuple[Recipient, Sought]]:
    named = plain(mail.message_id)
    return [(one, (named, one.address)) for one in people[:SOUGHT] if one.address] if named else []


def _failure(mail: Mail, failed: Recipient, matched_by: str) -> Facts:
    return {
        "category": failed.category or Category.OTHER,
        "permanent": failed.permanent,
        "status": failed.status,
        "reply": (failed.reply or next(iter(failed.texts), ""))[:MAX_TEXT],
        "command": failed.command,
        "rule": failed.rule,
        "reported_by": mail.reporter,
        "matched_by": matched_by,
        "final_recipient": failed.final or failed.address,
        "texts": failed.texts,
    }


def failed_of(facts: Facts) -> Recipient:
    """The recipient that _failure() told of, as far as rules of the admin look at it (returned.ruled)."""
    texts = facts.get("texts")
    category = str(facts.get("category") or Category.OTHER)
    return Recipient(
        "",
        action="failed",
        status=str(facts.get("status") or ""),
        reply=str(facts.get("reply") or ""),
        command=str(facts.get("command") or ""),
        category=Category(category) if category in set(Category) else Category.OTHER,
        permanent=bool(facts.get("permanent")),
        rule=str(facts.get("rule") or ""),
        texts=tuple(map(str, texts)) if isinstance(texts, (list, tuple)) else (),
    )
