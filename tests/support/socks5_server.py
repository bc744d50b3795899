"""A SOCKS5 server on loopback (RFC 1928, 1929) that a test can make refuse, stall or lie.

async with Socks5Server(leaves_from="127.0.0.7", login=("user", "password")) as proxy:
    ... connect by way of 127.0.0.1:proxy.port: the host sees 127.0.0.7 ...
"""

import asyncio
import contextlib
import socket

from tests.support.peer import Peer


class Socks5Server(Peer):
    """`leaves_from`: where its connections come from. `login`: the user and password it asks for. `reply`: what it says to
    every request instead of connecting (RFC 1928 6). `says`: octets it sends to each greeting, then it closes. `silent`: it
    takes connections and no more."""

    def __init__(
        self,
        *,
        leaves_from: str = "",
        login: tuple[str, str] | None = None,
        reply: int = 0,
        says: bytes | None = None,
        silent: bool = False,
    ) -> None:
        super().__init__()
        self.leaves_from, self.login, self.reply, self.says, self.silent = leaves_from, login, reply, says, silent
        self.asked_for: list[tuple[str, int]] = []

    def __repr__(self) -> str:
        return f"<Socks5Server {self.port} asked={len(self.asked_for)}>"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.silent:
            await asyncio.Event().wait()
        version, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        assert version == 5
        if self.says is not None:
            writer.write(self.says)
            return
        if not await self._admit(reader, writer, methods):
            return
        _, command, _, kind = await reader.readexactly(4)
        assert command == 1
        family = socket.AF_INET6 if kind == 4 else socket.AF_INET
        address = socket.inet_ntop(family, await reader.readexactly(16 if kind == 4 else 4))
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked_for.append((address, port))
        if self.reply:
            writer.write(bytes([5, self.reply, 0, 1]) + bytes(6))
            return
        await self._join(reader, writer, address, port)

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, methods: bytes) -> bool:
        wanted = 2 if self.login else 0
        if wanted not in methods:
            writer.write(b"\x05\xff")
            return False
        writer.write(bytes([5, wanted]))
        if self.login:
            _, length = await reader.readexactly(2)
            user = await reader.readexactly(length)
            password = await reader.readexactly((await reader.readexactly(1))[0])
            good = (user.decode(), password.decode()) == self.login
            writer.write(bytes([1, not good]))
            return good
        return True

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, port: int) -> None:
        local = (self.leaves_from, 0) if self.leaves_from else None
        try:
            there, back = await asyncio.open_connection(address, port, local_addr=local)
        except OSError:
            writer.write(bytes([5, 5, 0, 1]) + bytes(6))
            return
        # Its own address as a name: the longest way to say it, and the first octets of the banner right behind it.
        writer.write(bytes([5, 0, 0, 3, 5]) + b"proxy" + bytes(2))
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            back.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while octets := await reader.read(65_536):
            writer.write(octets)
            await writer.drain()
    writer.close()
