"""Who looks, and what of it he may see and do. Pure.

Every page, message and file of data asks here; nothing else decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
