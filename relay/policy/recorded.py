"""A message as its `accepted` events recorded it, so that other policies can be tried on it. Pure.

Of the header only those fields are known that the rules then in force named; what a rule of today asks beyond that nobody
can tell any more (`Recorded.known`, `Streams.doubt`). Events come from disk and may be of an older or a newer version: what
is not of the type it should be is taken as not recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.header import Field
from relay.message import MailClass
from relay.policy.evidence.classify import Evidence
from relay.policy.letter import Letter
from relay.policy.streams import CUT

Event = Mapping[str, Any]

_NOBODY = Evidence(MailClass.TRANSACTIONAL, 0.0)
_CLASSES = {mail_class.label: mail_class for mail_class in MailClass}


@dataclass(slots=True)
class Recorded(Letter):
    """octets    its size
    headers   by name in lower case; a name that is not there is not known, one without values was not in the message
    files     names of attachments; None: nobody looked
    told      is its subject there? [retention] removes them
    """

    octets: int = 0
    headers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    files: Sequence[str] | None = None
    told: bool = True

    @property
    def size(self) -> int:
        return self.octets

    def values(self, name: str) -> list[str]:
        return list(self.headers.get(name, ()))

    def attachments(self) -> list[str]:
        return list(self.files or ())

    def known(self, key: str, there: bool) -> bool:
        """As Streams.doubt asks: all of it, or whether it is there at all."""
        if key == "subject":
            return self.told
        values = self.files if key == "attachment" else self.headers.get(key.removeprefix("header."))
        return values is not None and (there or not any(value.endswith(CUT) for value in values))


@dataclass(slots=True)
class Past:
    """One message that was accepted. `named`: the stream the app named, "" if none; `judged`: None where the evidence was
    not recorded; `event`: that of its first recipient."""

    id: str
    credential: str
    named: str
    letter: Recorded
    recipients: list[str]
    judged: Evidence | None
    event: Event

    def judge(self, letter: Letter, credential: str, now: int) -> Evidence:
        """What the evidence said then. A stand-in where nobody asked it: see `judged`."""
        return self.judged or _NOBODY


def past(events: Sequence[Event]) -> Past | None:
    """The message of these `accepted` events, one for each recipient, the first one first; None where they cannot be read."""
    first = events[0]
    author, domains = first.get("from"), [event.get("domain") for event in events]
    told = [first.get(name) for name in ("id", "credential", "stream", "class", "sender")]
    if not all(isinstance(one, str) for one in (author, *told, *domains)):
        return None
    identifier, credential, stream, mail_class, sender = map(str, told)
    headers = _headers(first.get("headers"))
    letter = Recorded(
        fields=_fields(str(author), _texts(first.get("co_authors")) or [], headers),
        subject=str(first.get("subject") or ""),
        sender=sender,
        domains=list(map(str, domains)),
        octets=first["size"] if isinstance(first.get("size"), int) else 0,
        headers=headers,
        files=_texts(first.get("attachments")),
        told="subject" in first,
    )
    return Past(
        id=identifier,
        credential=credential,
        named=stream if first.get("named") is True else "",
        letter=letter,
        recipients=[str(event.get("recipient", "")) for event in events],
        judged=_judged(first, mail_class),
        event=first,
    )


def _fields(author: str, co_authors: Sequence[str], headers: Mapping[str, Sequence[str]]) -> list[Field]:
    """A header that says as much as is known: whose mail it is, and which fields there were."""
    fields = [Field("from", f"From: <{author}>\r\n".encode(errors="replace"))]
    if co_authors or headers.get("sender"):
        others = ", ".join(f"<x@{domain}>" for domain in co_authors) or f"<{author}>"
        fields.append(Field("sender", f"Sender: {others}\r\n".encode(errors="replace")))
    known = {name for name, values in headers.items() if values} - {"from", "sender"}
    return fields + [Field(name, b"") for name in sorted(known)]


def _headers(value: object) -> dict[str, list[str]]:
    if not isinstance(value, dict):
        return {}
    return {name: texts for name, given in value.items() if (texts := _texts(given)) is not None}


def _texts(value: object) -> list[str] | None:
    return value if isinstance(value, list) and all(isinstance(one, str) for one in value) else None


def _judged(event: Event, mail_class: str) -> Evidence | None:
    """What the evidence said: `judged`, or, where it was asked only to decide, the class."""
    confidence, said = event.get("confidence"), _CLASSES.get(str(event.get("judged") or mail_class))
    if said is None or not isinstance(confidence, float | int):
        return None
    return Evidence(said, float(confidence), str(event.get("skeleton") or ""))
