"""Before anything is timed: does this system sign what it sends? A benchmark of unsigned mail would measure nothing."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import dkim

from bench.load import Load, Source
from bench.processes import BenchError, wait_until
from bench.rig import Builder, running
from bench.signing_key import SigningKey


def prove_signed(build: Builder, key: SigningKey, parent: Path) -> None:
    """Send one message through; BenchError unless what arrives carries a good signature of `key` (dkimpy says so)."""
    with tempfile.TemporaryDirectory(dir=parent, prefix="proof-") as name:
        dump = Path(name)
        dump.chmod(0o777)  # smtp-sink writes as a user of its own
        with running(build, key, parent, dump) as (system, _, directory):
            source = Source(Load(1, 4096, kept=True, sessions=1), system.port, directory)
            try:
                wait_until(
                    lambda: source.ended() and _complete(dump) != b"", 30, f"{system.name}: its message did not arrive"
                )
            finally:
                source.stop()
            if not dkim.verify(_complete(dump), dnsfunc=_dns(key)):
                raise BenchError(f"{system.name}: the message that arrived has no good signature")


def _complete(dump: Path) -> bytes:
    """The dumped message once its last line is there, with CRLF line ends (smtp-sink writes LF); empty before."""
    for path in dump.iterdir():
        text = path.read_bytes()
        if text.endswith(b"\n\n"):  # smtp-sink ends each message with an empty line
            return text[:-1].replace(b"\n", b"\r\n")
    return b""


def _dns(key: SigningKey) -> Callable[..., bytes]:
    """TXT look-ups for dkimpy: only this key exists."""

    def look_up(name: bytes, timeout: float = 5) -> bytes:
        return key.record.encode() if name.rstrip(b".") == key.name.encode() else b""

    return look_up
