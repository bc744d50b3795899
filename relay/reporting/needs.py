"""What needs a person, worst first. Pure.

The node says what alerts fire, what is stopped and what somebody promised to look at again; the event log, which failures
blame us or are far above what is usual. What heals by itself (a full mailbox, a slow site) is no business of a person's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.feedback.taxonomy import MEANINGS, Category, Reach
from relay.reporting.findings import Finding

# The order in which somebody would look: what is stopped or refused as a whole goes before what is merely more than usual.
CRITICAL, STOPPED, BLAMED, MORE, SOON = range(5)
BAD_HOUR = "bad-hour"  # the alert's name (relay/alert.py)
LEAST = 10  # failures: fewer say nothing
SHARE = 0.05  # of mail refused because of us, or for want of a mailbox: the limit at which a stream is suspended, too
TIMES = 3.0  # as many as usual
_ADVICE = {
    Category.AUTH_FAILURE: "what DKIM, SPF or DMARC of the From domain lack: postlane keys dns DOMAIN prints the records",
    Category.BAD_SENDER: "the sender's own address is refused: does its domain exist, and take mail?",
    Category.POLICY_BLOCK: "the site has a rule against this mail; its words say which",
    Category.REPUTATION_BLOCK: "ask the site's postmaster desk for delisting; postlane pace slows what still goes",
    Category.SPAM_BLOCK: "its content or its list: who owns the stream should look before the next campaign",
    Category.CONTENT_ERROR: "the app makes messages that are not well formed",
    Category.MESSAGE_TOO_LARGE: "the app sends more than the site takes",
    Category.PROTOCOL_ERROR: "most likely a fault of this program: please report it",
    Category.TLS_FAILURE: "the site's certificate, or the tls that shaping.toml demands of it",
    Category.RELAY_DENIED: "its MX does not take mail for the domain: a route of routes.toml, or their DNS",
    Category.BAD_MAILBOX: "an old list: its owner should say where the addresses come from",
    Category.BAD_DOMAIN: "an old or mistyped list: its owner should say where the addresses come from",
}


@dataclass(frozen=True, slots=True)
class Need:
    """`rank`: CRITICAL first; `weight`: within a rank, the number of mails that it is about; `what` in one line, `advice` the
    cure, `said`: a reply as it came (whoever shows it may look it up by the selectors of `where`), `see`: the command that
    shows more; `doubted`: the site whose word on its mailboxes somebody should confirm or drop."""

    rank: int
    weight: int
    what: str
    advice: str = ""
    said: str = ""
    see: str = ""
    where: Mapping[str, str] = field(default_factory=dict)
    doubted: str = ""


def worst_first(needs: Iterable[Need]) -> list[Need]:
    return sorted(needs, key=lambda need: (need.rank, -need.weight, need.what))


def of_status(facts: Mapping[str, Any]) -> list[Need]:
    """Of the node's own answer to "stats". What other parts of it know of (`needs`: rows of what, advice, see) goes last."""
    needs = [_of_alert(one) for one in facts.get("alerts", ())]
    for one in facts.get("suspensions", ()):
        why = f": {one['reason']}" if one["reason"] else ""
        needs.append(
            Need(STOPPED, one["waiting"], f"suspended {one['said']}, {one['waiting']:,} waiting{why}", see=one["undo"])
        )
    for one in facts.get("reviews", ()):
        if one["past"]:
            what = f"stream {one['stream']} was to be looked at again by {one['review_by']}"
            needs.append(Need(SOON, 0, what, "is it still wanted? then give it a new review_by in streams.toml"))
    rows = facts.get("needs", ())
    return needs + [Need(SOON, 0, row["what"], row.get("advice", ""), see=row.get("see", "")) for row in rows]


def _of_alert(one: Mapping[str, Any]) -> Need:
    blames_us = one["name"] in MEANINGS  # the category of what sites refuse (relay/policy/faults.py)
    return Need(
        CRITICAL if one["severity"] == "critical" else BLAMED if blames_us else MORE,
        0,
        f"{one['name']}: {one['summary']}",
        one["advice"],
        where={"category": one["name"], **one["what"]} if blames_us else {},
        doubted=one["what"]["site"] if one["name"] == BAD_HOUR else "",
    )


NOT_RUNNING = Need(CRITICAL, 0, "the node is not running: mail is neither taken nor sent", "systemctl status postlane")


def of_findings(findings: Sequence[Finding], told: Sequence[Need] = ()) -> list[Need]:
    """Failures that somebody has to do something about, but for those that `told` tells of."""
    known = [need.where.items() for need in told if need.where]
    new = [finding for finding in findings if not any(one <= finding.where.items() for one in known)]
    return [need for finding in new if (need := _of_finding(finding)) is not None]


def _of_finding(finding: Finding) -> Need | None:
    category = Category(finding.category) if finding.category in {one.value for one in Category} else Category.OTHER
    reach, share = MEANINGS[category].reach, finding.share or 0.0
    blames_us = reach in (Reach.SENDER, Reach.MESSAGE, Reach.CONNECTION) and category is not Category.EXPIRED
    if finding.count < LEAST:
        return None
    if blames_us and share >= SHARE:
        rank = BLAMED
    elif (blames_us and _unusual(finding)) or (MEANINGS[category].condemns and (_unusual(finding) or share >= SHARE)):
        rank = MORE
    else:
        return None
    advice = _ADVICE.get(category, "")
    return Need(rank, finding.count, _told(finding), advice, see=finding.command, where=finding.where)


def _unusual(finding: Finding) -> bool:
    share, usual = finding.share, finding.usual
    return share is not None and usual is not None and share >= TIMES * max(usual, 0.001)


def _told(finding: Finding) -> str:
    """auth-failure, stream helpdesk: 141 of 141 (100 %, usually 0.0 %)"""
    usual = f", usually {100 * finding.usual:.1f} %" if finding.usual is not None else ""
    share = f" ({100 * finding.share:.1f} %{usual})" if finding.share is not None else ""
    whole = f" of {finding.ended:,}" if finding.ended else ""
    return f"{', '.join([finding.category or 'unknown', *finding.whom])}: {finding.count:,}{whole}{share}"
