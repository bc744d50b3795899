"""The arguments of SMTP commands: text in, a value or the `Reply` that refuses it out. Pure.

An address is taken as it came or refused, never repaired: `sender` and `address` keep the app's spelling, quotes and
case, and so do ENVID and ORCPT. Only the domain has a second, canonical form (`RcptTo.domain`: lower-case A-label, or
an address literal). Lenient in two things: blanks between the colon and the path (many clients), and source routes,
which are stripped (RFC 5321 appendix C: accepted, ignored). Callers have made sure that the text has no control
characters (`has_controls`).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from relay.domain import a_label
from relay.message import Envelope, RcptTo
from relay.outcome import Reply

# Said by what they are not, since sets that name what is far beyond ASCII take 5 ms each to compile. All have what SMTPUTF8 adds
# to atext and qtext (RFC 6531 3.3): from U+00A0 on, not the C1 controls.
_ATEXT = r'[^\x00- "(),.:;<>@\[\\\]\x7f-\x9f]'  # RFC 5322 3.2.3
_QUOTED = r'"(?:[^\x00-\x1f"\\\x7f-\x9f]|\\[ -~])*"'
_HOST = r"[^\x00-,/:-@\[-`{-\x9f]"  # letters, digits, dot and hyphen
_VALUE = r"[^\x00- =\x7f-\x9f]"  # RFC 5321 4.1.2 esmtp-value
_LITERAL = r"\[[0-9A-Za-z:.]+\]"
_PATH = re.compile(
    rf" *<(?:@[A-Za-z0-9.,@\[\]:-]*:)?(?P<local>{_ATEXT}+(?:\.{_ATEXT}+)*|{_QUOTED})"
    rf"@(?P<domain>{_HOST}+|{_LITERAL})>(?P<rest>.*)\Z"
)
_NULL_PATH = re.compile(r" *<>(?P<rest>.*)\Z")
_PATH_WITHOUT_DOMAIN = re.compile(rf" *<(?:{_ATEXT}+(?:\.{_ATEXT}+)*|{_QUOTED})>")
_PARAMETER = re.compile(rf"([A-Za-z0-9][A-Za-z0-9-]*)(?:=({_VALUE}+))?\Z")  # RFC 5321 4.1.2 esmtp-param
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+\Z")  # RFC 3461 4
_ORCPT = re.compile(rf"(?P<type>[A-Za-z0-9-]+);(?P<address>{_VALUE}+)\Z")
_HELO = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}\Z")
_PRIORITY = re.compile(r"(?:-?[1-9]|0)\Z")  # RFC 6710: no plus, no -0, no leading zero
_BY = re.compile(r"(?P<seconds>[+-]?[0-9]{1,9});(?P<mode>[NR])(?P<trace>T?)\Z", re.IGNORECASE)  # RFC 2852 4
_BDAT = re.compile(r"([0-9]{1,20})(?: +(LAST))? *\Z", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_NOTIFY = {"SUCCESS", "FAILURE", "DELAY"}
MAX_LOCAL, MAX_DOMAIN, MAX_ADDRESS = 64, 255, 254  # RFC 5321 4.5.3.1.1 to .3: a path of 256 with its brackets
MAX_ENVID, MAX_ORCPT = 100, 500  # RFC 3461 4.4 and 4.2
MAX_LABEL = 63  # RFC 1035 2.3.4

# RFC 2852 2: the least by-time that is taken with by-mode R. None is, and this is the longest there may be.
LEAST_RETURN_TIME = 999_999_999

NEEDS_UTF8 = Reply(553, "5.6.7", "an address outside ASCII needs SMTPUTF8")


def _syntax(text: str) -> Reply:
    return Reply(501, "5.5.4", text)


@dataclass(frozen=True, slots=True)
class Chunk:
    """BDAT (RFC 3030 2): `size` octets follow the command line."""

    size: int
    last: bool


def has_controls(text: str) -> bool:
    """Control characters belong in no command. `isprintable` is the quick test; it dislikes harmless ones too."""
    return not text.isprintable() and _CONTROLS.search(text) is not None


def helo(argument: str) -> str | Reply:
    """EHLO and HELO: what a Received field can bear. Names with `_` and bare host names are too common to refuse."""
    name = argument.strip(" ")
    return name if _HELO.match(name) else _syntax("a host name or address literal is expected")


def mail(argument: str, tls: bool = False) -> Envelope | Reply:
    """`FROM:<path> [parameters]` (RFC 5321 4.1.1.2; SIZE RFC 1870, BODY 6152, SMTPUTF8 6531, RET and ENVID 3461, AUTH,
    MT-PRIORITY 6710, REQUIRETLS 8689, which is known under TLS only, BY 2852).

    The path is looked at last, because SMTPUTF8 behind it says what it may hold.
    """
    if argument[:5].upper() != "FROM:":
        return _syntax("syntax: MAIL FROM:<address>")
    path = argument[5:]
    match = _PATH.match(path) or _NULL_PATH.match(path)
    if match is None:
        return _bad_path(path, "MAIL FROM:<address>", "5.1.7")
    parameters = _parameters(match["rest"])
    if isinstance(parameters, Reply):
        return parameters
    envelope = Envelope("")
    for name, value in parameters.items():
        problem = _deliver_by(envelope, value) if name == "BY" else _mail_parameter(envelope, name, value, tls)
        if problem is not None:
            return problem
    if match.re is _PATH:
        checked = _mailbox(match["local"], match["domain"], envelope.utf8, "5.1.7")
        if isinstance(checked, Reply):
            return checked
        envelope.sender = checked[0]
    return envelope


def rcpt(argument: str, utf8: bool) -> RcptTo | Reply:
    """`TO:<path> [parameters]` (RFC 5321 4.1.1.3; NOTIFY and ORCPT RFC 3461).

    `<postmaster>` without a domain is refused like any unqualified address: at a submission server it would be ours,
    not the app's (RFC 6409 4.2).
    """
    if argument[:3].upper() != "TO:":
        return _syntax("syntax: RCPT TO:<address>")
    path = argument[3:]
    match = _PATH.match(path)
    if match is None:
        return _bad_path(path, "RCPT TO:<address>", "5.1.3")
    checked = _mailbox(match["local"], match["domain"], utf8, "5.1.3")
    if isinstance(checked, Reply):
        return checked
    recipient = RcptTo(*checked)
    if not match["rest"]:
        return recipient
    parameters = _parameters(match["rest"])
    if isinstance(parameters, Reply):
        return parameters
    for name, value in parameters.items():
        problem = _rcpt_parameter(recipient, name, value, utf8)
        if problem is not None:
            return problem
    return recipient


def bdat(argument: str) -> Chunk | Reply:
    match = _BDAT.match(argument)
    return Chunk(int(match[1]), match[2] is not None) if match else _syntax("syntax: BDAT size [LAST]")


def auth(argument: str) -> tuple[str, str | None] | Reply:
    """Mechanism and initial response (RFC 4954 4: None if absent, "=" stands for an empty one)."""
    words = argument.split(" ")
    if not words[0] or len(words) > 2:
        return _syntax("syntax: AUTH mechanism [initial-response]")
    if len(words) == 1:
        return words[0].upper(), None
    return words[0].upper(), "" if words[1] == "=" else words[1]


@lru_cache(maxsize=8192)  # one campaign goes to few domains; bounded, and each entry is at most 255 octets
def canonical_domain(domain: str) -> str | None:
    """Lower-case A-label (RFC 5890) of a host name, or an address literal as it stands; None for what is neither.

    A name of one label is not fully qualified (RFC 5321 2.3.5, 6409 4.2).
    """
    if domain.startswith("["):
        return _literal(domain)
    name = a_label(domain)
    if name is None:
        return None
    labels = name.split(".")
    if len(labels) < 2 or len(name) > MAX_DOMAIN:
        return None
    if any(not label or len(label) > MAX_LABEL or label[0] == "-" or label[-1] == "-" for label in labels):
        return None
    return ".".join(labels)


def _literal(text: str) -> str | None:
    """[192.0.2.1] or [IPv6:2001:db8::1] (RFC 5321 4.1.3)."""
    inner = text[1:-1].lower()
    try:
        if inner.startswith("ipv6:"):
            return f"[ipv6:{IPv6Address(inner.removeprefix('ipv6:'))}]"
        return f"[{IPv4Address(inner)}]"
    except AddressValueError:
        return None


def _mailbox(local: str, domain: str, utf8: bool, enhanced: str) -> tuple[str, str] | Reply:
    """The address as it came, and its domain in canonical form."""
    address = f"{local}@{domain}"
    if address.isascii():
        too_long = len(local) > MAX_LOCAL or len(domain) > MAX_DOMAIN or len(address) > MAX_ADDRESS
    elif not utf8:
        return NEEDS_UTF8
    else:
        octets = len(local.encode()), len(domain.encode())
        too_long = octets[0] > MAX_LOCAL or octets[1] > MAX_DOMAIN or sum(octets) + 1 > MAX_ADDRESS
    if too_long:
        return Reply(553, enhanced, "address too long")
    canonical = canonical_domain(domain)
    if canonical is None:
        return Reply(553, enhanced, "the domain of the address is not valid and fully qualified")
    return address, canonical


def _bad_path(path: str, form: str, enhanced: str) -> Reply:
    if not path.lstrip(" ").startswith("<"):
        return _syntax(f"syntax: {form}")
    if _PATH_WITHOUT_DOMAIN.match(path):
        return Reply(553, enhanced, "the address needs a domain")
    return Reply(553, enhanced, "malformed address")


def _parameters(rest: str) -> dict[str, str] | Reply:
    """Names in upper case, values as they came ("" where there is none)."""
    if not rest:
        return {}
    if rest[0] != " ":
        return _syntax("a blank is expected after the path")
    found: dict[str, str] = {}
    for word in rest.split(" "):
        if not word:
            continue
        match = _PARAMETER.match(word)
        if match is None:
            return _syntax("malformed parameter")
        name = match[1].upper()
        if name in found:
            return _syntax(f"{name} is given twice")
        found[name] = match[2] or ""
    return found


def _mail_parameter(envelope: Envelope, name: str, value: str, tls: bool) -> Reply | None:
    """Puts one parameter of MAIL into the envelope, or says what is wrong with it."""
    good = True
    match name:
        case "SIZE":
            good = value.isascii() and value.isdigit() and len(value) <= 20
            envelope.size = int(value) if good else 0
        case "BODY":  # the content itself decides (8BITMIME at egress); BINARYMIME is not offered
            good = value.upper() in ("7BIT", "8BITMIME")
        case "SMTPUTF8":
            good = not value
            envelope.utf8 = True
        case "REQUIRETLS" if tls:
            good = not value
            envelope.requiretls = True
        case "RET":
            envelope.ret = value.upper()
            good = envelope.ret in ("FULL", "HDRS")
        case "ENVID":
            good = len(value) <= MAX_ENVID and _XTEXT.match(value) is not None
            envelope.envid = value
        case "MT-PRIORITY":
            good = _PRIORITY.match(value) is not None
            envelope.priority = int(value) if good else None
        case "AUTH":  # RFC 4954 5: who submitted it first; believed of nobody, so parsed and dropped
            good = value == "<>" or _XTEXT.match(value) is not None
        case _:
            return Reply(555, "5.5.4", f"parameter {name[:30]} is not known")
    return None if good else _syntax(f"malformed {name}")


def _deliver_by(envelope: Envelope, value: str) -> Reply | None:
    """RFC 2852 4. By-mode R, which gives up in time, is not offered: X-Postlane-Valid-Until does that here and tells nobody
    who did not ask."""
    match = _BY.match(value)
    if match is None:
        return _syntax("malformed BY")
    seconds = int(match["seconds"])
    if match["mode"].upper() == "R":
        if seconds <= 0:
            return _syntax("BY with mode R needs a time above 0")
        return Reply(555, "5.5.4", "BY is taken with mode N alone; X-Postlane-Valid-Until gives up in time")
    envelope.by, envelope.by_trace = seconds, bool(match["trace"])
    return None


def _rcpt_parameter(recipient: RcptTo, name: str, value: str, utf8: bool) -> Reply | None:
    match name:
        case "NOTIFY":
            recipient.notify = value.upper()
            words = recipient.notify.split(",")
            good = words == ["NEVER"] or (set(words) <= _NOTIFY and len(set(words)) == len(words))
        case "ORCPT":
            recipient.orcpt = value
            good = len(value) <= MAX_ORCPT and _good_orcpt(value, utf8)
        case _:
            return Reply(555, "5.5.4", f"parameter {name[:30]} is not known")
    return None if good else _syntax(f"malformed {name}")


def _good_orcpt(value: str, utf8: bool) -> bool:
    """`addr-type;xtext`; type utf-8 may come unencoded with SMTPUTF8 (RFC 6533 3)."""
    match = _ORCPT.match(value)
    if match is None:
        return False
    if match["type"].lower() == "utf-8" and utf8:
        return True
    return _XTEXT.match(match["address"]) is not None
