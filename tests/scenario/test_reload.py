"""A live node whose files change: what is in force, in which process, and who hears of it."""

import os
import random
import signal
import smtplib
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import self_signed
from tests.support.dnsserver import DnsServer
from tests.support.node import CREDENTIALS, Node, wait_for
from tests.support.peer import serving
from tests.support.sink import Sink

pytestmark = pytest.mark.scenario

RETRY = '[transactional]\nwait = ["1s"]\ngive_up = "{}h"\n'


def node_of(folder: Path, sink: Sink, **more: Any) -> Node:
    delivery = f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"'
    return Node(folder, delivery=delivery, key_for=("test.example",), **more)


def write(node: Node, name: str, text: str) -> None:
    (node.folder / name).write_text(text)


def edit(node: Node, old: str, new: str, name: str = "config/postlane.toml") -> None:
    text = (node.folder / name).read_text()
    assert old in text
    write(node, name, text.replace(old, new))


def reload(node: Node) -> str:
    done = node.run("reload")
    assert done.returncode == 0, done.stderr
    return done.stdout


def versions(node: Node) -> set[str]:
    """What the node and its workers run; a worker that is down has none."""
    stats = node.ask({"do": "stats"})
    return {stats["policies"], *(worker.get("policies", "down") for worker in stats["workers"])}


def metric(node: Node, name: str) -> str:
    return next(line for line in node.page("/metrics").splitlines() if line.startswith(name)).rpartition(" ")[2]


def workers(node: Node) -> list[int]:
    return [worker["pid"] for worker in node.ask({"do": "stats"})["workers"] if worker["up"]]


def kill(node: Node, pid: int) -> None:
    """One worker; until another has its place."""
    os.kill(pid, signal.SIGKILL)
    wait_for("a new worker", lambda: pid not in workers(node) and node.ready())


def test_a_worker_that_dies_amid_an_edit_comes_back_as_it_was(tmp_path: Path) -> None:
    with Sink() as sink, node_of(tmp_path, sink) as node:
        before = versions(node)
        key = tmp_path / "config" / "dkim" / "test.example" / "s2.pem"
        key.write_bytes(b"half a k")
        write(node, "config/postlane.toml", "[nod")
        write(node, "config/pools.toml", "[pool.x")
        write(node, "policies/credentials.toml", "[cred")
        kill(node, workers(node)[0])
        assert versions(node) == before
        assert node.final(node.send("dana@example.com"))["type"] == "delivered"
        wait_for("the web process", lambda: f"policies {before.copy().pop()}" in node.page("/healthz"))


def test_a_restart_undoes_no_rollback_and_broken_files_stop_no_start(tmp_path: Path) -> None:
    with Sink() as sink:
        node = node_of(tmp_path, sink)
        with node:
            first = node.ask({"do": "stats"})["policies"]
            write(node, "policies/retry.toml", RETRY.format(2))
            told = reload(node).splitlines()
            second = node.ask({"do": "stats"})["policies"]
            assert told[0].startswith(f"test-1  {second} in force (")
            assert told[1] == f"Undo: postlane policies rollback {first}"
            back = node.run("policies", "rollback", first, "--reason", "too long")
            assert back.returncode == 0, back.stderr
            assert f"The files on disk are still {second}" in back.stdout
            assert versions(node) == {first}
            audit = wait_for("the audit", lambda: node.events(type="audit", action="policies rollback"))[0]
            assert (audit["what"]["policies"], audit["reason"]) == (first, "too long")
            assert f"{second}, rolled back to {first} on " in node.run("status").stdout
            listing = node.run("policies", "list").stdout.splitlines()
            assert listing[0].startswith(f"* {first}")
            assert listing[1].endswith("on disk")
            assert '+give_up = "2h"' in node.run("policies", "diff").stdout
            assert "give_up" in node.run("policies", "show", "retry", "transactional").stdout
        with node:
            assert versions(node) == {first}, "a restart of the machine undoes no rollback"
            assert reload(node).startswith(f"test-1  {second} in force")
        config = (tmp_path / "config" / "postlane.toml").read_text()
        write(node, "config/postlane.toml", config.replace("[delivery]", "[delivery\n"))
        write(node, "policies/retry.toml", "[transactional]\nwait = 3\n[urgent]\n")
        with node:
            it_runs_the_last_good_files(node, second)
            write(node, "config/postlane.toml", config)
            write(node, "policies/retry.toml", RETRY.format(1))
            assert f"Undo: postlane policies rollback {second}" in reload(node)
            wait_for("all is well", lambda: node.run("status").returncode == 0)
            assert metric(node, "postlane_policies_last_reload_successful") == "1"
            wait_for("its end", lambda: [e["state"] for e in node.events(type="alert")] == ["firing", "resolved"])


