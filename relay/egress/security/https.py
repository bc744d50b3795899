"""One HTTPS request, as MTA-STS and TLS reports need it (RFC 8461 3.3, RFC 8460 5.4), on h11.

Rules: the certificate is verified; a redirect is an answer like another (RFC 8461 3.3 forbids to follow it); size and
time of the whole are bounded, however slowly a server talks. The caller says which addresses may be connected to: our
own resolver found them, and may have left out private ones.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import h11

from relay.egress.security.trust import verifying

MAX_ADDRESSES = 3  # tried of a host
_PIECE = 16_384


class HttpsError(Exception):
    """Why there is no answer, in words. `untrusted`: the server's certificate is not to be trusted."""

    def __init__(self, text: str, *, untrusted: bool = False) -> None:
        super().__init__(text)
        self.untrusted = untrusted


@dataclass(frozen=True, slots=True)
class Answer:
    """`kind`: the media type, lower case, without parameters."""

    status: int
    kind: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """GET, or POST where there is a body."""

    host: str
    path: str
    body: bytes = b""
    kind: str = ""
    port: int = 443

    def head(self) -> h11.Request:
        named = self.host if self.port == 443 else f"{self.host}:{self.port}"
        headers = [("Host", named), ("User-Agent", "Postlane"), ("Accept", "*/*"), ("Connection", "close")]
        if self.body:
            headers += [("Content-Type", self.kind), ("Content-Length", str(len(self.body)))]
        return h11.Request(method="POST" if self.body else "GET", target=self.path, headers=headers)


async def ask(request: Request, addresses: Sequence[str], *, seconds: float, most: int) -> Answer:
    """The answer, of at most `most` octets, within `seconds`. Raises HttpsError."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await _connect(request, addresses)
            try:
                return await _exchange(request, reader, writer, most)
            finally:
                writer.transport.abort()
    except TimeoutError as error:
        raise HttpsError(f"{request.host} did not answer in {seconds:g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise HttpsError(f"{request.host}: {error.verify_message}", untrusted=True) from error
    except (OSError, EOFError) as error:
        raise HttpsError(f"{request.host}: {getattr(error, 'strerror', None) or 'connection closed'}") from error
    except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:
        raise HttpsError(f"{request.host} does not speak HTTP: {error}") from error


async def _connect(request: Request, addresses: Sequence[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the first address that takes a connection; what its certificate is like is then what counts."""
    last: OSError = OSError(0, "it has no address")
    for address in addresses[:MAX_ADDRESSES]:
        try:
            return await asyncio.open_connection(
                address, request.port, ssl=verifying(), server_hostname=request.host, limit=_PIECE
            )
        except ssl.SSLError:
            raise
        except OSError as error:
            last = error
    raise last


async def _exchange(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int) -> Answer:
    talk = h11.Connection(our_role=h11.CLIENT)
    writer.write(talk.send(request.head()) or b"")
    if request.body:
        writer.write(talk.send(h11.Data(data=request.body)) or b"")
    writer.write(talk.send(h11.EndOfMessage()) or b"")
    await writer.drain()
    status, kind, body = 0, "", bytearray()
    while True:
        event = talk.next_event()
        if event is h11.NEED_DATA:
            talk.receive_data(await reader.read(_PIECE))
        elif isinstance(event, h11.Response):
            status = event.status_code
            said = dict(event.headers).get(b"content-type", b"").decode("latin-1")
            kind = said.partition(";")[0].strip().lower()
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > most:
                raise HttpsError(f"{request.host} answers with more than {most} octets")
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, kind, bytes(body))
        elif not isinstance(event, h11.InformationalResponse):
            raise EOFError
