"""Writes config/dkim: new keys and their states, for the command line.

The entry in keys.toml is written before the key, because a key without an entry is active. Writers take turns by a lock
on the directory; readers need none, since a file appears whole or not at all. Nothing here overwrites a key.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fcntl import LOCK_EX, flock
from pathlib import Path
from string import ascii_lowercase

import tomlkit

from relay.durable import sync
from relay.signing.entries import KeyProblem, KeysError, read_entries
from relay.signing.keyfile import RSA, hand_over, make_folder, new_private_key, write_private_key
from relay.signing.keys import KeyRing, SigningKey, read_keys

ED25519_SUFFIX = "-ed"  # 2026b and 2026b-ed: one generation of a domain's keys
_HEADER = """\
# States of DKIM keys, written by `postlane keys`: pending (not yet published), active (signs), retired.
# A key without an entry is active. Changes are in force after `postlane reload`.

"""


def generate(
    directory: Path, domain: str, algorithms: tuple[str, ...], *, selector: str = "", state: str = "", now: int
) -> list[SigningKey]:
    """A new key of each algorithm. Raises KeysError where a selector is in use; `now` in ms.

    selector  "": the year and the first free letter. Of two keys, the Ed25519 one gets the suffix "-ed"; chosen
              selectors of a single one stay as they are
    state     "": active where nothing signs for the domain yet, else pending. A first key that nobody finds in DNS does
              no harm (RFC 6376 6.1: as if unsigned), and without it mail would be refused or unsigned anyway. A further
              one, or the first of a subdomain whose parent's key signs, would push out a signature that works
    """
    with _locked(directory):
        present, _ = read_keys(directory)
        taken = _taken(directory, domain)
        state = state or ("pending" if KeyRing(present).for_domain(domain) else "active")
        base = selector or _free_selector(directory / domain, taken, now)
        alone = bool(selector) and len(algorithms) == 1
        named = {base if alone or algorithm == RSA else base + ED25519_SUFFIX: algorithm for algorithm in algorithms}
        for name in named:
            if name in taken:
                raise KeysError(
                    [KeyProblem(directory / domain / f"{name}.pem", "is in use already; choose another selector")]
                )
        keys = []
        for name, algorithm in named.items():
            keys.append(SigningKey(domain, name, algorithm, new_private_key(algorithm), state, now))
        _record(directory, keys)
        for key in keys:
            write_private_key(directory / domain / f"{key.selector}.pem", key.private)
    return keys


def set_state(directory: Path, domain: str, selector: str, state: str) -> SigningKey:
    """Changes one key's state. Raises KeysError where there is no such key."""
    with _locked(directory):
        present, _ = read_keys(directory)
        for key in present:
            if (key.domain, key.selector) == (domain, selector):
                changed = SigningKey(domain, selector, key.algorithm, key.private, state, key.created)
                _record(directory, [changed])
                return changed
    raise KeysError([KeyProblem(directory / domain / f"{selector}.pem", "no such key; see postlane keys list")])


def _taken(directory: Path, domain: str) -> set[str]:
    """Selectors that must not be used again: resolvers may still hold their old records."""
    files = {path.stem for path in (directory / domain).glob("*.pem")}
    return files | {selector for name, selector in read_entries(directory / "keys.toml") if name == domain}


def _free_selector(folder: Path, taken: set[str], now: int) -> str:
    year = datetime.fromtimestamp(now / 1000, UTC).year
    for letter in ascii_lowercase:
        name = f"{year}{letter}"
        if not taken & {name, name + ED25519_SUFFIX}:
            return name
    raise KeysError([KeyProblem(folder, f"all selectors from {year}a to {year}z are in use; choose one: --selector")])


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One writer at a time; the lock goes with the process that held it."""
    make_folder(directory)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _record(directory: Path, keys: list[SigningKey]) -> None:
    """Sets the entries of these keys in keys.toml, an admin's comments and other entries kept."""
    file = directory / "keys.toml"
    document = tomlkit.parse(file.read_text(encoding="utf-8") if file.exists() else _HEADER)
    for key in keys:
        selectors = document.setdefault("key", tomlkit.table(is_super_table=True)).setdefault(
            key.domain, tomlkit.table(is_super_table=True)
        )
        entry = selectors.setdefault(key.selector, tomlkit.table())
        entry["state"] = key.state
        if "created" not in entry and key.created:
            entry["created"] = datetime.fromtimestamp(key.created // 1000, UTC)
    draft = directory / ".keys.toml.new"
    draft.unlink(missing_ok=True)  # left by a crash
    with draft.open("x", encoding="utf-8") as out:
        hand_over(out.fileno(), directory)
        out.write(tomlkit.dumps(document))
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
    sync(directory)
