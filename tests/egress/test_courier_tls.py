"""Delivery security through the whole of egress: DNS with AD, a web server with a policy, peers with and without TLS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from relay.egress.courier import Courier
from relay.egress.settings import Capture, EgressSettings, Relay
from relay.outcome import Outcome, Scope
from relay.shaping.shape import Shape
from relay.shaping.sites import Sites
from relay.wildcard import Recipients
from tests.support.certificates import Authority
from tests.support.dnsserver import DnsServer
from tests.support.egress import HERE, IMPATIENT, carry, courier, delivery, run_on
from tests.support.https_server import HttpsServer, plain_text
from tests.support.smtp_peer import SmtpPeer

BODY = b"Subject: x\r\n\r\nhello\r\n"
D, MX = "example.test", "mx0.example.test"


def policy(mode: str = "enforce", mx: str = MX) -> bytes:
    return plain_text(f"version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n".encode())


@asynccontextmanager
async def world(
    authority: Authority, peer: SmtpPeer, answer: bytes | None = None, **settings: Any
) -> AsyncIterator[tuple[Courier, DnsServer]]:
    """example.test with its one host; with `answer` a policy of MTA-STS stands on its web server."""
    async with (
        HttpsServer(authority.issue(f"mta-sts.{D}").context) as web,
        courier(peer.port, https=web.port, timeouts=IMPATIENT, **settings) as (one, dns),
    ):
        dns.add(f"mta-sts.{D}", "A", "127.0.0.1")
        if answer is not None:
            dns.add(f"_mta-sts.{D}", "TXT", '"v=STSv1; id=1;"')
            web.answers["/.well-known/mta-sts.txt"] = answer
        yield one, dns


async def sent(one: Courier, level: str = "opportunistic", **message: Any) -> Outcome:
    """An attempt; `level` is `tls` of shaping.toml."""
    return await carry(one, delivery(**message), BODY, HERE, terms=Shape(10, 100, tls=level))


async def refused(one: Courier, level: str = "opportunistic", **message: Any) -> Outcome:
    outcome = await sent(one, level, **message)
    assert not outcome.delivered
    assert outcome.internal
    return outcome


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_mta_sts_enforced(loop: str, authority: Authority) -> None:
    async def work() -> None:
        async with SmtpPeer(context=authority.issue(MX).context) as peer, world(authority, peer, policy()) as (one, _):
            outcome = await sent(one)
            assert (outcome.delivered, outcome.tls) == (True, "TLSv1.3")
            peer.context = None  # an attacker takes STARTTLS out of the reply
            assert (await sent(one)).delivered, "a connection that is safe is kept"
            assert len(peer.sessions) == 1
        async with SmtpPeer() as peer, world(authority, peer, policy()) as (one, _):
            outcome = await refused(one)
            assert (outcome.reply.code, outcome.reply.enhanced, outcome.scope) == (451, "4.7.10", Scope.SITE)
            assert (
                "does not offer STARTTLS, which the MTA-STS policy of example.test does not allow" in outcome.reply.text
            )
            assert peer.transactions == []

    run_on(loop, work)


async def test_a_host_that_the_policy_does_not_name_gets_nothing(authority: Authority) -> None:
    async with SmtpPeer(context=authority.issue(MX).context) as peer:
        async with world(authority, peer, policy(mx="*.other.test")) as (one, _):
            outcome = await refused(one)
            assert outcome.reply.text == f"{MX} is no host that the MTA-STS policy of {D} allows (*.other.test)"
            assert not outcome.permanent
            assert peer.sessions == []
        async with world(authority, peer, policy("testing", mx="*.other.test")) as (one, _):
            assert (await sent(one)).delivered


async def test_a_connection_under_weaker_terms_never_carries_mail_that_needs_stronger(authority: Authority) -> None:
    """The same host takes the mail of a domain without policies in clear; then MTA-STS appears."""
    async with SmtpPeer() as peer, world(authority, peer, policy()) as (one, dns):
        dns.remove(f"_mta-sts.{D}")
        waived: dict[str, Any] = {"tls": "waived"}
        assert (await sent(one, **waived)).delivered
        dns.add(f"_mta-sts.{D}", "TXT", '"v=STSv1; id=1;"')
        assert (await refused(one)).reply.enhanced == "4.7.10"
        assert (await sent(one, **waived)).delivered
        assert len(peer.transactions) == 2
        assert {heard.session for heard in peer.transactions} == {0}, "the kept one, in clear"


async def test_a_domain_without_policies_is_carried_as_ever(authority: Authority) -> None:
    async with SmtpPeer() as peer, world(authority, peer) as (one, dns):
        for _ in range(10):
            assert (await sent(one)).delivered
        assert dns.asked(f"_mta-sts.{D}", "TXT") == 1
        assert dns.asked(f"_25._tcp.{MX}", "TLSA") == 0


@pytest.mark.parametrize("level", ["required", "verify"])
async def test_the_admins_word(authority: Authority, tmp_path: Path, level: str) -> None:
    async with SmtpPeer() as peer, world(authority, peer) as (one, _):
        assert f'which tls = "{level}" of shaping.toml does not allow' in (await refused(one, level)).reply.text
        assert (await sent(one)).delivered
        assert not (await sent(one, level)).delivered, "the kept connection is in clear"
    stranger = Authority.make(tmp_path, "Stranger").issue("other.test")
    async with SmtpPeer(context=stranger.context) as peer, world(authority, peer) as (one, _):
        assert (await sent(one, level)).delivered == (level == "required")
    async with SmtpPeer(context=authority.issue(MX).context) as peer, world(authority, peer) as (one, _):
        assert (await sent(one, level)).delivered


async def test_tls_off(authority: Authority) -> None:
    async with SmtpPeer(context=authority.issue(MX).context) as peer, world(authority, peer) as (one, _):
        outcome = await sent(one, "off")
        assert (outcome.delivered, outcome.tls) == (True, "")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_dane_before_mta_sts(loop: str, authority: Authority, tmp_path: Path) -> None:
    async def work() -> None:
        private = Authority.make(tmp_path, "Private").issue(MX)
        good = authority.issue(MX)
        for shown, named, delivered in ((private, private, True), (good, private, False)):
            async with (
                SmtpPeer(context=shown.context) as peer,
                world(authority, peer, policy(), trust_ad=True) as (one, dns),
            ):
                dns.sign(D)
                dns.add(f"_{peer.port}._tcp.{MX}", "TLSA", named.tlsa(3, 1, 1))
                outcome = await sent(one)
                assert outcome.delivered == delivered
                if not delivered:  # though MTA-STS would have it
                    assert outcome.reply.enhanced == "4.7.10"
                    assert "TLSA records" in outcome.reply.text

    run_on(loop, work)


async def test_a_bogus_tlsa_answer_makes_mail_wait(authority: Authority) -> None:
    async with (
        SmtpPeer(context=authority.issue(MX).context) as peer,
        world(authority, peer, policy(), trust_ad=True) as (one, dns),
    ):
        dns.sign(D)
        dns.fail(f"_{peer.port}._tcp.{MX}")
        outcome = await refused(one)
        assert (outcome.permanent, outcome.reply.enhanced) == (False, "4.7.10")
        assert peer.sessions == []


# --------------------------------------------------------------------------------------------------------- REQUIRETLS


async def test_requiretls_goes_with_the_message(authority: Authority) -> None:
    async with (
        SmtpPeer(context=authority.issue(MX).context, capabilities=("REQUIRETLS", "SIZE")) as peer,
        world(authority, peer, policy()) as (one, _),
    ):
        assert (await sent(one)).delivered
        assert (await sent(one, tls="required")).delivered
        assert [heard.mail.endswith(" REQUIRETLS") for heard in peer.transactions] == [False, True]
        assert len(peer.sessions) == 2, "each has connections of its own"


@pytest.mark.parametrize("capabilities", [(), ("REQUIRETLS",)])
async def test_requiretls_is_refused_where_nobody_vouches_for_the_host(
    authority: Authority, capabilities: tuple[str, ...]
) -> None:
    async with (
        SmtpPeer(context=authority.issue(MX).context, capabilities=capabilities) as peer,
        world(authority, peer) as (one, _),
    ):
        outcome = await refused(one, tls="required")
        assert (outcome.reply.code, outcome.reply.enhanced, outcome.permanent) == (550, "5.7.30", True)
        assert "neither DNSSEC nor MTA-STS" in outcome.reply.text
        assert peer.sessions == []


async def test_requiretls_is_refused_where_the_host_lacks_it(authority: Authority) -> None:
    async with SmtpPeer(context=authority.issue(MX).context) as peer, world(authority, peer, policy()) as (one, _):
        outcome = await refused(one, tls="required")
        assert (outcome.reply.enhanced, outcome.permanent, outcome.scope) == ("5.7.30", True, Scope.MESSAGE)
        assert (await sent(one)).delivered


async def test_requiretls_waits_while_one_host_might_have_it(authority: Authority) -> None:
    """The first host lacks it, the second does not answer; then the second has it."""
    shown = authority.issue(MX, "mx1.example.test").context
    async with SmtpPeer(context=shown) as lacks, SmtpPeer(context=shown, host="127.0.0.6", port=lacks.port) as has:
        hosts = ("127.0.0.1", "127.0.0.6")
        async with world(authority, lacks, policy(mx="*.example.test"), hosts=hosts) as (one, _):
            has.say({"CONNECT": ["421 4.3.2 not now"]})
            outcome = await sent(one, tls="required")
            assert (outcome.reply.code, outcome.permanent) == (421, False)
            has.capabilities.append("REQUIRETLS")
            assert (await sent(one, tls="required")).delivered
            assert len(has.transactions) == 1


async def test_a_relay_and_the_capture_server(authority: Authority, tmp_path: Path) -> None:
    async with SmtpPeer() as peer, world(authority, peer) as (one, _):
        one.reconfigure(EgressSettings("relay.test", relay=Relay("127.0.0.1", peer.port)), Sites())
        assert (await sent(one, "verify")).delivered, "this machine need not prove itself"
        outcome = await refused(one, tls="required")
        assert outcome.reply.enhanced == "5.7.30"
        capture = Capture(Relay("127.0.0.1", peer.port), Recipients(()))
        one.reconfigure(EgressSettings("relay.test", capture=capture), Sites())
        assert (await sent(one, "verify", tls="required")).delivered, "nothing leaves"


async def test_many_at_once_to_a_host_that_fails_its_policy_all_wait(authority: Authority) -> None:
    async with SmtpPeer() as peer, world(authority, peer, policy()) as (one, _):
        outcomes = await asyncio.gather(*(sent(one) for _ in range(30)))
        assert {outcome.reply.enhanced for outcome in outcomes} == {"4.7.10"}
        assert peer.transactions == []
