"""Passwords looked at beside the loop, one at a time: Argon2 takes 0.1 s and 32 MiB, and mail comes first."""

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from relay.users import fits, hashed

MOST = 16  # that wait: who is last of them waits two seconds
OF_STRANGERS = 8  # so that a flood of strangers leaves room for browsers that are known
OF_ONE_PEER = 2


class Busy(Exception):
    """Too many wait already."""


class Checker:
    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="password")
        self._strangers: Counter[str] = Counter()
        self._waiting = 0
        self._nobody = ""

    def __repr__(self) -> str:
        return f"<Checker waiting={self._waiting}>"

    async def fits(self, password: str, kept: str | None, peer: str, *, stranger: bool) -> bool:
        """`kept`: the hash; None where there is no such user, which takes as long. Raises Busy."""
        if self._waiting >= MOST:
            raise Busy
        if stranger and (self._strangers.total() >= OF_STRANGERS or self._strangers[peer] >= OF_ONE_PEER):
            raise Busy
        self._waiting += 1
        self._strangers[peer] += stranger
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._look, password, kept)
        finally:
            self._waiting -= 1
            self._strangers[peer] -= stranger
            if not self._strangers[peer]:
                del self._strangers[peer]

    def _look(self, password: str, kept: str | None) -> bool:
        if not self._nobody:  # once, at the first login of all
            self._nobody = hashed("nobody's")
        return fits(password, kept or self._nobody) and kept is not None

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
