"""Feedback-ID: by what Google tells the complaints of its users (support.google.com/mail/answer/6254652, "Feedback Loop"). Pure.

Four parts, `campaign-or-stream:credential:brand:sender-id`. Google tells a rate for each value of each part, over all mail that a
domain signs, so the same value in two parts would be counted twice: a stream that is named as its credential is, for
example, says `crm_` here (names in files never end in `_`). Brands keep their names, credentials give way to brands, and
what an app calls a campaign to all of them. The last part says whose mail it is, 5 to 15 characters, the same in all of it.

Every class of mail says it: Google tells nothing of what is little, and a complaint about a receipt is worth knowing.
"""

import re
from collections.abc import Iterable, Set
from functools import lru_cache
from hashlib import blake2s

SENDER = "postlane"
LONGEST = 63  # characters of a part, as of a name in files
KEPT = 1_024  # fields remembered: campaigns of a day times credentials
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class FeedbackIds:
    """Of one installation. `brands` and `credentials`: all there are."""

    def __init__(self, brands: Iterable[str] = (), credentials: Iterable[str] = ()) -> None:
        taken = {SENDER}
        self._brands = _apart(brands, taken)
        self._credentials = _apart(credentials, taken)
        self._taken = taken
        self.field = lru_cache(maxsize=KEPT)(self._field)

    def __repr__(self) -> str:
        return f"<FeedbackIds {sorted(self._taken)}>"

    def _field(self, campaign: str, credential: str, brand: str) -> bytes:
        """The field with its line end. `campaign`: or the stream's name."""
        third = self._brands.get(brand) or _other(brand, self._taken)
        second = self._credentials.get(credential) or _other(credential, self._taken | {third})
        first = _other(campaign, self._taken | {second, third})
        return f"Feedback-ID: {first}:{second}:{third}:{SENDER}\r\n".encode()


def _apart(names: Iterable[str], taken: set[str]) -> dict[str, str]:
    """What each is called, apart from what is `taken`, to which they are added."""
    said = {name: _other(name, taken) for name in names}
    taken.update(said.values())
    return said


def _other(name: str, taken: Set[str]) -> str:
    """What it is called, unlike all that is taken; nothing stays nothing."""
    value = safe(name)
    while value and value in taken:
        value += "_"
    return value


def safe(text: str) -> str:
    """Of letters, digits, dots, hyphens and underscores; what loses something thereby ends in a digest, so that two campaigns
    in Hebrew stay two."""
    value = _UNSAFE.sub("-", text).strip("-")
    if (value or not text) and len(value) <= LONGEST and text.isascii():
        return value
    digest = blake2s(text.encode("utf-8", "replace"), digest_size=4).hexdigest()
    return f"{value[: LONGEST - 9]}-{digest}".lstrip("-")
