"""A server of the web process on a port of loopback, in a thread of its own: for browsers, and for clients that block."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import uvicorn
import uvloop


@contextlib.contextmanager
def on_loopback(
    make: Callable[[], uvicorn.Server], around: AbstractAsyncContextManager[Any] | None = None
) -> Iterator[int]:
    """Its port. `make` is called in its loop, while `around` is open."""
    link = socket.create_server(("127.0.0.1", 0))
    ended, started = threading.Event(), threading.Event()

    async def run() -> None:
        async with around or contextlib.nullcontext():
            server = make()
            serving = asyncio.create_task(server.serve([link]))
            started.set()
            await asyncio.to_thread(ended.wait)
            server.should_exit = True
            await serving

    thread = threading.Thread(target=uvloop.run, args=(run(),), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield int(link.getsockname()[1])
    finally:
        ended.set()
        thread.join(20)
