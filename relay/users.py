"""Who may log in to the admin page of this node: data_dir/users.json, which `postlane users` writes and the web process reads.

People choose passwords, so they are kept as Argon2id hashes (RFC 9106) alone. A file that cannot be read lets nobody in:
it must never look like one without users. It belongs to the node, like the rest of data_dir, and not to the cluster.
"""

import fcntl
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from relay.durable import replace_private

FILE = "users.json"
ROLES = ("viewer", "operator")
# Characters of a password that a person makes up (NIST SP 800-63B-4: 15 where it is all there is, 8 at least).
SHORTEST = 12
LONGEST = 256  # more is no password; hashing it would still be quick
NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,62}", re.ASCII)

# RFC 9106 4: as much memory as one can spare, then as many passes as one can wait for. 32 MiB and three passes take 0.1 s
# of one core here; the web process, which may have 300 MB, hashes one at a time. OWASP's least is 19 MiB and two passes.
_HASHER = PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=1)


class UsersError(Exception):
    """The file is not one of ours, or what is asked cannot be done to it; with words for a person."""


@dataclass(frozen=True, slots=True)
class User:
    """role         viewer: reads, addresses masked; operator: reads all, undoes and resumes
    credentials  whose mail is shown; none: everybody's
    password     an Argon2 hash
    since        ms, when added
    """

    name: str
    role: str
    credentials: tuple[str, ...] = ()
    password: str = ""
    since: int = 0

    @property
    def stamp(self) -> str:
        """Changes with the password: sessions and known browsers hang on it."""
        return sha256(self.password.encode()).hexdigest()[:32]


def hashed(password: str) -> str:
    """Takes 0.1 s."""
    return _HASHER.hash(password)


def fits(password: str, kept: str) -> bool:
    """Takes as long as `hashed`, whatever comes of it."""
    try:
        return _HASHER.verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False


def weakness(name: str, password: str) -> str:
    """Why a password that somebody made up will not do; "" if it will."""
    if len(password) < SHORTEST:
        return f"a password has {SHORTEST} characters at least"
    if len(password) > LONGEST:
        return f"a password has {LONGEST} characters at most"
    if len(set(password)) < 5 or name in password.lower() or "postlane" in password.lower():
        return "that password is among the first that anybody would try"
    return ""


class Users:
    """The file of one data_dir."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        self._seen: tuple[int, int, int] | None = None
        self._known: Mapping[str, User] = {}

    def __repr__(self) -> str:
        return f"<Users of {self._path}>"

    def current(self) -> Mapping[str, User]:
        """By name; read again where the file has changed. Raises UsersError."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._seen, self._known = None, {}
            return self._known
        except OSError as error:
            raise UsersError(f"{self._path}: {error.strerror}") from error
        mark = (found.st_mtime_ns, found.st_size, found.st_ino)
        if mark != self._seen:
            self._known = self._read()
            self._seen = mark
        return self._known

    def add(self, user: User) -> None:
        """Raises UsersError: there is one of that name."""
        with self._changing() as users:
            if user.name in users:
                raise UsersError(f'"{user.name}" is there already; postlane users password {user.name} gives a new one')
            users[user.name] = user

    def renew(self, name: str, password: str) -> User:
        """A new password (its hash); whoever is logged in as that user must log in again. Raises UsersError."""
        with self._changing() as users:
            users[name] = replace(self._there(users, name), password=password)
            return users[name]

    def remove(self, name: str) -> User:
        """Raises UsersError."""
        with self._changing() as users:
            self._there(users, name)
            return users.pop(name)

    def _there(self, users: Mapping[str, User], name: str) -> User:
        if name not in users:
            raise UsersError(f'there is no user "{name}"; there are: {", ".join(sorted(users)) or "none"}')
        return users[name]

    def _read(self) -> dict[str, User]:
        try:
            told = orjson.loads(self._path.read_bytes())["users"]
            return {name: _user(name, facts) for name, facts in told.items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsersError(f"{self._path} cannot be read: {error}") from error

    @contextmanager
    def _changing(self) -> Iterator[dict[str, User]]:
        """One change at a time; nothing is written where it raises."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            users = self._read() if self._path.exists() else {}
            yield users
            told = {one.name: {k: v for k, v in asdict(one).items() if k != "name"} for one in users.values()}
            replace_private(self._path, orjson.dumps({"users": told}, option=orjson.OPT_INDENT_2))
        finally:
            os.close(folder)


def _user(name: str, facts: Mapping[str, Any]) -> User:
    role, password, credentials = facts["role"], facts["password"], facts["credentials"]
    if role not in ROLES or not isinstance(password, str) or not _names(credentials):
        raise ValueError(f"what stands of {name} makes no sense")
    return User(name, role, tuple(credentials), password, int(facts["since"]))


def _names(credentials: object) -> bool:
    return isinstance(credentials, Collection) and all(isinstance(one, str) for one in credentials)
