"""A real Postlane node for scenario tests: its own folders, its own ports on loopback, started and ended as an admin would.

async with / with Node(tmp_path, ...) as node:
    node.smtp            port of the submission listener
    node.events()        all events so far, oldest first
    node.run("queue", "list")   the command line

Claims are not held against the evidence, as an admin may ask for who trusts his apps: each start of a worker then costs less than
half. A test that is about it says so in its own streams.toml.
"""

import io
import itertools
import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from email.message import EmailMessage
from email.policy import SMTP
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from relay.cli.main import main
from relay.control import NodeDown, request
from relay.feedback.eventlog import read

PORTS = 2_500  # of one worker of pytest: a suite takes a tenth of them
ROOT = Path(__file__).parents[2]
Event = dict[str, Any]

CONFIG = """\
[node]
name = "test-1"
hostname = "relay.test.example"
data_dir = "data"
workers = {workers}

[[listener]]
bind = "127.0.0.1:{smtp}"
auth = "optional"
trust = ["127.0.0.0/8"]
credential = "local"
{listener}

[delivery]
{delivery}

[dns]
nameservers = [{nameservers}]

[web]
admin = "127.0.0.1:{web}"
public = "{public}"
public_url = "https://mail.test.example"
{more}
"""

CREDENTIALS = """\
[credential.local]
class = "transactional"
domains = ["*"]

[credential.bulk]
class = "marketing"
domains = ["*"]
networks = ["127.0.0.9/32"]
"""

RETRY = """\
[transactional]
wait = ["1s"]
give_up = "1h"
warn_after = "10m"
[service]
wait = ["1s"]
give_up = "1h"
[marketing]
wait = ["1s"]
give_up = "1h"
"""
STREAMS = """\
[default]
on_contradiction = "trust"
"""


