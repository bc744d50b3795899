"""Processes of the benchmark: started here, stopped by id, measured from /proc. Linux only.

CPU of a process tree is user and system time of what lives in it plus that of what it has waited for, so that
processes which come and go (Postfix's) count in full. What the kernel does in threads of its own (writing back to disk)
counts for nobody.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A part of the benchmark did not do what it must; the text says which and why."""


def end_on_sigterm() -> None:
    """Let SIGTERM unwind the program as Ctrl-C does, so that everything it started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago, below those the kernel gives to outgoing connections (32768 and up): a client
    that connects somewhere in the meantime cannot take it."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    raise BenchError(f"no free port at {host}")


def wait_until(ready: Callable[[], bool], seconds: float, what: str, every: float = 0.02) -> None:
    """Return when `ready()` is true; raise BenchError with `what` when it is not within `seconds`."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise BenchError(f"{what} (waited {seconds:g} s)")
        time.sleep(every)


def answers_smtp(port: int, host: str = "127.0.0.1") -> bool:
    """Does an SMTP server greet at this port?"""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            greeting = connection.recv(512)
            connection.sendall(b"QUIT\r\n")
            return greeting.startswith(b"220")
    except OSError:
        return False


@dataclass
class Program:
    """One running program, leader of a process group of its own. `stop()` ends the group and nothing else."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        """The last lines of its output, for messages to people."""
        return self.log.read_text(errors="replace")[-2000:].strip()

    def check(self) -> None:
        """Raise BenchError if it has ended."""
        if self.process.poll() is not None:
            raise BenchError(f"{self.name} ended with status {self.process.returncode}: {self.said()}")

    def stop(self, seconds: float = 20) -> None:
        """SIGTERM, and SIGKILL to its group after `seconds`."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()


def start(
    name: str,
    command: Sequence[str],
    log: Path,
    *,
    stdout: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Program:
    """Start a program in a process group of its own; its output goes to `log` (its stdout to `stdout` if given)."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout or output,
            stderr=output,
            start_new_session=True,
            env=env,
            cwd=cwd,
        )
    return Program(name, process, log)


def tree(root: int) -> dict[int, list[str]]:
    """The process `root` and its descendants: pid to the fields of /proc/PID/stat from the third (state) on."""
    stats: dict[int, list[str]] = {}
    children: dict[int, list[int]] = {}
    for pid, fields in _all_processes():
        stats[pid] = fields
        children.setdefault(int(fields[1]), []).append(pid)
    found: dict[int, list[str]] = {}
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid in stats:
            found[pid] = stats[pid]
            waiting += children.get(pid, [])
    return found


def _all_processes() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked
                yield int(entry.name), (entry / "stat").read_text().rpartition(")")[2].split()


def cpu_seconds(roots: Sequence[int]) -> float:
    """User and system time of these process trees so far, children that ended included (proc(5): fields 14 to 17)."""
    ticks = sum(int(field) for root in roots for fields in tree(root).values() for field in fields[11:15])
    return ticks / _TICKS


def memory(roots: Sequence[int]) -> dict[int, int]:
    """Bytes of each process of these trees: PSS, in which a page that n processes share is 1/n of a page in each."""
    return {pid: size for root in roots for pid in tree(root) if (size := _pss(pid))}


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
