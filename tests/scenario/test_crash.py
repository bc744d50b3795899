"""kill -9 at any moment: what was acknowledged is delivered, at most what was in flight arrives twice (DESIGN, invariants 1, 2).

`make test` kills 10 times, `make chaos` 500 (KILLS=n).
"""

import os
import random
import signal
import smtplib
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relay.control import NodeDown
from tests.support.node import Node, wait_for
from tests.support.sink import Sink

pytestmark = pytest.mark.scenario

KILLS = int(os.environ.get("KILLS", "10"))
CONNECTIONS = 4
SEED = 20261121


@dataclass
class App:
    """An app that hands in one message after another, comes again when the node is away, and knows what was acknowledged."""

    node: Node
    number: int
    stopping: threading.Event
    acknowledged: list[str] = field(default_factory=list)
    tried: int = 0

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.node.smtp, timeout=20) as client:
                    client.ehlo("app")
                    while not self.stopping.is_set():
                        self.hand_in(client)
            except (OSError, smtplib.SMTPException):
                self.stopping.wait(0.02)  # the node is down or going down

    def hand_in(self, client: smtplib.SMTP) -> None:
        self.tried += 1
        mark = f"{self.number}-{self.tried}"
        client.mail("app@test.example")
        client.rcpt(f"r{self.tried % 20}@example.com")
        content = f"From: app@test.example\r\nX-Mark: {mark}\r\nSubject: {mark}\r\n\r\nbody\r\n"
        code, _ = client.data(content.encode())
        if code == 250:
            self.acknowledged.append(mark)


@pytest.mark.timeout(1800)
def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    stopping = threading.Event()
    with Sink() as sink:
        delivery = f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"'
        node = Node(tmp_path, workers=2, delivery=delivery, key_for=("test.example",)).start()
        apps = [App(node, number, stopping) for number in range(CONNECTIONS)]
        threads = [threading.Thread(target=app.run) for app in apps]
        for thread in threads:
            thread.start()
        try:
            for kill in range(KILLS):
                stopping.wait(chance.uniform(0.05, 0.6))  # the moment of the kill, not a wait for something
                if kill % 5 == 4:
                    node.kill()  # everything at once
                    node.start()
                else:
                    kill_one_worker(node, chance)
        except BaseException:
            node.__exit__()
            raise
        finally:
            stopping.set()
            for thread in threads:
                thread.join(30)
        try:
            wait_for("the queue to drain", lambda: waiting(node) == 0, 120)
        finally:
            print(node.log())
            node.stop()
        arrived = Counter(message.header("X-Mark") for message in sink.messages)
    acknowledged = {mark for app in apps for mark in app.acknowledged}
    assert len(acknowledged) > KILLS, "the apps hardly got anything in: this run proves nothing"
    assert acknowledged <= arrived.keys()
    # What may come twice was in flight at a kill: at most the attempts of one worker (400), in practice a handful.
    twice = sum(count - 1 for count in arrived.values())
    assert twice <= KILLS * 2 * 40
    ends = Counter(event["id"] for event in node.events(type="delivered"))
    assert set(ends.values()) == {1}, "an outcome was recorded twice"
    accepted = {event["id"] for event in node.events(type="accepted")}
    assert accepted == ends.keys(), "an accepted message has no end, or an end no beginning"
    assert len(accepted) >= len(acknowledged)


def kill_one_worker(node: Node, chance: random.Random) -> None:
    def pids() -> list[int]:
        try:
            return [worker["pid"] for worker in node.ask({"do": "stats"})["workers"] if worker["up"]]
        except NodeDown:
            return []

    os.kill(chance.choice(wait_for("a worker", pids)), signal.SIGKILL)


def waiting(node: Node) -> int:
    """Deliveries not yet at their end; -1 while a worker is away."""
    try:
        workers = node.ask({"do": "stats"})["workers"]
    except NodeDown:
        return -1
    if not all(worker["up"] for worker in workers):
        return -1
    return sum(shard["queue"]["waiting"] for worker in workers for shard in worker["shards"])
