"""Who is behind an address: one key for each person, by which State knows him everywhere. Pure.

The key is an HMAC, so what holds keys alone tells no address to who does not hold the secret; it never changes, or what people
chose would be lost. The address itself stands beside it sealed, for lists and requests for access; a person who wants to be
forgotten loses that, and his key still stops mail.
"""

import base64
import binascii
import hmac
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2s
from ipaddress import AddressValueError, IPv6Address

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from relay.domain import a_label, u_label
from relay.wildcard import AnyOf, any_of

KEY_OCTETS = 16  # 128 of 256 bits: of 50 million people two share a key with a probability of 1 in 10^23 (RFC 2104 5)

REMEMBERED = 8_192  # keys of addresses, the latest: 1 MB

# Whose mailboxes are reached by more than one spelling, as the providers say themselves; of all others only case is ignored.
# Gmail: support.google.com/mail/answer/7436150 (dots), /answer/22370 (+). Outlook: support.microsoft.com, "Add or remove an
# email alias" and Exchange Online's plus addressing. iCloud: support.apple.com/guide/icloud, "plus addressing". Proton:
# proton.me/support/addresses-and-aliases (+, and dots, hyphens and underscores). Fastmail: fastmail.help, "Plus addressing".
TAGS = frozenset({
    "gmail.com", "outlook.com", "hotmail.com", "live.com", "msn.com", "icloud.com", "me.com", "mac.com",
    "proton.me", "protonmail.com", "pm.me", "fastmail.com", "fastmail.fm",
})  # fmt: skip
SAME = {"googlemail.com": "gmail.com"}  # support.google.com/mail/answer/10313
SIGNS = {"gmail.com": ".", "proton.me": ".-_", "protonmail.com": ".-_", "pm.me": ".-_"}

# Most addresses have one spelling only, and say so: each message asks for that of its recipients.
_PLAIN = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*@((?:[a-z0-9]+\.)+[a-z]+)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_COMMENT = re.compile(r"^\([^()]*\)|\([^()]*\)$")
_DOT_ATOM = re.compile(r"[^\s()<>\[\]:;@\\,.\"]+(?:\.[^\s()<>\[\]:;@\\,.\"]+)*")  # RFC 5322 3.2.3, RFC 6531 3.3


def normalised(address: str) -> str:
    """The one spelling of all that reach the same mailbox: case, A-label, needless quotes and comments (RFC 5321 4.1.2, RFC
    5322 3.2.2), and tags and dots where the provider is known to ignore them. Total: nonsense has a spelling, too."""
    plain = _PLAIN.fullmatch(address)
    if plain is not None and plain[1] not in TAGS and plain[1] not in SAME:
        return address
    local, at, domain = address.strip().rpartition("@")
    local, domain = _bare(local), _bare(domain)
    domain = _literal(domain) if domain.startswith("[") else (a_label(domain) or domain.lower()).rstrip(".")
    domain = SAME.get(domain, domain)
    if (quoted := _QUOTED.fullmatch(local)) is not None:
        text = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
        if _DOT_ATOM.fullmatch(text) is None:
            escaped = re.sub(r'(["\\])', r"\\\1", text)
            local = f'"{escaped}"'
        else:
            local = text
    if not local.isascii():
        local = unicodedata.normalize("NFC", local)  # RFC 6532 3.1
    local = local.lower()
    if domain in TAGS and not local.startswith('"'):
        local = _untagged(local, domain)
    return f"{local}{at}{domain}"


def _untagged(local: str, domain: str) -> str:
    """What remains is never empty: such an address is none of the provider's, and is kept as it is."""
    plain = local.partition("+")[0]
    for sign in SIGNS.get(domain, ""):
        plain = plain.replace(sign, "")
    return plain or local


def _bare(part: str) -> str:
    """Without comments around it."""
    part = part.strip()
    while (shorter := _COMMENT.sub("", part).strip()) != part:
        part = shorter
    return part


