"""Who looks, and what of it he may see and do. Pure.

Every page, message and file of data asks here; nothing else decides.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from relay.masking import masked

SEALED = "sealed_recipient"  # beside a recipient who may be masked: what the address of his page has

OPERATOR, VIEWER, OPEN = "operator", "viewer", "open"


@dataclass(frozen=True, slots=True)
class Visitor:
    """role         operator | viewer | open: nobody has to log in here, so all may be seen and nothing changed
    credentials  whose mail is shown; none: everybody's
    form         what a form of ours must send along (relay/web/login/sessions.py)
    """

    name: str = ""
    role: str = OPEN
    credentials: tuple[str, ...] = ()
    form: str = ""

    @property
    def may_change(self) -> bool:
        """What concerns everybody's mail is not changed by who may not see it."""
        return self.role == OPERATOR and not self.limited

    @property
    def masked(self) -> bool:
        """Are recipients' addresses hidden?"""
        return self.role == VIEWER

    @property
    def limited(self) -> bool:
        """To the mail of some credentials. Of the node as a whole such a visitor is told nothing."""
        return bool(self.credentials)

    def sees(self, event: Mapping[str, Any]) -> bool:
        return not self.limited or event.get("credential") in self.credentials


def shown_to(
    visitor: Visitor, events: Iterable[dict[str, Any]], seal: Callable[[str], str] | None = None
) -> list[dict[str, Any]]:
    """What of it this visitor may see, as he may see it. Whatever is looked for is looked for in this, or a search would tell
    letter by letter what is masked."""
    seen = [event for event in events if visitor.sees(event)]
    if seal is not None:
        seen = [
            event | {SEALED: seal(event["recipient"])} if isinstance(event.get("recipient"), str) else event
            for event in seen
        ]
    return [masked(event) for event in seen] if visitor.masked else seen
