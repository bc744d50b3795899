"""Two nodes on a Redis that a Sentinel watches: commands that act on all nodes, a node that was away, a master that dies."""

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from relay.cli import recipient
from tests.scenario.test_returns import BOUNCE, COMPLAINT, hand_in
from tests.support.node import RETRY, Node, free_port, wait_for
from tests.support.nodes_on_redis import (
    BULK,
    PASSWORD,
    QUOTA,
    Load,
    bulk_at,
    metric,
    put_off,
    shows_state,
    two_nodes,
)
from tests.support.redis_server import OLD, RedisPair
from tests.support.sink import Sink

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(400)]

UNREPLICATED = (
    20  # permits of the master's last moment, which its replica may not have heard of: a few leases of each worker
)
LOST = 60  # permits whose answer never came: they count as used
SHOP = "127.0.0.77"


def version(node: Node) -> str:
    found: str = node.ask({"do": "versions"})["policies"]
    return found


def versions(nodes: Sequence[Node]) -> set[str]:
    return {version(node) for node in nodes}


def credentials(node: Node) -> str:
    return (node.folder / "policies" / "credentials.toml").read_text()


def write(node: Node, name: str, text: str) -> None:
    (node.folder / "policies" / name).write_text(text)


def test_a_cluster_changes_as_one_and_outlives_the_death_of_its_master(tmp_path: Path) -> None:
    ports = (free_port(), free_port())
    with (
        Sink() as sink,
        RedisPair(tmp_path / "redis", PASSWORD, OLD) as pair,
        two_nodes(tmp_path, sink, pair.url, workers=1, bounces=ports) as (one, other),
    ):
        nodes = (one, other)
        wait_for("one screen for both", lambda: one.ask({"do": "queue.top"})["nodes"] == ["relay-1", "relay-2"])
        wait_for("all workers to know of each other", lambda: metric(one, "postlane_state_sharers") == {"2"})
        credentials_of_one_node_are_those_of_all(one, other)
        a_refused_change_leaves_all_as_they_were(one, other)
        who_asks_is_given_what_all_nodes_keep_and_may_be_forgotten_by_all(one, other)
        a_node_that_was_away_follows_and_hears_what_came_back_meanwhile(sink, one, other, ports[0])
        a_master_dies_under_load(pair, sink, nodes)
        write(other, "retry.toml", RETRY.replace("1s", "3s"))
        assert [node["policies"] for node in other.ask({"do": "reload"})["nodes"]] == [version(other)]


def credential_of_shop(node: Node) -> str:
    """As which its machine is known; `local` is whoever is on this machine."""
    sent = node.send("dana@example.com", sender="app@shop.example", source=SHOP)
    credential: str = node.final(sent)["credential"]
    return credential


def credentials_of_one_node_are_those_of_all(one: Node, other: Node) -> None:
    before = version(one)
    words = ("--domain", "shop.example", "--class", "transactional", "--network", SHOP)
    added = one.run("credentials", "add", "shop", *words)
    assert (added.returncode, added.stderr) == (0, f"In force: policies {version(one)}\n")
    assert version(one) == version(other) != before
    assert credentials(other) == credentials(one)
    one.add_key("shop.example")
    other.add_key("shop.example")
    for node in (one, other):
        told = node.run("reload").stdout.splitlines()
        assert told[1:] == ["config/ has changed too, and is in force"], "config/ is that node's own"
        assert credential_of_shop(node) == "shop"
    assert other.run("credentials", "disable", "shop").returncode == 0
    for node in (one, other):
        assert credential_of_shop(node) == "local"
    undone = one.run("policies", "rollback", before)
    assert undone.stdout.splitlines()[1] == f"relay-2  {before} in force"
    for node in (one, other):
        assert "disabled = true" in credentials(node), "a rollback leaves the disks"
        assert node.ask({"do": "stats"})["decision"]["how"] == "rollback"
    assert one.ask({"do": "reload"})["version"] == version(other) == version(one)


def a_refused_change_leaves_all_as_they_were(one: Node, other: Node) -> None:
    before, running = credentials(one), version(one)
    write(other, "retry.toml", RETRY.replace("1h", "7h"))
    refused = one.run("credentials", "rotate", "shop")
    assert refused.returncode == 1
    assert "relay-2: policies/retry.toml there has edits that are not in force: reload them there" in refused.stderr
    assert "Nothing was changed, on any node." in refused.stderr
    assert "password" not in refused.stdout
    assert credentials(one) == before
    assert versions((one, other)) == {running}
    assert one.run("status").returncode == 0
    assert other.ask({"do": "reload"})["version"] == version(one) != running
    events = one.events(type="audit", via="cluster")
    assert [event["what"]["node"] for event in events][-1] == "relay-2"


def given(node: Node, address: str) -> tuple[set[str], set[str], list[str]]:
    """Nodes whose events of a person are in what he is given, that remember to have sent him mail, and that answered."""
    told = json.loads(node.run("recipient", address, "--export").stdout)
    return (
        {event["node"] for event in told["events"]},
        {sent["node"] for sent in told["sent"]},
        told["nodes"]["answered"],
    )


