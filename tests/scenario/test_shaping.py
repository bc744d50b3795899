"""Two workers and providers with limits, counted where the mail arrives, by the clock there."""

import smtplib
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.dnsserver import DnsServer
from tests.support.node import Node, submit, wait_for
from tests.support.peer import serving
from tests.support.redis_server import RedisServer, grants
from tests.support.sink import Received, Sink

pytestmark = pytest.mark.scenario

SHAPING = """\
[default]
rate = "500/second"

[provider.slow]
mx = "*.slow-host.test"
rate = "12/second"
connections = 4

[provider.narrow]
mx = "*.narrow-host.test"
connections = 1
messages_per_connection = 3
"""
PASSWORD = "s3cret-of-redis"
CONTENT = b"From: app@test.example\r\nTo: dana@example.com\r\nSubject: n\r\n\r\nhi\r\n"
JITTER = 0.1  # seconds


class Arrivals:
    """When each message came, by recipient's domain."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def __call__(self, received: Received) -> str:
        domain = received.recipients[0].rpartition("@")[2]
        self.times.setdefault(domain, []).append(time.monotonic())
        return "250 2.0.0 taken"

    def of(self, *domains: str) -> list[float]:
        return sorted(at for domain in domains for at in self.times.get(domain, ()))


def known(dns: DnsServer) -> None:
    """Two domains of one provider by one host, another of it by its own; a second provider; and one that is its own."""
    hosts = {
        "a.test": "mx1.slow-host",
        "b.test": "mx1.slow-host",
        "c.test": "mx2.slow-host",
        "one.test": "mx.narrow-host",
    }
    for domain, host in {**hosts, "two.test": "mx2.narrow-host"}.items():
        dns.add(domain, "MX", f"10 {host}.test.")
        dns.add(f"{host}.test", "A", "127.0.0.1")
    dns.add("quick.test", "MX", "10 mx.quick.test.")
    dns.add("mx.quick.test", "A", "127.0.0.1")


@contextmanager
def world(folder: Path) -> Iterator[tuple[Node, Sink, Arrivals]]:
    """A node of two workers under SHAPING, and what arrives at those hosts."""
    dns, arrivals = DnsServer(), Arrivals()
    known(dns)
    with (
        serving(dns),
        Sink(answer=arrivals) as sink,
        Node(
            folder,
            delivery=f'mode = "live"\nport = {sink.port}\nallow_private = true',
            key_for=("test.example",),
            nameservers=f'"{dns.address}"',
            workers=2,
            files={"policies/shaping.toml": SHAPING},
        ) as node,
    ):
        yield node, sink, arrivals


def hand_in(node: Node, domains: list[str], rounds: int) -> None:
    """Over several connections, so that both workers get some."""
    for _ in range(8):
        with smtplib.SMTP("127.0.0.1", node.smtp, timeout=30) as client:
            client.ehlo("app.test.example")
            for number in range(rounds):
                submit(client, "app@test.example", [f"dana@{domains[number % len(domains)]}"], CONTENT)


def most_in_a_second(times: Sequence[float]) -> int:
    """Less JITTER: permits are exact (tests/state/test_contract.py, by a simulated clock), but on a busy machine one message
    takes longer than another from its permit to the sink."""
    return max(sum(end - 1.0 + JITTER < at <= end for at in times) for end in times)


def test_no_limit_is_exceeded_where_it_counts_and_nobody_waits_for_another_site(tmp_path: Path) -> None:
    with world(tmp_path) as (node, _, arrivals):
        hand_in(node, ["a.test", "b.test", "c.test"], 9)
        began = time.monotonic()
        hand_in(node, ["quick.test"], 2)
        wait_for("the quick ones", lambda: len(arrivals.of("quick.test")) == 16)
        slow = ("a.test", "b.test", "c.test")
        assert arrivals.of("quick.test")[-1] - began < 5
        assert len(arrivals.of(*slow)) < 72, "they do not wait for the slow ones"
        wait_for("what they wait for", lambda: "12/second (shaping.toml:6)" in node.run("queue", "top").stdout)
        wait_for("the slow ones", lambda: len(arrivals.of(*slow)) == 72)
        events = node.events(type="delivered")
    times = arrivals.of(*slow)
    assert most_in_a_second(times) <= 12
    assert times[-1] - times[0] < 72 / 12 * 2, "and it is used"
    assert {event["site"] for event in events if event["domain"] in slow} == {"slow"}
    assert {event["site"] for event in events if event["domain"] == "quick.test"} == {"quick.test"}


def test_fewer_connections_than_workers_serve_both_and_all_domains(tmp_path: Path) -> None:
    with world(tmp_path) as (node, sink, arrivals):
        hand_in(node, ["one.test", "two.test"], 6)
        wait_for("all of them", lambda: len(arrivals.of("one.test", "two.test")) == 48)
    assert sink.most_connected == 1


TOGETHER = """\
[provider.slow]
mx = "*.slow-host.test"
site_rate = "12/second"
site_connections = 3
"""


@contextmanager
def two_nodes(folder: Path, dns: DnsServer, sink: Sink, redis: RedisServer) -> Iterator[list[Node]]:
    """Of two workers each, with one State."""
    with ExitStack() as open_nodes:
        nodes = []
        for name in ("one", "two"):
            node = Node(
                folder / name,
                delivery=f'mode = "live"\nport = {sink.port}\nallow_private = true',
                key_for=("test.example",),
                nameservers=f'"{dns.address}"',
                workers=2,
                more=f'[state]\nurl = "{redis.url}"\npassword_file = "redis-password"',
                files={"policies/shaping.toml": TOGETHER, "redis-password": PASSWORD},
            )
            config = node.folder / "config" / "postlane.toml"
            config.write_text(config.read_text().replace('name = "test-1"', f'name = "{name}"'))
            nodes.append(open_nodes.enter_context(node))
        yield nodes


def test_two_nodes_on_one_redis_keep_within_one_limit(tmp_path: Path) -> None:
    dns, arrivals = DnsServer(), Arrivals()
    known(dns)
    with (
        RedisServer(tmp_path / "redis", password=PASSWORD) as redis,
        serving(dns),
        Sink(answer=arrivals) as sink,
        two_nodes(tmp_path, dns, sink, redis) as nodes,
    ):
        # Before that each worker lets transactional mail go by a share of its own (DESIGN, invariant 6)
        wait_for("a Redis that grants", lambda: grants(redis))
        for node in nodes:
            hand_in(node, ["a.test", "b.test", "c.test"], 5)
        wait_for("all of both nodes", lambda: len(arrivals.of("a.test", "b.test", "c.test")) == 80, 90)
        shares = [len(node.events(type="delivered")) for node in nodes]
    times = arrivals.of("a.test", "b.test", "c.test")
    assert most_in_a_second(times) <= 12
    assert times[-1] - times[0] < 80 / 12 * 6, "and it is used, on a busy machine too"
    assert sink.most_connected <= 3
    assert min(shares) > 0
