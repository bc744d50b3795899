"""One POST to a URL that an admin or an app named, bounded in time and size (egress/security/https.py).

The URL stands in config/, so only who may edit that decides where it goes; still it must not reach what only this machine can
(a cloud's metadata service, an admin page on loopback) because a name was pointed there. So every address is looked at
after the name was resolved, those very addresses are connected to, and loopback, private and link-local ones are refused
unless `allow_private`. In clear only there: over the world it is https, with the system's authorities.
"""

import asyncio
import base64
import hmac
import socket
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from relay.egress.mx import is_public
from relay.egress.security.https import HttpsError, Request, ask, path_of
from relay.identity import HookSecret

SECONDS = 10.0  # for all of it: an alert is told again, a queue of hanging posts helps nobody


class WebhookError(Exception):
    """It was not taken; the words are for the log and for an admin. `status`: what was answered; 0: nothing."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


async def post(
    url: str,
    content: bytes,
    fields: Mapping[str, str],
    *,
    kind: str = "application/json",
    allow_private: bool = False,
    seconds: float = SECONDS,
) -> int:
    """The status, which is 2xx. Raises WebhookError."""
    parts = urlsplit(url)
    secure, host = parts.scheme == "https", parts.hostname or ""
    if not secure and not allow_private:
        raise WebhookError("it is not https; over http only with allow_private")
    port = parts.port or (443 if secure else 80)
    request = Request(host, path_of(parts), content, kind, port, tuple(fields.items()), secure)
    try:
        async with asyncio.timeout(seconds):
            addresses = await _addresses(host, port, allow_private)
            status = (await ask(request, addresses, seconds=seconds, most=None)).status
    except TimeoutError:
        raise WebhookError(f"no answer in {seconds:.0f} s") from None
    except OSError as error:
        raise WebhookError(str(error) or type(error).__name__) from error
    except HttpsError as error:
        raise WebhookError(str(error)) from error
    if not 200 <= status < 300:
        raise WebhookError(f"{host} answered {status}", status)
    return status


async def _addresses(host: str, port: int, allow_private: bool) -> list[str]:
    """Those that may be connected to."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(one[4][0]) for one in found]
    allowed = [address for address in addresses if allow_private or is_public(address)]
    if not allowed:
        raise WebhookError(f"{host} is {', '.join(addresses)}: private addresses only with allow_private")
    return allowed


def signed(identifier: str, content: bytes, secrets: Iterable[HookSecret], now: int) -> dict[str, str]:
    """The header fields of Standard Webhooks (https://www.standardwebhooks.com, "Signature scheme"): HMAC-SHA-256 of id, time
    in seconds and body. While one secret takes another's place both sign, and who knows either takes it."""
    seconds = str(now // 1000)
    said = f"{identifier}.{seconds}.".encode() + content
    digests = [hmac.digest(one.key, said, "sha256") for one in secrets if not one.until or now < one.until]
    return {
        "webhook-id": identifier,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }
