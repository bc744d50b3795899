"""A node that sends, watched: on a terminal of its own, as a snapshot a program reads, and on the admin page."""

import contextlib
import fcntl
import json
import os
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from tests.support.node import ROOT, Node, wait_for
from tests.support.sink import Received, Sink

pytestmark = pytest.mark.scenario

BULK = "127.0.0.9"


class Terminal:
    """`postlane queue top` on a terminal of 160 by 30; `shown`: all it has written there."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 160, 0, 0))
        command = [sys.executable, "-m", "relay.cli.main", "queue", "top", *words]
        places = ["--config", str(folder / "config"), "--policies", str(folder / "policies")]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "160", "LINES": "30"}
        self.process = subprocess.Popen([*command, *places], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)
        self.shown = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        os.close(self._ours)

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the process has ended
            while octets := os.read(self._ours, 65_536):
                self.shown.extend(octets)


def test_what_a_node_does_can_be_watched(tmp_path: Path) -> None:
    def answer(mail: Received) -> str:
        return "451 4.7.0 slow down" if mail.recipients[0].startswith("late") else "250 2.0.0 taken"

    with Sink(answer=answer) as sink:
        delivery = f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"'
        retry = '[marketing]\nwait = ["1h"]\ngive_up = "1d"\n'
        with Node(
            tmp_path, delivery=delivery, key_for=("test.example",), workers=2, files={"policies/retry.toml": retry}
        ) as node:
            late = [node.send(f"late{number}@example.com", source=BULK) for number in range(5)]
            for one in late:
                wait_for("the first attempt", lambda one=one: node.events(id=one, type="deferred"))  # type: ignore[misc]
            for number in range(5):
                node.final(node.send(f"r{number}@example.com"))
            seen = json.loads(node.run("queue", "top", "--json", "--count", "1").stdout)
            bulk = next(row for row in seen["sites"] if row["pool"] == "marketing")
            assert (bulk["waiting"], bulk["due"], bulk["reply"]) == (5, 0, "451 4.7.0 slow down")
            assert bulk["next"] is not None
            assert seen["p99_ms"] is not None
            assert seen["totals"]["delivered"] > 0
            assert "retry " in node.run("queue", "top").stdout

            page = node.page("/queue")
            assert "451 4.7.0 slow down" in page
            why = "tried once, then put off: 451 4.7.0 slow down; next "
            assert f"Not delivered yet: {why}" in node.page(f"/m/{late[0]}")
            assert f"is not delivered yet: {why}" in node.run("message", late[0]).stdout

            with Terminal(tmp_path, "--every", "0.2") as terminal:
                wait_for("the screen", lambda: b"451 4.7.0 slow down" in terminal.shown)
                terminal.press(b"/nothing\r")
                wait_for("the filter", lambda: b"/ filter nothing" in terminal.shown)
                terminal.press(b"/mark\r\r")
                wait_for("the view of the site", lambda: b"Esc back" in terminal.shown and b"STREAM" in terminal.shown)
                terminal.press(b"\x1b")
                terminal.press(b"q")
                assert terminal.process.wait(30) == 0
                wait_for("the cursor to be back", lambda: b"\x1b[?25h" in terminal.shown)
