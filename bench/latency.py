"""`python -m bench.latency`: how long a transactional message takes, idle and beside a destination that is dead.

    idle   100 messages a second; from accepted to delivered, as the `delivered` events tell it (delay_ms)
    dead   100,000 messages wait for a domain whose MX host lets connect and never says a word; meanwhile the same
           100 a second go to others. Memory of each worker is the largest it ever had (VmHWM)

Mail goes by MX, so each recipient domain is a site of its own.
"""

import argparse
import socket
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.load import Load, Sink, Source
from bench.names import DEAD, DEAD_DOMAIN, Names
from bench.postlane_node import PostlaneNode
from bench.processes import BenchError, end_on_sigterm, tree, wait_until
from bench.result import publish
from bench.signing_key import SigningKey
from relay.feedback.eventarchive import columns

RATE = 100  # messages a second
SESSIONS = 4  # an app's pool


@dataclass(frozen=True)
class Delays:
    """Milliseconds from accepted to delivered."""

    median: float
    p99: float
    largest: float
    count: int

    def __str__(self) -> str:
        return (
            f"median {self.median:.0f} ms, p99 {self.p99:.0f} ms, largest {self.largest:.0f} ms ({self.count} messages)"
        )


def delays(node: PostlaneNode, count: int, since: int, mail_class: str = "transactional") -> Delays:
    """Of the `count` deliveries of a class after its first `since`; waits for their events, which are exported within a
    second."""
    found: list[int] = []

    def all_there() -> bool:
        found[:] = delivered(node, mail_class)[since:]
        return len(found) >= count

    wait_until(all_there, 60, f"Postlane did not deliver {count} messages", every=0.5)
    found.sort()
    return Delays(statistics.median(found), found[int(len(found) * 0.99)], found[-1], len(found))


def delivered(node: PostlaneNode, mail_class: str) -> list[int]:
    """delay_ms of every `delivered` event of a class, in the order of their times; those of a past hour are in Parquet."""
    match = {"type": "delivered", "class": mail_class}
    return [delay for _, delay in sorted(columns(node.data / "events", ("time", "delay_ms"), match=match))]


def send(node: PostlaneNode, load: Load, directory: Path) -> float:
    """Hand in a load; messages a second at which it was accepted."""
    source = Source(load, node.port, directory)
    try:
        wait_until(source.ended, 60 + load.messages / 50, "the load was not accepted")
        return load.messages / source.sent().seconds
    finally:
        source.stop()


def workers(node: PostlaneNode) -> list[int]:
    """Peak memory in MB of each worker process."""
    peaks = []
    for pid in tree(node.pids()[0]):
        if Path(f"/proc/{pid}/comm").read_text().startswith("worker-"):
            status = Path(f"/proc/{pid}/status").read_text()
            peaks.append(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
    return peaks


@contextmanager
def silent(port: int) -> Iterator[None]:
    """A host that lets connect (its kernel does) and never greets."""
    with socket.create_server((DEAD, port), backlog=1024):
        yield


def report(node: PostlaneNode, queued: int, seconds: int, directory: Path) -> Iterator[str]:
    """The two runs, line by line."""
    calm = Load(RATE * seconds, 0, kept=True, sessions=SESSIONS, varied=True, rate=RATE)
    send(node, Load(RATE * 2, 0, kept=True, sessions=SESSIONS, varied=True, rate=RATE), directory)
    done = RATE * 2
    send(node, calm, directory)
    yield f"idle, {RATE} messages/s: {delays(node, calm.messages, done)}; workers {workers(node)} MB"
    done += calm.messages
    dead = Load(queued, 0, kept=True, sessions=20, varied=True, domain=DEAD_DOMAIN)
    rate = send(node, dead, directory)
    yield f"{queued:,} messages for a host that does not answer: accepted at {rate:.0f}/s; workers {workers(node)} MB"
    send(node, calm, directory)
    yield f"to others meanwhile, {RATE} messages/s: {delays(node, calm.messages, done)}; workers {workers(node)} MB"


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    end_on_sigterm()
    with tempfile.TemporaryDirectory(dir=args.dir, prefix="postlane-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        sink = Sink(directory)
        with Names() as names, silent(sink.port):
            node = PostlaneNode(
                directory,
                "",
                SigningKey.make(),
                workers=args.workers,
                nameservers=(names.address,),
                remote_port=sink.port,
            )
            lines = [*(f"- {line}" for line in machine.describe(directory)), ""]
            try:
                sink.start()
                node.start()
                for line in report(node, args.queued, args.seconds, directory):
                    print(line, file=sys.stderr, flush=True)
                    lines.append(f"- {line}")
            except BenchError as problem:
                print(f"bench: {problem}", file=sys.stderr)
                return 1
            finally:
                node.stop()
                sink.stop()
    publish(lines, args.write)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.latency", description="Delay and memory, idle and beside a dead host"
    )
    parser.add_argument("--queued", type=int, default=100_000, help="messages for the dead destination")
    parser.add_argument("--seconds", type=int, default=20, help="of each measurement at 100 messages/s")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument(
        "--dir", help="where the queue lives; the default is the system's directory for temporary files"
    )
    parser.add_argument("--write", metavar="FILE", help="write the result there too")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
