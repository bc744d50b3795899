"""A full disk: nothing is acknowledged that is not saved, nothing saved is lost, and accepting resumes by itself."""

import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.node import Node, wait_for
from tests.support.sink import Received, Sink

pytestmark = pytest.mark.scenario


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB, ended with the test."""
    needs.root()
    mount = tmp_path / "data"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", mount], capture_output=True, check=False)
    if done.returncode:
        needs.lack(f"a file system of our own (mount: {done.stderr.decode().strip()})")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


def test_a_full_disk_is_452_and_passes(small_disk: Path) -> None:
    refusing = [True]

    def answer(_: Received) -> str:
        return "451 4.3.0 not now" if refusing[0] else "250 2.0.0 taken"

    with Sink(answer=answer) as sink:
        delivery = f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"'
        with Node(small_disk.parent, delivery=delivery, key_for=("test.example",)) as node:
            sent = [node.send("dana@example.com")]
            filler = small_disk / "filler"
            fill(filler)
            with smtplib.SMTP("127.0.0.1", node.smtp) as client:
                client.ehlo("app")
                refused = until_refused(client, sent)
                assert refused == (452, b"4.3.1 The message could not be saved; try again later")
                assert client.noop()[0] == 250  # the session lives on
            assert node.run("status").returncode == 1
            filler.unlink()
            refusing[0] = False
            wait_for("health", lambda: node.ask({"do": "stats"})["workers"][0]["healthy"])
            sent.append(node.send("dana@example.com"))
            for one in sent:
                assert node.final(one, 60)["type"] == "delivered"
    assert len(sink.messages) == len(sent)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            for size in (1 << 20, 1 << 12, 1):
                for _ in range(1 << 12):
                    file.write(b"x" * size)
        except OSError:
            return


def until_refused(client: smtplib.SMTP, sent: list[str]) -> tuple[int, bytes]:
    """Hand in 200 KB at a time until the node says no; its answer. What it took is added to `sent`."""
    content = b"From: app@test.example\r\n\r\n" + (b"x" * 98 + b"\r\n") * 2000
    for _ in range(200):
        client.mail("app@test.example")
        client.rcpt("dana@example.com")
        code, text = client.data(content)
        if code != 250:
            return code, text
        sent.append(text.decode().split()[2])
    raise AssertionError("the disk never filled")
