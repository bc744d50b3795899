"""One POST: what is sent, where it may go, and how every way to fail is told."""

import base64
import hashlib
import hmac
import ssl
from pathlib import Path

import pytest

from relay.identity import HookSecret
from relay.webhook import WebhookError, post, signed
from tests.support.certificates import Authority, self_signed
from tests.support.http_peer import HttpPeer


async def test_it_is_taken() -> None:
    async with HttpPeer() as peer:
        url = f"http://127.0.0.1:{peer.port}/hooks/mail?key=x"
        assert await post(url, b'{"a": 1}', {"webhook-id": "msg_1"}, allow_private=True) == 204
    (posted,) = peer.posted
    assert posted.line == "POST /hooks/mail?key=x HTTP/1.1"
    assert posted.content == b'{"a": 1}'
    assert posted.fields["host"] == f"127.0.0.1:{peer.port}"
    assert posted.fields["content-type"] == "application/json"
    assert posted.fields["webhook-id"] == "msg_1"
    assert posted.fields["connection"] == "close"


async def test_a_form_is_sent_as_one() -> None:
    async with HttpPeer() as peer:
        form = "application/x-www-form-urlencoded"
        await post(f"http://127.0.0.1:{peer.port}/", b"List-Unsubscribe=One-Click", {}, kind=form, allow_private=True)
    assert peer.posted[0].fields["content-type"] == form


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "127.0.0.1 answered 500"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", "answered 302"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Gone\r\n\r\n", "answered 404"),
        (b"220 mx.example ESMTP\r\n\r\n", "illegal status line"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "too (long|large)|exceeds|Receive buffer"),
        (b"", "it closed the connection without an answer"),
        (None, "no answer in 1 s"),
    ],
)
async def test_every_other_answer_is_a_failure(answer: bytes | None, said: str) -> None:
    async with HttpPeer(answer) as peer:
        with pytest.raises(WebhookError, match=said):
            await post(f"http://127.0.0.1:{peer.port}/", b"{}", {}, allow_private=True, seconds=1.0)


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    async with HttpPeer(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000) as peer:
        assert await post(f"http://127.0.0.1:{peer.port}", b"{}", {}, allow_private=True) == 200
    assert peer.posted[0].line == "POST / HTTP/1.1"


async def test_nobody_listens() -> None:
    async with HttpPeer() as peer:
        pass
    with pytest.raises(WebhookError, match=r"Connect call failed|refused"):
        await post(f"http://127.0.0.1:{peer.port}/", b"{}", {}, allow_private=True)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"],
)
async def test_private_addresses_are_refused_before_anything_is_sent(host: str) -> None:
    async with HttpPeer() as peer:
        with pytest.raises(WebhookError, match="private addresses only with allow_private"):
            await post(f"https://{host}:{peer.port}/", b"{}", {})
    assert peer.posted == []


async def test_in_clear_only_where_it_may_be_private() -> None:
    with pytest.raises(WebhookError, match="it is not https"):
        await post("http://hooks.example/", b"{}", {})


async def test_a_certificate_is_verified_for_the_host_that_was_named(authority: Authority, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path, "localhost"))
    async with HttpPeer(context=context) as peer:
        with pytest.raises(WebhookError, match="certificate verify failed"):
            await post(f"https://localhost:{peer.port}/", b"{}", {}, allow_private=True)
    async with HttpPeer(context=authority.issue("localhost").context) as peer:
        assert await post(f"https://localhost:{peer.port}/", b"{}", {}, allow_private=True) == 204
        with pytest.raises(WebhookError, match="certificate verify failed"):
            await post(f"https://127.0.0.1:{peer.port}/", b"{}", {}, allow_private=True)


def test_it_is_signed_as_standard_webhooks_say() -> None:
    """The header fields of its specification: HMAC-SHA-256 over "id.seconds.body", base64, with the version before it."""
    fields = signed(
        "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", b'{"test": 2432232314}', [HookSecret(b"secret")], 1_614_265_330_123
    )
    own = hmac.new(b"secret", b'msg_2KWPBgLlAfxdpx2AI54pPJ85f4W.1614265330.{"test": 2432232314}', hashlib.sha256)
    assert fields == {
        "webhook-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        "webhook-timestamp": "1614265330",
        "webhook-signature": f"v1,{base64.b64encode(own.digest()).decode()}",
    }


def test_while_a_secret_takes_anothers_place_both_sign() -> None:
    both = [HookSecret(b"new"), HookSecret(b"old", 1_614_265_331_000)]

    def signatures(now: int) -> list[str]:
        return signed("msg_1", b"{}", both, now)["webhook-signature"].split(" ")

    def alone(key: bytes, now: int) -> str:
        return signed("msg_1", b"{}", [HookSecret(key)], now)["webhook-signature"]

    assert signatures(1_614_265_330_999) == [alone(b"new", 1_614_265_330_999), alone(b"old", 1_614_265_330_999)]
    assert signatures(1_614_265_331_000) == [alone(b"new", 1_614_265_331_000)]
    assert "old" not in repr(both)