def it_runs_the_last_good_files(node: Node, good: str) -> None:
    """And says so wherever somebody may look."""
    assert versions(node) == {good}
    assert node.final(node.send("dana@example.com"))["type"] == "delivered"
    status = node.run("status")
    assert status.returncode == 1
    said = f"config/ and policies/ on disk have 3 errors (below). Started with the last good ones, {good} of "
    assert said in status.stdout
    assert "policies/retry.toml:3: urgent: unknown key" in status.stdout
    assert said in node.log()
    assert metric(node, "postlane_policies_last_reload_successful") == "0"
    firing = wait_for("the alert", partial(node.events, type="alert"))[0]
    assert (firing["state"], firing["policies"]) == ("firing", good)
    assert said in firing["summary"]
    refused = node.run("reload")
    assert refused.returncode == 1
    assert "policies/retry.toml:3: urgent: unknown key" in refused.stderr


def test_what_cannot_be_put_in_force_is_told_and_changes_nothing(tmp_path: Path) -> None:
    pools = '[pool.{}]\nsources = [{{ address = "" }}]\n[pool.service]\nsources = [{{ address = "" }}]\n'
    pools += '[pool.marketing]\nsources = [{{ address = "" }}]\n'
    files = {"config/pools.toml": pools.format("old"), "policies/routes.toml": '[default]\ntransactional = "old"\n'}
    with Sink() as sink, node_of(tmp_path, sink, files=files) as node:
        first = versions(node)
        obstacle = tmp_path / "data" / "versions" / ".in-force.json"
        obstacle.mkdir()
        write(node, "config/pools.toml", pools.format("new"))
        write(node, "policies/routes.toml", '[default]\ntransactional = "new"\n')
        refused = node.run("reload")
        assert refused.returncode == 1
        assert f"it cannot be recorded in {tmp_path}/data: Is a directory" in refused.stderr
        assert versions(node) == first
        obstacle.rmdir()
        reload(node)
        second = versions(node)
        refused = node.run("policies", "rollback", *first)
        assert refused.returncode == 1
        assert 'no pool "old" in ' in refused.stderr
        assert "does not go with config/ as it is now" in refused.stderr
        assert "is in force already" in node.run("policies", "rollback", *second).stderr
        assert "no version ffffff is kept" in node.run("policies", "rollback", "ffffff").stderr
        assert versions(node) == second
        assert node.run("status").returncode == 0, "who cannot go back has no trouble with what is on disk"


def test_name_servers_are_asked_as_the_files_say(tmp_path: Path) -> None:
    """The first one does not know the domain, and its mail waits; the next one does."""
    before, after = DnsServer(), DnsServer()
    before.fail("example.com")
    with Sink() as sink, serving(before), serving(after):
        after.add("example.com", "MX", "10 mx.example.com.")
        after.add("mx.example.com", "A", "127.0.0.1")
        delivery = f'mode = "live"\nport = {sink.port}\nallow_private = true'
        servers = f'"{before.address}"'
        with Node(tmp_path, delivery=delivery, nameservers=servers, key_for=("test.example",), workers=2) as node:
            sent = [node.send("dana@example.com") for _ in range(4)]  # whichever worker takes it
            for one in sent:
                wait_for("the first attempt", partial(node.events, id=one, type="deferred"))
            edit(node, before.address, after.address)
            reload(node)
            assert [node.final(one)["type"] for one in sent] == ["delivered"] * 4