def _own_ports() -> Iterator[int]:
    """Without end: below those that the kernel gives away (and bench/), and each worker of pytest has a range of its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    ports = [10_000 + worker * PORTS + (os.getpid() + number) % PORTS for number in range(PORTS)]
    return itertools.cycle(ports)


_ports = _own_ports()


def free_port() -> int:
    """A port of loopback that nobody listens on now and no other test is given; the next call gives another."""
    for port in _ports:
        with socket.socket() as link, suppress(OSError):
            link.bind(("127.0.0.1", port))
            return port
    raise AssertionError("ports have no end")


def _taken(port: int) -> bool:
    with socket.socket() as link:
        return bool(port) and link.connect_ex(("127.0.0.1", port)) == 0


def wait_for(what: str, ready: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Ask again and again until `ready()` is true; its value. Fails by name after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = ready()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.02)


class Node:
    """See the module. `files` overrides or adds policy and config files by their path relative to the node's folder."""

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 1,
        public: bool = False,
        delivery: str = 'mode = "capture"',
        nameservers: str = "",
        listener: str = "",
        more: str = "",
        key_for: tuple[str, ...] = (),
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.smtp = free_port()
        self.web = free_port()
        self.public = free_port() if public else 0
        self.workers = workers
        self.process: subprocess.Popen[bytes] | None = None
        config = CONFIG.format(
            workers=workers,
            smtp=self.smtp,
            web=self.web,
            public=f"127.0.0.1:{self.public}" if public else "",
            delivery=delivery,
            nameservers=nameservers,
            listener=listener,
            more=more,
        )
        contents = {
            "config/postlane.toml": config,
            "policies/credentials.toml": CREDENTIALS,
            "policies/retry.toml": RETRY,
            "policies/streams.toml": STREAMS,
            **(files or {}),
        }
        for name, text in contents.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for domain in key_for:
            self.add_key(domain)

    def __repr__(self) -> str:
        return f"<Node {self.folder} smtp={self.smtp}>"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def add_key(self, domain: str, selector: str = "s1") -> Path:
        path = self.folder / "config" / "dkim" / domain / f"{selector}.pem"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_key_of(domain, selector))
        path.chmod(0o600)
        return path

    # --- life

    def start(self) -> "Node":
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "relay.cli.main", "serve", *self._folders()],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(),
        )
        log.close()
        try:
            wait_for("the node to run", self.ready)
        except BaseException:
            self.process.kill()
            self.process.wait()
            print(self.log())
            raise
        return self

    def ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the node ended with {self.process.returncode}:\n{self.log()}")
        try:
            stats = self.ask({"do": "stats"})
        except NodeDown:
            return False
        return bool(stats["web"]) and all(worker["up"] and worker.get("healthy") for worker in stats["workers"])

    def stop(self) -> int:
        """As systemd would; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.process = None
        return status

    def kill(self) -> None:
        """Everything at once, as a power cut would."""
        assert self.process is not None
        pids = [worker["pid"] for worker in self.ask({"do": "stats"})["workers"] if worker["up"]]
        self.process.kill()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        self.process = None
        self.ended()

    def ended(self) -> None:
        """Wait until whatever the killed supervisor had started has seen that it is gone, and let go of the ports."""
        wait_for("the ports to be free", lambda: not any(map(_taken, (self.smtp, self.web, self.public))))

    def __enter__(self) -> "Node":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    # --- what a person does with it

    def _folders(self) -> list[str]:
        return ["--config", str(self.folder / "config"), "--policies", str(self.folder / "policies")]

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        return request(self.data, question, timeout=10)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command `postlane`, to its end, in this process: one of its own takes half a second to be there."""
        out, err, terminal = io.StringIO(), io.StringIO(), sys.stdin
        with redirect_stdout(out), redirect_stderr(err):
            try:
                sys.stdin = io.StringIO()
                status = main([*words, *self._folders()])
            except SystemExit as misuse:  # argparse's way
                status = int(misuse.code or 0)
            finally:
                sys.stdin = terminal
        return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())

    def run_program(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The same as a program of its own, as admins start it."""
        return subprocess.run(
            [sys.executable, "-m", "relay.cli.main", *words, *self._folders()],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environment(),
        )

    def page(self, path: str) -> str:
        """A page of the admin address."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web}{path}", timeout=30) as answer:
            text: str = answer.read().decode()
            return text

    def send(
        self,
        to: str | list[str],
        *,
        sender: str = "app@test.example",
        subject: str = "Hello",
        body: str = "Hello\n",
        headers: Mapping[str, str] | None = None,
        source: str = "127.0.0.1",
        options: tuple[str, ...] = (),
    ) -> str:
        """One message by smtplib; its id."""
        message = EmailMessage()
        message["From"] = sender
        message["To"] = to if isinstance(to, str) else ", ".join(to)
        message["Subject"] = subject
        for name, value in (headers or {}).items():
            message[name] = value
        message.set_content(body)
        with smtplib.SMTP("127.0.0.1", self.smtp, timeout=30, source_address=(source, 0)) as client:
            client.ehlo("app.test.example")
            return submit(client, sender, [to] if isinstance(to, str) else to, message.as_bytes(policy=SMTP), options)

    # --- what a person sees of it

    def events(self, **wanted: object) -> list[Event]:
        """Events with these values, oldest first: events(id=..., type="delivered"). `class` is written class_."""
        wanted = {name.rstrip("_"): value for name, value in wanted.items()}
        return [e for e in self._read_events() if all(e.get(name) == value for name, value in wanted.items())]

    def _read_events(self) -> Iterator[Event]:
        directory = self.data / "events"
        if any(directory.glob("*.parquet")):  # an hour ended during the test; rare, so the quick way below is the rule
            yield from read(directory)
            return
        lines: list[Event] = []
        try:
            for path in sorted(directory.glob("*.jsonl")):
                whole = path.read_bytes().split(b"\n")[:-1]  # a last line without its end is still being written
                lines += [json.loads(line) for line in whole]
        except FileNotFoundError:  # renamed at the end of its hour, this very moment
            yield from read(directory)
            return
        yield from sorted(lines, key=lambda event: event["time"])

    def final(self, identifier: str, seconds: float = 60.0) -> Event:
        """How the (only) delivery of a message ended."""
        ends = ("delivered", "bounced", "withheld")
        found = wait_for(
            f"the end of {identifier}", lambda: [e for e in self.events(id=identifier) if e["type"] in ends], seconds
        )
        event: Event = found[0]
        return event


@contextmanager
def together(*nodes: Node) -> Iterator[None]:
    """`with` of several nodes, whose starts, and whose ends, do not wait for each other."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        try:
            list(pool.map(Node.__enter__, nodes))
            yield
        finally:
            list(pool.map(Node.__exit__, nodes))


@cache
def _key_of(domain: str, selector: str) -> bytes:
    """Nodes of a cluster have the same; to make one takes as long as many a test."""
    key = rsa.generate_private_key(65537, 2048)
    pem = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, pem, serialization.NoEncryption())


def environment() -> dict[str, str]:
    """Of programs that a test starts. What Python compiles of Postlane is kept, as at any user's: a start compiles nothing."""
    said = {"POSTLANE_LOG": "info", "HOST": "", "SMTP_PORT": "", "WEB_PORT": "", "PYTHONDONTWRITEBYTECODE": ""}
    return {**os.environ, **said}


def submit(client: smtplib.SMTP, sender: str, to: list[str], content: bytes, options: tuple[str, ...] = ()) -> str:
    """MAIL, RCPT, DATA; the id in the answer. Raises what smtplib raises where one is refused."""
    code, text = client.mail(sender)
    if code == 250:
        for recipient in to:
            code, text = client.rcpt(recipient, options)
            if code != 250:
                break
    if code == 250:
        code, text = client.data(content)
    if code != 250:
        raise smtplib.SMTPResponseException(code, text)
    return text.decode().split()[2]
