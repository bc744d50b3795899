"""Addresses as viewers may see them: enough to recognise one that is known, too little to write to. Pure.

    dana.levi@gmail.com   d***@gmail.com        the domain stays: postmasters count by it
    me@gmail.com          ***@gmail.com         of so short a name the first letter would say much
    "a b"@x.example       ***@x.example         of a quoted one nothing is shown

Where it is not known by its place (a reply's text, a subject, an app's metadata) an address is whatever stands before an @, also
before one written as in a URL (%40) or in HTML (&#64;). Where a name begins is in doubt, more is hidden.
"""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"  # always as long: how long a name is helps to guess it
SHORT = 2  # letters of a name of which none is shown

SHOWN = frozenset({"from", "message_id"})  # of an event: the app's own, which look like addresses of people

_PSEUDONYM = re.compile(r"~[0-9a-f]{20}")  # in place of a name that was removed ([retention] addresses): nobody's
_ENDS = (
    r"""\s@<>()\[\],;:"\\"""  # no name without quotes goes on beyond these (RFC 5321 4.1.2), nor one in a URL or a list
)
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
    return f"{_masked(name)}@{domain}"


def mask_text(text: str) -> str:
    """The text with every address in it masked; takes time in proportion to it."""
    return _ADDRESS.sub(lambda found: _masked(found[0]), text)


def masked(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event, or an answer made like one, as a viewer may see it: all its texts, at any depth, but for SHOWN."""
    return {name: value if name in SHOWN else _cleared(name, value) for name, value in event.items()}


def _cleared(name: str, value: Any) -> Any:
    if isinstance(value, str):
        if name == "recipient":
            return mask(value)
        # An app's own MAIL FROM is no secret, but many have the recipient in it (VERP: bounces+dana=gmail.com@...).
        return value if name == "sender" and "=" not in value else mask_text(value)
    if isinstance(value, Mapping):
        return {mask_text(str(key)): _cleared(str(key), one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_cleared(name, one) for one in value]
    return value


def _masked(name: str) -> str:
    if _PSEUDONYM.fullmatch(name):
        return name
    return HIDDEN if len(name) <= SHORT or name.startswith('"') else f"{name[0]}{HIDDEN}"
