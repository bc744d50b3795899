"""The whole of egress: a delivery in, an outcome out, between a DNS server and scripted peers."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.egress.courier import Courier
from relay.egress.pools import Source
from relay.egress.resolver import Resolver
from relay.egress.settings import Capture, EgressSettings, Relay
from relay.outcome import Outcome, Scope
from relay.pause import Later
from relay.shaping.shape import Shape
from relay.shaping.sites import Sites
from relay.wildcard import Recipients
from tests.support.certificates import self_signed, server_context
from tests.support.dnsserver import DnsServer
from tests.support.egress import HERE, IMPATIENT, TERMS, Permitted, carry, courier, delivery, run_on, until
from tests.support.smtp_peer import Close, Reset, Script, Silence, SmtpPeer, Wait

BODY = b"Subject: x\r\n\r\n.dot\r\nlast line"


def said(outcome: Outcome) -> tuple[int, str, Scope]:
    return outcome.reply.code, outcome.command, outcome.scope


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_message_arrives_as_it_is(loop: str, tmp_path: Path) -> None:
    async def work() -> None:
        context = server_context(self_signed(tmp_path, "mx0.example.test"))
        async with SmtpPeer(context=context) as peer, courier(peer.port) as (one, _):
            source = Source("127.0.0.5", "s5.test")
            outcome = await carry(one, delivery(head=b"X-Head: 1\r\n", eightbit=True), BODY, source)
            assert outcome == Outcome(
                outcome.reply,
                "END",
                Scope.RECIPIENT,
                "mx0.example.test",
                "TLSv1.3",
                "127.0.0.5",
                False,
                True,
                site="example.test",
            )
            assert str(outcome.reply) == "250 2.0.0 taken"
            (heard,) = peer.transactions
            assert heard.content == b"X-Head: 1\r\n" + BODY + b"\r\n"
            assert (heard.client, heard.ehlo, heard.tls) == ("127.0.0.5", "s5.test", "TLSv1.3")
            assert heard.mail == f"MAIL FROM:<app@sender.test> SIZE={11 + len(BODY)} BODY=8BITMIME"
            assert heard.rcpt == "RCPT TO:<joe@example.test>"

    run_on(loop, work)


async def test_one_connection_for_many_messages() -> None:
    async with SmtpPeer() as peer, courier(peer.port) as (one, dns):
        for _ in range(20):
            assert (await carry(one, delivery(), BODY, HERE)).delivered
        assert len(peer.sessions) == 1
        assert dns.asked("example.test", "MX") == 1
        assert one.stats() == {"open": 1, "idle": 1, "waiting": 0, "awaiting_final": 0}
        assert "to MX" in repr(one)
        assert peer.transactions[0].ehlo == "relay.test"


async def test_a_next_hop_takes_it_instead_of_the_mx_but_never_what_is_captured() -> None:
    async with SmtpPeer() as mx, SmtpPeer() as hop, courier(mx.port) as (one, dns):
        there = ("127.0.0.1", hop.port)
        for to in (there, None, there):
            assert (await carry(one, delivery(), BODY, HERE, to)).delivered
        assert (len(hop.transactions), len(mx.transactions)) == (2, 1)
        assert len(hop.sessions) == 1  # kept
        assert dns.asked("example.test", "MX") == 1
        capture = Capture(Relay("127.0.0.1", mx.port), Recipients(()))
        one.reconfigure(EgressSettings("relay.test", capture=capture, allow_private=True), Sites())
        assert (await carry(one, delivery(), BODY, HERE, there)).delivered
        assert (len(hop.transactions), len(mx.transactions)) == (2, 2)


async def test_dns_down_makes_mail_wait() -> None:
    async with SmtpPeer() as peer, courier(peer.port) as (one, dns):
        await dns.stop()
        outcome = await carry(one, delivery(), BODY, HERE)
        assert said(outcome) == (451, "DNS", Scope.SITE)
        assert not outcome.permanent
        assert peer.sessions == []


async def test_no_such_domain() -> None:
    async with courier(25) as (one, _):
        outcome = await carry(one, delivery("joe@gone.invalid"), BODY, HERE)
        assert said(outcome) == (550, "DNS", Scope.RECIPIENT)
        assert outcome.permanent


async def test_private_addresses_and_loops_are_refused() -> None:
    async with courier(25, allow_private=False) as (one, _):
        outcome = await carry(one, delivery(), BODY, HERE)
        assert (outcome.reply.enhanced, outcome.permanent) == ("5.4.4", True)
    async with courier(25, own_hostnames=frozenset({"mx0.example.test"})) as (one, _):
        outcome = await carry(one, delivery(), BODY, HERE)
        assert (outcome.reply.enhanced, outcome.permanent) == ("5.4.6", True)


@pytest.mark.parametrize(
    ("script", "expected", "permanent"),
    [
        ({"MAIL": "550 5.1.8 bad sender"}, (550, "MAIL", Scope.MESSAGE), True),
        ({"MAIL": "530 5.7.0 log in"}, (530, "MAIL", Scope.SITE), False),
        ({"RCPT": "550 5.1.1 unknown"}, (550, "RCPT", Scope.RECIPIENT), True),
        ({"RCPT": "450 4.2.0 greylisted"}, (450, "RCPT", Scope.RECIPIENT), False),
        ({"DATA": "554 5.7.1 no"}, (554, "DATA", Scope.MESSAGE), True),
        ({"END": "552 5.3.4 large"}, (552, "END", Scope.MESSAGE), True),
        ({"END": "250 2.0.0 ok"}, (250, "END", Scope.RECIPIENT), False),
        ({"END": "252 whatever"}, (252, "END", Scope.RECIPIENT), False),
        ({"RCPT": "251 forwarded"}, (250, "END", Scope.RECIPIENT), False),
        ({"END": Close()}, (421, "END", Scope.HOST), False),
        ({"END": Silence()}, (421, "END", Scope.HOST), False),
        ({"MAIL": Reset()}, (421, "MAIL", Scope.HOST), False),
        ({"CONNECT": "554 5.7.1 blocked"}, (554, "CONNECT", Scope.SITE), False),
        ({"EHLO": "550 5.7.1 bad name", "HELO": "550 5.7.1 bad name"}, (550, "EHLO", Scope.SITE), False),
    ],
)
async def test_what_a_peer_does_is_an_outcome(
    script: Script, expected: tuple[int, str, Scope], permanent: bool
) -> None:
    async with SmtpPeer(script=script) as peer, courier(peer.port, timeouts=IMPATIENT) as (one, _):
        outcome = await carry(one, delivery(), BODY, HERE)
        assert said(outcome) == expected
        assert outcome.permanent is permanent
        assert outcome.mx == "mx0.example.test"


async def test_a_refusal_does_not_spoil_the_next_message() -> None:
    async with (
        SmtpPeer(script={"RCPT": ["550 5.1.1 unknown"], "MAIL": ["250 ok", "550 no"]}) as peer,
        courier(peer.port) as (one, _),
    ):
        assert [(await carry(one, delivery(), BODY, HERE)).reply.code for _ in range(3)] == [550, 550, 250]
        assert len(peer.sessions) == 1


@pytest.mark.parametrize(
    ("about", "enhanced"),
    [({"recipient": "דוד@example.test"}, "5.6.7"), ({"utf8": True}, "5.6.9"), ({"eightbit": True}, "5.6.3")],
)
async def test_what_the_peer_cannot_take_is_not_tried(about: dict[str, Any], enhanced: str) -> None:
    async with SmtpPeer(capabilities=()) as peer, courier(peer.port) as (one, _):
        outcome = await carry(one, delivery(**about), BODY, HERE)
        assert (outcome.reply.enhanced, outcome.permanent, outcome.mx) == (enhanced, True, "mx0.example.test")
        assert (await carry(one, delivery(), BODY, HERE)).delivered
        assert len(peer.sessions) == 1
        assert len(peer.transactions) == 1


async def test_dsn_is_handed_on_where_it_is_offered() -> None:
    wish = delivery(notify="SUCCESS", orcpt="rfc822;joe@example.test", ret="HDRS", envid="id1")
    async with SmtpPeer() as peer, courier(peer.port) as (one, _):
        assert (await carry(one, wish, BODY, HERE)).relayed_dsn
        assert peer.transactions[0].mail.endswith("RET=HDRS ENVID=id1")
        assert peer.transactions[0].rcpt.endswith("NOTIFY=SUCCESS ORCPT=rfc822;joe@example.test")
    async with SmtpPeer(capabilities=()) as peer, courier(peer.port) as (one, _):
        assert not (await carry(one, wish, BODY, HERE)).relayed_dsn
        assert peer.transactions[0].rcpt == "RCPT TO:<joe@example.test>"


# ------------------------------------------------------------------------------------------- stale, next host


@pytest.mark.parametrize("farewell", [Close(), Close("421 4.4.2 idle too long"), Reset()])
async def test_a_stale_connection_costs_no_attempt(farewell: Any) -> None:
    async with SmtpPeer(script={"MAIL": ["250 ok", farewell]}) as peer, courier(peer.port) as (one, _):
        assert (await carry(one, delivery(), BODY, HERE)).delivered
        assert (await carry(one, delivery(), BODY, HERE)).delivered
        assert len(peer.sessions) == 2


async def test_a_stale_connection_is_replaced_only_once() -> None:
    async with SmtpPeer(script={"MAIL": ["250 ok", Close(), Close()]}) as peer, courier(peer.port) as (one, _):
        assert (await carry(one, delivery(), BODY, HERE)).delivered
        assert said(await carry(one, delivery(), BODY, HERE)) == (421, "MAIL", Scope.HOST)
        assert len(peer.sessions) == 2


async def send(one: Courier, permit: Permitted) -> Outcome | Later:
    """An attempt within the limits that `permit` stands for."""
    way = await one.way(delivery())
    assert not isinstance(way, Outcome)
    return await one.send(delivery(), BODY, HERE, way, TERMS, permit)


async def test_a_second_transaction_takes_a_permit_of_its_own() -> None:
    """The far end sees each that begins: MAIL on a kept connection that it has just closed may have been read."""
    async with SmtpPeer(script={"MAIL": ["250 ok", "421 4.4.2 idle too long"]}) as peer, courier(peer.port) as (one, _):
        first, second = Permitted(), Permitted()
        for permit in (first, second):
            outcome = await send(one, permit)
            assert isinstance(outcome, Outcome)
            assert outcome.delivered
        assert (first.told, second.told) == (["depart"], ["depart", "again", "depart"])


async def test_where_there_is_no_second_permit_it_comes_again_and_nothing_more_is_sent() -> None:
    async with SmtpPeer(script={"MAIL": ["250 ok", Close()]}) as peer, courier(peer.port) as (one, _):
        await send(one, Permitted())
        assert await send(one, Permitted(70)) == Later(70, "10/second")
        assert len(peer.sessions) == 1


async def test_the_next_host_is_tried_where_there_is_a_permit_for_it() -> None:
    async with (
        SmtpPeer(script={"RCPT": "421 4.3.2 shutting down"}) as first,
        SmtpPeer(host="127.0.0.2", port=first.port) as second,
        courier(first.port, hosts=("127.0.0.1", "127.0.0.2")) as (one, _),
    ):
        outcome = await send(one, Permitted(70))
        assert isinstance(outcome, Outcome)
        assert (outcome.reply.code, second.sessions) == (421, []), "the schedule brings it again"
        permit = Permitted()
        outcome = await send(one, permit)
        assert isinstance(outcome, Outcome)
        assert outcome.delivered
        assert permit.told == ["depart", "again", "depart"]


async def test_a_host_that_fails_hands_over_to_the_next() -> None:
    async with (
        SmtpPeer(script={"RCPT": "421 4.3.2 shutting down"}) as first,
        SmtpPeer(host="127.0.0.2", port=first.port) as second,
        courier(first.port, hosts=("127.0.0.1", "127.0.0.2")) as (one, _),
    ):
        outcome = await carry(one, delivery(), BODY, HERE)
        assert (outcome.delivered, outcome.mx) == (True, "mx1.example.test")
        assert len(second.transactions) == 1


async def test_a_message_in_doubt_goes_to_no_other_host() -> None:
    async with (
        SmtpPeer(script={"END": Close()}) as first,
        SmtpPeer(host="127.0.0.2", port=first.port) as second,
        courier(first.port, hosts=("127.0.0.1", "127.0.0.2")) as (one, _),
    ):
        outcome = await carry(one, delivery(), BODY, HERE)
        assert "may have been delivered" in outcome.reply.text
        assert second.sessions == []


async def test_when_the_next_host_is_dead_the_first_ones_words_count() -> None:
    async with (
        SmtpPeer(script={"MAIL": "421 4.7.0 busy"}) as peer,
        courier(peer.port, hosts=("127.0.0.1", "127.0.0.2")) as (one, _),
    ):
        outcome = await carry(one, delivery(), BODY, HERE)
        assert (str(outcome.reply), outcome.mx) == ("421 4.7.0 busy", "mx0.example.test")


async def test_a_site_that_went_away_behind_a_kept_connection() -> None:
    async with SmtpPeer(script={"MAIL": ["250 ok", Close()]}) as peer, courier(peer.port) as (one, _):
        assert (await carry(one, delivery(), BODY, HERE)).delivered
        peer.say({"CONNECT": "421 4.3.2 closed for today"})
        assert said(await carry(one, delivery(), BODY, HERE)) == (421, "CONNECT", Scope.SITE)


async def test_a_dead_first_host() -> None:
    async with SmtpPeer(host="127.0.0.2") as peer, courier(peer.port, hosts=("127.0.0.1", "127.0.0.2")) as (one, _):
        assert (await carry(one, delivery(), BODY, HERE)).mx == "mx1.example.test"


async def test_all_hosts_dead() -> None:
    peer = SmtpPeer()
    await peer.start()
    await peer.stop()
    async with courier(peer.port, hosts=("127.0.0.1", "127.0.0.2")) as (one, _):
        outcome = await carry(one, delivery(), BODY, HERE)
        assert said(outcome) == (421, "CONNECT", Scope.SITE)
        assert outcome.mx == "mx1.example.test"


# ------------------------------------------------------------------------------------------------------- relay


async def test_a_relay_takes_everything_and_needs_no_mx() -> None:
    async with SmtpPeer() as peer:
        relay = Relay("127.0.0.1", peer.port)
        async with courier(25, relay=relay, allow_private=False) as (one, dns):
            for domain in ("example.test", "gone.invalid"):
                outcome = await carry(one, delivery(f"joe@{domain}"), BODY, HERE)
                assert (outcome.delivered, outcome.mx) == (True, "127.0.0.1")
            assert len(peer.sessions) == 1
            assert dns.queries == []
            assert f"127.0.0.1:{peer.port}" in repr(one)


async def test_a_relay_with_login() -> None:
    async with (
        SmtpPeer(capabilities=("AUTH LOGIN PLAIN",)) as peer,
        courier(25, relay=Relay("127.0.0.1", peer.port, "user", "secret")) as (one, _),
    ):
        assert (await carry(one, delivery(), BODY, HERE)).delivered
        assert peer.sessions[0].login == "user secret"


async def test_a_relay_that_does_not_know_us_bounces_nothing() -> None:
    async with (
        SmtpPeer(capabilities=("AUTH PLAIN",), script={"AUTH": "535 5.7.8 wrong"}) as peer,
        courier(25, relay=Relay("127.0.0.1", peer.port, "user", "secret")) as (one, _),
    ):
        outcome = await carry(one, delivery(), BODY, HERE)
        assert said(outcome) == (535, "AUTH", Scope.SITE)
        assert not outcome.permanent


# --------------------------------------------------------------------------------------------------- the crowd


async def test_many_at_once_over_few_connections() -> None:
    async with SmtpPeer() as peer, courier(peer.port) as (one, _):
        outcomes = await asyncio.gather(*(carry(one, delivery(), BODY, HERE, terms=Shape(4, 100)) for _ in range(200)))
        assert all(outcome.delivered for outcome in outcomes)
        assert peer.most_connected == 4


async def test_a_cancelled_attempt_leaves_nothing_behind() -> None:
    async with SmtpPeer(script={"END": [Silence()]}) as peer, courier(peer.port) as (one, _):
        attempt = asyncio.create_task(carry(one, delivery(), BODY, HERE, terms=Shape(1, 100)))
        await until(lambda: one.stats()["awaiting_final"])
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        assert (await carry(one, delivery(), BODY, HERE, terms=Shape(1, 100))).delivered


async def test_shutting_down_cancels_who_waits_and_lets_a_transaction_end() -> None:
    gate = asyncio.Event()
    async with SmtpPeer(script={"END": Wait(gate, "250 ok")}) as peer, courier(peer.port) as (one, _):
        sending = asyncio.create_task(carry(one, delivery(), BODY, HERE, terms=Shape(1, 100)))
        await until(lambda: one.stats()["awaiting_final"])
        waiting = asyncio.create_task(carry(one, delivery(), BODY, HERE, terms=Shape(1, 100)))
        await until(lambda: one.stats()["waiting"])
        closing = asyncio.create_task(one.close(10))
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        gate.set()
        assert (await sending).delivered
        assert await closing == 0
        with pytest.raises(asyncio.CancelledError):
            await carry(one, delivery(), BODY, HERE, terms=Shape(1, 100))


# ---------------------------------------------------------------------------------------------------- capture


def capture(peer: SmtpPeer, *only_to: str) -> Capture:
    return Capture(Relay("127.0.0.1", peer.port), Recipients(only_to))


async def test_mail_for_some_goes_its_way_and_all_other_to_the_capture_server() -> None:
    async with (
        SmtpPeer() as world,
        SmtpPeer() as kept,
        courier(world.port, capture=capture(kept, "dana@*")) as (one, dns),
    ):
        leaves = await carry(one, delivery("Dana@example.test"), BODY, Source("127.0.0.5", "s5.test"))
        stays = await carry(one, delivery("joe@example.test"), BODY, Source("127.0.0.5", "s5.test"))
        assert [leaves.delivered, leaves.captured, leaves.mx] == [True, False, "mx0.example.test"]
        assert [stays.delivered, stays.captured, stays.mx, stays.site] == [True, True, "127.0.0.1", "capture"]
        assert leaves.source == stays.source == "127.0.0.5", "the pool's choice either way"
        assert [heard.rcpt for heard in world.transactions] == ["RCPT TO:<Dana@example.test>"]
        assert [(heard.rcpt, heard.ehlo) for heard in kept.transactions] == [("RCPT TO:<joe@example.test>", "s5.test")]
        assert "but <Recipients dana@*>" in repr(one)
        await carry(one, delivery("joe@no-such-domain.test"), BODY, HERE)
        assert dns.asked("no-such-domain.test", "MX") == 0, "DNS is not asked for whom we do not write to"


@pytest.mark.parametrize("address", ["2001:db8::5", "192.0.2.5"])
async def test_capturing_takes_no_address_of_this_machine(address: str) -> None:
    async with SmtpPeer() as kept, courier(25, capture=capture(kept)) as (one, _):
        outcome = await carry(one, delivery(), BODY, Source(address, "s5.test"))
        assert (outcome.delivered, outcome.captured, outcome.source) == (True, True, address)


async def test_who_is_captured_changes_with_the_next_attempt() -> None:
    async with SmtpPeer() as world, SmtpPeer() as kept, courier(world.port) as (one, _):
        settings = EgressSettings("relay.test", world.port, allow_private=True)
        for only_to, where in (("example.test", world), ("other.test", kept), ("example.test", world)):
            before = len(where.transactions)
            one.reconfigure(replace(settings, capture=capture(kept, only_to)), Sites())
            assert (await carry(one, delivery(), BODY, HERE)).delivered
            assert len(where.transactions) == before + 1
        one.reconfigure(settings, Sites())
        assert not (await carry(one, delivery(), BODY, HERE)).captured


async def test_a_capture_server_that_is_down_lets_nothing_out() -> None:
    async with SmtpPeer() as world, SmtpPeer() as kept, courier(world.port, capture=capture(kept)) as (one, _):
        await kept.stop()
        outcome = await carry(one, delivery(), BODY, HERE)
        assert (outcome.delivered, outcome.permanent, outcome.captured) == (False, False, True)
        assert not world.sessions


# ------------------------------------------------------------------------------------------------- reconfigure


async def test_new_settings_hold_for_what_is_opened_from_now_on() -> None:
    async with SmtpPeer() as old, SmtpPeer() as new, courier(old.port, idle=0.02) as (one, _):
        assert (await carry(one, delivery(), BODY, HERE)).delivered
        one.reconfigure(EgressSettings("new.test", new.port, allow_private=True, idle=0.02), Sites())
        assert (await carry(one, delivery(), BODY, HERE)).delivered
        assert len(old.transactions) == 2, "a kept connection goes on"
        await old.sessions[0].ended.wait()
        assert (await carry(one, delivery(), BODY, HERE)).delivered
        assert [heard.ehlo for heard in new.transactions] == ["new.test"]
        one.reconfigure(EgressSettings("new.test", new.port), Sites())
        await new.sessions[0].ended.wait()
        assert said(await carry(one, delivery(), BODY, HERE)) == (550, "DNS", Scope.RECIPIENT)


async def test_new_name_servers_are_asked_from_now_on() -> None:
    async with SmtpPeer() as old, SmtpPeer(host="127.0.0.6", port=old.port) as new, courier(old.port) as (one, before):
        assert (await carry(one, delivery(), BODY, HERE)).delivered
        async with DnsServer() as after:
            after.add("other.test", "MX", "0 mx.other.test.")
            after.add("mx.other.test", "A", "127.0.0.6")
            after.add("example.test", "MX", "0 mx0.example.test.")
            settings = EgressSettings("relay.test", old.port, allow_private=True)
            one.reconfigure(settings, Sites(), Resolver([after.address], timeout=2, lifetime=2))
            assert (await carry(one, delivery(), BODY, HERE)).delivered
            assert (await carry(one, delivery("joe@other.test"), BODY, HERE)).delivered
            one.reconfigure(settings, Sites())  # the same as before
            assert (await carry(one, delivery("joe@other.test"), BODY, HERE)).delivered
        assert (len(old.transactions), len(new.transactions)) == (2, 2)
        assert before.asked("other.test", "MX") == 0
        assert (after.asked("example.test", "MX"), after.asked("mx0.example.test", "A")) == (1, 0), (
            "its connection is kept"
        )


async def test_a_new_relay_learns_nothing_from_the_old_way_and_the_old_nothing_of_its_password() -> None:
    async with (
        SmtpPeer(capabilities=("AUTH PLAIN",)) as mx,
        SmtpPeer(capabilities=("AUTH PLAIN",)) as hub,
        courier(mx.port) as (one, _),
    ):
        gate = asyncio.Event()
        mx.say({"END": [Wait(gate, "250 ok")]})
        under_way = [asyncio.create_task(carry(one, delivery(), BODY, HERE, terms=Shape(1, 1))) for _ in range(2)]
        await until(lambda: one.stats()["awaiting_final"] and one.stats()["waiting"])
        relay = Relay("127.0.0.1", hub.port, "user", "secret")
        one.reconfigure(EgressSettings("relay.test", relay=relay), Sites())
        assert (await carry(one, delivery(), BODY, HERE, terms=Shape(1, 1))).delivered
        gate.set()
        assert all(outcome.delivered for outcome in await asyncio.gather(*under_way))
        assert len(mx.transactions) == 2, "who waited goes where it was routed to"
        assert [session.login for session in mx.sessions] == ["", ""]
        assert [session.login for session in hub.sessions] == ["user secret"]
