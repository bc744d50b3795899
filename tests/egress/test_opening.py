"""TLS of a connection against hostile peers: what is tolerated, what is not, and what is told (RFC 8460)."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from relay.egress.connection import Connection, Target
from relay.egress.opening import Opening, open_connection
from relay.egress.security.dane import anchors, parse
from relay.egress.security.demands import Demand, Need, plain
from relay.egress.security.tlsrpt import Failure
from relay.egress.settings import Timeouts
from relay.feedback.replies import classify
from relay.feedback.taxonomy import Category
from relay.outcome import Outcome, Scope
from tests.support.certificates import DAY, Authority, Certified
from tests.support.egress import HERE, run_on
from tests.support.smtp_peer import Answer, Close, Raw, Reset, Silence, SmtpPeer

QUICK = Timeouts(starttls=0.3, banner=2, ehlo=2)
VERIFY = replace(plain(Need.VERIFY), why="the MTA-STS policy of example.test")
TESTING = Demand((Need.VERIFY, Need.TRY, Need.CLEAR))
BOTH = ["asyncio", "uvloop"]


class Told:
    def __init__(self) -> None:
        self.all: list[Failure | None] = []

    def __call__(self, demand: Demand, failure: Failure | None) -> None:
        self.all.append(failure)

    @property
    def results(self) -> list[str]:
        return [failure.result if failure else "good" for failure in self.all]


async def reach(peer: SmtpPeer, demand: Demand, told: Told) -> Connection | Outcome:
    how = Opening(HERE, "relay.test", demand, QUICK, None, told)
    return await open_connection(Target("mx.test", peer.host, peer.port), how, lambda _: None)


async def good(peer: SmtpPeer, demand: Demand, told: Told) -> str:
    """Its TLS version, "" in clear."""
    result = await reach(peer, demand, told)
    assert isinstance(result, Connection), result
    result.abort()
    return result.tls


async def refused(peer: SmtpPeer, demand: Demand, told: Told) -> Outcome:
    result = await reach(peer, demand, told)
    assert isinstance(result, Outcome), result
    assert result.internal
    assert (result.command, result.scope) == ("STARTTLS", Scope.HOST)
    assert classify(result.reply, result.command)[0] is Category.TLS_FAILURE
    return result


def dane(*records: str) -> Demand:
    found = anchors([parse(record) for record in records], "mx.test", ["example.test"])
    return Demand((Need.DANE,), "the TLSA records of mx.test", found)


# --------------------------------------------------------------------------------------------------- certificates


@pytest.mark.parametrize("loop", BOTH)
def test_a_certificate_that_is_good(loop: str, authority: Authority) -> None:
    async def work() -> None:
        told = Told()
        async with SmtpPeer(context=authority.issue("mx.test").context) as peer:
            for demand in (VERIFY, TESTING, plain(Need.ENCRYPT), plain(Need.TRY)):
                assert await good(peer, demand, told) == "TLSv1.3"
            assert await good(peer, plain(Need.CLEAR), told) == ""
            assert "STARTTLS" not in peer.sessions[-1].commands
        assert told.results == ["good"] * 5
        assert len(peer.sessions) == 5

    run_on(loop, work)


def bad(authority: Authority, folder: Path) -> list[tuple[Certified, str, str]]:
    return [
        (authority.issue("mx.test", begins=-2 * DAY, ends=-DAY / 2), "certificate-expired", "has expired"),
        (authority.issue("mx.test", begins=DAY / 2), "certificate-expired", "not valid yet"),
        (authority.issue("other.test"), "certificate-host-mismatch", "for another name"),
        (Authority.make(folder, "Nobody").issue("mx.test"), "certificate-not-trusted", "not known here"),
    ]


@pytest.mark.parametrize("loop", BOTH)
def test_expired_and_wrong_name_certificates(loop: str, authority: Authority, tmp_path: Path) -> None:
    async def work() -> None:
        for shown, result, text in bad(authority, tmp_path):
            told = Told()
            async with SmtpPeer(context=shown.context) as peer:
                outcome = await refused(peer, VERIFY, told)
                assert (outcome.reply.code, outcome.reply.enhanced, outcome.permanent) == (451, "4.7.10", False)
                assert text in outcome.reply.text
                assert outcome.reply.text.startswith("mx.test [127.0.0.1]: its certificate")
                assert outcome.reply.text.endswith("which the MTA-STS policy of example.test does not allow")
                assert len(peer.sessions) == 1
                assert (
                    await good(peer, plain(Need.TRY), told) == await good(peer, plain(Need.ENCRYPT), told) == "TLSv1.3"
                )
                assert told.results == [result, "good", "good"]
                failure = told.all[0]
                assert failure is not None
                assert (failure.mx, failure.address) == ("mx.test", "127.0.0.1")

    run_on(loop, work)


async def test_a_policy_in_testing_is_told_and_the_mail_goes(authority: Authority, tmp_path: Path) -> None:
    for shown, result, _ in bad(authority, tmp_path):
        told = Told()
        async with SmtpPeer(context=shown.context) as peer:
            assert await good(peer, TESTING, told) == "TLSv1.3"
            assert len(peer.sessions) == 2, "verified first, then as if there were no policy"
        assert told.results == [result]
    told = Told()
    async with SmtpPeer() as peer:
        assert await good(peer, TESTING, told) == ""
        assert len(peer.sessions) == 1
    assert told.results == ["starttls-not-supported"]


async def test_a_breach_that_is_known_beforehand_is_told_with_the_session(authority: Authority) -> None:
    told = Told()
    breach = Failure("validation-failure", "mx.test", reason="mx-mismatch")
    async with SmtpPeer(context=authority.issue("mx.test").context) as peer:
        assert await good(peer, replace(plain(Need.TRY), breach=breach), told) == "TLSv1.3"
    assert told.all == [replace(breach, address="127.0.0.1")]


# ------------------------------------------------------------------------------------------- STARTTLS and handshakes


@pytest.mark.parametrize("loop", BOTH)
@pytest.mark.parametrize(
    "demand", [VERIFY, replace(plain(Need.ENCRYPT), why='tls = "required" of shaping.toml'), dane("3 1 1 " + "ab" * 32)]
)
def test_starttls_stripped(loop: str, demand: Demand) -> None:
    async def work() -> None:
        told = Told()
        async with SmtpPeer() as peer:
            outcome = await refused(peer, demand, told)
            assert str(outcome.reply).startswith("451 4.7.10 mx.test [127.0.0.1] does not offer STARTTLS, which ")
            assert demand.why in outcome.reply.text
            assert not any(command.startswith("MAIL") for command in peer.commands)
        assert told.results == ["starttls-not-supported"]

    run_on(loop, work)


async def test_a_peer_that_takes_starttls_back(authority: Authority) -> None:
    async with SmtpPeer(context=authority.issue("mx.test").context, script={"STARTTLS": "454 4.7.0 not now"}) as peer:
        told = Told()
        outcome = await reach(peer, VERIFY, told)
        assert isinstance(outcome, Outcome)
        assert (str(outcome.reply), outcome.internal, outcome.permanent) == ("454 4.7.0 not now", False, False)
        assert await good(peer, plain(Need.TRY), told) == ""
        assert len(peer.sessions) == 2
        assert told.results == ["starttls-not-supported", "starttls-not-supported"]


HANDSHAKES: list[Answer] = [Silence(), Raw(b"220 go\r\nthis is no TLS\r\n"), Close("220 go"), Close(), Reset()]


@pytest.mark.parametrize("loop", BOTH)
@pytest.mark.parametrize("answer", [*HANDSHAKES, "220 go, and then nothing"])
def test_a_handshake_that_hangs_or_breaks(loop: str, answer: Answer, authority: Authority) -> None:
    async def work() -> None:
        told = Told()
        context = authority.issue("mx.test").context
        async with SmtpPeer(context=context, script={"STARTTLS": answer}) as peer:
            if answer == "220 go, and then nothing":
                peer.context = None  # it has said yes and waits for commands in clear
                peer.capabilities.append("STARTTLS")
            began = time.monotonic()
            outcome = await refused(peer, VERIFY, told)
            assert time.monotonic() - began < 2
            assert outcome.reply.enhanced == "4.7.10"
            assert "the TLS handshake failed" in outcome.reply.text
            assert await good(peer, plain(Need.TRY), told) == ""
            assert "STARTTLS" not in peer.sessions[-1].commands
        assert told.results == ["validation-failure"] * 2

    run_on(loop, work)


async def test_what_fails_before_tls_tells_nothing_of_it() -> None:
    told = Told()
    async with SmtpPeer(script={"CONNECT": "554 5.7.1 blocked"}) as peer:
        outcome = await reach(peer, VERIFY, told)
        assert isinstance(outcome, Outcome)
        assert outcome.reply.code == 554
    assert told.all == []


# --------------------------------------------------------------------------------------------------------------- DANE


@pytest.mark.parametrize("loop", BOTH)
def test_dane(loop: str, tmp_path: Path) -> None:
    async def work() -> None:
        private = Authority.make(tmp_path, "Private")  # nobody trusts it but by DNS
        shown, other = private.issue("mx.test", begins=-2 * DAY, ends=-DAY), private.issue("mx.test")
        told = Told()
        async with SmtpPeer(context=shown.context) as peer:
            assert await good(peer, dane(shown.tlsa(3, 1, 1)), told) == "TLSv1.3"
            assert await good(peer, dane(other.tlsa(3, 1, 1), shown.tlsa(3, 1, 1)), told) == "TLSv1.3"
            outcome = await refused(peer, dane(other.tlsa(3, 1, 1)), told)
            assert outcome.reply.text == (
                "mx.test [127.0.0.1]: its certificate is not the one that its TLSA records name, "
                "which the TLSA records of mx.test does not allow"
            )
            outcome = await refused(peer, dane(private.tlsa(2, 0, 1)), told)
            assert "not valid now" in outcome.reply.text
        async with SmtpPeer(context=other.context) as peer:
            assert await good(peer, dane(private.tlsa(2, 0, 1)), told) == "TLSv1.3"
        assert told.results == ["good", "good", "validation-failure", "certificate-expired", "good"]

    run_on(loop, work)


# --------------------------------------------------------------------------------------------------------- REQUIRETLS


async def test_requiretls(authority: Authority) -> None:
    demand = replace(VERIFY, requiretls=True, why="the message's REQUIRETLS")
    told, context = Told(), authority.issue("mx.test").context
    async with SmtpPeer(context=context, capabilities=("REQUIRETLS",)) as peer:
        result = await reach(peer, demand, told)
        assert isinstance(result, Connection)
        assert result.features.requiretls
        result.abort()
    async with SmtpPeer(context=context) as peer:
        outcome = await refused(peer, demand, told)
        assert (
            str(outcome.reply) == "550 5.7.30 mx.test [127.0.0.1] does not offer REQUIRETLS, which the message asks for"
        )
    async with SmtpPeer(context=authority.issue("other.test").context, capabilities=("REQUIRETLS",)) as peer:
        assert (await refused(peer, demand, told)).reply.enhanced == "5.7.30"
    async with SmtpPeer(capabilities=("REQUIRETLS",)) as peer:
        assert (await refused(peer, demand, told)).reply.enhanced == "5.7.30"
    async with SmtpPeer(context=context, script={"STARTTLS": Silence()}) as peer:
        outcome = await refused(peer, demand, told)
        assert outcome.reply.enhanced == "4.7.10", "that may pass"
    assert told.results[0] == "good"


async def test_opening_can_be_cancelled(authority: Authority) -> None:
    async with SmtpPeer(context=authority.issue("mx.test").context, script={"STARTTLS": Silence()}) as peer:
        told = Told()
        task = asyncio.create_task(reach(peer, VERIFY, told))
        while "STARTTLS" not in peer.commands:  # noqa: ASYNC110 the peer tells of it by nothing else
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert told.all == []