def who_asks_is_given_what_all_nodes_keep_and_may_be_forgotten_by_all(one: Node, other: Node) -> None:
    both = {"relay-1", "relay-2"}
    for node in (one, other):
        assert node.final(node.send("dor@example.com"))["type"] == "delivered"
    assert given(one, "dor@example.com") == (both, both, ["relay-1", "relay-2"])
    counted = one.run("recipient", "dor@example.com", "--forget", "--dry-run").stdout.splitlines()
    assert counted[-1] == "relay-2: 2 events and 0 queued mails are of him."
    gone = one.run("recipient", "dor@example.com", "--forget", "--stop", "nothing", "--reason", "letter", "--yes")
    assert "relay-2: Forgotten: 2 events changed, 0 queued mails cancelled." in gone.stdout, gone.stderr
    for node in (one, other):
        assert given(node, "dor@example.com") == (set(), set(), ["relay-1", "relay-2"])
        assert not [event for event in node.events() if "dor@" in json.dumps(event)]
        assert len(node.events(type="audit", action="recipient --forget", reason="letter")) == 1


def a_node_that_was_away_follows_and_hears_what_came_back_meanwhile(
    sink: Sink, one: Node, other: Node, port: int
) -> None:
    people = ("rona", "noa", "gal", "tom")
    sent = {name: other.send(f"{name}@example.com") for name in people}
    for name in people:
        assert other.final(sent[name])["type"] == "delivered"
    came = {name: next(one for one in sink.messages if one.recipients == [f"{name}@example.com"]) for name in people}
    other.kill()
    with pytest.MonkeyPatch.context() as impatient:  # it was there a moment ago
        impatient.setattr(recipient, "_PATIENCE", 1.0)
        later = one.run("recipient", "tom@example.com", "--forget", "--stop", "nothing", "--yes")
    assert later.stdout.splitlines()[-1] == "relay-2 has not ended yet: its log says when."
    hand_in(port, came["rona"].sender, BOUNCE)
    traced = COMPLAINT.replace("{trace}", came["noa"].header("X-Postlane-Trace"))
    named = COMPLAINT.replace("X-Postlane-Trace: {trace}", f"Message-ID: {came['gal'].header('Message-ID')}")
    hand_in(port, "abuse@bounce.test.example", traced)
    hand_in(port, "abuse@bounce.test.example", named.replace("Version: 1", "Original-Rcpt-To: gal@example.com"))
    write(one, "retry.toml", RETRY.replace("1s", "2s"))
    done = one.run("reload")
    assert done.returncode == 0, done.stderr
    assert f"; it takes {version(one)} when it is back" in done.stdout
    assert "  node     relay-2  not heard for " in one.run("status").stdout
    other.start()
    wait_for("it to follow", lambda: version(other) == version(one))
    wait_for("its disk", lambda: (other.folder / "policies" / "retry.toml").read_text() == RETRY.replace("1s", "2s"))
    kinds = {"rona": "bounced-late", "noa": "complained", "gal": "complained"}
    for name, kind in kinds.items():
        wait_for("what came back", partial(other.events, id=sent[name], type=kind))
    assert not [event for kind in set(kinds.values()) for event in one.events(type=kind)]
    wait_for("it to forget", lambda: other.events(type="audit", action="recipient --forget", reason=""))
    assert not [event for event in other.events() if "tom@" in json.dumps(event)]
    wait_for("it to be seen", lambda: f"relay-2  up   policies {version(one)}" in one.run("status").stdout)


def a_master_dies_under_load(pair: RedisPair, sink: Sink, nodes: Sequence[Node]) -> None:
    """Counted at the sink: no more than the quota and what the replica could not know, each message once, and the rest waits."""
    before = len(sink.messages)
    for number in range(10):
        nodes[number % 2].send([f"r{n}@example.com" for n in range(number * 59, number * 59 + 59)], source=BULK)
    wait_for("most of the quota", lambda: bulk_at(sink) == 590, 60)
    with Load(nodes) as load:
        wait_for("bulk to go", lambda: bulk_at(sink) >= 593, 60)
        pair.kill_master()
        for node in nodes:
            wait_for("the loss to show", partial(shows_state, node, up=0))
            assert "limits cannot be looked up" in node.page("/readyz")
        wait_for("the replica to be master", pair.promoted)
        for node in nodes:
            wait_for("State", partial(shows_state, node, up=1))
            assert node.page("/readyz") == "ready\n"
        went = bulk_at(sink)
        wait_for("bulk to go again", lambda: bulk_at(sink) >= went + 4, 60)
        wait_for("the quota to be used up", lambda: put_off(nodes) >= 10, 120)
    wait_for("every password", lambda: len(sink.messages) - before - bulk_at(sink) == load.urgent)
    waiting = [node.run("queue", "list", "--limit", "0", "--json").stdout.splitlines() for node in nodes]
    assert bulk_at(sink) + sum(map(len, waiting)) == 590 + load.bulk, "nothing is lost"
    assert QUOTA - LOST <= bulk_at(sink) <= QUOTA + UNREPLICATED
    sent = Counter(message.recipients[0] for message in sink.messages[before:])
    assert [who for who, times in sent.items() if times > 1] == []
    for node in nodes:
        assert node.run("status").returncode == 0
        assert not [line for line in (node.folder / "log").read_text().splitlines() if "Redis lost its data" in line]
