"""Mail that an operator stops and lets go again: on one node with two workers, and on two nodes that share Redis."""

from functools import partial
from pathlib import Path

import pytest

from tests.support.node import Node, together, wait_for
from tests.support.redis_server import HEARD, OLD, RedisServer
from tests.support.sink import Sink

pytestmark = pytest.mark.scenario

BULK = "127.0.0.9"  # the network of the credential of marketing mail


def live(folder: Path, sink: Sink, name: str = "test-1", state: str = "", workers: int = 1) -> Node:
    delivery = f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"'
    node = Node(folder, delivery=delivery, key_for=("test.example",), workers=workers, more=state)
    config = folder / "config" / "postlane.toml"
    config.write_text(config.read_text().replace('name = "test-1"', f'name = "{name}"'))
    return node


def held(node: Node, identifier: str) -> bool:
    return any(event["reason"] == "held" for event in node.events(id=identifier, type="postponed"))


def test_marketing_is_stopped_transactional_goes_and_resume_lets_all_go(tmp_path: Path) -> None:
    with Sink() as sink, live(tmp_path, sink, workers=2) as node:
        done = node.run("suspend", "--credential", "bulk", "--reason", "list is cleaned", "--yes")
        assert done.returncode == 0, done.stderr
        assert "Transactional mail is left alone" in done.stdout
        wait_for(
            "both workers to know",
            lambda: all(one["suspensions_known"] for one in node.ask({"do": "stats"})["workers"]),
        )
        wait_for(
            "the suspension in every worker",
            lambda: {one["suspensions_in_force"] for one in node.ask({"do": "stats"})["workers"]} == {1},
        )
        stopped = [node.send(f"r{number}@example.com", source=BULK) for number in range(20)]
        for one in stopped:
            wait_for("it to be held", partial(held, node, one))
        assert node.final(node.send("dana@example.com"))["type"] == "delivered"
        assert len(sink.messages) == 1
        status = node.run("status").stdout
        assert "suspended credential bulk, 20 waiting: list is cleaned; since" in status
        shown = node.run("queue", "show", stopped[0]).stdout
        assert (
            "why           suspended: credential bulk (list is cleaned); postlane resume --credential bulk\n" in shown
        )
        by_hand = node.run("queue", "hold", stopped[0], "--yes")
        assert by_hand.stdout == "1 held.\n"

        assert node.stop() == 0
        node.start()
        wait_for("the suspension after the restart", lambda: node.ask({"do": "stats"})["suspensions"])
        assert (
            node.run("resume", "--credential", "bulk", "--reason", "clean", "--yes").stdout
            == "Resumed: credential bulk\n"
        )
        for one in stopped[1:]:
            assert node.final(one)["type"] == "delivered"
        assert node.run("queue", "list", "--held").stdout.count("\n") == 1, "what is held by hand stays"
        kinds = [event["type"] for event in node.events() if event["type"] in ("suspended", "resumed")]
        assert kinds == ["suspended", "resumed"]
        wait_for("the audit", lambda: {"suspend", "resume"} <= {e["action"] for e in node.events(type="audit")})


def test_mail_that_waits_already_is_held_and_a_suspension_ends_by_itself(tmp_path: Path) -> None:
    refusing = [True]
    with (
        Sink(answer=lambda _: "451 4.3.0 not now" if refusing[0] else "250 2.0.0 taken") as sink,
        live(tmp_path, sink) as node,
    ):
        waiting = node.send("dana@example.com", source=BULK)
        wait_for("the first attempt", lambda: node.events(id=waiting, type="deferred"))
        done = node.run("suspend", "--class", "marketing", "--for", "3s", "--yes", "--json")
        assert '"said": "class marketing"' in done.stdout
        wait_for("it to be held", partial(held, node, waiting))
        refusing[0] = False
        assert node.final(waiting)["type"] == "delivered"
        ended = wait_for("the event", lambda: node.events(type="resumed"))[0]
        assert (ended["reason"], ended["by"], ended["what"]) == ("its time is over", "postlane", {"class": "marketing"})
        assert node.run("resume", "--all").stderr == "Nothing is suspended.\n"


def test_what_one_node_suspends_another_holds_also_when_redis_loses_its_data(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis", age=OLD) as redis, Sink() as sink:
        state = f'[state]\nurl = "{redis.url}"'
        one, other = (live(tmp_path / name, sink, name, state) for name in ("a", "b"))
        with together(one, other):
            for node in (one, other):
                wait_for(
                    "suspensions to be known",
                    lambda node=node: node.ask({"do": "stats"})["workers"][0]["suspensions_known"],  # type: ignore[misc]
                )
            assert one.run("suspend", "--class", "marketing", "--yes").returncode == 0
            wait_for("the other node to know", lambda: other.ask({"do": "stats"})["suspensions"])
            stopped = other.send("dana@example.com", source=BULK)
            wait_for("it to be held", partial(held, other, stopped))
            redis.kill()
            redis.start(age=HEARD)
            late = one.send("dana@example.com", source=BULK)
            wait_for("it to be held", partial(held, one, late))
            wait_for(
                "Redis to be believed again", lambda: not other.ask({"do": "stats"})["workers"][0]["state_trouble"]
            )
            assert [found["said"] for found in other.ask({"do": "stats"})["suspensions"]] == ["class marketing"]
            assert sink.messages == []
            wait_for("resume", lambda: other.run("resume", "--all", "--yes").returncode == 0)
            assert one.final(late)["type"] == other.final(stopped)["type"] == "delivered"
