"""Streams and routes in a live node: what mail claims to be decides by whom and whence it is carried."""

import smtplib
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.scenario.test_queue import POOLS, live
from tests.support.node import CREDENTIALS, Node, submit, wait_for
from tests.support.sink import Sink

pytestmark = pytest.mark.scenario

STREAMS = """\
[[stream]]
name = "receipts"
match.credential = "local"
match.subject = "your order"
class = "transactional"

[[stream]]
name = "offers"
match.credential = "bulk"
match.subject = "your order"
class = "marketing"
also_remove = ["X-Campaign"]
"""
ROUTES = """\
[[route]]
match.class = "marketing"
match.recipient_domain = "discard.example"
discard = true

[[route]]
match.class = "marketing"
match.stream = "offers"
next_hop = "127.0.0.1:{port}"
"""


def test_the_same_subject_with_different_claims_is_routed_apart(tmp_path: Path) -> None:
    with Sink() as sink, Sink() as other:
        files = {
            "config/pools.toml": POOLS,
            "policies/streams.toml": STREAMS,
            "policies/routes.toml": ROUTES.format(port=other.port),
            "policies/credentials.toml": CREDENTIALS,
        }
        with live(tmp_path, sink, files=files) as node:
            checked = node.run("check")
            assert checked.returncode == 0, checked.stdout
            subject, headers = "Your order is waiting", {"X-Campaign": "47"}
            receipt = node.send("dana@example.com", subject=subject, headers=headers)
            offer = node.send("dana@example.com", subject=subject, headers=headers, source="127.0.0.9")
            gone = node.send("dana@discard.example", subject=subject, source="127.0.0.9")
            assert node.final(receipt)["pool"] == "transactional"
            assert node.final(offer)["pool"] == "marketing"
            discarded = node.final(gone)
            assert (discarded["type"], discarded["reason"]) == ("withheld", "discarded")
            assert discarded["detail"] == "policies/routes.toml:1"
            assert [(m.source, m.header("X-Campaign")) for m in sink.messages] == [("127.0.0.2", "47")]
            assert [(m.source, m.header("X-Campaign")) for m in other.messages] == [("127.0.0.4", "")]
            accepted = wait_for("the event", partial(node.events, id=offer, type="accepted"))[0]
            assert (accepted["stream"], accepted["class"]) == ("offers", "marketing")
            assert accepted["rule"] == "policies/streams.toml:7"

            (tmp_path / "policies" / "routes.toml").unlink()
            (tmp_path / "policies" / "streams.toml").write_text(STREAMS.replace('name = "offers"', 'name = "later"'))
            assert "version" in node.ask({"do": "reload"})
            late = node.send("dana@example.com", subject=subject, source="127.0.0.9")
            assert node.final(late)["stream"] == "later"
            assert [m.source for m in sink.messages] == ["127.0.0.2", "127.0.0.4"]


AMP = """\
<!doctype html>
<html \u26a14email data-css-strict>
<head>\t\x20
<script async src="https://cdn.ampproject.org/v0.js"></script>
</head>
<body>
.
..  two dots, trailing blanks \x20
\u05e9\u05dc\u05d5\u05dd</body>
</html>
""".replace("\n", "\r\n").encode()


