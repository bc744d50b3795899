"""A live node with a relay host: two classes from two addresses, the operator's commands, reload, restart."""

import os
import signal
import smtplib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.node import CREDENTIALS, Node, wait_for
from tests.support.sink import Received, Sink

pytestmark = pytest.mark.scenario

POOLS = """\
[pool.transactional]
sources = [{ address = "127.0.0.2", ehlo = "t1.test.example" }]
[pool.service]
sources = [{ address = "127.0.0.3", ehlo = "s1.test.example" }]
[pool.marketing]
sources = [{ address = "127.0.0.4", ehlo = "m1.test.example" }]
"""


def _text(error: smtplib.SMTPResponseException) -> str:
    return error.smtp_error.decode() if isinstance(error.smtp_error, bytes) else error.smtp_error


def live(folder: Path, sink: Sink, **more: object) -> Node:
    delivery = f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"'
    return Node(folder, delivery=delivery, key_for=("test.example",), **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Sink]]:
    """For tests that leave the node as it was."""
    with Sink() as sink, live(tmp_path_factory.mktemp("node"), sink, files={"config/pools.toml": POOLS}) as node:
        yield node, sink


def test_classes_leave_from_their_own_addresses(shared: tuple[Node, Sink]) -> None:
    node, sink = shared
    urgent = node.send("urgent@example.com")
    bulk = node.send("bulk@example.com", source="127.0.0.9")  # the credential that lists this network
    assert node.final(urgent)["source"] == "127.0.0.2"
    assert node.final(bulk)["source"] == "127.0.0.4"
    assert node.events(id=bulk, type="accepted")[0]["class"] == "marketing"
    came = {m.recipients[0].partition("@")[0]: (m.source, m.ehlo) for m in sink.messages}
    assert came["urgent"] == ("127.0.0.2", "t1.test.example")
    assert came["bulk"] == ("127.0.0.4", "m1.test.example")


def test_hold_release_retry_and_cancel(tmp_path: Path) -> None:
    refusing = [True]

    def answer(_: Received) -> str:
        return "451 4.3.0 not now" if refusing[0] else "250 2.0.0 taken"

    retry = '[transactional]\nwait = ["1h"]\ngive_up = "1d"\n'
    with Sink(answer=answer) as sink, live(tmp_path, sink, files={"policies/retry.toml": retry}) as node:
        first, second, third = (node.send(f"{name}@example.com") for name in ("a", "b", "c"))
        for one in (first, second, third):
            wait_for("the first attempt", partial(node.events, id=one, type="deferred"))
        listing = node.run("queue", "list")
        assert all(one in listing.stdout for one in (first, second, third))
        assert "451 4.3.0 not now" in listing.stdout
        some = node.run("queue", "list", "--pool", "TRANS*", "--recipient", "a@*", "--recipient", "b@example.*")
        assert [one in some.stdout for one in (first, second, third)] == [True, True, False]
        assert node.run("queue", "list", "--pool", "marketing").stdout == "Nothing that waits fits.\n"
        assert 'no mail goes to pool "cold"; there are' in node.run("queue", "list", "--pool", "cold").stderr

        assert node.run("queue", "hold", first, "--reason", "look at it", "--yes").stdout == "1 held.\n"
        held = wait_for("the event", lambda: node.events(id=first, type="postponed"))[0]
        assert (held["reason"], held["detail"]) == ("held", "look at it")
        dry = node.run("queue", "cancel", "--all", "--dry-run")
        assert dry.stdout == "3 deliveries fit. Nothing was changed.\n"
        assert node.run("queue", "cancel", second, "--yes").stdout == "1 cancelled.\n"
        assert node.final(second)["reason"] == "cancelled"

        refusing[0] = False
        retried = node.run("queue", "retry", "--all", "--yes")
        assert retried.stdout == "1 due now.\n", retried.stderr  # the held one stays where it is
        assert node.final(third)["type"] == "delivered"
        shown = node.run("queue", "show", first)
        assert "held" in shown.stdout
        assert node.run("queue", "release", "--held", "--all", "--yes").stdout == "1 released.\n"
        assert node.run("queue", "retry", first, "--yes").returncode == 0
        assert node.final(first)["type"] == "delivered"
        assert len(sink.messages) == 2
        wait_for("the audit", lambda: len(node.events(type="audit")) >= 4)


