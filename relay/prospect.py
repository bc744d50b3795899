"""What would become of mail to people as things stand, for `postlane explain`: as an attempt is told, but no place is taken.

The question is {"do": "would", "recipients": [...], "brand", "stream", "class", "contradiction", "valid_until"}; the answer
{"stands": [null or {"decision", "reason", "detail", "until"}]}, one for each recipient; null: it goes. `until` in ms.
"""

from collections.abc import Mapping
from typing import Protocol

from relay.consent import Asked, Consent, would
from relay.control import Json
from relay.message import MailClass, Message
from relay.policy.relevance import Postponed
from relay.policy.streams import Stream
from relay.state.interface import StateError


class Home(Asked, Protocol):
    """`streams` in force, by name; the clock in ms."""

    @property
    def streams(self) -> Mapping[str, Stream]: ...

    def clock(self) -> int: ...


class Prospects:
    """A worker's side."""

    def __init__(self, house: Home) -> None:
        self._house = house

    def __repr__(self) -> str:
        return f"<Prospects of {self._house!r}>"

    async def answer(self, question: Json) -> Json:
        now = self._house.clock()
        try:
            message = _message(question, now)
            stream = self._house.streams.get(message.stream)
            found = [await would(message, str(one), stream, now, self._house) for one in question["recipients"]]
        except (KeyError, TypeError, ValueError) as error:
            return {"error": f"it cannot be read: {error!r}"}
        except StateError as error:
            return {"error": f"State cannot be reached: {error}", "again": True}
        return {"stands": [_told(one) for one in found]}


def _message(question: Json, now: int) -> Message:
    """As far as that matters. Raises KeyError for what is no class."""
    return Message(
        id="",
        accepted_at=now,
        credential="",
        brand=str(question.get("brand") or ""),
        stream=str(question.get("stream") or ""),
        mail_class=MailClass[str(question["class"]).upper()],
        author="",
        message_id="",
        subject="",
        size=0,
        contradiction=question.get("contradiction"),
        valid_until=question.get("valid_until"),
    )


def _told(stands: Consent) -> Json | None:
    if stands is None:
        return None
    until = stands.until if isinstance(stands, Postponed) else None
    decision = "withhold" if until is None else "postpone"
    return {"decision": decision, "reason": stands.reason, "detail": stands.detail, "until": until}
