"""The mail of the benchmark and where it ends: one description of a load, one sender, one sink, for both systems.

The sender is Postfix's smtp-source (every message alike) or bench/varied.py (no two alike); the sink is Postfix's
smtp-sink, whose running counter says how many messages have arrived.
"""

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers import find
from bench.processes import BenchError, Program, answers_smtp, free_port, start, wait_until
from bench.signing_key import DOMAIN


@dataclass(frozen=True)
class Load:
    """What is sent: `messages` of `size` bytes of body over `sessions` connections at a time.

    kept    many messages a connection (smtp-source -d); else one
    varied  bodies, senders, sizes and 1,000 recipient domains as bench/varied.py draws them; `size` is then no matter
    marketing  each to somebody else, so that frequency caps, consent and one-click unsubscribe are of each his own
    domain  of all recipients of a varied load, instead of those 1,000; rate: its messages a second, 0 for all it can
    """

    messages: int
    size: int
    kept: bool
    sessions: int = 20
    varied: bool = False
    domain: str = ""
    rate: int = 0
    marketing: bool = False

    def __str__(self) -> str:
        what = "varied" if self.varied else f"{self.size // 1024} KB"
        kind = ", marketing with caps" if self.marketing else ""
        return f"{what}, {'kept' if self.kept else 'one a connection'}{kind}"

    def command(self, port: int) -> list[str]:
        if self.varied:
            numbers = [f"{port}", f"{self.messages}", f"{self.sessions}"]
            options = ["--domain", self.domain, "--rate", f"{self.rate}"]
            return [sys.executable, "-m", "bench.varied", *numbers, *options]
        options = ["-s", f"{self.sessions}", "-l", f"{self.size}", "-m", f"{self.messages}"]
        subject = "The weekend's offers: 30% off" if self.marketing else "Your order 1042"
        options += ["-f", f"orders@{DOMAIN}", "-t", "dana@recipient.example", "-S", subject]
        switches = [*(["-d"] if self.kept else []), *(["-N"] if self.marketing else [])]
        return [find("smtp-source"), "-4", *switches, *options, f"127.0.0.1:{port}"]


@dataclass(frozen=True)
class Sent:
    """When the sender connected first and when it had its last 250: seconds of time.monotonic()."""

    started: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.started


class Source:
    """The sender of one load, running."""

    def __init__(self, load: Load, port: int, directory: Path) -> None:
        self._started = time.monotonic()
        self._result = directory / "source.out"
        with self._result.open("wb") as output:
            cwd = Path(__file__).parent.parent
            self._program = start("sender", load.command(port), directory / "source.log", stdout=output, cwd=cwd)
        self._ended = 0.0

    def ended(self) -> bool:
        if not self._ended and self._program.process.poll() is not None:
            self._ended = time.monotonic()
        return bool(self._ended)

    def failed(self) -> bool:
        return bool(self._program.process.returncode)

    def sent(self) -> Sent:
        """Its times once it has ended; BenchError if it did not get every message accepted."""
        if self._program.process.returncode:
            raise BenchError(f"the sender failed: {self._program.said()}")
        told = self._result.read_text()
        if told:  # a program of ours knows its times without those of starting Python
            times = json.loads(told)
            return Sent(times["started"], times["ended"])
        return Sent(self._started, self._ended)

    def stop(self) -> None:
        self._program.stop(1)


class Sink:
    """smtp-sink: takes everything, throws it away, counts."""

    def __init__(self, directory: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host, self.port = host, port or free_port(host)
        self._directory = directory
        self._counter = directory / f"sink-{host}.count"
        self._program: Program | None = None
        self._before = 0

    def start(self, dump: Path | None = None) -> None:
        """Start it; with `dump`, it keeps each message in a file of that folder."""
        user = ["-u", "postfix"] if os.geteuid() == 0 else []  # it refuses to stay root
        keep = ["-d", f"{dump}/m."] if dump else ["-c"]
        with self._counter.open("wb") as counter:
            command = [find("smtp-sink"), "-4", *user, *keep, "-m", "10000", f"{self.host}:{self.port}", "1000"]
            self._program = start("smtp-sink", command, self._directory / f"sink-{self.host}.log", stdout=counter)
        self._before = 0
        wait_until(lambda: answers_smtp(self.port, self.host), 10, "smtp-sink does not answer")

    def stop(self) -> None:
        if self._program is not None:
            self._program.stop()
            self._program = None

    def reset(self) -> None:
        """Count from here on."""
        self._before = self._total()

    def received(self) -> int:
        """Messages since `reset`."""
        return self._total() - self._before

    def _total(self) -> int:
        """smtp-sink -c writes "sess=%5d quit=%5d mesg=%5d\\r" after each event; the last one counts."""
        with self._counter.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 200))
            counts = re.findall(rb"mesg= *(\d+)\r", file.read())
        return int(counts[-1]) if counts else 0


class Sinks:
    """Several of them, at as many addresses and one port: one alone answers a thousand open connections late."""

    def __init__(self, directory: Path, hosts: Sequence[str]) -> None:
        first = Sink(directory, hosts[0])
        self.port = first.port
        self._sinks = [first, *(Sink(directory, host, first.port) for host in hosts[1:])]

    def start(self) -> None:
        for sink in self._sinks:
            sink.start()

    def stop(self) -> None:
        for sink in self._sinks:
            sink.stop()

    def reset(self) -> None:
        for sink in self._sinks:
            sink.reset()

    def received(self) -> int:
        return sum(sink.received() for sink in self._sinks)