def _literal(domain: str) -> str:
    """[192.0.2.1] as it is; of an IPv6 address there are many spellings (RFC 5952)."""
    inner = domain.lower().removeprefix("[").removesuffix("]")
    try:
        return f"[ipv6:{IPv6Address(inner.removeprefix('ipv6:'))}]" if inner.startswith("ipv6:") else f"[{inner}]"
    except AddressValueError:
        return f"[{inner}]"


class SealError(ValueError):
    """It was not sealed with a secret that is known here, or was changed since."""


class Keys:
    """`secrets`: the node's, oldest first. By the first people are known, so it never changes; the last one seals addresses, all
    of them open."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._person = hmac.new(blake2s(secrets[0], person=b"person").digest(), digestmod="sha256")
        self._seals = [(_id(one), _aead(one)) for one in secrets]
        # A message asks of its recipient at accept, at each attempt, and for what it counts.
        self.key = lru_cache(maxsize=REMEMBERED)(self._key)

    def __repr__(self) -> str:
        return f"<Keys of {len(self._seals)} secrets>"

    def _key(self, address: str) -> bytes:
        """Of the person behind it; KEY_OCTETS."""
        return self.key_of(normalised(address))

    def key_of(self, normal: str) -> bytes:
        """The same of an address that is `normalised`."""
        begun = self._person.copy()  # half of what hmac.digest() takes, which begins anew with the key each time
        begun.update(normal.encode("utf-8", "surrogatepass"))
        return begun.digest()[:KEY_OCTETS]

    def seal(self, address: str) -> bytes:
        """The id of the key, then the address by AES-SIV (RFC 5297), which needs no random number. Equal addresses look equal,
        as do the keys beside them. Opened for that person alone."""
        return self.seal_for(self.key(address), address)

    def seal_for(self, key: bytes, text: str) -> bytes:
        """The same of any text about the person with this key."""
        identity, aead = self._seals[-1]
        return identity + aead.encrypt(text.encode("utf-8", "surrogatepass"), [key])

    def open(self, sealed: bytes, key: bytes) -> str:
        """What was sealed for the person with this key; raises SealError."""
        for identity, aead in self._seals:
            if sealed[:1] == identity:
                try:
                    return aead.decrypt(sealed[1:], [key]).decode("utf-8", "surrogatepass")
                except (InvalidTag, ValueError):
                    continue  # another key may have the same id
        raise SealError("no secret of this node opens it")

    def sealed_text(self, address: str) -> str:
        """As State keeps it."""
        return base64.b64encode(self.seal(address)).decode()

    def open_text(self, text: str, key: bytes) -> str:
        """Raises SealError."""
        try:
            return self.open(base64.b64decode(text, validate=True), key)
        except binascii.Error:
            raise SealError("it is no sealed address") from None


def _id(secret: bytes) -> bytes:
    """One octet by which to find it: of the secret, so that nobody has to number them."""
    return blake2s(secret, person=b"seal-id").digest()[:1]


def _aead(secret: bytes) -> AESSIV:
    return AESSIV(blake2s(secret, person=b"seal").digest())


_WILD = frozenset("*?[]")


def domains_of(who: str) -> set[str]:
    """All that may stand behind the @ of a person, by his one spelling; in lower case."""
    domain = who.rpartition("@")[2]
    return {domain, u_label(domain)} | ({"googlemail.com"} if domain == "gmail.com" else set())


def spellings(who: str, key: str = "") -> dict[str, AnyOf]:
    """What each event of a person (by his one spelling) fits, in words that columns can be asked for quickly: by his address, and
    by his key (in hexadecimal) where that took its place; or by the domain alone where it cannot be said. What fits is still to
    be normalised and compared."""
    local, _, domain = who.rpartition("@")
    domains = domains_of(who)
    if not local.isascii() or not domain.isascii() or _WILD & {*who} or local.startswith('"'):
        return {"domain": AnyOf(tuple(sorted(domains)))}
    named = [f"*{'*'.join(local)}*@{one}" for one in sorted(domains)]
    return {"recipient": any_of([f"~{key}@*", *named] if key else named)}
