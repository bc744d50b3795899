"""The machine and the programs a benchmark ran on, in words: without them a figure says nothing."""

import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

import apsw
from cryptography.hazmat.backends.openssl import backend

from bench.peers import find
from bench.processes import BenchError


def describe(directory: Path) -> list[str]:
    """Lines on processor, memory, kernel, the file system of `directory` with the cost of its fsync, and versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return [
        f"{len(os.sched_getaffinity(0))} CPUs: {_processor()}; {memory:.0f} GB; Linux {platform.release()}",
        f"queues on {_file_system(directory)}, write and fsync of 4 KB {_fsync_ms(directory):.2f} ms (median)",
        f"load average before the start {load:.2f}",
        f"Postlane: Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()},"
        f" cryptography with {backend.openssl_version_text()}",
        f"Postfix {_output('postconf', '-d', '-h', 'mail_version')}, {_output('opendkim', '-V').splitlines()[0]}"
        f" with {_opendkim_openssl()}",
    ]


def _output(program: str, *arguments: str) -> str:
    """What a program prints, to either stream; one that is not installed says so."""
    try:
        done = subprocess.run([find(program), *arguments], capture_output=True, text=True, timeout=20, check=False)
    except (BenchError, OSError, subprocess.SubprocessError) as problem:
        return str(problem)
    return (done.stdout + done.stderr).strip() or "?"


def _opendkim_openssl() -> str:
    lines = [line for line in _output("opendkim", "-V").splitlines() if "OpenSSL" in line]
    return lines[0].partition("with ")[2] if lines else "?"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(directory: Path) -> str:
    """Type of the file system that holds `directory`: the longest mount point above it."""
    best = ("", "?")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if directory.resolve().is_relative_to(mount) and len(mount) > len(best[0]):
            best = (mount, kind)
    return best[1]


def _fsync_ms(directory: Path, times: int = 50) -> float:
    path = directory / "fsync.probe"
    took = []
    with path.open("wb") as file:
        for _ in range(times):
            begin = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - begin) * 1000)
    path.unlink()
    return statistics.median(took)