def test_listeners_change_while_people_are_connected(tmp_path: Path) -> None:
    pem = self_signed(tmp_path, "localhost")
    with Sink() as sink, node_of(tmp_path, sink, workers=2) as node:
        with smtplib.SMTP("127.0.0.1", node.smtp, timeout=30) as before:
            before.ehlo("app")
            assert before.mail("app@test.example")[0] == 250
            edit(node, 'auth = "optional"', 'auth = "required"\ntls = "starttls"\nmax_size = "1MB"')
            edit(node, "[delivery]", f'[tls]\ncert = "{pem}"\nkey = "{pem}"\n[delivery]')
            assert reload(node).splitlines()[1:] == ["config/ has changed too, and is in force"]
            assert before.rcpt("dana@example.com")[0] == 250  # who was let in goes on as he began
            assert before.data(b"From: app@test.example\r\n\r\nHello\r\n")[0] == 250
        with smtplib.SMTP("127.0.0.1", node.smtp, timeout=30) as after:
            after.ehlo("app")
            assert (after.esmtp_features["size"], "starttls" in after.esmtp_features) == ("1048576", True)
            assert after.mail("app@test.example")[0] == 530
        wait_for("the web process, anew", lambda: "STARTTLS" in node.page("/connect"))
        edit(node, 'tls = "starttls"', 'tls = "implicit"')
        edit(node, 'hostname = "relay.test.example"', 'hostname = "other.test.example"')
        told = reload(node)
        assert 'node.hostname: warning: needs a restart; "relay.test.example" until then' in told
        assert "needs a restart" in node.run("status").stdout
        with smtplib.SMTP_SSL("127.0.0.1", node.smtp, timeout=30) as secure:
            assert b"relay.test.example" in secure.ehlo("app")[1]
        (tmp_path / "missing").mkdir()
        edit(node, f'cert = "{pem}"', 'cert = "missing/cert.pem"')
        refused = node.run("reload")
        assert refused.returncode == 1
        assert "cert.pem cannot be read: No such file or directory" in refused.stderr
        with smtplib.SMTP_SSL("127.0.0.1", node.smtp, timeout=30) as secure:
            assert secure.noop()[0] == 250


def test_workers_that_die_during_reloads_end_on_one_version(tmp_path: Path) -> None:
    """A worker is killed at a random moment of each of these reloads. Some are refused for it; none is done by halves."""
    with Sink() as sink, node_of(tmp_path, sink, workers=2) as node:
        done = 0
        for number in range(5):
            write(node, "policies/retry.toml", RETRY.format(number + 1))
            victim = random.choice(workers(node))
            before = node.ask({"do": "stats"})["policies"]
            pause = random.uniform(0, 0.06)  # a reload takes about half of that
            with subprocess.Popen(["sh", "-c", f"sleep {pause:.3f}; kill -9 {victim}"]):
                answer = node.ask({"do": "reload"})
            in_force = answer["version"] if "error" not in answer else before
            done += "error" not in answer
            wait_for("both workers", node.ready)
            assert versions(node) == {in_force}
        assert done, "not every reload met a dying worker"
        reload(node)
        credentials = CREDENTIALS.replace('class = "transactional"', 'class = "marketing"')
        write(node, "policies/credentials.toml", credentials)
        reload(node)
        for _ in range(8):  # whichever worker takes it
            sent = node.send("dana@example.com")
            accepted = wait_for("the event", partial(node.events, id=sent, type="accepted"))[0]
            assert accepted["class"] == "marketing"
