"""Nodes that share their State in Redis: one quota for all of them, and what happens when Redis is killed, stopped, emptied."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.support.node import CREDENTIALS, Event, Node, wait_for
from tests.support.redis_server import RedisServer, grants
from tests.support.sink import Sink

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(400)]  # quiet times of ten seconds, places a second apart

QUOTA = 3_600  # an hour: what is over it has places a second apart
LOST = 60  # permits whose answer never came: a worker asks for a few at a time, and each loss counts as used
POOLS = """\
[pool.transactional]
sources = [{ address = "127.0.0.2" }]
[pool.service]
sources = [{ address = "127.0.0.3" }]
[pool.marketing]
sources = [{ address = "127.0.0.4" }]
"""
BULK = "127.0.0.9"
PASSWORD = "s3cret-of-redis"


def node_of(folder: Path, name: str, sink: Sink, redis: RedisServer, place: str = "") -> Node:
    credentials = CREDENTIALS.replace('"transactional"', '"transactional"\nquota = "1000/hour"')
    credentials = credentials.replace('"marketing"', f'"marketing"\nquota = "{QUOTA}/hour"')
    node = Node(
        folder / (place or name),
        delivery=f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"',
        key_for=("test.example",),
        more=f'[state]\nurl = "{redis.url}"\npassword_file = "redis-password"',
        files={"config/pools.toml": POOLS, "policies/credentials.toml": credentials, "redis-password": PASSWORD},
        workers=2,
    )
    config = node.folder / "config" / "postlane.toml"
    config.write_text(config.read_text().replace('name = "test-1"', f'name = "{name}"'))
    return node


def bulk_at(sink: Sink) -> int:
    return sum(message.source == "127.0.0.4" for message in sink.messages)


def waits_long(node: Node, identifier: str) -> bool:
    """It was delivered, or its credential's turn comes in ten minutes or more."""
    last: Event = node.events(id=identifier)[-1]
    soon = datetime.now(UTC) + timedelta(minutes=10)
    return last["type"] == "delivered" or ("until" in last and datetime.fromisoformat(last["until"]) > soon)


def metric(node: Node, name: str) -> set[str]:
    return {line.split()[1] for line in node.page("/metrics").splitlines() if line.startswith(f"{name}{{")}


def shows_state(node: Node, up: int) -> bool:
    return metric(node, "postlane_state_up") == {str(up)}


def test_two_nodes_share_a_quota_also_when_redis_loses_everything(tmp_path: Path) -> None:
    with (
        Sink() as sink,
        RedisServer(tmp_path / "redis", password=PASSWORD) as redis,
        node_of(tmp_path, "relay-1", sink, redis) as one,
        node_of(tmp_path, "relay-2", sink, redis) as other,
    ):
        nodes = (one, other)
        wait_for("all workers to know of each other", lambda: metric(one, "postlane_state_sharers") == {"4"})
        wait_for("new limits to be granted", lambda: grants(redis))
        for number in range(10):
            nodes[number % 2].send([f"r{n}@example.com" for n in range(359)], source=BULK)
        wait_for("most of the quota", lambda: bulk_at(sink) == 3_590, 60)

        redis.kill()
        sent = [(node, node.send(f"later{n}@example.com", source=BULK)) for n in range(7) for node in nodes]
        for node in nodes:
            began = time.monotonic()
            assert node.final(node.send("dana@example.com"))["type"] == "delivered"
            assert time.monotonic() - began < 5, "it did not wait for Redis"
            wait_for("the loss to show", partial(shows_state, node, up=0))
            assert "limits cannot be looked up" in node.page("/readyz")
            status = node.run("status")
            assert "transactional mail goes on" in status.stdout
            assert status.returncode == 1
        assert bulk_at(sink) == 3_590, "the rest waits"

        redis.start()
        wait_for("all to have told what they know", lambda: grants(redis))
        for node in nodes:
            wait_for("State", partial(shows_state, node, up=1))
            assert node.page("/readyz") == "ready\n"
        wait_for("what the quota lets through", lambda: bulk_at(sink) >= QUOTA, 60)
        for node, identifier in sent:
            wait_for("its place", partial(waits_long, node, identifier), 60)
        assert bulk_at(sink) == QUOTA
        ended = [node.events(id=identifier)[-1]["type"] == "delivered" for node, identifier in sent]
        assert ended.count(True) == 10
        queued = sum(len(node.run("queue", "list", "--json").stdout.splitlines()) for node in nodes)
        assert queued == 4, "nothing is lost"
        for node in nodes:
            assert [e["state"] for e in node.events(type="alert", name="state")].count("resolved") >= 1
            assert PASSWORD not in (node.folder / "log").read_text()
        with node_of(tmp_path, "relay-1", sink, redis, place="twin") as twin:
            a_twin_shares_nothing_and_says_so(twin)


