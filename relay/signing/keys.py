"""DKIM keys: what a key is, which of them sign for a From domain, and how they are read from config/dkim.

    config/dkim/<domain>/<selector>.pem      private key, RSA or Ed25519, PEM without passphrase
    config/dkim/keys.toml                    [key."example.com".2026b]  state, created

Only active keys sign; a key without an entry is active. Reading is all or nothing: what cannot be read is a `KeysError`
that lists every problem with file and cure (DESIGN, invariant 9); what works but should not stay so is a warning.
entries.py reads keys.toml, keystore.py writes all these files.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.signing.entries import Entry, KeyProblem, KeysError, read_entries, unreadable
from relay.signing.keyfile import PADDING, RSA, STRONG, PrivateKey, algorithm_of, parse_private_key, throwaway_key

LONGEST = 4096  # bits; beyond, verifiers need not follow (RFC 8301 3.2)
SANDBOX_SELECTOR = "sandbox"

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_SELECTOR = re.compile(r"(?=.{1,63}\Z)[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_HASHED = Prehashed(SHA256())


def is_domain(name: str) -> bool:
    """A host name as DNS and d= have it: lower-case A-labels (RFC 5890), and so never a path."""
    return _DOMAIN.fullmatch(name) is not None


def is_selector(name: str) -> bool:
    """RFC 6376 3.1, and underscores, which DNS takes and some have in use. Never a path: no slash, no dot at an end."""
    return _SELECTOR.fullmatch(name) is not None and ".." not in name


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key. `algorithm` is a DKIM a= value (RFC 6376 3.3, 8463); `created` in ms, 0 if unknown.

    The private key is kept out of repr, and so out of logs and tracebacks.
    """

    domain: str
    selector: str
    algorithm: str
    private: PrivateKey = field(repr=False)
    state: str = "active"
    created: int = 0

    def sign(self, digest: bytes) -> bytes:
        """Signs a SHA-256 digest: RSASSA-PKCS1-v1_5 over it (RFC 6376 3.3.1), or PureEdDSA of it (RFC 8463 3)."""
        private: Any = self.private  # isinstance() of these abstract classes is slow, and `algorithm` says the same
        signature: bytes = private.sign(digest, PADDING, _HASHED) if self.algorithm == RSA else private.sign(digest)
        return signature

    @property
    def named(self) -> dict[str, str]:
        """As events tell it."""
        return {"d": self.domain, "s": self.selector, "a": self.algorithm}

    @property
    def dns_name(self) -> str:
        """Where verifiers look for it (RFC 6376 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def dns_value(self) -> str:
        """The TXT record to publish there: RSA as SubjectPublicKeyInfo (RFC 6376 3.6.1), Ed25519 raw (8463 4)."""
        public = self.private.public_key()
        if isinstance(self.private, RSAPrivateKey):
            kind, octets = "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            kind, octets = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"v=DKIM1; k={kind}; p={b64encode(octets).decode()}"


class KeyRing:
    """Which keys sign for a From domain. Immutable; a reload makes a new one.

    throwaway   a key that signs for any domain without one (capture mode only)
    """

    def __init__(self, keys: Iterable[SigningKey], *, throwaway: PrivateKey | None = None) -> None:
        self.keys = tuple(keys)
        self._throwaway = throwaway
        self._active: dict[str, tuple[SigningKey, ...]] = {}
        for key in self.keys:
            if key.state == "active":
                self._active[key.domain] = (*self._active.get(key.domain, ()), key)

    def __repr__(self) -> str:
        sandbox = ", a throw-away key for all else" if self._throwaway is not None else ""
        return f"<KeyRing {len(self.keys)} keys, active for {', '.join(sorted(self._active)) or 'no domain'}{sandbox}>"

    def for_domain(self, domain: str) -> tuple[SigningKey, ...]:
        """The active keys of `domain`, else of its nearest parent that has some; so d= is aligned (RFC 7489 3.1.1)."""
        if len(domain) > 253:  # no name in DNS; its parents would only cost time
            return ()
        parent = domain
        while parent:
            if (keys := self._active.get(parent)) is not None:
                return keys
            parent = parent.partition(".")[2]
        if self._throwaway is not None and is_domain(domain):
            return (SigningKey(domain, SANDBOX_SELECTOR, algorithm_of(self._throwaway), self._throwaway),)
        return ()

    def signer_of(self, domain: str) -> str:
        """The d= that signs for this From domain; "" if no key does."""
        return next((key.domain for key in self.for_domain(domain)), "")


def load_accepted_keys(directory: Path, states: Path, sandbox: Path | None = None) -> KeyRing:
    """The keys that the file `states` names (a kept keys.toml), in that state, and no others. Raises KeysError for it.

    What was accepted and cannot be read any more is left out and logged: a process that starts anew meanwhile signs
    with the others. A key that is being made is not in force yet.

    sandbox   where the throw-away key of capture mode is kept, so that all workers have the same; None in live mode
    """
    keys = []
    for (domain, selector), entry in read_entries(states).items():
        try:
            keys.append(replace(_read_key(directory / domain / f"{selector}.pem", domain), state=entry.state))
        except KeysError as fault:
            structlog.get_logger().error("a DKIM key that is in force cannot be used", problem=str(fault))
    return KeyRing(keys, throwaway=None if sandbox is None else throwaway_key(sandbox / "sandbox-dkim.pem"))


def read_keys(directory: Path) -> tuple[list[SigningKey], list[KeyProblem]]:
    """The keys, sorted by domain and selector, and warnings. Raises KeysError."""
    entries = read_entries(directory / "keys.toml")
    keys, problems, warnings = [], [], []
    for folder in _visible(directory):
        if not folder.is_dir():
            continue
        if not is_domain(folder.name):
            problems.append(
                KeyProblem(folder, "no domain name; name the directory as DNS has it, in lower case (xn--...)")
            )
            continue
        for file in _visible(folder):
            if file.suffix != ".pem":
                warnings.append(KeyProblem(file, "not read: the name of a key is its selector and .pem", warning=True))
                continue
            try:
                key = _read_key(file, folder.name)
            except KeysError as fault:
                problems += fault.problems
                continue
            entry = entries.get((key.domain, key.selector), Entry())
            keys.append(replace(key, state=entry.state, created=entry.created or key.created))
            warnings += _weaknesses(file, key)
    if problems:
        raise KeysError(problems)
    return keys, warnings + _orphans(directory, entries, keys)


def _visible(directory: Path) -> list[Path]:
    """What is in a directory, sorted; without hidden names (half-written files, editors' copies, a mount's own)."""
    try:
        return sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise KeysError([KeyProblem(directory, unreadable(directory, error))]) from error


def _read_key(file: Path, domain: str) -> SigningKey:
    if not is_selector(file.stem):
        raise KeysError([KeyProblem(file, f'"{file.stem}" is no selector: letters, digits, and - . _ between them')])
    try:
        pem, created = file.read_bytes(), int(file.stat().st_mtime * 1000)
    except OSError as error:
        raise KeysError([KeyProblem(file, unreadable(file, error))]) from error
    private = parse_private_key(pem, file)
    return SigningKey(domain, file.stem, algorithm_of(private), private, created=created)


def _weaknesses(file: Path, key: SigningKey) -> list[KeyProblem]:
    found = []
    if isinstance(key.private, RSAPrivateKey) and key.private.key_size < STRONG:
        size = key.private.key_size
        found.append(KeyProblem(file, f"RSA of {size} bits is weak; replace it by {STRONG} (RFC 8301)", warning=True))
    if isinstance(key.private, RSAPrivateKey) and key.private.key_size > LONGEST:
        found.append(
            KeyProblem(file, f"not every verifier takes RSA of more than {LONGEST} bits (RFC 8301)", warning=True)
        )
    if file.stat().st_mode & 0o007:
        found.append(KeyProblem(file, f"every user of this machine can read it: chmod o= {file}", warning=True))
    return found


def _orphans(directory: Path, entries: Mapping[tuple[str, str], Entry], keys: Iterable[SigningKey]) -> list[KeyProblem]:
    """Entries without a file. Retired keys may be gone; a missing active one is how a node without its keys looks."""
    present = {(key.domain, key.selector) for key in keys}
    return [
        KeyProblem(
            directory / "keys.toml",
            f"{entry.state}, but {domain}/{selector}.pem is missing; bring it back or drop the entry",
            key=f'key."{domain}".{selector}',
            warning=True,
        )
        for (domain, selector), entry in entries.items()
        if entry.state != "retired" and (domain, selector) not in present
    ]