URGENT = """\
[[stream]]
name = "notices"
match.subject = "notice"
class = "marketing"
priority = 3
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Sink]]:
    files = {"policies/streams.toml": URGENT}
    with Sink() as sink, live(tmp_path_factory.mktemp("node"), sink, files=files) as node:
        yield node, sink


def test_an_amp_part_arrives_byte_for_byte(shared: tuple[Node, Sink]) -> None:
    node, sink = shared
    kinds = ((b"plain", b"Your cart waits.\r\n"), (b"x-amp-html", AMP), (b"html", b"<p>Your cart waits.</p>\r\n"))
    parts = [b"Content-Type: text/%s; charset=utf-8\r\n\r\n%s" % kind for kind in kinds]
    body = b"--b1\r\n" + b"\r\n--b1\r\n".join(parts) + b"\r\n--b1--\r\n"
    header = b"From: app@test.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b1\r\n\r\n"
    with smtplib.SMTP("127.0.0.1", node.smtp, timeout=30) as client:
        client.ehlo("app.test.example")
        submit(client, "app@test.example", ["amp@example.com"], header + body)
    (came,) = wait_for("the message", lambda: [m for m in sink.messages if m.recipients == ["amp@example.com"]])
    assert came.content.endswith(header + body)


def test_an_app_may_ask_for_as_much_priority_as_its_stream_has(shared: tuple[Node, Sink]) -> None:
    letter = b"From: app@test.example\r\nSubject: Notice\r\n\r\nHello\r\n"
    node, sink = shared
    checked = node.run("check")
    assert checked.returncode == 0, checked.stdout
    assert "priority" not in checked.stdout
    with smtplib.SMTP("127.0.0.1", node.smtp, timeout=30) as client:
        client.ehlo("app.test.example")
        assert client.has_extn("mt-priority")
        answers = []
        for options in ((), ("MT-PRIORITY=9",), ("MT-PRIORITY=-2",)):
            assert client.mail("app@test.example", options)[0] == 250
            assert client.rcpt("dana@example.com")[0] == 250
            code, text = client.data(letter)
            answers.append(f"{code} {text.decode()}")
    given = [answer.partition("OK ")[0] for answer in answers]
    assert given == ["250 2.0.0 ", "250 2.3.6 3 ", "250 2.0.0 "]
    assert all(answer.endswith("stream=notices class=marketing") for answer in answers)
    for answer, priority in zip(answers, (3, 3, -2), strict=True):
        identifier = answer.partition("OK ")[2].split()[0]
        assert node.final(identifier)["type"] == "delivered"
        accepted = wait_for("the event", partial(node.events, id=identifier, type="accepted"))[0]
        assert accepted["priority"] == priority
        (received,) = [m.header("Received") for m in sink.messages if identifier in m.header("Received")]
        assert f"PRIORITY {priority}" in received


TURNS = """\
[[stream]]
name = "turn-{turn}"
match.subject = "offer"
class = "{kind}"
"""
SOURCES = {"service": "127.0.0.3", "marketing": "127.0.0.4"}


class App(threading.Thread):
    """Hands in one message after the other over one connection until told to stop; `taken`: id -> stream, class."""

    def __init__(self, node: Node, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.taken: dict[str, tuple[str, str]] = {}
        self.fault: Exception | None = None
        self._node, self._number, self._stop_it = node, number, stop

    def run(self) -> None:
        content = "From: app@test.example\r\nSubject: an offer\r\nX-Number: {}\r\n\r\nHello\r\n"
        try:
            with smtplib.SMTP("127.0.0.1", self._node.smtp, timeout=30) as client:
                client.ehlo("app.test.example")
                while not self._stop_it.is_set():
                    client.mail("app@test.example")
                    client.rcpt(f"r{self._number}@example.com")
                    code, text = client.data(content.format(self._number).encode())
                    assert code == 250, text
                    identifier, stream, kind = text.decode().split()[2:]
                    self.taken[identifier] = stream.removeprefix("stream="), kind.removeprefix("class=")
        except Exception as error:
            self.fault = error


def total(apps: Sequence[App]) -> int:
    return sum(len(app.taken) for app in apps)


def grown(apps: Sequence[App], count: int) -> bool:
    assert [app.fault for app in apps] == [None] * len(apps)
    return total(apps) >= count


def test_reloads_under_load_lose_and_misroute_nothing(tmp_path: Path) -> None:
    """Each turn of the files moves the same mail to another stream, class and so source; what the 250 said is what holds."""
    with Sink() as sink:
        files = {"config/pools.toml": POOLS, "policies/streams.toml": TURNS.format(turn=0, kind="marketing")}
        with live(tmp_path, sink, files=files, workers=2) as node:
            stop = threading.Event()
            apps = [App(node, number, stop) for number in range(4)]
            for app in apps:
                app.start()
            in_force = {"turn-0": node.ask({"do": "stats"})["policies"]}
            for turn in range(1, 7):
                text = TURNS.format(turn=turn, kind=("marketing", "service")[turn % 2])
                (tmp_path / "policies" / "streams.toml").write_text(text)
                in_force[f"turn-{turn}"] = node.ask({"do": "reload"})["version"]
                more = total(apps) + 20
                wait_for("mail of this turn", partial(grown, apps, more))
            stop.set()
            for app in apps:
                app.join(30)
            assert [app.fault for app in apps] == [None] * 4
            taken = {identifier: said for app in apps for identifier, said in app.taken.items()}
            wait_for("all of it", lambda: len(node.events(type="delivered")) == len(taken))
            assert {stream for stream, _ in taken.values()} == set(in_force)
            for event in node.events(type="accepted"):
                assert (event["stream"], event["class"]) == taken[event["id"]]
                assert event["policies"] == in_force[event["stream"]]
            for event in node.events(type="delivered"):
                assert (event["stream"], event["source"]) == (taken[event["id"]][0], SOURCES[taken[event["id"]][1]])
            assert Counter(m.source for m in sink.messages) == Counter(SOURCES[kind] for _, kind in taken.values())
