"""The body of a request, read within bounds: of size, for memory, and of time, for who sends an octet a minute."""

import asyncio

from starlette.requests import ClientDisconnect, Request


class TooLong(Exception):
    """It has more octets than are read."""


class Broken(Exception):
    """It did not arrive as a whole in time."""


async def body_of(request: Request, octets: int, seconds: float) -> bytes:
    """Raises TooLong, Broken."""
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                body += piece
                if len(body) > octets:
                    raise TooLong
    except (TimeoutError, ClientDisconnect):
        raise Broken from None
    return bytes(body)
