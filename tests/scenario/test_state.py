"""State that cannot be reached: transactional mail goes on, the rest waits for it, and nothing is lost."""

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import apsw
import pytest

from tests.support.node import CREDENTIALS, Node, wait_for
from tests.support.sink import Sink

pytestmark = pytest.mark.scenario

POOLS = """\
[pool.transactional]
sources = [{ address = "127.0.0.2" }]
[pool.service]
sources = [{ address = "127.0.0.3" }]
[pool.marketing]
sources = [{ address = "127.0.0.4" }]
"""
QUOTA = CREDENTIALS.replace('class = "transactional"', 'class = "transactional"\nquota = "1000/hour"')


def node_of(folder: Path, sink: Sink) -> Node:
    delivery = f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"'
    files = {"config/pools.toml": POOLS, "policies/credentials.toml": QUOTA}
    return Node(folder, delivery=delivery, key_for=("test.example",), files=files)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Nobody else gets the write lock: what is asked of State fails after five seconds."""
    db = apsw.Connection(str(file))
    db.set_busy_timeout(10_000)
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()


def test_transactional_mail_goes_on_while_state_is_down(tmp_path: Path) -> None:
    with Sink() as sink, node_of(tmp_path, sink) as node:
        with locked(tmp_path / "data" / "state.db"):
            bulk = node.send("dana@example.com", source="127.0.0.9")
            began = time.monotonic()
            urgent = node.send("dana@example.com")
            assert node.final(urgent)["type"] == "delivered"
            assert time.monotonic() - began < 5, "it did not wait until State gave up"
            again = node.send("other@example.com")
            assert node.final(again)["type"] == "delivered"
            assert [event["type"] for event in node.events(id=bulk)] == ["accepted"]
        assert node.final(bulk)["type"] == "delivered"
        wait_for("State to be asked again", lambda: "connection permits are State's again" in node.log())


def test_a_node_starts_and_sends_while_state_cannot_be_opened(tmp_path: Path) -> None:
    state = tmp_path / "data" / "state.db"
    state.mkdir(parents=True)
    with Sink() as sink, node_of(tmp_path, sink) as node:
        bulk = node.send("dana@example.com", source="127.0.0.9")
        assert node.final(node.send("dana@example.com"))["type"] == "delivered"
        wait_for("its acceptance", partial(node.events, id=bulk, type="accepted"))
        assert [event["type"] for event in node.events(id=bulk)] == ["accepted"]
        state.rmdir()
        assert node.final(bulk)["type"] == "delivered"
