"""Which messages get our List-Unsubscribe (RFC 2369) and List-Unsubscribe-Post (RFC 8058), and where they lead. Pure.

Marketing that brings none gets ours. What the app has set is kept, unless its stream says `unsubscribe = "replace"`: then ours
takes its place and the app's own URL is told as well. A field that the app's own DKIM signature covers is never touched.
Mail that is marketing by our judgement alone (rerouted) is none to its recipient: it cannot be unsubscribed from.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from relay.header import Field, covered
from relay.message import MailClass

FIELDS = frozenset({"list-unsubscribe", "list-unsubscribe-post"})
POST = b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
MAX_CALLS = 350  # octets of an app's URL that fit into a token (relay/tokens.py)
_MAX_VALUE = 8_000  # octets of List-Unsubscribe that are looked at
_HTTPS = re.compile(rb"<(https://[!-;=?-~]+)>", re.IGNORECASE)


class Offer(NamedTuple):
    """Recipients of a message may unsubscribe from `brand` at `page` (an URL without the token); `calls`: the app's own URL, told
    as well."""

    brand: str
    page: str
    calls: str = ""


def offered(
    fields: Sequence[Field], brand: str, mail_class: MailClass, pages: Mapping[str, str], *, replace: bool
) -> Offer | None:
    """None: what the app has set leaves as it is. `pages`: by brand; "": for brands that have none of their own."""
    page = pages.get(brand) or pages.get("") if mail_class is MailClass.MARKETING else None
    if not page:
        return None
    own = next((f for f in fields if f.name == "list-unsubscribe"), None)
    if own is None:
        return Offer(brand, page)
    if not replace or any(f.name == "dkim-signature" and covered(f.value, FIELDS) for f in fields):
        return None
    url = _https_of(own)
    return Offer(brand, page, url) if len(url) <= MAX_CALLS else None


def header(page: str, token: str, leaving: str = "") -> bytes:
    """Both fields of one recipient. `leaving`: the address by which he leaves, for programs that only mail; behind the page,
    since the first of several is preferred (RFC 2369 3)."""
    mailto = f",\r\n\t<mailto:{leaving}?subject=unsubscribe>" if leaving else ""
    return f"List-Unsubscribe: <{page}/u/{token}>{mailto}\r\n".encode() + POST


def _https_of(field: Field) -> str:
    """The first https URI of it; "" for none. Blanks within angle brackets are to be ignored (RFC 2369 2)."""
    found = _HTTPS.search(field.raw[:_MAX_VALUE].translate(None, b" \t\r\n"))
    return found[1].decode() if found else ""
