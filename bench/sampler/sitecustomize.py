"""Looks into a running worker: Python imports this by itself where this folder is on PYTHONPATH (see bench/stages.py).

The event loop's thread: a timer of CPU time (SIGPROF) interrupts it between two steps of Python, and what CPU it used
since is booked on the stack it has then. So C code (hashes, JSON, a write to a socket) falls on the Python function that
called it, and what uvloop does by itself on the function it calls next. A sampling thread would not do: it gets the GIL
where others let go of it, and would book everything there. The other threads are booked whole, by name. Idle costs
nothing, and the program itself is not changed. At its end the books go to a file.
"""

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import NoReturn

PERIOD = 0.002  # seconds of CPU; the kernel rounds it up to its tick (1 to 10 ms)
ROUNDS = 16  # looks between two looks at the other threads and at the switch
DEPTH = 60  # frames of a stack that are kept


def _stack(frame: FrameType | None) -> tuple[str, ...]:
    """`file:function`, the innermost first."""
    names: list[str] = []
    while frame is not None and len(names) < DEPTH:
        names.append(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")
        frame = frame.f_back
    return tuple(names)


class Books:
    """Nanoseconds of CPU by (thread name, stack), kept while the file `on` exists."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._on = False
        self._looks = 0
        self._used: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._main = 0
        self._others: dict[str, int] = {}

    def look(self, number: int, frame: FrameType | None) -> None:
        """The handler of SIGPROF, in the main thread."""
        now = time.thread_time_ns()
        if self._on:
            self._used["MainThread", _stack(frame)] += now - self._main
        self._looks += 1
        if self._looks % ROUNDS == 0:
            self._on = (self._folder / "on").exists()
            self._look_at_others()
        self._main = time.thread_time_ns()  # what the look itself took is nobody's

    def _look_at_others(self) -> None:
        for thread in threading.enumerate():
            if thread.ident is not None and thread is not threading.main_thread():
                now = time.clock_gettime_ns(time.pthread_getcpuclockid(thread.ident))
                if self._on:
                    self._used[thread.name, ()] += now - self._others.get(thread.name, now)
                self._others[thread.name] = now

    def write(self) -> None:
        rows = [[thread, stack, spent] for (thread, stack), spent in self._used.items()]
        (self._folder / f"{os.getpid()}.json").write_text(json.dumps(rows))


def _begin() -> None:
    """In a worker, which is a copy of the supervisor (relay/forked.py): it first forgets its signals, and ends by os._exit."""
    forked = sys.modules.get("relay.forked")
    if forked is None:
        return
    forget, leave, books = forked._forget_signals, os._exit, Books(Path(os.environ["BENCH_SAMPLES"]))

    def begin() -> None:
        forget()
        signal.signal(signal.SIGPROF, books.look)
        signal.setitimer(signal.ITIMER_PROF, PERIOD, PERIOD)

    def end(status: int) -> NoReturn:
        books.write()
        leave(status)

    forked.__dict__["_forget_signals"], os._exit = begin, end


if "serve" in sys.orig_argv and "BENCH_SAMPLES" in os.environ:
    os.register_at_fork(after_in_child=_begin)
