"""What became of messages, told from their events. Pure.

Events are read as they come from disk, so a field may be missing or of another type in a later version: what is not
understood is shown as it is, or not at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from relay.web.login.visitor import SEALED

Event = dict[str, Any]

# type of the last event -> (word for people, tone); what is not here speaks for itself.
STATES: dict[str, tuple[str, str]] = {
    "accepted": ("queued", "waiting"),
    "delivered": ("delivered", "good"),
    "deferred": ("deferred", "warning"),
    "postponed": ("postponed", "warning"),
    "bounced": ("bounced", "bad"),
    "bounced-late": ("bounced late", "bad"),
    "withheld": ("withheld", "bad"),
    "complained": ("complaint", "bad"),
    "unsubscribed": ("unsubscribed", "waiting"),
}

OPEN = frozenset({"accepted", "deferred", "postponed"})


class EventSource(Protocol):
    """Where the pages' events come from; called in a thread. A fake in tests, `relay.web.tail.EventTail` for real."""

    def recent(self) -> list[Event]:
        """The newest events, oldest first; a bounded number."""

    def story(self, identifier: str) -> list[Event]:
        """All events of one message, oldest first; empty if there is none."""


@dataclass(slots=True)
class Way:
    """One recipient's way: the facts of its last events."""

    index: int
    recipient: str
    state: str = "accepted"
    reply: str = ""
    category: str = ""
    detail: str = ""
    mx: str = ""
    tls: str = ""
    source: str = ""
    pool: str = ""
    attempts: int = 0
    delay_ms: int | None = None
    again: str = ""
    captured: bool = False
    sealed: str = ""

    @property
    def open(self) -> bool:
        """Is it neither delivered nor given up yet?"""
        return self.state in OPEN

    @property
    def word(self) -> str:
        return STATES.get(self.state, (self.state, ""))[0]

    @property
    def tone(self) -> str:
        return STATES.get(self.state, ("", "waiting"))[1]


@dataclass(slots=True)
class Story:
    """One message. `time` is that of its first event here; `ways` by recipient index."""

    id: str
    time: str
    facts: Event
    ways: dict[int, Way] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def text(self, name: str) -> str:
        """A fact for people: a field of the `accepted` event, or of the first that has it."""
        value = self.facts.get(name)
        return "" if value is None else str(value)

    @property
    def subject(self) -> str:
        return self.text("subject")

    @property
    def captured(self) -> bool:
        """Did any of it go to the capture server?"""
        return any(way.captured for way in self.ways.values())

    @property
    def mail_class(self) -> str:
        return self.text("class")


def stories(events: Iterable[Event]) -> list[Story]:
    """Messages in these events, the newest first; the events are in time order."""
    found: dict[str, Story] = {}
    for event in events:
        identifier = event.get("id")
        if not isinstance(identifier, str):
            continue
        story = found.setdefault(identifier, Story(identifier, str(event.get("time", "")), {}))
        _add(story, event)
    return sorted(found.values(), key=lambda s: s.id, reverse=True)  # ids sort by time


def _add(story: Story, event: Event) -> None:
    story.events.append(event)
    for name, value in event.items():
        if value is not None:
            story.facts.setdefault(name, value)
    index = event.get("rcpt")
    if not isinstance(index, int):
        return
    way = story.ways.setdefault(index, Way(index, str(event.get("recipient", ""))))
    way.state = str(event.get("type", ""))
    way.sealed = str(event.get(SEALED, ""))
    way.reply = reply_text(event) or way.reply
    way.category = str(event.get("category") or "") if "reply" in event else way.category
    way.detail = " ".join(str(event[n]) for n in ("reason", "detail") if event.get(n))
    way.again = str(event.get("next_attempt") or event.get("until") or "")
    for name in ("mx", "tls", "source", "pool"):
        setattr(way, name, str(event.get(name) or getattr(way, name)))
    way.captured = way.captured or event.get("captured") is True
    if isinstance(event.get("attempt"), int):
        way.attempts = event["attempt"]
    if isinstance(event.get("delay_ms"), int):
        way.delay_ms = event["delay_ms"]


def reply_text(event: Event) -> str:
    """ "550 5.1.1 No such user" of the event's reply; "" if it has none."""
    reply = event.get("reply")
    if not isinstance(reply, dict):
        return ""
    return " ".join(str(reply[n]) for n in ("code", "enhanced", "text") if reply.get(n))


def refusals(events: Iterable[Event]) -> list[Event]:
    """What was refused at the door, the newest first."""
    return [e for e in events if e.get("type") == "rejected"][::-1]


def matches(story: Story, words: str, state: str, mail_class: str) -> bool:
    """Is this message asked for? `words` in any address, subject or id, all of them, whatever their case."""
    if mail_class and story.mail_class != mail_class:
        return False
    if state and state not in {w.state for w in story.ways.values()}:
        return False
    names = ("sender", "from", "subject", "message_id", "credential", "stream", "campaign")
    hay = " ".join([story.id, *map(story.text, names), *(w.recipient for w in story.ways.values())]).casefold()
    return all(word in hay for word in words.casefold().split())
