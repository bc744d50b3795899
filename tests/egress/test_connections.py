"""The pool of connections: reuse, limits, permits, the line, closing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from relay.egress.connection import Connection
from relay.egress.connections import Connections, key_of
from relay.egress.dialer import Wanted
from relay.egress.mx import MxHost, Route
from relay.egress.pools import Source
from relay.egress.quay import Quay
from relay.egress.security.demands import Need, uniform
from relay.egress.settings import EgressSettings, Share
from relay.identity import Rate
from relay.message import MailClass
from relay.outcome import Outcome, Scope
from relay.pause import Later
from relay.shaping.shape import Beside, Shape
from tests.support.egress import HERE, IMPATIENT, CountingPermits, until
from tests.support.smtp_peer import Close, Reset, Silence, SmtpPeer, Wait

MAIL, RCPT, CONTENT = b"MAIL FROM:<a@a.test>\r\n", b"RCPT TO:<b@b.test>\r\n", (b"x\r\n", b".\r\n")
KEY = key_of(HERE, "example.test", "opportunistic")

ANY = uniform(Need.TRY)


def wanted(
    peer: SmtpPeer, mail_class: MailClass = MailClass.TRANSACTIONAL, *, hosts: tuple[str, ...] = (), **more: Any
) -> Wanted:
    """`connections`, `messages_per_connection`: of its terms."""
    route = Route(tuple(MxHost(host, 0, (host,)) for host in hosts or (peer.host,)), peer.port)
    terms = Shape(more.pop("connections", 10), more.pop("messages_per_connection", 100))
    return Wanted(more.pop("source", HERE), "example.test", "example.test", route, mail_class, terms, ANY, **more)


@asynccontextmanager
async def pool(permits: CountingPermits | None = None, **changed: Any) -> AsyncIterator[Connections]:
    permits = permits or CountingPermits()
    connections = Connections(EgressSettings("relay.test", **changed), permits, permits)
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
        assert connections.idle(KEY, urgent=True) is second
        assert connections.idle(KEY, urgent=True) is first
        assert connections.idle(KEY, urgent=True) is None
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
    async with SmtpPeer() as peer, pool(permits) as connections:

        async def one() -> None:
            connection = await lease(connections, wanted(peer, connections=3))
            await use(connection)
            connections.release(connection)

        await asyncio.gather(*(one() for _ in range(50)))
        assert len(peer.transactions) == 50
        assert peer.most_connected == permits.most == 3


async def test_the_line_goes_by_class_and_then_by_time() -> None:
    async with SmtpPeer() as peer, pool() as connections:
        held = await lease(connections, wanted(peer, connections=1))
        served: list[str] = []

        async def stand(name: str, mail_class: MailClass) -> None:
            connection = await lease(connections, wanted(peer, mail_class, connections=1))
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
    async with SmtpPeer() as peer, pool() as connections:
        held = await lease(connections, wanted(peer, connections=1))
        gone, late, last = [asyncio.create_task(lease(connections, wanted(peer, connections=1))) for _ in range(3)]
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        connections.release(held)
        late.cancel()  # it has been handed the connection and does not know yet
        await asyncio.gather(late, return_exceptions=True)
        assert await last is held
        connections.release(held)


async def test_who_leaves_the_line_as_the_turn_comes() -> None:
    async with SmtpPeer() as peer, pool() as connections:
        held = await lease(connections, wanted(peer, connections=1))
        gone, last = [asyncio.create_task(lease(connections, wanted(peer, connections=1))) for _ in range(2)]
        await asyncio.sleep(0)
        gone.cancel()
        connections.release(held)
        assert await last is held
        await asyncio.wait([gone])
        assert gone.cancelled()
        connections.release(held)


async def test_who_leaves_with_the_right_to_open_passes_it_on() -> None:
    async with SmtpPeer() as peer, pool() as connections:
        held = await lease(connections, wanted(peer, connections=1))
        late, last = [asyncio.create_task(lease(connections, wanted(peer, connections=1))) for _ in range(2)]
        await asyncio.sleep(0)
        connections._lost(held)  # what the loop calls when the peer is gone
        held.abort()
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        connections.release(await last)


async def test_a_lost_connection_makes_room() -> None:
    async with SmtpPeer(script={"MAIL": [Reset()]}) as peer, pool() as connections:
        first = await lease(connections, wanted(peer, connections=1))
        waiting = asyncio.create_task(lease(connections, wanted(peer, connections=1)))
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
        assert connections.idle(KEY, urgent=True) is None


async def test_an_idle_connection_that_says_421_is_not_used() -> None:
    gate = asyncio.Event()
    async with SmtpPeer() as peer, pool() as connections:
        connection = await lease(connections, wanted(peer))
        connections.release(connection)
        connection.data_received(b"421 4.4.2 idle too long\r\n")
        assert connections.idle(KEY, urgent=True) is None
        await until(lambda: connections.stats()["open"] == 0)
        gate.set()


async def test_messages_per_connection() -> None:
    async with SmtpPeer() as peer, pool() as connections:
        for _ in range(5):
            connection = connections.idle(KEY, urgent=True) or await lease(
                connections, wanted(peer, messages_per_connection=2)
            )
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


async def test_many_lanes_are_looked_at_in_several_turns_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.egress.connections.SWEPT", 2)
    async with SmtpPeer() as peer, pool() as connections:
        made = [
            await lease(connections, replace(wanted(peer), site=f"{number}.test", key=f"{number}.test"))
            for number in range(7)
        ]
        for connection in made[1:]:
            connection.abort()
        await until(lambda: "open=1" in repr(connections))
        assert len(connections._lanes) == 7
        names = set(connections._quays)
        connections.reconfigure(EgressSettings("relay.test", idle=0.02))
        connections._sweep()
        assert len(connections._lanes) >= 5, "the others in later turns"
        await until(lambda: len(connections._lanes) == 1 and len(connections._quays) < len(names))
        assert {quay.name for quay in connections._open[made[0]].quays} == set(connections._quays), "where it counts"
        connections.release(made[0])
        await until(lambda: not connections._lanes and not connections._quays)


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
        async def acquire(self, name: str, limit: int, *, urgent: bool) -> bool:
            asked.append(urgent)
            return await super().acquire(name, limit, urgent=urgent)

    async with SmtpPeer() as peer, pool(Listening()) as connections:
        for mail_class in MailClass:
            await lease(connections, wanted(peer, mail_class))
        assert asked == [True, False, False]


async def test_transactional_mail_goes_first_where_others_wait_for_permits() -> None:
    class Down(CountingPermits):
        async def acquire(self, name: str, limit: int, *, urgent: bool) -> bool:
            return urgent and await super().acquire(name, limit, urgent=urgent)

    async with SmtpPeer() as peer, pool(Down()) as connections:
        waiting = asyncio.create_task(connections.lease(wanted(peer, MailClass.MARKETING, connections=1)))
        await until(lambda: connections.stats()["waiting"])
        connection = await lease(connections, wanted(peer, connections=1))
        assert not waiting.done()
        connections.release(connection)
        connections.release(await lease_of(waiting))


async def lease_of(task: "asyncio.Task[Connection | Outcome | Later]") -> Connection:
    connection = await task
    assert isinstance(connection, Connection)
    return connection


async def test_a_failure_of_permits_is_ours_and_leaves_no_slot_taken() -> None:
    class Broken(CountingPermits):
        async def acquire(self, name: str, limit: int, *, urgent: bool) -> bool:
            raise OSError("state is gone")

    async with SmtpPeer() as peer, pool(Broken()) as connections:
        for _ in range(3):
            with pytest.raises(OSError, match="state is gone"):
                await connections.lease(wanted(peer, connections=1))


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
        pool() as connections,
    ):
        tasks = [asyncio.create_task(connections.lease(wanted(peer, connections=2))) for _ in range(10)]
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
        assert (outcome.scope, outcome.reply.code) == (Scope.SITE, 451)


async def test_fresh_means_fresh() -> None:
    async with SmtpPeer() as peer, pool() as connections:
        stale = await lease(connections, wanted(peer, connections=1))
        connections.release(stale)
        fresh = await lease(connections, wanted(peer, fresh=True, connections=1))
        assert fresh is not stale
        connections.release(fresh)


async def test_an_avoided_host_is_avoided() -> None:
    async with SmtpPeer() as one, SmtpPeer(host="127.0.0.2", port=one.port) as two, pool() as connections:
        first = await lease(connections, wanted(one, hosts=(one.host, two.host), connections=1))
        connections.release(first)
        other = await lease(connections, wanted(one, hosts=(one.host, two.host), avoid=(one.host,), connections=1))
        assert other.target.host == two.host
        connections.release(other)


async def test_close_says_good_bye_and_counts_what_is_in_doubt() -> None:
    permits = CountingPermits()
    async with SmtpPeer(script={"END": ["250 ok", Silence()]}) as peer, pool(permits) as connections:
        idle, busy = [await lease(connections, wanted(peer, connections=2)) for _ in range(2)]
        await use(idle)
        connections.release(idle)
        sending = asyncio.create_task(busy.send(MAIL, RCPT, CONTENT))
        await until(lambda: connections.awaiting_final == 1)
        waiting = asyncio.create_task(connections.lease(wanted(peer, fresh=True, connections=2)))
        await asyncio.sleep(0)
        assert await connections.close(0.2) == 1
        reply, command = (await sending).answer
        assert command == "END"
        assert "may have been delivered" in reply.text
        assert waiting.cancelled()
        with pytest.raises(asyncio.CancelledError):
            await connections.lease(wanted(peer, connections=2))
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
        async def acquire(self, name: str, limit: int, *, urgent: bool) -> bool:
            if not self.held[name]:
                return await super().acquire(name, limit, urgent=urgent)
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
    async with SmtpPeer() as peer, pool() as connections:
        hosts = (peer.host, "127.0.0.2")
        assert isinstance(
            await connections.lease(wanted(peer, hosts=hosts, avoid=(peer.host,), connections=1)), Outcome
        )
        connections.release(await lease(connections, wanted(peer, hosts=hosts, connections=1)))


async def test_a_cancelled_opening_gives_everything_back() -> None:
    permits = CountingPermits()
    async with SmtpPeer(script={"CONNECT": [Silence()]}) as peer, pool(permits) as connections:
        opening = asyncio.create_task(connections.lease(wanted(peer, connections=1)))
        await until(lambda: peer.sessions)
        async with asyncio.timeout(10):
            while not opening.done():  # CPython before 3.12 loses one that comes just as wait_for() ends
                opening.cancel()
                await asyncio.sleep(0)
        assert opening.cancelled()
        assert not +permits.held
        connections.release(await lease(connections, wanted(peer, connections=1)))


async def test_who_is_refused_a_permit_while_we_close_is_cancelled() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    class Late(CountingPermits):
        async def acquire(self, name: str, limit: int, *, urgent: bool) -> bool:
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
    async with SmtpPeer() as peer, pool() as connections:
        tasks = [asyncio.create_task(lease(connections, wanted(peer, connections=1))) for _ in range(4)]
        await until(lambda: connections.stats()["waiting"] == 3)
        newest = asyncio.create_task(lease(connections, wanted(peer, connections=3)))
        await until(lambda: sum(task.done() for task in tasks) == 3)
        assert connections.stats()["waiting"] == 2
        for task in tasks[:3]:
            connections.release(task.result())
        connections.release(await tasks[3])
        connections.release(await newest)
        assert len(peer.sessions) == 3


async def test_too_many_connections_close_as_they_come_back() -> None:
    async with SmtpPeer() as peer, pool() as connections:
        first, second, third = [await lease(connections, wanted(peer, connections=3)) for _ in range(3)]
        waiting = asyncio.create_task(lease(connections, wanted(peer, connections=1)))
        await asyncio.sleep(0)
        for one, left in ((first, 2), (second, 1)):
            connections.release(one)
            await until(lambda left=left: connections.stats()["open"] == left)  # type: ignore[misc]
        connections.release(third)
        assert await waiting is third
        connections.release(third)
        assert connections.idle(KEY, urgent=True) is third
        assert len(peer.sessions) == 3


async def test_a_kept_connection_goes_on_under_the_new_numbers() -> None:
    async with SmtpPeer() as peer, pool() as connections:
        kept = await lease(connections, wanted(peer))
        await use(kept)
        connections.release(kept)
        assert await lease(connections, wanted(peer, messages_per_connection=2)) is kept
        connections.reconfigure(EgressSettings("relay.test", idle=1))
        await use(kept)
        connections.release(kept)
        await peer.sessions[0].ended.wait()
        assert peer.sessions[0].commands[-1] == "QUIT"


# ------------------------------------------------------------------------------------------- lanes of one site


def of(domain: str, peer: SmtpPeer, terms: Shape, mail_class: MailClass = MailClass.MARKETING, **more: Any) -> Wanted:
    """A connection to the same site by a way of its own."""
    route = Route((MxHost(peer.host, 0, (peer.host,)),), peer.port)
    return Wanted(more.pop("source", HERE), "example.test", domain, route, mail_class, terms, ANY, **more)


async def test_lanes_of_a_site_share_its_permits_and_an_idle_sibling_gives_up_its_place() -> None:
    permits, two = CountingPermits(), Shape(2, 100)
    async with SmtpPeer() as peer, pool(permits) as connections:
        first, second = [await lease(connections, of(name, peer, two)) for name in ("a", "b")]
        connections.release(first)
        third = await lease(connections, of("c", peer, two))
        await peer.sessions[0].ended.wait()
        assert peer.sessions[0].commands[-1] == "QUIT"
        assert (permits.most, permits.held["/example.test"]) == (2, 2)
        connections.release(second)
        connections.release(third)
        assert connections.stats() == {"open": 2, "idle": 2, "waiting": 0, "awaiting_final": 0}


async def test_a_permit_that_others_have_is_found_among_our_own_idle_ones() -> None:
    permits = CountingPermits(limit=1)
    async with SmtpPeer() as peer, pool(permits) as connections:
        connections.release(await lease(connections, of("a", peer, Shape(5, 100))))
        connections.release(await lease(connections, of("b", peer, Shape(5, 100))))
        assert (permits.refused, len(peer.sessions)) == (1, 2)


async def test_what_comes_free_while_another_lane_waits_is_given_up() -> None:
    one = Shape(1, 100)
    async with SmtpPeer() as peer, pool() as connections:
        held = await lease(connections, of("a", peer, one))
        waiting = asyncio.create_task(lease(connections, of("b", peer, one)))
        await until(lambda: connections.stats()["waiting"])
        connections.release(held)
        connections.release(await waiting)
        assert peer.most_connected == 1


async def test_lanes_take_turns_and_a_busy_one_keeps_a_connection_for_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    one, served = Shape(1, 100), list[str]()
    async with SmtpPeer() as peer, pool() as connections:
        held = await lease(connections, of("a", peer, one))

        async def stand(name: str) -> None:
            connection = await lease(connections, of(name, peer, one))
            served.append(name)
            await use(connection)
            connections.release(connection)

        tasks = [asyncio.create_task(stand(name)) for name in ("a", "a", "b", "b", "c")]
        await until(lambda: connections.stats()["waiting"] == 5)
        connections.release(held)
        await asyncio.gather(*tasks[:2])
        assert served[:2] == ["a", "a"], "its own line comes first, within its turn"
        await asyncio.gather(*tasks)
        assert served == ["a", "a", "b", "b", "c"]
        assert len(peer.sessions) == 3
        monkeypatch.setattr("relay.egress.connections.TURN", 0.0)
        served.clear()
        held = await lease(connections, of("a", peer, one))
        tasks = [asyncio.create_task(stand(name)) for name in ("a", "a", "b", "b", "c")]
        await until(lambda: connections.stats()["waiting"] == 5)
        connections.release(held)
        await asyncio.gather(*tasks)
        assert served == ["a", "b", "c", "a", "b"]


async def test_a_site_s_own_limit_holds_over_all_sources() -> None:
    permits = CountingPermits()
    terms = Shape(3, 100, site_connections=4)
    sources = [Source("127.0.0.1", ""), Source("127.0.0.2", "")]
    async with SmtpPeer() as peer, pool(permits) as connections:

        async def one(source: Source) -> None:
            connection = await lease(connections, of("a", peer, terms, source=source))
            await use(connection)
            connections.release(connection)

        await asyncio.gather(*(one(sources[number % 2]) for number in range(60)))
        assert (len(peer.transactions), peer.most_connected) == (60, 4)
        held = [await lease(connections, of("a", peer, terms, source=sources[0])) for _ in range(3)]
        fourth = await lease(connections, of("a", peer, terms, source=sources[1]))
        waiting = asyncio.create_task(lease(connections, of("a", peer, terms, source=sources[1])))
        await until(lambda: connections.stats()["waiting"])
        assert peer.connected == 4
        connections.release(held[0])  # another source's: its place at the site is what is wanted
        fifth = await waiting
        for connection in (*held[1:], fourth, fifth):
            connections.release(connection)


async def test_a_domain_keeps_its_own_limits_beside_those_of_its_site() -> None:
    permits = CountingPermits()
    slow = Shape(5, 100, alone=Beside("@slow.example", connections=1))
    async with SmtpPeer() as peer, pool(permits) as connections:
        held = await lease(connections, of("slow.example", peer, slow))
        waiting = asyncio.create_task(lease(connections, of("slow.example", peer, slow)))
        others = [await lease(connections, of("quick.example", peer, Shape(5, 100))) for _ in range(4)]
        assert permits.held == {"/example.test": 5, "/@slow.example": 1}
        assert not waiting.done()
        connections.release(held)
        for connection in (await waiting, *others):
            connections.release(connection)


async def test_a_domain_with_limits_of_its_own_uses_no_kept_connection_of_another() -> None:
    one = Shape(5, 100, alone=Beside("@slow.example", connections=1))
    async with SmtpPeer() as peer, pool() as connections:
        others = [await lease(connections, of("way", peer, Shape(5, 100))) for _ in range(2)]
        for connection in others:
            connections.release(connection)
        first = await lease(connections, of("way", peer, one))
        second = asyncio.create_task(lease(connections, of("way", peer, one)))
        await until(lambda: connections.stats()["waiting"])
        assert first not in others, "it would not be counted for the domain"
        connections.release(first)
        assert await second is first
        connections.release(first)


def opening(count: int = 1, **more: Any) -> Shape:
    """Terms of a site to which few connections may be opened."""
    return Shape(5, 100, connection_rate=Rate(count, 3600, "", f"{count}/hour"), **more)


async def test_who_may_open_no_connection_for_long_is_told_when_to_come_again() -> None:
    permits, terms = CountingPermits(), opening()
    permits.waits = [0, 60_000, 60_000]
    async with SmtpPeer() as peer, pool(permits) as connections:
        held = await lease(connections, of("a", peer, terms))
        mate = asyncio.create_task(connections.lease(of("a", peer, terms)))
        other = await connections.lease(of("b", peer, terms))
        assert isinstance(other, Later)
        assert 59_000 < other.wait <= 60_001
        assert other.why == "new connections: 1/hour"
        asked = len(permits.taken)
        assert isinstance(await connections.lease(of("b", peer, terms)), Later)
        assert isinstance(await connections.lease(of("c", peer, terms)), Later)
        assert len(permits.taken) == asked, "it is known"
        assert not mate.done(), "this one's comes free"
        connections.release(held)
        assert await mate is held
        waiting = asyncio.create_task(connections.lease(of("a", peer, terms)))
        await until(lambda: connections.stats()["waiting"])
        held.abort()
        assert isinstance(await waiting, Later), "that was the last one"
        assert connections.stats()["waiting"] == 0


async def test_all_who_stand_in_line_for_it_are_told() -> None:
    permits, terms = CountingPermits(), opening(reserved=1)
    permits.waits = [60_000]
    async with SmtpPeer() as peer, pool(permits) as connections:
        crowd = [asyncio.create_task(connections.lease(of(way, peer, terms))) for way in "aabb"]
        assert [type(one) for one in await asyncio.gather(*crowd)] == [Later] * 4
        urgent = await lease(connections, of("a", peer, terms, MailClass.TRANSACTIONAL))
        connections.release(urgent)


async def test_of_the_rate_of_new_connections_a_part_is_reserved() -> None:
    permits, terms = CountingPermits(), opening(10, reserved=1)
    async with SmtpPeer() as peer, pool(permits, urgent_sources=frozenset({""})) as connections:
        connections.release(await lease(connections, of("a", peer, terms)))
        assert permits.reserved == {"open//example.test": 2}


async def test_a_domain_that_may_open_no_more_holds_up_no_other_of_its_site() -> None:
    permits, hourly = CountingPermits(), Rate(1, 3600, "", "1/hour")
    permits.waits = [3_600_000]
    slow = Shape(5, 100, alone=Beside("@slow.example", connections=5, connection_rate=hourly))
    async with SmtpPeer() as peer, pool(permits) as connections:
        assert isinstance(await connections.lease(of("slow.example", peer, slow)), Later)
        connections.release(await lease(connections, of("quick.example", peer, Shape(5, 100))))
        assert isinstance(await connections.lease(of("slow.example", peer, slow)), Later)


async def test_reserved_connections_are_for_transactional_mail_alone() -> None:
    terms = Shape(3, 100, reserved=1)
    async with SmtpPeer() as peer, pool(urgent_sources=frozenset({""})) as connections:
        bulk = [await lease(connections, of("a", peer, terms)) for _ in range(2)]
        third = asyncio.create_task(lease(connections, of("a", peer, terms)))
        await until(lambda: connections.stats()["waiting"])
        urgent = await lease(connections, of("a", peer, terms, MailClass.TRANSACTIONAL))
        connections.release(urgent)
        key = key_of(HERE, "a", "opportunistic")
        assert connections.idle(key, urgent=False) is None, "idle, but not for them"
        assert connections.idle(key, urgent=True) is urgent
        connections.release(urgent)
        assert not third.done()
        connections.release(bulk[0])
        assert await third is bulk[0]
        for connection in bulk:
            connections.release(connection)
        assert peer.most_connected == 3


async def test_nothing_is_reserved_where_transactional_mail_never_comes() -> None:
    terms = Shape(3, 100, reserved=1)
    async with SmtpPeer() as peer, pool() as connections:
        for connection in [await lease(connections, of("a", peer, terms)) for _ in range(3)]:
            connections.release(connection)


async def test_transactional_mail_does_not_wait_for_another_lane_s_line() -> None:
    one = Shape(1, 100)
    async with SmtpPeer() as peer, pool() as connections:
        held = await lease(connections, of("a", peer, one))
        crowd = [asyncio.create_task(lease(connections, of("a", peer, one))) for _ in range(3)]
        await until(lambda: connections.stats()["waiting"] == 3)
        urgent = asyncio.create_task(lease(connections, of("b", peer, one, MailClass.TRANSACTIONAL)))
        await until(lambda: connections.stats()["waiting"] == 4)
        connections.release(held)
        connections.release(await urgent)
        assert not any(task.done() for task in crowd)
        for task in crowd:
            connections.release(await task)


async def test_new_connections_keep_to_their_rate() -> None:
    permits = CountingPermits()
    rate = Rate(5, 60, "", "5/minute")
    permits.waits = [0, 20]
    terms = Shape(5, 100, connection_rate=rate, alone=Beside("@x", connection_rate=rate))
    async with SmtpPeer() as peer, pool(permits) as connections:
        connection = await lease(connections, of("x", peer, terms))
        assert permits.taken == ["open//example.test", "open//@x", "open//example.test", "open//@x"]
        assert (permits.back, permits.departed) == (["open//example.test"], ["open//example.test", "open//@x"])
        assert len(peer.sessions) == 1
        connections.release(connection)


async def test_each_worker_opens_its_part_and_no_part_is_nothing() -> None:
    assert [[Share(3, number).part(limit) for number in range(3)] for limit in (1, 2, 4, 6)] == [
        [1, 1, 1],
        [1, 1, 1],
        [2, 1, 1],
        [2, 2, 2],
    ]
    quay = Quay("q")
    rooms = []
    for limit, reserved, workers in ((10, 2, 2), (5, 2, 2), (1, 2, 2), (2, 1, 2), (10, 0, 1)):
        quay.allow(limit, reserved, Share(workers))
        rooms.append((quay.room, quay.bulk_room, quay.limit_for(urgent=False), quay.contested))
    assert rooms == [
        (5, 4, 8, False),
        (3, 2, 3, False),
        (1, 1, 1, True),
        (2, 1, 1, False),
        (10, 10, 10, False),
    ]


async def test_where_there_are_fewer_connections_than_workers_each_has_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two workers, one connection: the other asks while the first rests."""
    monkeypatch.setattr("relay.egress.connections.TURN", 0.05)
    monkeypatch.setattr("relay.egress.connections.ASK_AGAIN", 0.02)
    monkeypatch.setattr("relay.egress.connections.REST", 0.04)
    permits = CountingPermits(limit=1)
    served = {"one": 0, "other": 0}
    async with (
        SmtpPeer() as peer,
        pool(permits, share=Share(2, 0)) as one,
        pool(permits, share=Share(2, 1)) as other,
    ):

        async def busy(name: str, connections: Connections) -> None:
            while min(served.values()) < 20:
                connection = await lease(connections, of("a", peer, Shape(1, 100_000)))
                await use(connection)
                served[name] += 1
                connections.release(connection)

        async with asyncio.timeout(20):
            await asyncio.gather(*(busy(name, c) for name, c in (("one", one), ("other", other)) for _ in range(5)))
        await until(lambda: not +permits.held)
        assert peer.most_connected == 1
