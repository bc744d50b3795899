"""Tokens in the links that recipients get: who may change what about whose mail, sealed, so that nothing in one can be read.

A token is a key's id (one octet) and what AES-SIV (RFC 5297) makes of the ticket, in base64url: forged, cut and foreign ones do
not open, equal tickets make equal tokens and need no nonce. It carries all that is needed to act on it, so nothing is stored
for it and it is good for as long as its key is kept: an unsubscribe link must work for years of mail in archives. There may be
several keys, oldest first; the last one seals, all of them open (config/secret.py says how keys are changed). Pure.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

DAY = 86_400_000
MAX_TOKEN = 860  # characters: with `List-Unsubscribe: <https://.../u/>` they fit into a line of 998 (RFC 5322 2.1.1)
STAMP_HOURS = 24  # how long a page's form may be sent
_FORMAT = [b"postlane ticket 1"]  # authenticated with each: what a later format seals does not open as this one
_ALPHABET = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class Ticket:
    """What one recipient may change: the mail of `brand` ("": of all brands) to `recipient`.

    stream  of the message that brought it      day   it was sealed, counted from the epoch
    calls   the app's own unsubscribe URL, which is told as well; "" for none
    """

    brand: str
    stream: str
    recipient: str
    day: int
    calls: str = ""

    def dump(self) -> bytes:
        """Octets that load() reads; raises ValueError where a part is too long."""
        brand, stream, recipient = self.brand.encode(), self.stream.encode(), self.recipient.encode()
        try:
            lengths = bytes((len(brand), len(stream))) + len(recipient).to_bytes(2, "big")
        except (ValueError, OverflowError) as error:
            raise ValueError("a name or an address is too long for a token") from error
        return self.day.to_bytes(3, "big") + lengths + brand + stream + recipient + self.calls.encode()

    @classmethod
    def load(cls, octets: bytes) -> "Ticket":
        brand = 7 + octets[3]
        stream = brand + octets[4]
        recipient = stream + int.from_bytes(octets[5:7], "big")
        return cls(
            brand=octets[7:brand].decode(),
            stream=octets[brand:stream].decode(),
            recipient=octets[stream:recipient].decode(),
            day=int.from_bytes(octets[:3], "big"),
            calls=octets[recipient:].decode(),
        )


class Tokens:
    """`secrets`: the node's, oldest first."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._keys = [(_key_id(secret), AESSIV(_derived(secret, b"ticket"))) for secret in secrets]
        self._stamps = [_derived(secret, b"form") for secret in secrets]

    def __repr__(self) -> str:
        return f"<Tokens of {len(self._keys)} keys>"

    def seal(self, ticket: Ticket) -> str:
        """Raises ValueError where the token would be longer than a header line may hold."""
        identity, cipher = self._keys[-1]
        token = _text(identity + cipher.encrypt(ticket.dump(), _FORMAT))
        if len(token) > MAX_TOKEN:
            raise ValueError("the token is too long")
        return token

    def open(self, token: str) -> Ticket | None:
        """None for whatever none of our keys made."""
        octets = _octets(token)
        for identity, cipher in self._keys:
            if octets[:1] == identity:
                try:
                    return Ticket.load(cipher.decrypt(octets[1:], _FORMAT))
                except (InvalidTag, ValueError):
                    continue
        return None

    # A page's form carries a stamp: who sends it has had the page, lately, and for this very token.

    def stamp(self, token: str, now: int) -> str:
        """`now` in ms."""
        return _stamp(self._stamps[-1], token, now // _HOUR)

    def stamped(self, token: str, stamp: str, now: int) -> bool:
        """Was it given with this token within a day?"""
        hour, given = now // _HOUR, stamp.encode(errors="replace")
        return any(
            compare_digest(_stamp(key, token, hour - ago).encode(), given)
            for key in self._stamps
            for ago in range(STAMP_HOURS + 1)
        )


def _derived(secret: bytes, purpose: bytes) -> bytes:
    """64 octets: AES-256-SIV has two keys of 32."""
    return blake2b(secret, digest_size=64, person=purpose).digest()


def _key_id(secret: bytes) -> bytes:
    return blake2b(secret, digest_size=1, person=b"key id").digest()


def _stamp(key: bytes, token: str, hour: int) -> str:
    return _text(blake2b(b"%d %s" % (hour, token.encode()), digest_size=15, key=key).digest())


def _text(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode().rstrip("=")


def _octets(token: str) -> bytes:
    """b"" for what _text() has not written: a token has one spelling."""
    if len(token) > MAX_TOKEN or not _ALPHABET.fullmatch(token) or len(token) % 4 == 1:
        return b""
    octets = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    return octets if _text(octets) == token else b""