def test_mail_waits_through_a_restart_and_none_is_refused_meanwhile(tmp_path: Path) -> None:
    refusing = [True]

    def answer(_: Received) -> str:
        return "451 4.3.0 not now" if refusing[0] else "250 2.0.0 taken"

    with Sink(answer=answer) as sink:
        node = live(tmp_path, sink)
        node.start()
        waiting = node.send("dana@example.com")
        wait_for("the first attempt", lambda: node.events(id=waiting, type="deferred"))
        assert node.stop() == 0
        refusing[0] = False
        node.start()
        try:
            assert node.final(waiting)["type"] == "delivered"
        finally:
            node.stop()


def test_a_killed_worker_is_replaced_and_its_mail_goes_out(shared: tuple[Node, Sink]) -> None:
    node, _ = shared
    pid = node.ask({"do": "stats"})["workers"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    # The supervisor holds the listening socket: this connection waits for the new worker instead of being refused.
    assert node.final(node.send("dana@example.com"))["type"] == "delivered"
    assert node.ask({"do": "stats"})["workers"][0]["pid"] != pid
    wait_for("the node to be whole again", node.ready)


def test_fewer_workers_adopt_the_shards_of_those_that_are_gone(tmp_path: Path) -> None:
    refusing = [True]

    def answer(_: Received) -> str:
        return "451 4.3.0 not now" if refusing[0] else "250 2.0.0 taken"

    with Sink(answer=answer) as sink:
        node = live(tmp_path, sink, workers=3)
        node.start()
        sent = [node.send(f"r{number}@example.com") for number in range(24)]
        for one in sent:
            wait_for("the first attempt", partial(node.events, id=one, type="deferred"))
        node.stop()
        config = tmp_path / "config" / "postlane.toml"
        config.write_text(config.read_text().replace("workers = 3", "workers = 1"))
        node.workers = 1
        refusing[0] = False
        node.start()
        try:
            for one in sent:
                assert node.final(one)["type"] == "delivered"
        finally:
            node.stop()


def test_reload_is_all_or_nothing(tmp_path: Path) -> None:
    with Sink() as sink, live(tmp_path, sink) as node:
        assert node.process is not None
        before = node.ask({"do": "stats"})["policies"]
        policies = tmp_path / "policies" / "credentials.toml"
        policies.write_text(CREDENTIALS.replace('class = "transactional"', 'clas = "transactional"'))
        assert "error" in node.ask({"do": "reload"})
        assert node.ask({"do": "stats"})["policies"] == before
        policies.write_text(CREDENTIALS.replace('domains = ["*"]', 'domains = ["other.example"]', 1))
        node.process.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: node.ask({"do": "stats"})["policies"] != before)
        with pytest.raises(smtplib.SMTPResponseException) as refused:
            node.send("dana@example.com")
        assert refused.value.smtp_code == 550
        assert "test.example is not one of local's: other.example" in _text(refused.value)
        rejected = wait_for("the event", lambda: node.events(type="rejected"))[0]
        assert rejected["reason"] == "from-domain"


def test_over_quota_is_paced_or_refused_as_the_credential_says(tmp_path: Path) -> None:
    text = CREDENTIALS.replace('domains = ["*"]', 'domains = ["*"]\nquota = "2/minute"\nover_quota = "{}"', 1)
    with Sink() as sink, live(tmp_path, sink, files={"policies/credentials.toml": text.format("refuse")}) as node:
        for _ in range(2):
            node.send("dana@example.com")
        with pytest.raises(smtplib.SMTPResponseException) as refused:
            node.send("dana@example.com")
        assert refused.value.smtp_code == 450
        assert "4.7.1 local is over 2/minute; again in" in _text(refused.value)
        (tmp_path / "policies" / "credentials.toml").write_text(text.format("pace"))
        assert "version" in node.ask({"do": "reload"})
        paced = node.send("dana@example.com")
        accepted = wait_for("the event", lambda: node.events(id=paced, type="accepted"))[0]
        assert accepted["over_quota"] is True
        assert paced in node.run("queue", "list").stdout


def test_mail_without_a_key_is_refused_and_says_what_to_do(shared: tuple[Node, Sink]) -> None:
    node, sink = shared
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        node.send("dana@example.com", sender="a@keyless.example")
    assert refused.value.smtp_code == 550
    assert "postlane keys generate keyless.example" in _text(refused.value)
    generated = node.run("keys", "generate", "keyless.example")
    assert generated.returncode == 0, generated.stderr
    assert "version" in node.ask({"do": "reload"})
    assert node.final(node.send("dana@example.com", sender="a@keyless.example"))["type"] == "delivered"
    (came,) = (message for message in sink.messages if message.sender == "a@keyless.example")
    head = came.content.partition(b"\r\n\r\n")[0]
    assert head.count(b"DKIM-Signature:") == 2
    assert b"a=rsa-sha256" in head
    assert b"a=ed25519-sha256" in head
