"""The machine and the programs a benchmark ran on, in words: without them a figure says nothing."""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import apsw
from cryptography.hazmat.backends.openssl import backend
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from dkim.crypto import RSASSA_PKCS1_v1_5_sign, parse_private_key

from bench.peers import find
from bench.processes import BenchError
from relay.signing.multibuffer import LANES, load_multibuffer


def describe(directory: Path) -> list[str]:
    """Lines on processor, memory, kernel, the file system of `directory` with the cost of its fsync, and versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return [
        f"{len(os.sched_getaffinity(0))} CPUs: {_processor()}; {memory:.0f} GB; Linux {platform.release()}",
        f"queues on {_file_system(directory)}, write and fsync of 4 KB {_fsync_ms(directory):.2f} ms (median)",
        f"load average before the start {load:.2f}",
        _speed(),
        f"Postlane: Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()},"
        f" cryptography with {backend.openssl_version_text()}",
        f"Postfix {_output('postconf', '-d', '-h', 'mail_version')}, {_output('opendkim', '-V').splitlines()[0]}"
        f" with {_opendkim_openssl()}",
    ]


def _speed() -> str:
    """What is not Postlane's own: one RSA-2048 signature by OpenSSL, eight by crypto_mb, and one by dkimpy in plain Python."""
    key = rsa.generate_private_key(65537, 2048)
    der = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    plain = parse_private_key(der)
    digest = bytes(32)
    fast = _least_ms(lambda: key.sign(digest, padding.PKCS1v15(), SHA256()), 400)
    slow = _least_ms(lambda: RSASSA_PKCS1_v1_5_sign(sha256(), plain), 40)
    multibuffer = load_multibuffer()
    if multibuffer is None:
        eight = "no vector instructions for several at a time"
    else:
        eight = f"eight side by side {_least_ms(lambda: multibuffer.sign([(key, digest)] * LANES), 60) * 1000:.0f} us"
    return f"an RSA-2048 signature takes OpenSSL {fast * 1000:.0f} us of CPU, {eight}, plain Python {slow:.1f} ms"


def _least_ms(work: Callable[[], object], times: int) -> float:
    """CPU of the quickest of `times`: others on the machine make none quicker."""
    took = []
    for _ in range(times):
        begin = time.thread_time()
        work()
        took.append(time.thread_time() - begin)
    return min(took) * 1000


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
