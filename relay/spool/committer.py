"""The one thread that owns a shard: group commit, then reads, then housekeeping.

Strategy. Operations are gathered in the loop's thread for as long as turns of the loop bring more, a few
milliseconds at most: a busy loop then shares one commit (half a dozen pages beside the mail's own, an fsync, two
changes of thread) among many messages, and an idle one waits for nothing. Outcomes wait there too, some milliseconds,
for new mail whose fsync they can share. The thread takes all that was handed over, bounded by count and bytes, applies
every write in one transaction, answers all of them with one call into the loop, then does the reads.

Faults. No room: the batch rolls back; its outcomes are kept and tried again each second until they are saved, new mail
is refused with SpoolFull, and `healthy` is False until there is room again. An error that one write brought with it
fails that write alone. Everything else, a failed fsync above all, leaves unknown what is on the disk: nothing more is
acknowledged, `on_fatal` is called, and recovery is a new process that reads the file afresh (PostgreSQL's lesson of
2018: an fsync that is tried again after it failed may say yes to data that is gone,
https://wiki.postgresql.org/wiki/Fsync_Errors).
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import apsw
import structlog

from relay.gather import Gather
from relay.spool.errors import SpoolError, SpoolFull
from relay.spool.shard import Fault, Shard, Write

log = structlog.get_logger()

MAX_OPERATIONS = 256  # of one batch: more gains nothing (the fsync is shared already) and delays the first of them
MAX_BYTES = 16 << 20  # of one batch: about a tenth of a second of writing on a slow disk
GATHER = 0.004  # seconds a busy loop may gather for: of the 50 ms that urgent mail has from accept to delivered
RIDE = 0.02  # seconds outcomes wait for new mail to share its fsync with, where some came within that time ...
ALONE = 0.005  # ... and where none did: others that end soon, for there are places for so many attempts only
RETRY = 1.0  # seconds between looks at a full disk
CHECKPOINT_BYTES = 8 << 20  # written since the last checkpoint: the WAL's size in normal times
BREATH_EVERY = 0.01  # seconds without an answer after which the loop lets the thread have Python's lock ...
BREATH = 0.0001  # ... for so long, then twice as long each time ...
LONGEST_BREATH = 0.001  # ... up to this: a tenth of the loop's time is lost at most, in vain where the disk is slow
HOUSEKEEPING = 10.0  # seconds between looks at the size of the file while mail leaves

Answers = list[tuple[asyncio.Future[Any], object]]


@dataclass(slots=True, eq=False)
class Read:
    """`work` runs in the thread, after the writes submitted before it."""

    future: asyncio.Future[Any]
    work: Callable[[apsw.Connection], Any]


class Committer:
    """Owns one shard in a thread of its own, from `start` to `stop`. `healthy`: there is room, no fault.

    Two halves of one hand-over, the loop's and the thread's, stand together so that both can be read at once.
    """

    def __init__(
        self,
        path: Path,
        on_fatal: Callable[[BaseException], None],
        vfs: str = "",
        housekeeping: float = HOUSEKEEPING,
    ) -> None:
        self.healthy = False  # until it is open
        self._path = path
        self._on_fatal = on_fatal
        self._vfs = vfs
        self._housekeeping = housekeeping
        self._queue: SimpleQueue[Write | Read | None] = SimpleQueue()
        self._gathered: Gather[Write | Read] = Gather(
            self._hand_over, GATHER
        )  # in the loop's thread, soon for the queue
        self._riding: list[Write | Read] = []  # outcomes that wait for what is gathered next
        self._alone: asyncio.TimerHandle | None = None  # their departure where nothing comes
        self._came = 0.0  # when the last of that was handed over, by the loop's clock
        self._handed_over = self._answered = 0  # counted in the loop's thread
        self._breathing: asyncio.TimerHandle | None = None
        self._stuck: list[Write] = []
        self._looked = 0.0  # when the disk's room or the file's size was last looked at (monotonic)
        self._dead: BaseException | None = None
        self._closed: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._shard: Shard

    def __repr__(self) -> str:
        state = f"dead: {self._dead}" if self._dead else "healthy" if self.healthy else "not open or full"
        return f"<Committer {self._path} {state}, {self._queue.qsize()} waiting, {len(self._stuck)} kept>"

    # What the loop's thread calls.

    def start(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[int]:
        """Opens the shard; the result is the highest message row in it. Answers come in `loop`."""
        self._loop = loop
        opened: asyncio.Future[int] = loop.create_future()
        self._handed_over += 1
        Thread(target=self._run, args=(opened,), name=f"spool {self._path.name}", daemon=True).start()
        return opened

    def submit(self, operation: Write | Read) -> None:
        if self._dead is not None or self._closed is not None:
            operation.future.set_exception(SpoolError(f"{self._path} is closed: {self._dead or 'shutting down'}"))
            return
        if isinstance(operation, Read) or not operation.patient:
            self._gathered.add(operation)
            return
        self._riding.append(operation)
        if self._alone is None:
            lately = self._loop.time() - self._came < RIDE
            self._alone = self._loop.call_later(RIDE if lately else ALONE, self._hand_over, [])

    def _hand_over(self, gathered: list[Write | Read]) -> None:
        """What rides goes first: a read sees what was submitted before it."""
        if self._alone is not None:
            self._alone.cancel()
            self._alone = None
        if any(isinstance(one, Write) for one in gathered):
            self._came = self._loop.time()
        going, self._riding = self._riding + gathered, []
        self._handed_over += len(going)
        for operation in going:
            self._queue.put(operation)
        if self._dead is not None:  # asked after that: the thread may have died meanwhile, and nobody would answer
            why = f"{self._path} is closed: {self._dead}"
            self._complete([(operation.future, SpoolError(why)) for operation in going])
        elif going and self._breathing is None:
            self._breathing = self._loop.call_later(BREATH_EVERY, self._breathe, self._answered, BREATH)

    def stop(self) -> asyncio.Future[None]:
        """Everything submitted before is done first; the result comes when the file is closed."""
        if self._closed is None:
            self._closed = self._loop.create_future()
            self._handed_over += 1
            self._gathered.flush()
            self._queue.put(None)
        if self._dead is not None and not self._closed.done():
            self._closed.set_result(None)
        return self._closed

    def _breathe(self, answered: int, breath: float) -> None:
        """Lets the thread come up for air while something is unanswered.

        A busy loop gives Python's lock up for an instant at each turn and has it back before a waiting thread has
        woken; each such instant starts the thread's claim to it anew, so that it can wait for seconds (CPython 3.11,
        ceval_gil.h). So where nothing was answered since the last look, this sleeps for a moment, without the lock.
        """
        if self._dead is not None:
            self._breathing = None
            return
        if self._answered == answered:
            time.sleep(breath)
            breath = min(2 * breath, LONGEST_BREATH)
        else:
            breath = BREATH
        self._breathing = self._loop.call_later(BREATH_EVERY, self._breathe, self._answered, breath)

    # The thread.

    def _run(self, opened: asyncio.Future[int]) -> None:
        try:
            self._shard = Shard(self._path, self._vfs)
            highest = self._shard.highest_row()
        except Exception as error:
            self._dead = error
            refusal = error if isinstance(error, SpoolError) else SpoolError(f"{self._path} cannot be opened: {error}")
            self._answer([(opened, refusal)])
            return
        self.healthy = True
        self._answer([(opened, highest)])
        running = True
        while running:
            writes, reads, running = self._collect()
            try:
                self._commit(writes)
                self._read(reads)
                self._keep_house(running)
                if not running:
                    self._close()
            except BaseException as error:
                self._die(error, [*writes, *reads])
                return

    def _collect(self) -> tuple[list[Write], list[Read], bool]:
        """What waits; nothing, if for some time nothing came and there is housekeeping to do. False: stop after it."""
        writes: list[Write] = []
        reads: list[Read] = []
        size, wait = 0, self._patience()
        while len(writes) + len(reads) < MAX_OPERATIONS and size < MAX_BYTES:
            try:
                operation = self._queue.get(wait != 0, wait)
            except Empty:
                break
            if operation is None:
                return writes, reads, False
            if isinstance(operation, Read):
                reads.append(operation)
            else:
                writes.append(operation)
                size += operation.size
            wait = 0.0
        return writes, reads, True

    def _patience(self) -> float | None:
        """Seconds to wait for a first operation; None: as long as it takes."""
        if not self.healthy:
            return RETRY
        return self._housekeeping if self._shard.shrinks else None

    def _commit(self, writes: list[Write]) -> None:
        if writes and self.healthy:
            self._try(writes)
        else:
            self._set_aside(writes)

    def _try(self, writes: list[Write]) -> None:
        """Saves `writes` together, else apart; keeps or refuses what there is no room for. Raises what is fatal."""
        try:
            self._shard.transact(writes)
        except Exception as error:
            fault = self._shard.fault(error)
            if fault is Fault.FATAL:
                raise
            if len(writes) > 1 and not (fault is Fault.FULL and all(write.patient for write in writes)):
                self._try_apart(writes, fault)
            elif fault is Fault.FULL:
                self._fall_ill(error)
                self._set_aside(writes)
            else:
                self._answer([(write.future, SpoolError(f"cannot be stored: {error}")) for write in writes])
        else:
            self._answer([(write.future, None) for write in writes])

    def _try_apart(self, writes: list[Write], fault: Fault) -> None:
        """A batch rolled back. No room: outcomes first and together, then new mail one by one, until that fails."""
        if fault is Fault.FULL:
            self._shard.checkpoint()  # the WAL is then written from its start again: often room enough for outcomes
            outcomes = [write for write in writes if write.patient]
            if outcomes:
                self._try(outcomes)
            writes = [write for write in writes if not write.patient]
        for write in writes:
            if fault is Fault.OURS or self.healthy:
                self._try([write])
            else:
                self._set_aside([write])

    def _set_aside(self, writes: list[Write]) -> None:
        """There is no room: outcomes are kept, new mail is refused without asking the disk."""
        self._stuck += [write for write in writes if write.patient]
        full = f"{self._path}: no room on the disk"
        self._answer([(write.future, SpoolFull(full)) for write in writes if not write.patient])

    def _fall_ill(self, error: Exception) -> None:
        if self.healthy:
            log.error("spool full", path=str(self._path), error=str(error))
        self.healthy = False
        self._looked = time.monotonic()

    def _look_again(self) -> None:
        """Is there room again? First for the outcomes that were kept, then for new mail."""
        kept, self._stuck = self._stuck, []
        self._shard.checkpoint()
        if kept:
            self._try(kept)
        if not self._stuck and self._shard.room():
            self.healthy = True
            log.info("spool has room again", path=str(self._path))

    def _read(self, reads: list[Read]) -> None:
        for read in reads:
            try:
                result: object = read.work(self._shard.db)
            except Exception as error:
                if isinstance(error, apsw.Error) and self._shard.fault(error) is Fault.FATAL:
                    raise
                result = error
            self._answer([(read.future, result)])

    def _keep_house(self, running: bool) -> None:
        """What may wait until the batch is answered: room, the WAL, the file's size."""
        if self._shard.written >= CHECKPOINT_BYTES:
            self._shard.checkpoint()
        now = time.monotonic()
        if running and now - self._looked >= (self._housekeeping if self.healthy else RETRY):
            self._looked = now
            if not self.healthy:
                self._look_again()
            elif self._shard.shrinks:
                self._shard.shrink()

    # The end.

    def _close(self) -> None:
        """One last try for outcomes that wait for room, then the file is closed."""
        kept, self._stuck = self._stuck, []
        if kept:
            self._try(kept)
        self._answer([(write.future, SpoolError("closed while there was no room")) for write in self._stuck])
        self._shard.close()
        self._answer([(self._closed, None)] if self._closed else [])

    def _die(self, error: BaseException, unanswered: Iterable[Write | Read]) -> None:
        """Nothing more is promised: what waits fails."""
        self._dead = error
        self.healthy = False
        log.error("spool failed", path=str(self._path), error=repr(error))
        waiting: list[Write | Read | None] = [*unanswered, *self._stuck]
        while not self._queue.empty():
            waiting.append(self._queue.get_nowait())
        why = f"{self._path}: {error}"
        answers: Answers = [(operation.future, SpoolError(why)) for operation in waiting if operation]
        if self._closed is not None:
            answers.append((self._closed, None))
        try:
            self._shard.abandon()
        finally:
            self._call(self._bury, answers)

    def _bury(self, answers: Answers) -> None:
        """In the loop's thread: the wiring hears of it before those who waited go on."""
        self._complete(answers)
        if self._dead is not None:
            self._on_fatal(self._dead)

    def _answer(self, answers: Answers) -> None:
        if answers:
            self._call(self._complete, answers)

    def _call(self, function: Callable[[Answers], None], argument: Answers) -> None:
        try:
            self._loop.call_soon_threadsafe(function, argument)
        except RuntimeError:  # the loop is closed: nobody is left to hear it
            log.debug("spool answered a closed loop", path=str(self._path))

    def _complete(self, answers: Answers) -> None:
        """In the loop's thread."""
        for future, result in answers:
            self._answered += 1
            if future.done():  # its waiter was cancelled, and what it asked for was done all the same
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        if self._breathing is not None and self._answered == self._handed_over:
            self._breathing.cancel()
            self._breathing = None
