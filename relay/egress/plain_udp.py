"""One question to one name server by UDP, and its answer. A socket of its own for each: the kernel draws its port, which
whoever would forge an answer has to guess, too (RFC 5452 4.5); connected, it hears no other host."""

import asyncio
import socket

from relay.egress.plain_dns import answers

LARGEST = 4096  # octets read of an answer; 1,232 were asked for


async def ask(server: tuple[str, int], query: bytes, patience: float) -> bytes | None:
    """None: it could not be asked, or did not answer within `patience` seconds."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as link:
            link.connect(server)
            link.send(query)
            async with asyncio.timeout(patience):
                while True:
                    response = await loop.sock_recv(link, LARGEST)
                    if answers(response, query):
                        return response
    except OSError:  # TimeoutError, too
        return None
