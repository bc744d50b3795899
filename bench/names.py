"""A DNS server of the benchmark's own: every domain has one MX; the dead ones' host takes no mail.

It answers by itself, octet for octet (RFC 1035 4.1), because a server on a DNS library costs more than what it serves.
"""

import socket
import struct
import threading
from collections.abc import Sequence
from ipaddress import IPv4Address
from types import TracebackType
from zlib import crc32

ALIVE = "127.0.0.1"
DEAD = "127.0.0.9"  # on Linux all of 127.0.0.0/8 is this machine
DEAD_DOMAIN = "dead.example"

_A, _SOA, _MX, _TTL = 1, 6, 15, 3600
_ZONE = b"\0\0" + struct.pack("!5I", 1, _TTL, _TTL, _TTL, _TTL)  # SOA with the root for both of its names
_HEADER = 12
_POINTER = b"\xc0\x0c"  # to the name asked about
_BUFFER = 8 << 20  # a burst of questions waits, where the kernel grants it


def answer(query: bytes, alive: Sequence[str] = (ALIVE,)) -> bytes:
    """MX for a domain, one of the addresses `alive` for its `mx.` host; for anything else, that there is no such record (RFC
    2308 2.2)."""
    end = query.index(b"\0", _HEADER) + 1
    name, kind = query[_HEADER:end], int.from_bytes(query[end : end + 2])
    host = name.startswith(b"\x02mx")
    data = b""
    if kind == _MX and not host:
        data = struct.pack("!H", 10) + b"\x02mx" + _POINTER
    elif kind == _A and host:
        dead = (
            name == b"\x02mx" + b"".join(bytes([len(word)]) + word.encode() for word in DEAD_DOMAIN.split(".")) + b"\0"
        )
        data = IPv4Address(DEAD if dead else alive[crc32(name) % len(alive)]).packed
    record = _POINTER + struct.pack("!HHIH", kind if data else _SOA, 1, _TTL, len(data or _ZONE)) + (data or _ZONE)
    counts = struct.pack("!HHHH", 1, 1 if data else 0, 0 if data else 1, 0)
    return query[:2] + b"\x85\x80" + counts + query[_HEADER : end + 4] + record


class Names:
    """The server, at `address` ("127.0.0.1:port") while the context lasts."""

    def __init__(self, alive: Sequence[str] = (ALIVE,)) -> None:
        self._alive = alive
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((ALIVE, 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.address = f"{ALIVE}:{self._socket.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(4096)
            if not query:
                return
            self._socket.sendto(answer(query, self._alive), client)

    def __enter__(self) -> "Names":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()
