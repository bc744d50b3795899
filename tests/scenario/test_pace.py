"""A real node towards a site that slows it down, blocks it, or sees one of its addresses for the first time."""

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.dnsserver import DnsServer
from tests.support.node import Node, wait_for
from tests.support.peer import serving
from tests.support.redis_server import OLD, RedisServer
from tests.support.sink import Received, Sink

pytestmark = pytest.mark.scenario

BULK = "127.0.0.9"  # the network of the credential of marketing mail
SITE = "example.test"
TAKEN = "250 2.0.0 taken"
SLOW = "421 4.7.28 Our system has detected an unusual rate of unsolicited mail"


@contextmanager
def live(
    folder: Path,
    answer: Callable[[Received], str],
    *,
    workers: int = 1,
    files: dict[str, str] | None = None,
    more: str = "",
    name: str = "test-1",
) -> Iterator[tuple[Node, Sink]]:
    """A node that delivers to the MX of SITE, which is a sink."""
    dns = DnsServer()
    dns.add(SITE, "MX", "10 mx.example.test.")
    dns.add("mx.example.test", "A", "127.0.0.1")
    with serving(dns), Sink(answer=answer) as sink:
        delivery = f'mode = "live"\nport = {sink.port}\nallow_private = true'
        servers = f'"{dns.address}"'
        keys = ("test.example",)
        node = Node(
            folder, delivery=delivery, nameservers=servers, key_for=keys, workers=workers, files=files, more=more
        )
        config = folder / "config" / "postlane.toml"
        config.write_text(config.read_text().replace('name = "test-1"', f'name = "{name}"'))
        with node:
            yield node, sink


def marketing(node: Node, count: int) -> list[str]:
    return [node.send(f"r{number}@{SITE}", source=BULK) for number in range(count)]


def delivered(node: Node) -> int:
    return len(node.events(type="delivered"))


