"""A small authoritative DNS server on loopback, UDP and TCP, with a scripted zone.

    async with DnsServer() as dns:
        dns.add("example.test", "MX", "10 mx.example.test.", ttl=300)
        dns.add("mx.example.test", "A", "127.0.0.1")
        Resolver([dns.address])

Names that were never added do not exist (NXDOMAIN), other types of names that were have no data; both with the SOA's
`negative_ttl`. `fail` and `silence` script a server in trouble. `sign` makes it vouch for names as a validating resolver
would, where it is asked to (AD). `queries` remembers what was asked, and how.
"""

import asyncio
import socket
import struct
from types import TracebackType
from typing import NamedTuple, Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


class Query(NamedTuple):
    name: str
    kind: str
    transport: str  # "udp" or "tcp"


class DnsServer:
    """Runs within the `async with`. Too large an answer goes truncated, so that the client comes again by TCP."""

    def __init__(self, *, negative_ttl: int = 60) -> None:
        self.negative_ttl = negative_ttl
        self.queries: list[Query] = []
        self.address = ""
        self._zone: dict[tuple[str, str], dns.rrset.RRset] = {}
        self._failing: set[str] = set()
        self._silent: set[str] = set()
        self._signed: set[str] = set()
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    def __repr__(self) -> str:
        return f"<DnsServer {self.address} names={len({name for name, _ in self._zone})} asked={len(self.queries)}>"

    def add(self, name: str, kind: str, *records: str, ttl: int = 300) -> None:
        """Add records in zone file notation; names in them end with a dot."""
        rrset = self._zone.get((name, kind))
        fresh = dns.rrset.from_text(name + ".", ttl, "IN", kind, *records)
        if rrset is None:
            self._zone[name, kind] = fresh
        else:
            for record in fresh:
                rrset.add(record)

    def remove(self, name: str) -> None:
        for key in [key for key in self._zone if key[0] == name]:
            del self._zone[key]

    def fail(self, *names: str) -> None:
        """Answer SERVFAIL for these names (none: for none any more)."""
        self._failing = set(names)

    def silence(self, *names: str) -> None:
        """Never answer for these names (none: for none any more)."""
        self._silent = set(names)

    def sign(self, *domains: str) -> None:
        """Answers about these domains and all below them carry AD, where every name of them is signed."""
        self._signed |= set(domains)

    def _vouches(self, response: dns.message.Message, name: str) -> bool:
        named = {name} | {rrset.name.to_text(omit_final_dot=True).lower() for rrset in response.answer}
        return all(any(one == zone or one.endswith("." + zone) for zone in self._signed) for one in named)

    def asked(self, name: str, kind: str) -> int:
        """How often; by UDP and TCP together."""
        return sum(query.name == name and query.kind == kind for query in self.queries)

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        udp, tcp = _same_port()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), sock=udp)
        self._server = await asyncio.start_server(self._serve_tcp, sock=tcp)
        self.address = f"127.0.0.1:{tcp.getsockname()[1]}"

    async def stop(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.close()
        if self._server is not None:
            await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def reply_to(self, wire: bytes, transport: str) -> bytes | None:
        """The answer to one question; None for silence."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.queries.append(Query(name, kind, transport))
        if name in self._silent:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        if name in self._failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        else:
            self._fill(response, name, kind)
            wanted = query.flags & dns.flags.AD or query.ednsflags & dns.flags.DO
            if wanted and self._vouches(response, name):
                response.flags |= dns.flags.AD
        try:
            return response.to_wire(max_size=65535 if transport == "tcp" else max(query.payload, 512))
        except dns.exception.TooBig:
            response.answer.clear()
            response.flags |= dns.flags.TC
            return response.to_wire()

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> None:
        while kind != "CNAME" and (alias := self._zone.get((name, "CNAME"))) is not None:
            if alias in response.answer:
                return  # a circle: all of it, and nothing behind it
            response.answer.append(alias)
            name = alias[0].target.to_text(omit_final_dot=True).lower()
        found = self._zone.get((name, kind))
        if found is not None:
            response.answer.append(found)
            return
        soa = f"ns.{name}. hostmaster.{name}. 1 3600 600 86400 {self.negative_ttl}"
        response.authority.append(dns.rrset.from_text(name + ".", 3600, "IN", "SOA", soa))
        if not any(known == name or known.endswith("." + name) for known, _ in self._zone):
            response.set_rcode(dns.rcode.NXDOMAIN)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                reply = self.reply_to(await reader.readexactly(length), "tcp")
                if reply is not None:
                    writer.write(struct.pack("!H", len(reply)) + reply)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # of UDP
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._server.reply_to(data, "udp")
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)


def _same_port() -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket with the same port, of the kernel's choice."""
    while True:
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp.bind(("127.0.0.1", 0))
        try:
            udp.bind(("127.0.0.1", tcp.getsockname()[1]))
        except OSError:  # that port is taken for UDP: take another
            tcp.close()
            udp.close()
            continue
        tcp.setblocking(False)
        udp.setblocking(False)
        return udp, tcp
