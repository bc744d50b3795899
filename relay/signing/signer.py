"""Makes the DKIM-Signature fields of a message, many at a time and off the event loop where that pays.

An RSA-2048 signature takes OpenSSL 215 us or more, without the GIL. Requests are collected for one turn of the loop;
messages that come together ask together (`convoy.py`), and eight are signed side by side for the price of three
(`MultiBuffer`). A single one, with nothing else in hand, is signed on the spot: a thread could not do it sooner, and
its hand-over costs. So are all of them while no processor is idle (`spare`): threads would then only fight for Python's
lock. Else they go to the threads in as many batches as there are threads, and each batch comes back with one
call_soon_threadsafe (a wake-up of the loop costs 10 to 20 us, which a batch shares).

The caller must close() it; every request is answered, also those that were waiting then.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread

import structlog

from relay.header import Field
from relay.signing import dkim
from relay.signing.keys import SigningKey
from relay.signing.multibuffer import LANES, WORTH, MultiBuffer

log = structlog.get_logger()


class _Request:
    """One message's digests, a key for each, and the future its signatures go to. `made`: signatures there are already."""

    __slots__ = ("_fault", "_future", "_signatures", "made", "wanted")

    def __init__(self, wanted: list[tuple[SigningKey, bytes]], future: "asyncio.Future[list[bytes]]") -> None:
        self.wanted = wanted
        self.made: dict[int, bytes] = {}
        self._future = future
        self._signatures: list[bytes] = []
        self._fault: Exception | None = None

    def work(self) -> None:
        """In any thread."""
        try:
            made = self.made
            self._signatures = [made.get(i) or key.sign(digest) for i, (key, digest) in enumerate(self.wanted)]
        except Exception as fault:  # our own fault (a broken key): the caller's, not the thread's
            self._fault = fault

    def answer(self) -> None:
        """In the loop's thread. The caller may have been cancelled meanwhile."""
        if self._future.done():
            return
        if self._fault is None:
            self._future.set_result(self._signatures)
        else:
            self._future.set_exception(self._fault)


def _work(requests: Sequence[_Request], multibuffer: MultiBuffer | None) -> None:
    """In any thread."""
    if multibuffer is not None and len(requests) >= WORTH:
        try:
            _work_abreast(requests, multibuffer)
        except Exception:  # our own fault; OpenSSL signs them
            log.exception("signatures could not be made side by side")
    for request in requests:
        request.work()


def _work_abreast(requests: Sequence[_Request], multibuffer: MultiBuffer) -> None:
    """Eight by eight; what is left over, and what comes out wrong, is left to OpenSSL."""
    places = [
        (request, place, key.private, digest)
        for request in requests
        for place, (key, digest) in enumerate(request.wanted)
        if multibuffer.takes(key.private)
    ]
    for first in range(0, len(places) - WORTH + 1, LANES):
        together = places[first : first + LANES]
        signatures = multibuffer.sign([(private, digest) for _, _, private, digest in together])
        if signatures is None:
            log.error("signatures made side by side are not good; they are made one by one", number=len(together))
            continue
        for (request, place, _, _), signature in zip(together, signatures, strict=True):
            request.made[place] = signature


_Batch = tuple[asyncio.AbstractEventLoop, list[_Request]]


class Signer:
    """Signs for one event loop. `threads`: two keep both cores of a small machine busy when one worker gets all the
    connections; more only wait for the GIL. They start with the first batch. `spare`: is a processor idle for them?
    `multibuffer`: None where this machine has none."""

    def __init__(
        self, threads: int = 2, spare: Callable[[], bool] = lambda: True, multibuffer: MultiBuffer | None = None
    ) -> None:
        self._size = threads
        self._spare = spare
        self._multibuffer = multibuffer
        self._threads: list[Thread] = []
        self._queue: SimpleQueue[_Batch | None] = SimpleQueue()
        self._arrived: list[_Request] = []
        self._batches = 0
        self._closed = False
        self.inline = 0
        self.handed_over = 0

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._threads)} threads, {self._batches} batches in hand"
        return f"<Signer {state}, {self.inline} signed inline, {self.handed_over} in threads>"

    async def sign(self, fields: Sequence[Field], content_hash: bytes, keys: Sequence[SigningKey], now: int) -> bytes:
        """A DKIM-Signature field for each key, each ending CRLF; b"" for no keys. `now` in ms."""
        if not keys:
            return b""
        names, header = dkim.signed_header(fields)
        drafts = [
            dkim.draft(key.domain, key.selector, key.algorithm, names=names, content_hash=content_hash, now=now)
            for key in keys
        ]
        wanted = [(key, dkim.digest(header, draft)) for key, draft in zip(keys, drafts, strict=True)]
        signatures = await self._request(wanted)
        return b"".join([dkim.finish(d, s) for d, s in zip(drafts, signatures, strict=True)])

    def _request(self, wanted: list[tuple[SigningKey, bytes]]) -> "asyncio.Future[list[bytes]]":
        if self._closed:
            raise RuntimeError("the signer is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[bytes]] = loop.create_future()
        if not self._arrived:
            loop.call_soon(self._turn, loop)
        self._arrived.append(_Request(wanted, future))
        return future

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """What arrived in one turn of the loop: signed here or dealt out."""
        requests, self._arrived = self._arrived, []
        if self._closed or (len(requests) == 1 and not self._batches) or not self._spare():
            self.inline += len(requests)
            _work(requests, self._multibuffer)
            for request in requests:
                request.answer()
            return
        self._start_threads()
        self.handed_over += len(requests)
        share = max(-(-len(requests) // self._size), LANES if self._multibuffer is not None else 1)
        for first in range(0, len(requests), share):
            self._batches += 1
            self._queue.put((loop, requests[first : first + share]))

    def _start_threads(self) -> None:
        while len(self._threads) < self._size:
            thread = Thread(target=self._work, name=f"signer-{len(self._threads)}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _work(self) -> None:
        while (batch := self._queue.get()) is not None:
            loop, requests = batch
            _work(requests, self._multibuffer)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._finished, requests)

    def _finished(self, requests: list[_Request]) -> None:
        self._batches -= 1
        for request in requests:
            request.answer()

    def close(self) -> None:
        """Ends the threads when they have signed what they hold (a few ms)."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
