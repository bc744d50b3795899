"""The pool of connections: reuse, limits, permits, the line, closing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from relay.egress.connection import Connection
from relay.egress.connections import Connections, key_of
from relay.egress.dialer import Wanted
from relay.egress.mx import MxHost, Route
from relay.egress.pools import Source
from relay.egress.settings import EgressSettings
from relay.message import MailClass
from relay.outcome import Outcome, Scope
from tests.support.egress import HERE, IMPATIENT, CountingPermits, until
from tests.support.smtp_peer import Close, Reset, Silence, SmtpPeer, Wait

MAIL, RCPT, CONTENT = b"MAIL FROM:<a@a.test>\r\n", b"RCPT TO:<b@b.test>\r\n", (b"x\r\n", b".\r\n")
KEY = key_of(HERE, "example.test", "opportunistic")


def wanted(
    peer: SmtpPeer, mail_class: MailClass = MailClass.TRANSACTIONAL, *, hosts: tuple[str, ...] = (), **more: Any
) -> Wanted:
    """`connections`, `messages_per_connection`: of its terms."""
    route = Route(tuple(MxHost(host, 0, (host,)) for host in hosts or (peer.host,)), peer.port)
    terms = Shape(more.pop("connections", 10), more.pop("messages_per_connection", 100))
    return Wanted(more.pop("source", HERE), "example.test", "example.test", route, mail_class, terms, **more)


@asynccontextmanager
async def pool(permits: CountingPermits | None = None, **changed: Any) -> AsyncIterator[Connections]:
    permits = permits or CountingPermits()
    connections = Connections(EgressSettings("relay.test", **changed), permits)
    try:
        yield connections
    finally:
        await connections.close(1)
    assert not +permits.held, "every permit is given back"


async def lease(connections: Connections, want: Wanted) -> Connection:
    connection = await connections.lease(want)
    assert isinstance(connection, Connection), connection
    return connection


async def use(connection: Connection) -> None:
    assert (await connection.send(MAIL, RCPT, CONTENT)).answer[0].ok


async def test_the_last_used_goes_first() -> None:
    async with SmtpPeer() as peer, pool() as connections:
        first, second = [await lease(connections, wanted(peer)) for _ in range(2)]
        connections.release(first)
        connections.release(second)
        assert connections.idle(KEY) is second
        assert connections.idle(KEY) is first
        assert connections.idle(KEY) is None
        assert len(peer.sessions) == 2
        assert "open=2 idle=0" in repr(connections)


async def test_sources_and_names_do_not_share() -> None:
    async with SmtpPeer() as peer, pool() as connections:
        for source in (HERE, Source("127.0.0.2", ""), Source("127.0.0.2", "other.test")):
            connections.release(await lease(connections, wanted(peer, source=source)))
        assert len(peer.sessions) == 3
        assert {session.client for session in peer.sessions} == {"127.0.0.1", "127.0.0.2"}


async def test_never_more_than_the_limit() -> None:
    permits = CountingPermits()
    async with SmtpPeer() as peer, pool(permits, connections=3) as connections:

        async def one() -> None:
            connection = await lease(connections, wanted(peer))
            await use(connection)
            connections.release(connection)

        await asyncio.gather(*(one() for _ in range(50)))
        assert len(peer.transactions) == 50
        assert peer.most_connected == permits.most == 3


async def test_the_line_goes_by_class_and_then_by_time() -> None:
    async with SmtpPeer() as peer, pool(connections=1) as connections:
        held = await lease(connections, wanted(peer))
        served: list[str] = []

        async def stand(name: str, mail_class: MailClass) -> None:
            connection = await lease(connections, wanted(peer, mail_class))
            served.append(name)
            connections.release(connection)

        tasks = []
        for name, mail_class in (
            ("m1", MailClass.MARKETING),
            ("s1", MailClass.SERVICE),
            ("m2", MailClass.MARKETING),
            ("t1", MailClass.TRANSACTIONAL),
            ("s2", MailClass.SERVICE),
        ):
            tasks.append(asyncio.create_task(stand(name, mail_class)))
            await asyncio.sleep(0)
        assert connections.stats()["waiting"] == 5
        connections.release(held)
        await asyncio.gather(*tasks)
        assert served == ["t1", "s1", "s2", "m1", "m2"]
        assert len(peer.sessions) == 1


async def test_who_leaves_the_line_leaves_no_gap() -> None:
    async with SmtpPeer() as peer, pool(connections=1) as connections:
        held = await lease(connections, wanted(peer))
        gone, late, last = [asyncio.create_task(lease(connections, wanted(peer))) for _ in range(3)]
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        connections.release(held)
        late.cancel()  # it has been handed the connection and does not know yet
        await asyncio.gather(late, return_exceptions=True)
        assert await last is held
        connections.release(held)


async def test_who_leaves_the_line_as_the_turn_comes() -> None:
    async with SmtpPeer() as peer, pool(connections=1) as connections:
        held = await lease(connections, wanted(peer))
        gone, last = [asyncio.create_task(lease(connections, wanted(peer))) for _ in range(2)]
        await asyncio.sleep(0)
        gone.cancel()
        connections.release(held)
        assert await last is held
        await asyncio.wait([gone])
        assert gone.cancelled()
        connections.release(held)


async def test_who_leaves_with_the_right_to_open_passes_it_on() -> None:
    async with SmtpPeer() as peer, pool(connections=1) as connections:
        held = await lease(connections, wanted(peer))
        late, last = [asyncio.create_task(lease(connections, wanted(peer))) for _ in range(2)]
        await asyncio.sleep(0)
        connections._lost(held)  # what the loop calls when the peer is gone
        held.abort()
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        connections.release(await last)


async def test_a_lost_connection_makes_room() -> None:
    async with SmtpPeer(script={"MAIL": [Reset()]}) as peer, pool(connections=1) as connections:
        first = await lease(connections, wanted(peer))
        waiting = asyncio.create_task(lease(connections, wanted(peer)))
        await asyncio.sleep(0)
        assert not (await first.send(MAIL, RCPT, CONTENT)).answer[0].ok
        connections.release(first)
        second = await waiting
        assert second is not first
        connections.release(second)


async def test_an_idle_connection_that_the_peer_closes_is_gone() -> None:
    async with SmtpPeer() as peer, pool() as connections:
        connection = await lease(connections, wanted(peer))
        connections.release(connection)
        await peer.stop()
        await until(lambda: connections.stats()["open"] == 0)
        assert connections.idle(KEY) is None


async def test_an_idle_connection_that_says_421_is_not_used() -> None:
    gate = asyncio.Event()
    async with SmtpPeer() as peer, pool() as connections:
        connection = await lease(connections, wanted(peer))
        connections.release(connection)
        connection.data_received(b"421 4.4.2 idle too long\r\n")
        assert connections.idle(KEY) is None
        await until(lambda: connections.stats()["open"] == 0)
        gate.set()


async def test_messages_per_connection() -> None:
    async with SmtpPeer() as peer, pool(messages_per_connection=2) as connections:
        for _ in range(5):
            connection = connections.idle(KEY) or await lease(connections, wanted(peer))
            await use(connection)
            connections.release(connection)
        assert len(peer.sessions) == 3
        await peer.sessions[0].ended.wait()
        assert peer.sessions[0].commands[-1] == "QUIT"


async def test_idle_connections_say_good_bye_and_lanes_are_forgotten() -> None:
    permits = CountingPermits()
    async with SmtpPeer() as peer, pool(permits, idle=0.02) as connections:
        connections.release(await lease(connections, wanted(peer)))
        await peer.sessions[0].ended.wait()
        assert peer.sessions[0].commands[-1] == "QUIT"
        await until(lambda: not connections._lanes)
        assert not +permits.held


async def test_permits_are_asked_for_again() -> None:
    permits = CountingPermits(limit=0)
    async with SmtpPeer() as peer, pool(permits) as connections:
        tasks = [asyncio.create_task(lease(connections, wanted(peer))) for _ in range(5)]
        await until(lambda: permits.refused >= 6)
        assert permits.refused < 20, "the head of the line asks, not everybody"
        permits.limit = 3
        await until(lambda: sum(task.done() for task in tasks) == 3)
        assert permits.most == 3
        for task in tasks:
            if task.done():
                connections.release(task.result())
        for connection in await asyncio.gather(*tasks[3:]):
            connections.release(connection)
        assert len(peer.sessions) == 3


async def test_only_transactional_mail_asks_for_a_permit_that_cannot_wait() -> None:
    asked: list[bool] = []

    class Listening(CountingPermits):
        async def acquire(self, source: str, site: str, limit: int, *, urgent: bool) -> bool:
            asked.append(urgent)
            return await super().acquire(source, site, limit, urgent=urgent)

    async with SmtpPeer() as peer, pool(Listening()) as connections:
        for mail_class in MailClass:
            await lease(connections, wanted(peer, mail_class))
        assert asked == [True, False, False]


async def test_transactional_mail_goes_first_where_others_wait_for_permits() -> None:
    class Down(CountingPermits):
        async def acquire(self, source: str, site: str, limit: int, *, urgent: bool) -> bool:
            return urgent and await super().acquire(source, site, limit, urgent=urgent)

    async with SmtpPeer() as peer, pool(Down(), connections=1) as connections:
        waiting = asyncio.create_task(connections.lease(wanted(peer, MailClass.MARKETING)))
        await until(lambda: connections.stats()["waiting"])
        connection = await lease(connections, wanted(peer))
        assert not waiting.done()
        connections.release(connection)
        connections.release(await lease_of(waiting))


async def lease_of(task: "asyncio.Task[Connection | Outcome]") -> Connection:
    connection = await task
    assert isinstance(connection, Connection)
    return connection


async def test_a_failure_of_permits_is_ours_and_leaves_no_slot_taken() -> None:
    class Broken(CountingPermits):
        async def acquire(self, source: str, site: str, limit: int, *, urgent: bool) -> bool:
            raise OSError("state is gone")

    async with SmtpPeer() as peer, pool(Broken(), connections=1) as connections:
        for _ in range(3):
            with pytest.raises(OSError, match="state is gone"):
                await connections.lease(wanted(peer))


async def test_next_host_on_failure() -> None:
    async with (
        SmtpPeer() as good,
        SmtpPeer(host="127.0.0.2", port=good.port, script={"CONNECT": "554 no"}) as bad,
        pool() as connections,
    ):
        connection = await lease(connections, wanted(good, hosts=("127.0.0.3", bad.host, good.host)))
        assert connection.target.host == good.host
        connections.release(connection)


async def test_all_hosts_fail_and_all_in_line_hear_it() -> None:
    gate = asyncio.Event()
    async with (
        SmtpPeer(script={"CONNECT": Wait(gate, "554 5.3.2 no service")}) as peer,
        pool(connections=2) as connections,
    ):
        tasks = [asyncio.create_task(connections.lease(wanted(peer))) for _ in range(10)]
        await until(lambda: len(peer.sessions) == 2)
        gate.set()
        outcomes = await asyncio.gather(*tasks)
        assert len(peer.sessions) == 2, "who waited did not try once more"
        for outcome in outcomes:
            assert isinstance(outcome, Outcome)
            assert (outcome.reply.code, outcome.scope, outcome.permanent) == (554, Scope.SITE, False)
        assert len({id(outcome) for outcome in outcomes}) == 10, "each has its own"


async def test_a_long_silence_answers_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.egress.connections.SLOW_FAILURE", 0.1)
    async with SmtpPeer(script={"CONNECT": [Silence()]}) as peer, pool(timeouts=IMPATIENT, idle=0.05) as connections:
        outcomes = [await connections.lease(wanted(peer)) for _ in range(2)]
        assert all(isinstance(outcome, Outcome) and outcome.scope is Scope.SITE for outcome in outcomes)
        assert len(peer.sessions) == 1
        await until(lambda: not connections._lanes)
        connections.release(await lease(connections, wanted(peer)))


async def test_a_quick_failure_is_tried_again_at_once() -> None:
    async with SmtpPeer(script={"CONNECT": [Close()]}) as peer, pool() as connections:
        assert isinstance(await connections.lease(wanted(peer)), Outcome)
        connections.release(await lease(connections, wanted(peer)))


async def test_a_slow_address_is_tried_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.egress.dialer.SLOW_FAILURE", 0.1)
    monkeypatch.setattr("relay.egress.dialer.MAX_SLOW", 1)
    async with (
        SmtpPeer() as good,
        SmtpPeer(host="127.0.0.2", port=good.port, script={"CONNECT": Silence()}) as slow,
        pool(timeouts=IMPATIENT) as connections,
    ):
        want = wanted(good, hosts=(slow.host, good.host))
        for _ in range(3):
            await lease(connections, want)
        assert len(slow.sessions) == 1
        connections._dialer._remember_slow("127.0.0.9", 0.0)
        assert connections._dialer._slow == {"127.0.0.9": 0.0}, "bounded"


async def test_a_source_reaches_only_its_own_family() -> None:
    async with SmtpPeer() as peer, pool() as connections:
        outcome = await connections.lease(wanted(peer, source=Source("127.0.0.1", ""), hosts=("::1",)))
        assert isinstance(outcome, Outcome)
        assert (outcome.scope, outcome.reply.code) == (Scope.SOURCE, 451)


async def test_fresh_means_fresh() -> None:
    async with SmtpPeer() as peer, pool(connections=1) as connections:
        stale = await lease(connections, wanted(peer))
        connections.release(stale)
        fresh = await lease(connections, wanted(peer, fresh=True))
        assert fresh is not stale
        connections.release(fresh)


async def test_an_avoided_host_is_avoided() -> None:
    async with SmtpPeer() as one, SmtpPeer(host="127.0.0.2", port=one.port) as two, pool(connections=1) as connections:
        first = await lease(connections, wanted(one, hosts=(one.host, two.host)))
        connections.release(first)
        other = await lease(connections, wanted(one, hosts=(one.host, two.host), avoid=(one.host,)))
        assert other.target.host == two.host
        connections.release(other)


async def test_close_says_good_bye_and_counts_what_is_in_doubt() -> None:
    permits = CountingPermits()
    async with SmtpPeer(script={"END": ["250 ok", Silence()]}) as peer, pool(permits, connections=2) as connections:
        idle, busy = [await lease(connections, wanted(peer)) for _ in range(2)]
        await use(idle)
        connections.release(idle)
        sending = asyncio.create_task(busy.send(MAIL, RCPT, CONTENT))
        await until(lambda: connections.awaiting_final == 1)
        waiting = asyncio.create_task(connections.lease(wanted(peer, fresh=True)))
        await asyncio.sleep(0)
        assert await connections.close(0.2) == 1
        reply, command = (await sending).answer
        assert command == "END"
        assert "may have been delivered" in reply.text
        assert waiting.cancelled()
        with pytest.raises(asyncio.CancelledError):
            await connections.lease(wanted(peer))
        assert connections.stats()["open"] == 0
        await peer.sessions[0].ended.wait()
        assert peer.sessions[0].commands[-1] == "QUIT"


async def test_close_waits_for_what_ends_in_time() -> None:
    gate = asyncio.Event()
    async with SmtpPeer(script={"END": Wait(gate, "250 ok")}) as peer, pool() as connections:
        busy = await lease(connections, wanted(peer))

        async def work() -> None:
            await use(busy)
            connections.release(busy)

        sending = asyncio.create_task(work())
        await until(lambda: connections.awaiting_final == 1)
        closing = asyncio.create_task(connections.close(10))
        await asyncio.sleep(0)
        gate.set()
        assert await closing == 0
        await sending


async def test_who_is_refused_a_permit_takes_what_came_free_meanwhile() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    class Hesitant(CountingPermits):
        async def acquire(self, source: str, site: str, limit: int, *, urgent: bool) -> bool:
            if not self.held[source, site]:
                return await super().acquire(source, site, limit, urgent=urgent)
            asked.set()
            await answer.wait()
            return False

    async with SmtpPeer() as peer, pool(Hesitant()) as connections:
        first = await lease(connections, wanted(peer))
        second = asyncio.create_task(lease(connections, wanted(peer)))
        await asked.wait()
        connections.release(first)
        answer.set()
        assert await second is first
        connections.release(first)


async def test_what_opens_while_we_close_is_closed() -> None:
    gate = asyncio.Event()
    async with SmtpPeer(script={"CONNECT": Wait(gate, "220 peer.test")}) as peer, pool() as connections:
        opening = asyncio.create_task(connections.lease(wanted(peer)))
        await until(lambda: peer.sessions)
        await connections.close(1)
        gate.set()
        await asyncio.wait([opening])
        assert opening.cancelled()
        await peer.sessions[0].ended.wait()
        assert peer.sessions[0].commands[-1] == "QUIT"
        await until(lambda: connections.stats()["open"] == 0)


async def test_a_second_host_that_fails_says_nothing_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.egress.connections.SLOW_FAILURE", 0.0)
    async with SmtpPeer() as peer, pool(connections=1) as connections:
        hosts = (peer.host, "127.0.0.2")
        assert isinstance(await connections.lease(wanted(peer, hosts=hosts, avoid=(peer.host,))), Outcome)
        connections.release(await lease(connections, wanted(peer, hosts=hosts)))


async def test_a_cancelled_opening_gives_everything_back() -> None:
    permits = CountingPermits()
    async with SmtpPeer(script={"CONNECT": [Silence()]}) as peer, pool(permits, connections=1) as connections:
        opening = asyncio.create_task(connections.lease(wanted(peer)))
        await until(lambda: peer.sessions)
        async with asyncio.timeout(10):
            while not opening.done():  # CPython before 3.12 loses one that comes just as wait_for() ends
                opening.cancel()
                await asyncio.sleep(0)
        assert opening.cancelled()
        assert not +permits.held
        connections.release(await lease(connections, wanted(peer)))


async def test_who_is_refused_a_permit_while_we_close_is_cancelled() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    class Late(CountingPermits):
        async def acquire(self, source: str, site: str, limit: int, *, urgent: bool) -> bool:
            asked.set()
            await answer.wait()
            return False

    async with SmtpPeer() as peer, pool(Late()) as connections:
        asking = asyncio.create_task(connections.lease(wanted(peer)))
        await asked.wait()
        await connections.close(1)
        answer.set()
        await asyncio.wait([asking])
        assert asking.cancelled()
        assert peer.sessions == []


# ------------------------------------------------------------------------------------------------ reconfigure


async def test_new_room_is_used_at_once() -> None:
    async with SmtpPeer() as peer, pool(connections=1) as connections:
        tasks = [asyncio.create_task(lease(connections, wanted(peer))) for _ in range(4)]
        await until(lambda: connections.stats()["waiting"] == 3)
        connections.reconfigure(EgressSettings("relay.test", connections=3))
        await until(lambda: sum(task.done() for task in tasks) == 3)
        assert connections.stats()["waiting"] == 1
        for task in tasks[:3]:
            connections.release(task.result())
        connections.release(await tasks[3])
        assert len(peer.sessions) == 3


async def test_too_many_connections_close_as_they_come_back() -> None:
    async with SmtpPeer() as peer, pool(connections=4, share=3) as connections:
        first, second, third = [await lease(connections, wanted(peer)) for _ in range(3)]
        waiting = asyncio.create_task(lease(connections, wanted(peer)))
        await asyncio.sleep(0)
        connections.reconfigure(EgressSettings("relay.test", connections=4, share=1))
        for one, left in ((first, 2), (second, 1)):
            connections.release(one)
            await until(lambda left=left: connections.stats()["open"] == left)  # type: ignore[misc]
        connections.release(third)
        assert await waiting is third
        connections.release(third)
        assert connections.idle(KEY) is third
        assert len(peer.sessions) == 3


async def test_a_kept_connection_goes_on_under_the_new_numbers() -> None:
    async with SmtpPeer() as peer, pool() as connections:
        kept = await lease(connections, wanted(peer))
        connections.reconfigure(EgressSettings("relay.test", messages_per_connection=2))
        for _ in range(2):
            await use(kept)
            connections.release(kept)
        await peer.sessions[0].ended.wait()
        assert peer.sessions[0].commands[-1] == "QUIT"