def shown(node: Node) -> list[dict[str, Any]]:
    done = node.run("pace", "--site", SITE, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class Limiter:
    """Takes so many marketing messages a second, and says `SLOW` to the others."""

    def __init__(self, a_second: int) -> None:
        self.a_second = a_second
        self.refused = 0
        self._taken: deque[float] = deque()
        self._lock = threading.Lock()

    def __call__(self, received: Received) -> str:
        if received.sender.startswith("urgent"):
            return TAKEN
        with self._lock:
            now = time.monotonic()
            while self._taken and self._taken[0] < now - 1:
                self._taken.popleft()
            if len(self._taken) >= self.a_second:
                self.refused += 1
                return SLOW
            self._taken.append(now)
            return TAKEN


def test_a_site_that_says_421_is_sent_less_and_transactional_mail_does_not_wait(tmp_path: Path) -> None:
    limiter = Limiter(8)
    shaping = '[default]\nrate = "100/second"\npace_start = "50/second"\n'
    with live(tmp_path, limiter, files={"policies/shaping.toml": shaping}) as (node, sink):
        marketing(node, 40)
        wait_for("the first refusal", lambda: limiter.refused)
        (row,) = wait_for("a slower pace", lambda: [one for one in shown(node) if one["direction"] == "down"])
        assert row["why"] == "421 4.7.28"
        assert row["pace"] <= 25
        assert "/s, slower since" in row["said"]
        urgent = node.send(f"dana@{SITE}", sender="urgent@test.example")
        event = node.final(urgent)
        assert (event["type"], event["delay_ms"] < 2_000) == ("delivered", True)
        wait_for("all of it", lambda: delivered(node) == 41, 90)
        assert len(sink.messages) == 41, "none was sent twice"
        status = node.run("status").stdout
        assert f"  pace     {SITE}: " in status
        assert 'postlane_pace_per_second{site="example.test",source=""}' in node.page("/metrics")

        assert node.stop() == 0
        node.start()
        marketing(node, 1)
        again = wait_for("its pace to be looked at", lambda: shown(node))[0]
        assert again["direction"] in ("down", "recovering")
        assert again["pace"] <= 25, "a restart does not forget what the site said"


def test_a_rule_suspends_a_source_for_a_site_in_all_workers_and_it_returns_by_itself(tmp_path: Path) -> None:
    answers: list[str] = ["451 4.3.5 your address is blocked here"]
    times: list[float] = []

    def answer(_: Received) -> str:
        times.append(time.monotonic())
        return answers[0] if answers else TAKEN

    rule = '[[backoff]]\nreply = "is blocked here"\naction = "suspend"\nfor = "6s"\n'
    with live(tmp_path, answer, workers=2, files={"policies/shaping.toml": rule}) as (node, _):
        first = node.send(f"r0@{SITE}", source=BULK)
        wait_for("the block", lambda: node.events(id=first, type="deferred"))
        wait_for("both workers to know", lambda: _known(node, "paces_aside") == 2)
        began = times[-1]
        answers.clear()
        standing = node.run("pace", "--site", SITE).stdout
        assert "by policies/shaping.toml:1: 451 4.3.5 your address is blocked here" in standing
        marketing(node, 6)
        wait_for("all of it", lambda: delivered(node) == 7, 60)
        assert min(at for at in times if at > began) - began > 5.5


def test_an_operator_slows_a_site_down_for_a_while(tmp_path: Path) -> None:
    times: list[float] = []

    def answer(received: Received) -> str:
        if not received.sender.startswith("urgent"):
            times.append(time.monotonic())
        return TAKEN

    with live(tmp_path, answer, workers=2) as (node, _):
        wrong = node.run("pace", "--site", SITE, "--rate", "fast", "--for", "10m")
        assert (wrong.returncode, "is no rate" in wrong.stderr) == (1, True)
        assert node.run("pace", "--site", SITE, "--rate", "3/second").returncode == 2
        done = node.run("pace", "--site", SITE, "--rate", "3/second", "--for", "10m", "--reason", "complaints")
        assert done.returncode == 0, done.stderr
        assert f"postlane pace --site {SITE} --end" in done.stdout
        wait_for("both workers to know", lambda: _known(node, "pace_orders") == 2)
        marketing(node, 15)
        urgent = node.final(node.send(f"dana@{SITE}", sender="urgent@test.example"))
        assert (urgent["type"], urgent["delay_ms"] < 2_000) == ("delivered", True)
        wait_for("some of it", lambda: len(times) > 3)
        assert node.stop() == 0  # what dies keeps its part of a rate for 30 s; stopped, it gives it back
        node.start()
        wait_for("the order after the restart", lambda: _known(node, "pace_orders") == 2)
        wait_for("more of it", lambda: len(times) > 8, 60)
        assert max(sum(1 for other in times if at <= other < at + 0.95) for at in times) <= 3
        assert f"ordered  {SITE}: at most 3/second from each source until" in node.run("status").stdout
        ended = node.run("pace", "--site", SITE, "--end", "--reason", "over")
        assert ended.stdout.startswith("Ended: ordered")
        wait_for("all of it", lambda: delivered(node) >= 16)
        wait_for("both audits", lambda: _audits(node) == ["pace", "pace end"])


def _audits(node: Node) -> list[str]:
    return [event["action"] for event in node.events(type="audit")]


def _known(node: Node, gauge: str) -> int:
    """Of all workers together."""
    return sum(worker.get("gauges", {}).get(gauge, 0) for worker in node.ask({"do": "stats"})["workers"])


def test_an_order_and_what_a_site_said_reach_the_other_node_of_a_cluster(tmp_path: Path) -> None:
    rule = '[[backoff]]\nreply = "is blocked here"\naction = "suspend"\nfor = "1h"\n'
    answers = ["451 4.3.5 is blocked here"]
    with RedisServer(tmp_path / "redis", age=OLD) as redis:
        state = f'[state]\nurl = "{redis.url}"'
        files = {"policies/shaping.toml": rule}
        with (
            live(tmp_path / "a", lambda _: answers[0] if answers else TAKEN, files=files, more=state) as (one, _),
            live(tmp_path / "b", lambda _: TAKEN, files=files, more=state, name="test-2") as (other, sink),
        ):
            assert one.run("pace", "--site", "google", "--rate", "3/second", "--for", "10m").returncode == 0
            one.send(f"r0@{SITE}", source=BULK)
            wait_for("the other to know of the order", lambda: _known(other, "pace_orders") == 1)
            wait_for("the other to know of the block", lambda: _known(other, "paces_aside") == 1)
            waits = other.send(f"r1@{SITE}", source=BULK)
            answers.clear()
            ended = other.run("pace", "--site", SITE, "--end", "--reason", "cured")
            assert ended.stdout.startswith("Ended: aside"), ended.stderr
            assert other.run("reload").returncode == 0  # else what waits looks again after half a minute
            assert other.final(waits, 60)["type"] == "delivered"
            wait_for("the first to know, too", lambda: _known(one, "paces_aside") == 0)
            assert len(sink.messages) == 1
            (event,) = one.events(type="suspended")
            assert (event["what"], event["by"]) == ({"source": "", "site": SITE}, "postlane")


POOLS = """\
[pool.transactional]
sources = [{{ address = "127.0.0.3" }}]
[pool.service]
sources = [{{ address = "127.0.0.3" }}]
[pool.marketing]
sources = [
  {{ address = "127.0.0.2", warmup = {today} }},
  {{ address = "127.0.0.3" }},
]
"""


def test_a_new_source_carries_its_budget_of_the_day_and_no_more_whatever_crashes(tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    files = {
        "config/pools.toml": POOLS.format(today=today.isoformat()),
        "policies/shaping.toml": "[warmup]\nschedule = [5, 500]\n",
    }
    with live(tmp_path, lambda _: TAKEN, workers=2, files=files) as (node, sink):
        assert node.run("check").returncode == 0
        marketing(node, 20)
        wait_for("all of it", lambda: delivered(node) == 20)
        assert Counter(one.source for one in sink.messages)["127.0.0.2"] == 5
        node.kill()
        node.start()
        marketing(node, 20)
        wait_for("all of it again", lambda: delivered(node) == 40)
        if datetime.now(UTC).date() == today:
            assert Counter(one.source for one in sink.messages) == {"127.0.0.2": 5, "127.0.0.3": 35}
            (row,) = [json.loads(line) for line in node.run("warmup", "show", "--json").stdout.splitlines()]
            assert (row["site"], row["used"], row["budget"]) == (SITE, 5, 5)
            assert f"  warming  127.0.0.2  {SITE} day 1 of 2: 5 of 5" in node.run("status").stdout
        held = node.run("warmup", "hold", "--source", "127.0.0.2", "--reason", "listed")
        assert "(held: listed)" in held.stdout
        assert "(held" not in node.run("warmup", "resume", "--source", "127.0.0.2").stdout
        assert node.run("warmup", "hold").returncode == 2
        assert node.run("warmup", "hold", "--source", "192.0.2.9").returncode == 1
        wait_for("both audits", lambda: _audits(node) == ["warmup hold", "warmup resume"])
