"""One HTTPS request, as MTA-STS, TLS reports (RFC 8461 3.3, RFC 8460 5.4) and webhooks need it, on h11.

Rules: the certificate is verified; a redirect is an answer like another (RFC 8461 3.3 forbids to follow it); size and
time of the whole are bounded, however slowly a server talks. Proxies of the environment are not asked. The caller says which
addresses may be connected to, and may have left out private ones.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult

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
    """GET, or POST where there is a body, with `fields` besides its own. Not `secure`: in clear."""

    host: str
    path: str
    body: bytes = b""
    kind: str = ""
    port: int = 443
    fields: tuple[tuple[str, str], ...] = ()
    secure: bool = True

    def head(self) -> h11.Request:
        host = f"[{self.host}]" if ":" in self.host else self.host
        named = host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"
        headers = [
            ("Host", named),
            ("User-Agent", "Postlane"),
            ("Accept", "*/*"),
            ("Connection", "close"),
            *self.fields,
        ]
        if self.body:
            headers += [("Content-Type", self.kind), ("Content-Length", str(len(self.body)))]
        return h11.Request(method="POST" if self.body else "GET", target=self.path, headers=headers)


def path_of(url: SplitResult) -> str:
    """What a request for it asks its host for."""
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


async def ask(request: Request, addresses: Sequence[str], *, seconds: float, most: int | None) -> Answer:
    """The answer, of at most `most` octets (None: its body is not read), within `seconds`. Raises HttpsError."""
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
        raise HttpsError(
            f"{request.host}: certificate verify failed: {error.verify_message}", untrusted=True
        ) from error
    except EOFError as error:
        raise HttpsError(f"{request.host}: it closed the connection without an answer") from error
    except OSError as error:
        raise HttpsError(f"{request.host}: {error.strerror or 'connection closed'}") from error
    except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:
        raise HttpsError(f"{request.host} does not speak HTTP: {error}") from error


async def _connect(request: Request, addresses: Sequence[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the first address that takes a connection; what its certificate is like is then what counts."""
    last: OSError = OSError(0, "it has no address")
    for address in addresses[:MAX_ADDRESSES]:
        try:
            if not request.secure:
                return await asyncio.open_connection(address, request.port, limit=_PIECE)
            return await asyncio.open_connection(
                address, request.port, ssl=verifying(), server_hostname=request.host, limit=_PIECE
            )
        except ssl.SSLError:
            raise
        except OSError as error:
            last = error
    raise last


async def _exchange(
    request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None
) -> Answer:
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
            octets = await reader.read(_PIECE)
            if not (octets or status):
                raise EOFError
            talk.receive_data(octets)
        elif isinstance(event, h11.Response):
            status = event.status_code
            said = dict(event.headers).get(b"content-type", b"").decode("latin-1")
            kind = said.partition(";")[0].strip().lower()
            if most is None:
                return Answer(status, kind, b"")
        elif isinstance(event, h11.Data):
            body += event.data
            if most is not None and len(body) > most:
                raise HttpsError(f"{request.host} answers with more than {most} octets")
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, kind, bytes(body))
        elif not isinstance(event, h11.InformationalResponse):
            raise EOFError
