"""What all sessions of one listener share: settings, the door, who is connected, counters. Decides who may come in."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Protocol

from relay.edge.guesses import Guesses
from relay.edge.limits import ByteBudget, Limits, ListenerSettings
from relay.edge.submission import Door


@dataclass(slots=True)
class Counters:
    """Since start, for metrics; `connections` counts those let in, `refused` those that were not (too many), and
    `proxy_failures` those of proxies that came without a valid header. `auth_deferred`: logins put off unread."""

    connections: int = 0
    refused: int = 0
    messages: int = 0
    rejected: int = 0
    auth_failures: int = 0
    auth_deferred: int = 0
    timeouts: int = 0
    proxy_failures: int = 0


class Guest(Protocol):
    """What the desk does to a session."""

    deadline: float

    def timed_out(self) -> None: ...

    def drain(self) -> None: ...

    def abort(self) -> None: ...

    @property
    def saving(self) -> bool: ...


class Desk:
    """Every session signs in with its address and out when its connection is gone."""

    def __init__(
        self,
        settings: ListenerSettings,
        limits: Limits,
        door: Door,
        budget: ByteBudget,
        guesses: Guesses,
        clock: Callable[[], int],
    ) -> None:
        self.settings = settings
        self.limits = limits
        self.door = door
        self.budget = budget
        self.guesses = guesses
        self.clock = clock
        self.counters = Counters()
        self.guests: set[Guest] = set()
        self.draining = False
        self._present = 0
        self._per_peer: dict[str, int] = {}
        self._empty: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"<Desk {self._present} connected, {len(self._per_peer)} peers{', draining' if self.draining else ''}>"

    @property
    def present(self) -> int:
        return self._present

    def enter(self, ip: str) -> bool:
        """May one more connection of this peer come in? If so it is counted until `leave`."""
        peer = peer_group(ip)
        of_peer = self._per_peer.get(peer, 0)
        if self.draining or self._present >= self.limits.connections or of_peer >= self.limits.connections_per_peer:
            self.counters.refused += 1
            return False
        self._per_peer[peer] = of_peer + 1
        self._present += 1
        self.counters.connections += 1
        return True

    def leave(self, ip: str) -> None:
        peer = peer_group(ip)
        left = self._per_peer[peer] - 1
        if left:
            self._per_peer[peer] = left
        else:
            del self._per_peer[peer]
        self._present -= 1
        if self._empty is not None and not self._present:
            self._empty.set()

    def sweep(self, now: float) -> None:
        """Ends the sessions whose deadline has passed."""
        for guest in [one for one in self.guests if one.deadline < now]:
            guest.timed_out()

    async def drain(self, seconds: float) -> int:
        """Says 421 to the idle, waits for the busy, then cuts the rest. How many of those had a message being saved?

        Such a message may be stored without its app having heard so: it may come again.
        """
        self.draining = True
        self._empty = asyncio.Event()
        for guest in list(self.guests):
            guest.drain()
        if self._present:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)
        left = list(self.guests)
        saving = sum(guest.saving for guest in left)
        for guest in left:
            guest.abort()
        return saving


def plain_ip(address: str) -> str:
    """An IPv4 peer on a dual-stack socket is written as IPv4 (RFC 4291 2.5.5.2): one peer, whatever the listener."""
    return address[7:] if address.startswith("::ffff:") and "." in address else address


@lru_cache(maxsize=4096)
def peer_group(ip: str) -> str:
    """Whom a connection counts for: an IPv4 address, or an IPv6 /64 (what every customer line has at least)."""
    if ":" not in ip:
        return ip
    number = int(ip_address(ip.partition("%")[0]))
    return f"{number >> 64:x}::/64"
