"""Addresses as viewers may see them: enough to recognise one that is known, too little to write to; and what stands for one that
was removed. Pure.

    dana.levi@gmail.com   d***@gmail.com        the domain stays: postmasters count by it
    me@gmail.com          ***@gmail.com         of so short a name the first letter would say much
    "a b"@x.example       ***@x.example         of a quoted one nothing is shown

Where it is not known by its place (a reply's text, a subject, an app's metadata) an address is whatever stands before an @, also
before one written as in a URL (%40) or in HTML (&#64;). Where a name begins is in doubt, more is hidden.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

HIDDEN = "***"  # always as long: how long a name is helps to guess it
SHORT = 2  # letters of a name of which none is shown

SHOWN = frozenset({"from", "message_id"})  # of an event: the app's own, which look like addresses of people

_PSEUDONYM = re.compile(r"~([0-9a-f]{32})")
# No name without quotes goes on beyond these (RFC 5321 4.1.2), nor one in a URL or a list.
_ENDS = r"""\s@<>()\[\],;:"\\"""
_NAME = rf"(?:[^{_ENDS}%&]|%(?!40)|&(?!#64;|#x40;))+"
_ADDRESS = re.compile(
    rf"""(?:"(?:[^"\\\n]|\\.){{1,80}}"|(?:(?<![^{_ENDS}])|(?<=%40)){_NAME})(?=(?:@|%40|&\#64;|&\#x40;)[\w\[])""",
    re.IGNORECASE,
)


def mask(address: str) -> str:
    """One address, or what stands where one should. A pseudonym stays: it is nobody's."""
    name, at, domain = address.rpartition("@")
    if not at:
        return HIDDEN if address else ""
    return f"{_initial(name)}@{domain}"


def mask_text(text: str) -> str:
    """The text with every address in it masked; takes time in proportion to it."""
    return _ADDRESS.sub(lambda found: _initial(found[0]), text)


def masked(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event, or an answer made like one, as a viewer may see it: all its texts, at any depth, but for SHOWN."""
    return _cleared(event, mask, mask_text)


def pseudonym(key: bytes, domain: str) -> str:
    """What stands where an address was, once addresses are removed ([retention] addresses): by the person's key (recipient.py),
    which only who holds the node's secret can make of an address. The same person has the same one, and keeps his domain."""
    return f"~{key.hex()}@{domain}"


def key_in(address: str) -> bytes | None:
    """The key that a pseudonym was made of; None: it is an address."""
    found = _PSEUDONYM.fullmatch(address.rpartition("@")[0])
    return bytes.fromhex(found[1]) if found else None


def without_addresses(event: Mapping[str, Any], key_of: Callable[[str], bytes]) -> dict[str, Any]:
    """An event in which a pseudonym stands for its recipient, and of all other addresses only the domain remains, but for SHOWN.
    `key_of` an address. Done twice it is as done once."""

    def replaced(address: str) -> str:
        if not address or key_in(address) is not None:
            return address
        return pseudonym(key_of(address), address.rpartition("@")[2])

    return _cleared(event, replaced, lambda text: _ADDRESS.sub(_nothing, text))


def _cleared(event: Mapping[str, Any], address: Callable[[str], str], text: Callable[[str], str]) -> dict[str, Any]:
    """`address` of what is known to be one, `text` of all else that may hold one."""

    def of(name: str, value: Any) -> Any:
        if isinstance(value, str):
            if name == "recipient":
                return address(value)
            if "@" not in value and "%40" not in value and "&#" not in value:  # most: it saves four fifths of the time
                return value
            # An app's own MAIL FROM is no secret, but many have the recipient in it (VERP: bounces+dana=gmail.com@...).
            return value if name == "sender" and "=" not in value else text(value)
        if isinstance(value, Mapping):
            return {text(str(key)): of(str(key), one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [of(name, one) for one in value]
        return value

    return {name: value if name in SHOWN else of(name, value) for name, value in event.items()}


def _initial(name: str) -> str:
    if _PSEUDONYM.fullmatch(name):
        return name
    return HIDDEN if len(name) <= SHORT or name.startswith('"') else f"{name[0]}{HIDDEN}"


def _nothing(found: re.Match[str]) -> str:
    return found[0] if _PSEUDONYM.fullmatch(found[0]) else HIDDEN
