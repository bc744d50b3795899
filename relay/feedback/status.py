"""Machine-readable reports: delivery status (RFC 3464, 6533) and feedback (RFC 5965, 6590). Pure; never raises."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relay.feedback.parts import Fields

MAX_RECIPIENTS = 1000  # of one report; MTAs that group recipients stop at 100 (RFC 5321 4.5.3.1.8)
MAX_BLOCKS = 2 * MAX_RECIPIENTS

ACTIONS = ("failed", "delayed", "delivered", "relayed", "expanded")

_LINE = re.compile(r"([A-Za-z][A-Za-z0-9-]{1,60})\s*:\s*(.*)")
_STATUS = re.compile(r"(?<![\d.])([245])\s?\.(\d{1,3})\s?\.(\d{1,3})(?![\d.]*\.\d)")
_HEX = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_ADDRESS = re.compile(
    r'(?:"(?:[^"\\\s]|\\.){1,64}"|[^\s<>(),;:"\[\]\\@]{1,128})@(?:[^\s<>(),;:"\[\]\\@/=]{1,255}|\[[\w.:]{3,60}\])'
)
_NAMES_A_RECIPIENT = ("final-recipient", "original-recipient", "x-actual-recipient")


@dataclass(frozen=True, slots=True)
class Told:
    """What a report says of one recipient.

    address     the one we sent to, as far as the report tells: Original-Recipient before Final-Recipient
    final       the one it came to, "" if it is the same
    action      one of ACTIONS, or "" where the report has none
    status      enhanced status code, or ""
    diagnostic  the reply it was refused with, unparsed, or ""
    remote      the host that said so, or ""
    """

    address: str
    final: str
    action: str
    status: str
    diagnostic: str
    remote: str = ""


def blocks(text: str) -> list[Fields]:
    """Groups of fields, parted by blank lines; a group that names a second recipient is two (some leave the line out)."""
    groups: list[Fields] = [{}]
    name = ""
    for line in text.split("\n"):
        if not line.strip():
            if groups[-1]:
                if len(groups) >= MAX_BLOCKS:
                    break
                groups.append({})
            name = ""
            continue
        found = _LINE.match(line)
        if found is None or line[0] in " \t":
            if name:
                groups[-1][name] = f"{groups[-1][name]} {line.strip()}"[:4000]
            continue
        name = found[1].lower()
        if name == "final-recipient" and name in groups[-1]:
            groups.append({})
        groups[-1].setdefault(name, found[2].strip())
    return [group for group in groups if group]


def recipients(groups: Sequence[Fields]) -> Iterator[Told]:
    """The recipients that the groups of a delivery status name. A group that tells more of the one before is joined to it."""
    for group in groups:
        if not any(name in group for name in _NAMES_A_RECIPIENT):
            continue
        original, final = address_of(group.get("original-recipient", "")), address_of(group.get("final-recipient", ""))
        address = original or final or address_of(group.get("x-actual-recipient", ""))
        if address:
            diagnostic = typed(group.get("diagnostic-code", "")) or group.get("x-supplementary-info", "")
            status = status_of(group.get("status", ""))
            other = final if final.lower() != address.lower() else ""
            remote = typed(group.get("remote-mta", ""))
            yield Told(address, other, _action(group.get("action", ""), status), status, diagnostic, remote)


def typed(value: str) -> str:
    """A field's value without its type: "smtp; 550 no" is "550 no"."""
    kind, semicolon, rest = value.partition(";")
    return rest.strip() if semicolon and len(kind) < 30 and " " not in kind.strip() else value.strip()


def status_of(value: str) -> str:
    """The first enhanced status code in a text, or ""."""
    found = _STATUS.search(value[:200])
    return f"{found[1]}.{int(found[2])}.{int(found[3])}" if found else ""


def address_of(value: str) -> str:
    """The address in a recipient field (rfc822; utf-8 of RFC 6533 3 with its escapes), or ""."""
    rest = typed(value)
    if "\\x{" in rest:
        rest = _HEX.sub(_character, rest)
    found = first_address(rest)
    if found:
        return found
    rest = rest.strip(" <>\"'")
    return rest if "@" in rest[1:-1] and " " not in rest and len(rest) <= 320 else ""


def first_address(text: str) -> str:
    found = _ADDRESS.search(text[:2000])
    return clean(found[0]) if found else ""


def addresses(text: str) -> list[tuple[int, int, str]]:
    """Where addresses stand in a line: (start, end, address)."""
    if "@" not in text:
        return []
    return [(m.start(), m.end(), clean(m[0])) for m in _ADDRESS.finditer(text[:2000])]


def clean(address: str) -> str:
    """Without the signs that a sentence leaves at its ends."""
    return address.strip("'`*").rstrip(".!?,;:'…").removeprefix("mailto:").removeprefix("SMTP:")


def _character(found: "re.Match[str]") -> str:
    code = int(found[1], 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "?"


def _action(value: str, status: str) -> str:
    """The Action, also where it is followed by a comment or cut short; else what the class of the status says."""
    word = value.lower().strip()
    for action in ACTIONS:
        if word.startswith(action):
            return action
    if word.startswith("fail"):
        return "failed"
    return {"5": "failed", "4": "delayed", "2": "delivered"}.get(status[:1], "failed")
