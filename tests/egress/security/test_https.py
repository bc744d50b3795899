"""One request against a scripted HTTPS server."""

import asyncio

import pytest

from relay.egress.security.https import Answer, HttpsError, Request, ask
from tests.support.certificates import DAY, Authority
from tests.support.egress import run_on
from tests.support.https_server import Asked, HttpsServer, plain_text

HOST = "web.test"


async def get(web: HttpsServer, path: str = "/x", *, seconds: float = 5, most: int = 1000, body: bytes = b"") -> Answer:
    request = Request(HOST, path, body, "application/x" if body else "", web.port)
    return await ask(request, ["127.0.0.1"], seconds=seconds, most=most)


async def refused(web: HttpsServer, **options: float) -> HttpsError:
    with pytest.raises(HttpsError) as caught:
        await get(web, **options)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_get_and_post(loop: str, authority: Authority) -> None:
    async def work() -> None:
        async with HttpsServer(authority.issue(HOST).context) as web:
            web.answers["/x"] = plain_text(b"hello", kind="Text/Plain ; charset=us-ascii")
            assert await get(web) == Answer(200, "text/plain", b"hello")
            assert (await get(web, "/nothing")).status == 404
            assert (await get(web, "/x", body=b"data")).body == b"hello"
            named = f"{HOST}:{web.port}"
            assert web.asked[0] == Asked("GET", named, "/x", "", b"")
            assert web.asked[2] == Asked("POST", named, "/x", "application/x", b"data")

    run_on(loop, work)


@pytest.mark.parametrize(
    ("host", "port", "secure", "named"),
    [
        (HOST, 443, True, HOST),
        (HOST, 80, False, HOST),
        (HOST, 80, True, f"{HOST}:80"),
        ("::1", 8443, True, "[::1]:8443"),
    ],
)
def test_how_a_host_is_named(host: str, port: int, secure: bool, named: str) -> None:
    assert dict(Request(host, "/", port=port, secure=secure).head().headers)[b"host"] == named.encode()


async def test_an_answer_in_chunks_after_a_word_in_between(authority: Authority) -> None:
    async with HttpsServer(authority.issue(HOST).context) as web:
        web.answers["/x"] = (
            b"HTTP/1.1 103 Early Hints\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert await get(web) == Answer(200, "", b"abcde")


async def test_a_redirect_is_not_followed(authority: Authority) -> None:
    async with HttpsServer(authority.issue(HOST).context) as web:
        web.answers["/x"] = b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n"
        assert (await get(web)).status == 302
        assert [asked.path for asked in web.asked] == ["/x"]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_certificate_that_is_not_to_be_trusted(loop: str, authority: Authority) -> None:
    async def work() -> None:
        for shown in (authority.issue("other.test"), authority.issue(HOST, begins=-2 * DAY, ends=-DAY / 2)):
            async with HttpsServer(shown.context) as web:
                assert (await refused(web)).untrusted
                assert web.asked == []

    run_on(loop, work)


async def test_too_much_and_too_slow(authority: Authority) -> None:
    async with HttpsServer(authority.issue(HOST).context) as web:
        web.answers["/x"] = plain_text(b"x" * 1001)
        assert "more than 1000 octets" in str(await refused(web))
        web.answers["/x"] = b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000
        assert "does not speak HTTP" in str(await refused(web))
        web.answers["/x"] = plain_text(b"x" * 500)
        web.drip = True
        assert "did not answer in 0.2 s" in str(await refused(web, seconds=0.2))
        web.drip, web.answer = False, None
        assert "did not answer in 0.2 s" in str(await refused(web, seconds=0.2))


@pytest.mark.parametrize("octets", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", b"SSH-2.0-x\r\n\r\n"])
async def test_what_is_no_whole_answer(authority: Authority, octets: bytes) -> None:
    async with HttpsServer(authority.issue(HOST).context) as web:
        web.answers["/x"] = octets
        assert not (await refused(web)).untrusted


async def test_nobody_there(authority: Authority) -> None:
    async with HttpsServer(authority.issue(HOST).context) as web:
        port = web.port
        assert (await ask(Request(HOST, "/", port=port), ["127.0.0.9", "127.0.0.1"], seconds=5, most=10)).status == 404
    for addresses in ([], ["127.0.0.1"]):
        with pytest.raises(HttpsError):
            await ask(Request(HOST, "/", port=port), addresses, seconds=5, most=10)


async def test_it_can_be_cancelled(authority: Authority) -> None:
    async with HttpsServer(authority.issue(HOST).context) as web:
        web.answer = None
        task = asyncio.create_task(get(web))
        while not web.asked:  # noqa: ASYNC110 the server tells of it by nothing else
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
