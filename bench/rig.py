"""One system under test with the sink it delivers to, fresh in a directory of its own, and a load sent through it."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from bench.load import Load, Sink, Source
from bench.peers import PostfixOpenDkim
from bench.postlane_node import PostlaneNode
from bench.processes import wait_until
from bench.signing_key import SigningKey

POLL = 0.005  # seconds between looks at the sink's counter: under 0.5 % of the shortest round
SLOWEST = 20  # messages a second under which a round is given up


class System(Protocol):
    """One of the two."""

    name: str
    port: int

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def pids(self) -> list[int]: ...


Builder = Callable[[Path, int, SigningKey], System]


def builders(workers: int, mail_class: str = "transactional") -> dict[str, Builder]:
    """How to make each system in a directory, for a sink's port and a key; Postlane takes mail for that of a class."""

    def postlane(directory: Path, sink: int, key: SigningKey) -> PostlaneNode:
        return PostlaneNode(directory, f"127.0.0.1:{sink}", key, workers=workers, mail_class=mail_class)

    return {"postfix": PostfixOpenDkim, "postlane": postlane}


@contextmanager
def running(
    build: Builder, key: SigningKey, parent: Path, dump: Path | None = None
) -> Iterator[tuple[System, Sink, Path]]:
    """A sink and a system that delivers to it, both fresh, in a directory that is removed afterwards."""
    with tempfile.TemporaryDirectory(dir=parent, prefix="round-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # Postfix's daemons run as a user of their own
        sink = Sink(directory)
        system = build(directory, sink.port, key)
        try:
            sink.start(dump)
            system.start()
            yield system, sink, directory
        finally:
            system.stop()
            sink.stop()


def carry(load: Load, system: System, sink: Sink, directory: Path) -> tuple[float, float]:
    """Send a load; seconds until all was accepted and until all was at the sink."""
    sink.reset()
    source = Source(load, system.port, directory)
    try:
        wait_until(
            lambda: source.ended() and (source.failed() or sink.received() >= load.messages),
            60 + load.messages / SLOWEST,
            f"{system.name}: not all of {load.messages} messages arrived",
            every=POLL,
        )
        delivered = time.monotonic()
        sent = source.sent()
    finally:
        source.stop()
    return sent.seconds, delivered - sent.started
