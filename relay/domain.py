"""Domain names in the one form that DNS and tables use: the lower-case A-label (RFC 5890), by UTS 46 as browsers do it."""

from functools import lru_cache

import idna

MAX_DOMAIN = 253  # the longest name that fits into 255 octets on the wire (RFC 1035 2.3.4)


@lru_cache(maxsize=8192)  # one campaign goes to few domains; bounded, as are the keys (an address is)
def a_label(name: str) -> str | None:
    """`name` as A-label; None for what cannot be one. Of ASCII names only case is changed: their form is the caller's."""
    if name.isascii():
        return name.lower()
    try:
        return idna.encode(name, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return None


def u_label(name: str) -> str:
    """An A-label as people write it; `name` itself where it is none."""
    try:
        return idna.decode(name)
    except (idna.IDNAError, UnicodeError):
        return name
