"""A process that begins as a copy of ours: it shares what we have in memory (modules, the model of evidence), 60 MB that a
program started anew would load again. What neither of the two changes stays one.

Rules: in the copy nothing of ours goes on. It keeps the descriptors it is given and standard output and error, it has a
session of its own, and signals mean what they mean to a program that has just begun. Our objects stay as they are in its
memory, and nothing may destroy them (a socket that is collected would close a descriptor that is another's by then): so the
copy never returns to our code, and its collector looks at nothing that was there before. All signals wait while it is made, or
one that is meant for it would be heard by our event loop.
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

Work = Callable[[], int]  # its exit status; SystemExit does as well

UNKNOWN = 255  # the exit status of one that is gone and left none, as asyncio has it
NAME_OCTETS = 15  # that the kernel keeps of a name (prctl(2), PR_SET_NAME)


class Forked:
    """A process made by `fork`, to its maker: as much of asyncio's Process as is needed. Make it in the loop that waits."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        try:
            self._descriptor = os.pidfd_open(pid)
        except OSError:  # a sandbox that does not know it; Linux before 5.3
            threading.Thread(target=self._watch, name=f"waits for {pid}", daemon=True).start()
        else:
            self._loop.add_reader(self._descriptor, self._readable)

    def __repr__(self) -> str:
        return f"<Forked {self.pid} {'up' if self.returncode is None else self.returncode}>"

    def _readable(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._end(_status(self.pid))

    def _watch(self) -> None:
        """In a thread."""
        status = _status(self.pid)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._end, status)

    def _end(self, status: int) -> None:
        self.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()

    async def wait(self) -> int:
        """Its exit status, negative for the signal that ended it."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Raises ProcessLookupError when it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _status(pid: int) -> int:
    """As waitpid(2) has it. Where we were started with SIGCHLD ignored (a shell's `trap '' CHLD`) the kernel keeps none."""
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return UNKNOWN << 8


def fork(name: str, work: Work, descriptors: Iterable[int]) -> Forked:
    """A copy of this process that does `work` and ends. `name`: what ps calls it. `descriptors`: what it keeps."""
    gc.collect()
    gc.freeze()  # our collector, too, would write into each object it looks at, and so unshare it
    sys.stdout.flush()  # or the copy would write it again
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _begin(name, work, frozenset(descriptors), before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Forked(pid)


def _begin(name: str, work: Work, descriptors: frozenset[int], mask: Iterable[int]) -> NoReturn:
    """In the copy."""
    status = 1
    try:
        gc.freeze()
        os.setsid()
        _forget_signals()
        _close_all_but(descriptors)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        with contextlib.suppress(OSError):
            Path("/proc/self/comm").write_text(name[:NAME_OCTETS])
        status = work()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # the last that is heard of it
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _forget_signals() -> None:
    """As in a Python that has just begun."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _close_all_but(descriptors: frozenset[int]) -> None:
    """And standard input reads nothing."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if number > 2 and number not in descriptors:
            with contextlib.suppress(OSError):  # the one by which they were listed
                os.close(number)
