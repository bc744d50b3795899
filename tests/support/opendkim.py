"""OpenDKIM as the judge of our signatures: each DKIM-Signature of a message, verified by the program itself.

Keys come from a file instead of DNS. OpenDKIM reports one signature a message, so each is put before it alone:
signatures do not cover one another, and leaving one out spoils none.
"""

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from relay.header import Field, split
from tests.support.needs import program


@dataclass(frozen=True)
class Verdict:
    """What OpenDKIM thinks of one signature; `said` is its own line."""

    domain: str
    selector: str
    algorithm: str
    good: bool
    said: str


def verify(message: bytes, records: Mapping[str, str]) -> list[Verdict]:
    """One verdict for each signature, in header order. `records`: TXT data by "selector._domainkey.domain"."""
    fields, rest = split(message)
    signatures = [field for field in fields if field.name == "dkim-signature"]
    others = b"".join(field.raw for field in fields if field.name != "dkim-signature")
    return [_judge(field, field.raw + others + message[rest:], records) for field in signatures]


def _judge(signature: Field, message: bytes, records: Mapping[str, str]) -> Verdict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "keys").write_text("".join(f"{where} {record}\n" for where, record in records.items()))
        (folder / "conf").write_text(f"Mode v\nSyslog no\nTestPublicKeys {folder}/keys\n")
        (folder / "message").write_bytes(message)
        command = [program("opendkim"), "-x", f"{folder}/conf", "-t", f"{folder}/message"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    said = (done.stdout + done.stderr).strip()
    return Verdict(
        _tag(signature, b"d"), _tag(signature, b"s"), _tag(signature, b"a"), said.endswith("succeeded"), said
    )


def _tag(signature: Field, name: bytes) -> str:
    """One tag of a DKIM-Signature (RFC 6376 3.2)."""
    found = re.search(rb"(?:^|;)\s*" + name + rb"\s*=\s*([^;\s]*)", signature.value)
    return found[1].decode() if found else ""
