"""Nodes that share their State in Redis: one quota for all of them, and what happens when Redis is killed, stopped, emptied."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.support.node import Event, Node, wait_for
from tests.support.nodes_on_redis import (
    BULK,
    CAPPED,
    PASSWORD,
    QUOTA,
    Load,
    bulk_at,
    is_long,
    metric,
    node_of,
    put_off,
    shows_state,
    two_nodes,
)
from tests.support.redis_server import HEARD, OLD, RedisServer, grants
from tests.support.sink import Sink

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(400)]  # quiet times of ten seconds

LOST = 40  # permits whose answer never came: a worker asks for a few at a time, and each loss counts as used


def waits_long(node: Node, identifier: str) -> bool:
    """It was delivered, or its credential's turn comes when the quota's window is over."""
    last: Event = node.events(id=identifier)[-1]
    return last["type"] == "delivered" or ("until" in last and is_long(last["until"]))


def test_two_nodes_share_a_quota_also_when_redis_loses_everything(tmp_path: Path) -> None:
    with (
        Sink() as sink,
        RedisServer(tmp_path / "redis", password=PASSWORD, age=OLD) as redis,
        two_nodes(tmp_path, sink, redis.url) as nodes,
    ):
        wait_for("all workers to know of each other", lambda: metric(nodes[0], "postlane_state_sharers") == {"4"})
        for number in range(10):
            nodes[number % 2].send([f"r{n}@example.com" for n in range(59)], source=BULK)
        wait_for("most of the quota", lambda: bulk_at(sink) == 590, 60)

        redis.kill()
        sent = [(node, node.send(f"later{n}@example.com", source=BULK)) for n in range(7) for node in nodes]
        for node in nodes:
            began = time.monotonic()
            assert node.final(node.send("dana@example.com"))["type"] == "delivered"
            assert time.monotonic() - began < 5, "it did not wait for Redis"
            wait_for("the loss to show", partial(shows_state, node, up=0))
            assert "limits cannot be looked up" in node.page("/readyz")
            wait_for("it to be said", lambda node=node: "transactional mail goes on" in node.run("status").stdout)  # type: ignore[misc]
            assert node.run("status").returncode == 1
        assert bulk_at(sink) == 590, "the rest waits"

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
        with node_of(tmp_path, "relay-1", sink, redis.url, place="twin", workers=1) as twin:
            a_twin_shares_nothing_and_says_so(twin)


def a_twin_shares_nothing_and_says_so(twin: Node) -> None:
    """A second node of the same name: it would take the first one's leases for its own."""
    bulk = twin.send("dana@example.com", source=BULK)
    assert twin.final(twin.send("dana@example.com"))["type"] == "delivered"
    assert shows_state(twin, up=0)
    wait_for("the clash to be told", lambda: 'another node is called "relay-1"' in twin.run("status").stdout)
    assert twin.run("status").returncode == 1
    assert [event["type"] for event in twin.events(id=bulk)][-1] != "delivered"


def test_a_node_starts_without_redis_and_outlives_one_that_hangs(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis", password=PASSWORD, age=OLD)
    with Sink() as sink, node_of(tmp_path, "relay-1", sink, redis.url, workers=1) as node:
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

            assert node.run("suppress", "add", "noa@example.com", "--stop", "marketing").returncode == 0
            redis.kill()
            redis.start(age=HEARD)  # as new: it has forgotten noa
            wait_for("new limits to be granted", lambda: grants(redis))
            unwanted = node.send("noa@example.com", source=BULK)
            assert node.final(node.send("noa@example.com"))["type"] == "delivered"
            wait_for("the alert", lambda: "suppress restore" in node.run("status").stdout)
            assert [event["type"] for event in node.events(id=unwanted)] == ["accepted"], "nobody can say, so it waits"
            told = node.run("suppress", "restore", "--yes").stdout
            assert told.startswith("1 block, 0 preferences and "), told  # and what people got, for their caps
            assert node.run("suppress", "restore", "--done", "--yes").returncode == 0
            ended = node.final(unwanted, 60)
            assert (ended["type"], ended["reason"]) == ("withheld", "suppressed")


def test_under_load_redis_stops_dies_and_comes_back_empty(tmp_path: Path) -> None:
    """Counted at the sink: no more than the quota, to nobody more than the cap, and what did not go is still queued."""
    with (
        Sink() as sink,
        RedisServer(tmp_path / "redis", password=PASSWORD, age=OLD) as redis,
        two_nodes(tmp_path, sink, redis.url, workers=1, files=CAPPED) as nodes,
    ):
        wait_for("all workers to know of each other", lambda: metric(nodes[0], "postlane_state_sharers") == {"2"})
        for number in range(10):
            nodes[number % 2].send([f"r{n}@example.com" for n in range(number * 52, number * 52 + 52)], source=BULK)
        wait_for("most of the quota", lambda: bulk_at(sink) == 520, 60)
        with Load(nodes) as load:
            wait_for("bulk to go", lambda: bulk_at(sink) >= 530)
            redis.pause()
            live_without(redis, nodes, redis.resume)
            went = bulk_at(sink)
            wait_for("bulk to go again", lambda: bulk_at(sink) >= went + 10, 60)
            redis.kill()
            live_without(redis, nodes, redis.start)
            went, before = bulk_at(sink), load.again
            wait_for("more to be handed in", lambda: load.again > before)
            assert bulk_at(sink) == went, "nobody can say who got what"
            for node in nodes:
                assert node.run("suppress", "restore", "--yes").returncode == 0
            assert nodes[0].run("suppress", "restore", "--done", "--yes").returncode == 0
            late = nodes[1].send("r519@example.com", source=BULK)
            wait_for("who had his to be known", lambda: nodes[1].events(id=late, type="postponed", reason="capped"))
            wait_for("the quota to be used up", lambda: put_off(nodes) >= 10, 120)
            assert QUOTA - LOST - load.again - 1 <= bulk_at(sink) <= QUOTA
        wait_for("every password", lambda: len(sink.messages) - bulk_at(sink) == load.urgent + 4)
        waiting = [node.run("queue", "list", "--limit", "0", "--json").stdout.splitlines() for node in nodes]
        assert bulk_at(sink) + sum(map(len, waiting)) == 520 + load.bulk + load.again + 1, "nothing is lost"
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
