"""Tokens in the links that recipients get: who may change what about whose mail, sealed, so that nothing in one can be read.

A token is a key's id (one octet) and what AES-SIV (RFC 5297) makes of the ticket, in base64url: forged, cut and foreign ones do
not open, equal tickets make equal tokens and need no nonce. It carries all that is needed to act on it, so nothing is stored
for it and it is good for as long as its key is kept: an unsubscribe link must work for years of mail in archives. By the message
it came with, whose facts are needed to tell of it and to count it, it says more than that message's id: what was sent is
remembered for two months, by the node that sent it. There may be several keys, oldest first; the last one seals, all of them open
(config/secret.py says how keys are changed). Pure.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from hmac import compare_digest
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from relay.ids import pack, unpack

DAY = 86_400_000
MAX_TOKEN = 860  # characters: with `List-Unsubscribe: <https://.../u/>` they fit into a line of 998 (RFC 5322 2.1.1)
STAMP_HOURS = 24  # how long a page's form may be sent
# Authenticated with each: what one format seals does not open as another. The first is of tickets that no message brought, as
# all were once.
_PLAIN, _OF_MESSAGE = [b"postlane ticket 1"], [b"postlane ticket 2"]
_ALPHABET = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_HOUR = 3_600_000
_NO_SKELETON = "0" * 12


class Ticket(NamedTuple):
    """What one recipient may change: the mail of `brand` ("": of all brands) to `recipient`.

    stream  of the message that brought it      day   it was sealed, counted from the epoch
    calls   the app's own unsubscribe URL, which is told as well; "" for none
    message, rcpt, credential, campaign, skeleton  of that message: its id, which of its recipients, the name of its template;
            "" where none brought it
    """

    brand: str
    stream: str
    recipient: str
    day: int
    calls: str = ""
    message: str = ""
    rcpt: int = 0
    credential: str = ""
    campaign: str = ""
    skeleton: str = ""

    def dump(self) -> bytes:
        """Octets that load() reads; raises ValueError where a part is too long."""
        brand, stream, recipient = self.brand.encode(), self.stream.encode(), self.recipient.encode()
        try:
            lengths = bytes((len(brand), len(stream))) + len(recipient).to_bytes(2, "big")
            plain = self.day.to_bytes(3, "big") + lengths + brand + stream + recipient
            return plain + (self._of_message() if self.message else b"") + self.calls.encode()
        except (ValueError, OverflowError) as error:
            raise ValueError("a name or an address is too long for a token") from error

    def _of_message(self) -> bytes:
        credential, campaign = self.credential.encode(), self.campaign.encode()
        template = bytes.fromhex(self.skeleton or _NO_SKELETON)
        numbers = pack(self.message) + self.rcpt.to_bytes(2, "big") + template + bytes((len(credential), len(campaign)))
        return numbers + credential + campaign

    @classmethod
    def load(cls, octets: bytes, *, of_message: bool) -> "Ticket":
        brand = 7 + octets[3]
        stream = brand + octets[4]
        recipient = stream + int.from_bytes(octets[5:7], "big")
        rest = octets[recipient:]
        about, calls = _about(rest) if of_message else (("", 0, "", "", ""), rest)
        return cls(
            octets[7:brand].decode(),
            octets[brand:stream].decode(),
            octets[stream:recipient].decode(),
            int.from_bytes(octets[:3], "big"),
            calls.decode(),
            *about,
        )


def _about(octets: bytes) -> tuple[tuple[str, int, str, str, str], bytes]:
    """Of its message: id, which recipient, credential, campaign, skeleton; and what stands behind them."""
    credential = 20 + octets[18]
    campaign = credential + octets[19]
    names = octets[20:credential].decode(), octets[credential:campaign].decode()
    skeleton = octets[12:18].hex()
    template = skeleton if skeleton != _NO_SKELETON else ""
    return (unpack(octets[:10]), int.from_bytes(octets[10:12], "big"), *names, template), octets[campaign:]


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
        token = _text(identity + cipher.encrypt(ticket.dump(), _OF_MESSAGE if ticket.message else _PLAIN))
        if len(token) > MAX_TOKEN:
            raise ValueError("the token is too long")
        return token

    def open(self, token: str) -> Ticket | None:
        """None for whatever none of our keys made."""
        octets = _octets(token)
        for identity, cipher in self._keys:
            if octets[:1] == identity:
                for form in (_OF_MESSAGE, _PLAIN):
                    with suppress(InvalidTag, ValueError):
                        return Ticket.load(cipher.decrypt(octets[1:], form), of_message=form is _OF_MESSAGE)
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
