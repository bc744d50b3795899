"""One POST of JSON to a URL that an admin named: over h11 on a connection of its own, bounded in time and size.

The URL stands in config/, so only who may edit that decides where it goes; still it must not reach what only this machine can
(a cloud's metadata service, an admin page on loopback) because a name was pointed there. So every address is looked at
after the name was resolved, that very address is connected to, and loopback, private and link-local ones are refused
unless `allow_private`. In clear only there: over the world it is https, with the system's authorities. Redirects are not
followed, proxies of the environment not asked.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import h11

from relay import __version__
from relay.egress.mx import is_public

SECONDS = 10.0  # for all of it: an alert is told again, a queue of hanging posts helps nobody
MAX_ANSWER = 64 * 1024  # octets of a response head that are looked at
_READ = 4096


class WebhookError(Exception):
    """It was not taken; the words are for the log and for an admin."""


async def post(
    url: str, content: bytes, fields: Mapping[str, str], *, allow_private: bool = False, seconds: float = SECONDS
) -> int:
    """The status, which is 2xx. Raises WebhookError."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not allow_private:
        raise WebhookError("it is not https; over http only with allow_private")
    try:
        async with asyncio.timeout(seconds):
            return await _post(
                parts.scheme, parts.hostname or "", parts.port, _request(url, content, fields), allow_private
            )
    except TimeoutError:
        raise WebhookError(f"no answer in {seconds:.0f} s") from None
    except (OSError, h11.RemoteProtocolError) as error:
        raise WebhookError(str(error) or type(error).__name__) from error


def _request(url: str, content: bytes, fields: Mapping[str, str]) -> tuple[h11.Request, bytes]:
    parts = urlsplit(url)
    headers = {
        "Host": parts.netloc.rpartition("@")[2],
        "User-Agent": f"Postlane/{__version__}",
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "Connection": "close",
        **fields,
    }
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return h11.Request(method="POST", target=target, headers=list(headers.items())), content


async def _post(
    scheme: str, host: str, port: int | None, request: tuple[h11.Request, bytes], allow_private: bool
) -> int:
    secure = scheme == "https"
    address, port = await _address(host, port or (443 if secure else 80), allow_private)
    context = await asyncio.to_thread(ssl.create_default_context) if secure else None  # 20 ms of reading authorities
    reader, writer = await asyncio.open_connection(address, port, ssl=context, server_hostname=host if secure else None)
    try:
        talk = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_ANSWER)
        head, content = request
        for event in (head, h11.Data(data=content), h11.EndOfMessage()):
            writer.write(talk.send(event) or b"")
        await writer.drain()
        status = await _status(reader, talk)
    finally:
        writer.transport.abort()
    if not 200 <= status < 300:
        raise WebhookError(f"{host} answered {status}")
    return status


async def _status(reader: asyncio.StreamReader, talk: h11.Connection) -> int:
    while True:
        event = talk.next_event()
        if isinstance(event, h11.Response):
            return event.status_code
        if event is h11.NEED_DATA:
            octets = await reader.read(_READ)
            if not octets:
                raise WebhookError("it closed the connection without an answer")
            talk.receive_data(octets)


async def _address(host: str, port: int, allow_private: bool) -> tuple[str, int]:
    """The first address that may be connected to."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(one[4][0]) for one in found]
    for address in addresses:
        if allow_private or is_public(address):
            return address, port
    raise WebhookError(f"{host} is {', '.join(addresses)}: private addresses only with allow_private")
