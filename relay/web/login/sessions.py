"""Who is logged in: data_dir/sessions.json, so that a restart of the web process, as each reload of config/ is, logs nobody out.

A session is a random token in a cookie, of which the file has the hash alone. It ends after twelve hours, by logout, and at once
when its user is removed or has another password. The file also has the key by which we know our own forms and known browsers.
"""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import orjson
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from relay.durable import replace_private
from relay.users import User

log = structlog.get_logger()

FILE = "sessions.json"
LASTS = 12 * 3_600_000  # ms: a working day
OF_ONE = 20  # sessions of one user; the oldest ends
_KEY_OCTETS = 64  # AES-SIV-256 (RFC 5297) takes two keys


@dataclass(frozen=True, slots=True)
class Session:
    """`stamp`: of the password it began with. Times are ms."""

    user: str
    stamp: str
    since: int


class Sessions:
    """Changes are written before they count; all of it is called in a thread, one at a time, but for `find` and what proves."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        self._sessions: dict[str, Session] = {}
        self._key = secrets.token_bytes(_KEY_OCTETS)
        self._read()

    def __repr__(self) -> str:
        return f"<Sessions {len(self._sessions)}>"

    def _read(self) -> None:
        try:
            told = orjson.loads(self._path.read_bytes())
            key = urlsafe_b64decode(told["key"])
            found = {name: Session(**facts) for name, facts in told["sessions"].items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.error("the file of sessions cannot be read: everybody must log in again", error=repr(error))
            return
        if len(key) == _KEY_OCTETS:
            self._key, self._sessions = key, found

    def _write(self, sessions: dict[str, Session]) -> None:
        told = {
            "key": urlsafe_b64encode(self._key).decode(),
            "sessions": {name: asdict(one) for name, one in sessions.items()},
        }
        replace_private(self._path, orjson.dumps(told))
        self._sessions = sessions

    # -- sessions

    def begin(self, user: User, now: int) -> str:
        """The token for the cookie; raises OSError."""
        token = secrets.token_urlsafe(32)
        kept = {name: one for name, one in self._sessions.items() if now - one.since < LASTS}
        his = sorted((one.since, name) for name, one in kept.items() if one.user == user.name)
        for _, name in his[: max(0, len(his) - OF_ONE + 1)]:
            del kept[name]
        self._write({**kept, _name(token): Session(user.name, user.stamp, now)})
        return token

    def find(self, token: str, users: Mapping[str, User], now: int) -> User | None:
        """Whose it is, as he stands now."""
        session = self._sessions.get(_name(token)) if token else None
        if session is None or not 0 <= now - session.since < LASTS:
            return None
        user = users.get(session.user)
        return user if user is not None and hmac.compare_digest(user.stamp, session.stamp) else None

    def end(self, token: str) -> None:
        """Raises OSError."""
        name = _name(token)
        if name in self._sessions:
            self._write({one: facts for one, facts in self._sessions.items() if one != name})

    # -- proofs

    def form(self, of: str) -> str:
        """What a form must send that was shown to who has `of`: a session's token, or the cookie of the page of login."""
        return self._proof("form", _name(of))

    def form_fits(self, said: str, of: str) -> bool:
        return bool(of) and hmac.compare_digest(said.encode(), self.form(of).encode())

    def browser(self, user: User) -> str:
        """For the cookie of a browser that knew the password; holds until that changes."""
        nonce = secrets.token_urlsafe(16)
        return f"{nonce}.{self._proof('browser', user.name, nonce, user.stamp)}"

    def known_browser(self, said: str, user: User | None) -> str:
        """What to count its tries by; "" if it is no browser of that user."""
        nonce, _, proof = said.partition(".")
        if user is None or not nonce:
            return ""
        right = self._proof("browser", user.name, nonce, user.stamp)
        return f"{user.name} {nonce[:40]}" if hmac.compare_digest(proof.encode(), right.encode()) else ""

    def _proof(self, *words: str) -> str:
        return hmac.new(self._key, "\0".join(words).encode(), sha256).hexdigest()

    # -- addresses in addresses of pages

    def seal(self, text: str) -> str:
        """A recipient in the address of a page: nobody's history, log or screen need tell it."""
        return urlsafe_b64encode(AESSIV(self._key).encrypt(text.encode(), None)).decode().rstrip("=")

    def open(self, sealed: str) -> str:
        """ "" of what we did not seal."""
        try:
            octets = urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
            return AESSIV(self._key).decrypt(octets, None).decode()
        except (ValueError, InvalidTag):
            return ""


def _name(token: str) -> str:
    return sha256(token.encode()).hexdigest()
