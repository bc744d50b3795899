"""`postlane explain ID`: what was decided of a message that was accepted, and what would differ under the files on disk.

Its events tell; where they are not there (any more) and it still waits, the running node does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from relay.cli.events import accepted_after, printable
from relay.cli.explain_pace import NOTHING_SAID, Pacing
from relay.cli.queue import pages
from relay.cli.reasons import of_brand, of_class, of_stream, short
from relay.config import Deployment
from relay.config.origin import Places
from relay.control import NodeDown, Refused
from relay.fate import Fate, Files
from relay.feedback.eventlog import read
from relay.message import MailClass
from relay.policy.recorded import Event, Past, past
from relay.replay import Answer, Undecided, again, answer, asks, carriers, for_the_past

_STATES = {"accepted": "waits", "deferred": "waits", "postponed": "waits"}


@dataclass(frozen=True, slots=True)
class Way:
    """One recipient: what became of it so far, and the pool its last attempt used ("": none yet); of one that waits, what it
    meets at its site `now`."""

    recipient: str
    state: str
    pool: str
    now: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Remembered:
    """`now`: what the files on disk say; `carried`: by what, for each recipient."""

    message: Past
    ways: Sequence[Way]
    files: Files
    places: Places
    now: Fate | Undecided
    carried: Sequence[str]

    @property
    def event(self) -> Event:
        return self.message.event

    @property
    def then(self) -> Answer:
        """What was said of it. A contradiction may have changed the class: that takes several messages, and is left out."""
        stream, mail_class, brand = (str(self.event.get(name) or "") for name in ("stream", "class", "brand"))
        return Answer(stream, str(self.event.get("claimed") or mail_class), brand, "")

    @property
    def differs(self) -> dict[str, tuple[str, str]]:
        """What would not be as it was: (then, now), by name."""
        if isinstance(self.now, Undecided):
            return {}
        now = answer(self.now)
        if now.refused:
            return {"refused": ("", now.refused)}
        pairs = zip(("stream", "class", "brand"), self.then, now, strict=False)
        found = {name: (before, after) for name, before, after in pairs if before != after}
        used = sorted({(way.pool, name) for way, name in zip(self.ways, self.carried, strict=True) if way.pool})
        as_said = self.event.get("class") == self.then.mail_class
        moved = [pair for pair in used if as_said and pair[0] != pair[1].partition(" ")[0]]
        return found | ({"pool": moved[0]} if moved else {})


def of(
    identifier: str, deployment: Deployment, files: Files, places: Places, pacing: Pacing = NOTHING_SAID
) -> Remembered:
    """Raises LookupError where neither the events nor the running node know the id."""
    data_dir = deployment.node.data_dir
    events = list(read(data_dir / "events", since=accepted_after(identifier) or 0, match={"id": identifier}))
    accepted = [event for event in events if event.get("type") == "accepted"] or _waiting(identifier, data_dir)
    if not accepted:
        raise LookupError(f"no event of it in {data_dir / 'events'}, and it does not wait here")
    message = past(accepted)
    if message is None or "report_of" in accepted[0]:
        raise LookupError("nothing was decided about it: it is a report of our own, or its event cannot be read")
    asked = for_the_past(files)
    now = again(message, asked)
    carried = () if isinstance(now, Undecided) else carriers(now, message.letter.domains, asked)
    ways = [_way(number, recipient, events) for number, recipient in enumerate(message.recipients)]
    ways = [_paced(way, number, accepted[0], events, files, pacing) for number, way in enumerate(ways)]
    return Remembered(message, ways, asked, places, now, carried)


def _paced(way: Way, number: int, accepted: Event, events: Sequence[Event], files: Files, pacing: Pacing) -> Way:
    """With the paces of its site; the site is that of its last attempt, or what is known of its domain without a look-up."""
    if way.state != "waits":
        return way
    own = [event for event in events if event.get("rcpt") == number]
    sites = [str(event["site"]) for event in own if event.get("site")]
    site = sites[-1] if sites else files.sites.expected(way.recipient.rpartition("@")[2])
    mail_class = next((one for one in MailClass if one.label == accepted.get("class")), MailClass.MARKETING)
    pool = files.named.get(way.pool) or files.pools[mail_class]
    sources = [source.address for source in pool.sources]
    return replace(way, now=list(pacing.said(site, sources, pool.name, str(accepted.get("stream") or ""), mail_class)))


def _waiting(identifier: str, data_dir: Path) -> list[dict[str, Any]]:
    """What the queue tells of its recipients has the names that events have."""
    try:
        found = list(pages(data_dir, {"do": "queue.page", "selector": {"id": identifier}}))
    except (NodeDown, Refused):
        return []
    return [{**item, "time": item["accepted"]} for page in found for item in page["items"]]


def _way(number: int, recipient: str, events: Sequence[Event]) -> Way:
    own = [event for event in events if event.get("rcpt") == number]
    kind = str(own[-1].get("type")) if own else "accepted"
    pools = [str(event["pool"]) for event in own if event.get("pool")]
    return Way(recipient, _STATES.get(kind, kind), pools[-1] if pools else "")


def as_facts(one: Remembered) -> dict[str, object]:
    event, now = one.event, one.now
    on_disk: dict[str, object] = {"policies": one.files.version}
    if isinstance(now, Undecided):
        on_disk["undecided"] = {"rule": now.rule or None, "stream": now.stream, "asks": now.key}
    else:
        stream, mail_class, brand, refused = answer(now)
        on_disk |= {"stream": stream or None, "class": mail_class or None, "brand": brand or None}
        on_disk |= {"refused": refused or None, "pools": sorted(set(one.carried))}
    names = ("credential", "stream", "class", "claimed", "confidence", "contradiction", "brand", "rule", "policies")
    return {
        "file": one.message.id,
        "time": event.get("time"),
        **{name: event.get(name) for name in names},
        "evidence": [{"term": term} for term in event.get("evidence") or ()],
        "skeleton": event.get("skeleton"),
        "recipients": [{"recipient": w.recipient, "decision": w.state, "pool": w.pool or None} for w in one.ways],
        "on_disk": on_disk,
        "differs": sorted(one.differs),
    }


def as_text(one: Remembered, zone: tzinfo) -> Iterator[str]:
    return (printable(line) for line in _lines(one, zone))


def _lines(one: Remembered, zone: tzinfo) -> Iterator[str]:
    event = one.event
    yield f"{one.message.id}   From: {event.get('from')}   Subject: {event.get('subject') or '(none)'}"
    version = event.get("policies")
    yield f"Accepted {_when(event, zone)}" + (f" under policies {version}" if version else "") + ". Decided then:"
    yield ""
    rule = str(event.get("rule") or "")
    yield _line("Stream", one.then.stream, short(rule) or ("named by the app" if one.message.named else ""))
    yield _line("Class", str(event.get("class")), _evidence(event))
    yield _line("Brand", one.then.brand or "none", "")
    yield ""
    width = max(22, *(len(way.recipient) + 2 for way in one.ways))
    for way in one.ways:
        yield f"  {way.recipient:<{width}}{way.state}{f', pool {way.pool}' if way.pool else ''}"
        for line in way.now:
            yield f"  {'':<{width}}{line}"
    yield ""
    yield from _now(one)


def _evidence(event: Event) -> str:
    confidence, terms = event.get("confidence"), event.get("evidence")
    if not isinstance(confidence, float | int):
        return ""
    named = ", ".join(str(term).replace("-", " ") for term in terms) if isinstance(terms, list) else ""
    said = f"{event['judged']} " if event.get("judged") else ""
    claimed = f", {event['contradiction']}, claimed {event.get('claimed')}" if event.get("contradiction") else ""
    return f"evidence: {said}{confidence:.2f}{claimed}" + (f"; {named}" if named else "")


def _now(one: Remembered) -> Iterator[str]:
    files = f"Under the files on disk ({one.files.version})"
    now, differs = one.now, one.differs
    if isinstance(now, Undecided):
        yield f"{files} it cannot be decided: {asks(now)}."
    elif not differs:
        yield f"{files} nothing would differ."
    elif now.refusal is not None:
        yield f"{files} it would be refused: {now.refusal.reply}"
    else:
        yield f"{files}:"
        letter = one.message.letter
        reasons = {
            "stream": lambda: of_stream(now, letter, one.files, one.places),
            "class": lambda: of_class(now, one.places),
            "brand": lambda: of_brand(now, one.files, one.places),
        }
        for name, (before, after) in differs.items():
            words = reasons[name]() if name in reasons else ""
            yield f"  {name.capitalize():<9}{before or 'none'} -> {after or 'none'}   {words}".rstrip()


def _line(what: str, value: str, words: str) -> str:
    return f"  {what:<9}{value:<15} {words}".rstrip()


def _when(event: Event, zone: tzinfo) -> str:
    try:
        return f"{datetime.fromisoformat(str(event.get('time'))).astimezone(zone):%a %d %b %H:%M:%S}"
    except ValueError:
        return "?"
