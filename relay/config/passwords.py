"""Passwords of credentials: made here, shown once, kept as `sha256:SALT:DIGEST` with an optional `:UNTIL`.

160 random bits cannot be guessed or searched for, so a salted fast hash is enough and costs a login no time. Pure apart
from the system's random source.
"""

import binascii
import re
import secrets
from base64 import b32encode, urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from hashlib import sha256

from relay.config.problems import Wrong
from relay.config.units import shown
from relay.identity import Password

PASSWORD_BYTES = 20  # 160 bits: 32 characters of base32, which survive telephones, .env files and URLs
SALT_BYTES = 8  # enough that no two credentials share one
_SHORTEST_DIGEST = 16  # octets: a SHA-256 cut to 128 bits still takes 2^128 tries
_FORM = re.compile(r"sha256:([A-Za-z0-9+/_=-]+):([A-Za-z0-9+/_=-]+)(?::(.+))?", re.ASCII)


def generate() -> str:
    """A new password: 32 small letters and digits."""
    return b32encode(secrets.token_bytes(PASSWORD_BYTES)).decode().lower()


def hashed(password: str, salt: bytes | None = None) -> str:
    """What a file keeps of a password."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    return f"sha256:{_encode(salt)}:{_encode(sha256(salt + password.encode()).digest())}"


def until(entry: str, end: int) -> str:
    """The entry of a password that ends at `end` (ms since epoch): the older one while two are valid."""
    start = _FORM.fullmatch(entry)
    if start is None:
        raise Wrong("password", f"{shown(entry)} is no password hash")
    stamp = datetime.fromtimestamp(end // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"sha256:{start[1]}:{start[2]}:{stamp}"


def parse(entry: object, command: str = "rotate") -> Password:
    """The value of an entry; raises Wrong. `command` of postlane credentials makes such entries."""
    match = _FORM.fullmatch(entry) if isinstance(entry, str) else None
    if match is None:  # what stands there may be the password itself: it is not repeated
        what = "password" if command == "rotate" else command
        raise Wrong("password", f"no hash of a {what}; make one with: postlane credentials {command} NAME")
    try:
        salt, digest = _decode(match[1]), _decode(match[2])
    except (binascii.Error, ValueError):
        raise Wrong("password", "no hash of a password: salt and digest are base64") from None
    if not _SHORTEST_DIGEST <= len(digest) <= sha256().digest_size:
        raise Wrong("password", f"no hash of a password: the digest has {len(digest)} octets, sha256 gives 32")
    return Password(salt, digest, _milliseconds(match[3]) if match[3] else 0)


def parse_token(entry: object) -> Password:
    """The same for a token of /api/v1."""
    return parse(entry, "token")


def _milliseconds(stamp: str) -> int:
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        raise Wrong("password", f'"{stamp}" is no time, such as 2026-12-01T00:00:00Z') from None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)


def _encode(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode().rstrip("=")


def _decode(text: str) -> bytes:
    plain = text.rstrip("=").replace("+", "-").replace("/", "_")
    return urlsafe_b64decode(plain + "=" * (-len(plain) % 4))