def a_twin_shares_nothing_and_says_so(twin: Node) -> None:
    """A second node of the same name: it would take the first one's leases for its own."""
    bulk = twin.send("dana@example.com", source=BULK)
    assert twin.final(twin.send("dana@example.com"))["type"] == "delivered"
    assert shows_state(twin, up=0)
    status = twin.run("status")
    assert 'another node is called "relay-1"' in status.stdout
    assert status.returncode == 1
    assert [event["type"] for event in twin.events(id=bulk)][-1] != "delivered"


def test_a_node_starts_without_redis_and_outlives_one_that_hangs(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis", password=PASSWORD)
    with Sink() as sink, node_of(tmp_path, "relay-1", sink, redis) as node:
        bulk = node.send("dana@example.com", source=BULK)
        assert node.final(node.send("dana@example.com"))["type"] == "delivered"
        assert bulk_at(sink) == 0
        with redis:
            assert node.final(bulk, 60)["type"] == "delivered"
            redis.pause()
            held = node.send("dana@example.com", source=BULK)
            began = time.monotonic()
            assert node.final(node.send("dana@example.com"))["type"] == "delivered"
            assert time.monotonic() - began < 5, "it did not wait for Redis"
            assert bulk_at(sink) == 1
            redis.resume()
            assert node.final(held, 60)["type"] == "delivered"


class Load:
    """Apps that hand in all the time, to each node in turn: bulk by two, and now and then somebody's password."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.bulk = 0
        self.urgent = 0

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(60)

    def _run(self) -> None:
        for number in itertools.count():
            node = self._nodes[number % 2]
            if number % 5 == 0:
                node.send(f"urgent{number}@example.com")
                self.urgent += 1
            else:
                node.send([f"b{number}-{n}@example.com" for n in range(2)], source=BULK)
                self.bulk += 2
            if self._enough.wait(0.2):
                return


def put_off(nodes: Sequence[Node]) -> int:
    """How often the quota has put mail off for long: its places in line, a second apart, are no such thing."""
    soon = datetime.now(UTC) + timedelta(minutes=10)
    events = [event for node in nodes for event in node.events(type="postponed", reason="quota")]
    return sum(datetime.fromisoformat(event["until"]) > soon for event in events)


def test_under_load_redis_stops_dies_and_comes_back_empty(tmp_path: Path) -> None:
    """Counted at the sink: no more than the quota, each message once, and what did not go is still queued."""
    with (
        Sink() as sink,
        RedisServer(tmp_path / "redis", password=PASSWORD) as redis,
        node_of(tmp_path, "relay-1", sink, redis) as one,
        node_of(tmp_path, "relay-2", sink, redis) as other,
    ):
        nodes = (one, other)
        wait_for("all workers to know of each other", lambda: metric(one, "postlane_state_sharers") == {"4"})
        wait_for("new limits to be granted", lambda: grants(redis))
        for number in range(10):
            nodes[number % 2].send([f"r{n}@example.com" for n in range(number * 348, number * 348 + 348)], source=BULK)
        wait_for("most of the quota", lambda: bulk_at(sink) == 3_480, 60)
        with Load(nodes) as load:
            wait_for("bulk to go", lambda: bulk_at(sink) >= 3_490)
            redis.pause()
            live_without(redis, nodes, redis.resume)
            went = bulk_at(sink)
            wait_for("bulk to go again", lambda: bulk_at(sink) >= went + 10, 60)
            redis.kill()
            live_without(redis, nodes, redis.start)
            wait_for("the quota to be used up", lambda: put_off(nodes) >= 10, 120)
            assert QUOTA - LOST <= bulk_at(sink) <= QUOTA
        wait_for("every password", lambda: len(sink.messages) - bulk_at(sink) == load.urgent + 4)
        waiting = [node.run("queue", "list", "--limit", "0", "--json").stdout.splitlines() for node in nodes]
        assert bulk_at(sink) + sum(map(len, waiting)) == 3_480 + load.bulk, "nothing is lost"
        assert bulk_at(sink) <= QUOTA
        sent = Counter(message.recipients[0] for message in sink.messages)
        assert [who for who, times in sent.items() if times > 1] == []


def live_without(redis: RedisServer, nodes: Sequence[Node], back: Callable[[], object]) -> None:
    """Until all workers have seen that it is gone, and again that it is there."""
    for number, node in enumerate(nodes):
        wait_for("the loss to show", partial(shows_state, node, up=0))
        urgent = node.send(f"{back.__name__}{number}@example.com")
        assert node.final(urgent)["type"] == "delivered"
    back()
    wait_for("new limits to be granted", lambda: grants(redis))
    for node in nodes:
        wait_for("State", partial(shows_state, node, up=1))
