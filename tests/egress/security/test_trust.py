"""What a handshake on loopback says of a certificate."""

import asyncio
import ssl
from pathlib import Path

import pytest

from relay.egress.security import trust
from tests.support.certificates import DAY, Authority, Certified
from tests.support.egress import run_on


async def shake_hands(shown: Certified, context: ssl.SSLContext, name: str = "mx.test") -> list[bytes]:
    """The chain that a server shows; raises what the client's handshake does."""
    server = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0, ssl=shown.context)
    port = server.sockets[0].getsockname()[1]
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        chain = trust.shown_by(writer.get_extra_info("ssl_object"))
        writer.transport.abort()
        return chain
    finally:
        server.close()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_whole_chain_is_seen(loop: str, authority: Authority) -> None:
    async def work() -> None:
        shown = authority.authority("Middle").issue("mx.test")
        assert await shake_hands(shown, trust.encrypting()) == shown.shown
        assert (await shake_hands(shown, trust.verifying()))[0] == shown.der

    run_on(loop, work)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_what_is_wrong_with_a_certificate(loop: str, authority: Authority, tmp_path: Path) -> None:
    other = Authority.make(tmp_path, "Another")

    async def work() -> None:
        for shown, result, text in (
            (authority.issue("mx.test", begins=-2 * DAY, ends=-DAY / 2), "certificate-expired", "has expired"),
            (authority.issue("mx.test", begins=DAY / 2), "certificate-expired", "not valid yet"),
            (authority.issue("other.test"), "certificate-host-mismatch", "another name"),
            (other.issue("mx.test"), "certificate-not-trusted", "not known here"),
            (other, "certificate-not-trusted", "self-signed"),
        ):
            with pytest.raises(ssl.SSLCertVerificationError) as caught:
                await shake_hands(shown, trust.verifying())
            assert trust.flaw_of(OSError()) is None
            wrapped = RuntimeError()
            wrapped.__cause__ = caught.value
            flaw = trust.flaw_of(wrapped)
            assert flaw is not None
            assert flaw.result == result
            assert text in flaw.text

    run_on(loop, work)


def test_a_fault_without_words_of_ours_is_told_in_those_of_openssl() -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = 24, "invalid CA certificate"
    flaw = trust.flaw_of(error)
    assert flaw is not None
    assert (flaw.result, flaw.text) == (
        "certificate-not-trusted",
        "its certificate is not trusted (invalid CA certificate)",
    )


def test_contexts() -> None:
    assert trust.encrypting().verify_mode is ssl.CERT_NONE
    assert trust.verifying().verify_mode is ssl.CERT_REQUIRED
    assert trust.verifying().check_hostname


def test_a_newer_python_tells_the_chain_itself() -> None:
    class Peer:
        def get_unverified_chain(self) -> list[bytes]:
            return [b"one"]

    assert trust.shown_by(Peer()) == [b"one"]
