"""One-click unsubscribe and the preference page, from the header that arrives to the mail that does not."""

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import urllib.parse
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from relay.tokens import Ticket, Tokens
from tests.support.node import Node, wait_for
from tests.support.sink import Received, Sink

pytestmark = pytest.mark.scenario

BRANDS = """\
[brand.arava]
name = { en = "Arava Home", he = "ערבה לבית" }
domains = ["arava.example"]
public_url = "https://mail.arava.example"
topics.offers = "Offers and sales"
topics.tips = "Home and garden tips"
"""
STREAMS = """\
[[stream]]
name = "password-reset"
match.subject = "reset"
class = "transactional"

[[stream]]
name = "tips"
match.subject = "tips"
class = "marketing"
topic = "tips"

[[stream]]
name = "offers"
match.credential = "bulk"
class = "marketing"
topic = "offers"
"""
PARTS = (  # the other encoding of RFC 8058 3.2
    '--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n',
    {"Content-Type": "multipart/form-data; boundary=b"},
)
GMAIL = {
    "Content-Type": "application/x-www-form-urlencoded",
    "User-Agent": "Mozilla/5.0 (compatible; GoogleImageProxy)",
}


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Node]:
    made = Node(
        tmp_path_factory.mktemp("pages"),
        public=True,
        delivery=f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"\nallow_private = true',
        key_for=("arava.example",),
        files={"policies/brands.toml": BRANDS, "policies/streams.toml": STREAMS},
    )
    with made:
        yield made


def market(node: Node, to: str, subject: str = "All on sale", **headers: str) -> str:
    return node.send(to, sender="Arava Home <news@arava.example>", subject=subject, headers=headers, source="127.0.0.9")


def arrived(node: Node, sink: Sink, identifier: str) -> Received:
    assert node.final(identifier)["type"] == "delivered"
    return next(one for one in sink.messages if f"id {identifier}" in one.header("Received"))


def path_of(letter: Received) -> str:
    """The path of the URL in List-Unsubscribe, as a mailbox provider finds it."""
    found = re.fullmatch(r"<https://mail\.arava\.example(/u/[\w-]+)>", letter.header("List-Unsubscribe"))
    assert found, letter.header("List-Unsubscribe")
    return found[1]


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    text: str


def ask(node: Node, method: str, path: str, body: str = "", **headers: str) -> Answer:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", node.public, timeout=30)) as link:
        link.request(method, path, body, {"Host": "mail.arava.example", "Connection": "close", **headers})
        answer = link.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())


def test_one_click_as_gmail_does_it(node: Node, sink: Sink) -> None:
    news = market(node, "dana@gmail.com", **{"X-Postlane-Campaign": "weekend-47"})
    letter = arrived(node, sink, news)
    assert letter.header("List-Unsubscribe-Post") == "List-Unsubscribe=One-Click"
    signed = re.search(r"h=([\w\s:-]+);", letter.header("DKIM-Signature"))
    assert signed
    assert {"list-unsubscribe", "list-unsubscribe-post"} <= set(re.sub(r"\s", "", signed[1]).split(":"))

    path = path_of(letter)
    for method in ("GET", "HEAD"):
        assert ask(node, method, path).status == 200
    assert ask(node, "POST", path, "a=b").status == 400
    assert arrived(node, sink, market(node, "Dana@Gmail.com")), "scanners change nothing"

    answer = ask(node, "POST", path, "List-Unsubscribe=One-Click", **GMAIL)
    assert answer.status == 200
    assert not {"set-cookie", "location"} & set(answer.headers)
    (event,) = wait_for("the event", lambda: node.events(type="unsubscribed", recipient="dana@gmail.com"))
    assert (event["brand"], event["stream"], event["via"]) == ("arava", "offers", "one-click")
    (delivered,) = node.events(id=news, type="delivered")
    same = ("id", "rcpt", "credential", "class", "campaign", "site")
    assert {name: event[name] for name in same} == {name: delivered[name] for name in same}
    assert event["campaign"] == "weekend-47"
    for by in ("campaign", "credential", "site"):
        wait_for(f"its {by} in what streams are judged by", partial(left_of, node, by, delivered[by]))

    held = node.final(market(node, "d.ana+news@gmail.com"))
    assert (held["type"], held["reason"]) == ("withheld", "unsubscribed"), "the same mailbox, otherwise spelled"
    reset = node.send("dana@gmail.com", sender="shop@arava.example", subject="Your password reset")
    assert not arrived(node, sink, reset).header("List-Unsubscribe")
    assert arrived(node, sink, market(node, "noa@gmail.com")), "nobody else left"
    assert ask(node, "POST", path, "List-Unsubscribe=One-Click", **GMAIL).status == 200
    assert len(node.events(type="unsubscribed", recipient="dana@gmail.com")) == 1, "replayed, it is no news"


def left_of(node: Node, by: str, name: str) -> bool:
    """Does somebody who left count there, among what was delivered?"""
    rows = [json.loads(line) for line in node.run("health", "show", "--by", by, "--json").stdout.splitlines()]
    return any(row[by] == name and row["delivered"] and row["unsubscribes"] for row in rows)


def test_what_is_chosen_on_the_page_holds(node: Node, sink: Sink) -> None:
    path = path_of(arrived(node, sink, market(node, "ron@example.com"))).replace("/u/", "/p/")
    page = ask(node, "GET", path, **{"Accept-Language": "he"}).text
    assert 'dir="rtl"' in page
    assert "ערבה לבית" in page
    stamp = re.search(r'name="stamp" value="([\w-]+)"', page)
    assert stamp
    form = {"action": "save", "stamp": stamp[1], "lang": "he", "topic": "offers", "frequency": "each", "pause": "0"}
    saved = ask(node, "POST", path, urllib.parse.urlencode(form), **GMAIL)
    assert saved.status == 200
    assert "נשמר" in saved.text
    (event,) = wait_for("the event", lambda: node.events(type="preferences-changed", recipient="ron@example.com"))
    assert (event["brand"], event["via"]) == ("arava", "page")
    tips = node.final(market(node, "ron@example.com", "Ten tips for your garden"))
    assert (tips["type"], tips["reason"]) == ("withheld", "preference")
    assert arrived(node, sink, market(node, "ron@example.com"))


def test_who_asked_to_be_forgotten_can_still_leave_and_is_not_known_again(node: Node, sink: Sink) -> None:
    path = path_of(arrived(node, sink, market(node, "tal@example.com")))
    gone = node.run("recipient", "tal@example.com", "--forget", "--stop", "nothing", "--reason", "asked", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert ask(node, "GET", path).status == 200
    assert ask(node, "POST", path, "List-Unsubscribe=One-Click", **GMAIL).status == 200
    wait_for("the event", lambda: node.events(type="unsubscribed", recipient="tal@example.com"))
    assert node.final(market(node, "tal@example.com"))["type"] == "withheld"


def test_what_the_pages_do_is_counted_and_mail_comes_first(node: Node) -> None:
    assert ask(node, "GET", "/robots.txt").status == 200
    metrics = node.page("/metrics")
    assert re.search(r"^postlane_pages_served_total [1-9]", metrics, re.MULTILINE)
    assert "postlane_pages_shed_total 0" in metrics
    assert "postlane_journal_waiting 0" in metrics
    assert node.process is not None
    children = Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children").read_text().split()
    nice = {
        Path(f"/proc/{pid}/comm").read_text() == "web\n": os.getpriority(os.PRIO_PROCESS, int(pid)) for pid in children
    }
    assert nice[True] > nice[False]


def test_the_keys_are_changed_by_a_reload_and_old_links_work(node: Node, sink: Sink) -> None:
    before = path_of(arrived(node, sink, market(node, "eli@example.com")))
    secret = node.data / "secret"
    old, new = secret.read_bytes(), b"n" * 32
    lines = [b"# postlane secrets", base64.b64encode(old), base64.b64encode(new), b""]
    secret.write_bytes(b"\n".join(lines))
    assert node.run("reload").returncode == 0
    after = path_of(arrived(node, sink, market(node, "eli@example.com")))
    assert Tokens([new]).open(after.removeprefix("/u/")) is not None
    assert isinstance(Tokens([old]).open(before.removeprefix("/u/")), Ticket)
    wait_for("the pages to follow", lambda: ask(node, "GET", after).status == 200)
    assert ask(node, "POST", before, "List-Unsubscribe=One-Click", **GMAIL).status == 200
    wait_for("the event", lambda: node.events(type="unsubscribed", recipient="eli@example.com"))


def test_an_unsubscription_survives_that_everything_is_killed(node: Node, sink: Sink) -> None:
    people = ("gil@example.com", "gal@example.com")
    gil, gal = (path_of(arrived(node, sink, market(node, who))) for who in people)
    workers = [worker["pid"] for worker in node.ask({"do": "stats"})["workers"]]

    for pid in workers:
        os.kill(pid, signal.SIGSTOP)  # State and workers are as good as gone
    assert ask(node, "POST", gil, "List-Unsubscribe=One-Click", **GMAIL).status == 200
    assert ask(node, "POST", gal, PARTS[0], **PARTS[1]).status == 200
    journal = b"".join(path.read_bytes() for path in (node.data / "journal").glob("*.jsonl"))
    assert all(who.encode() in journal for who in people), "on disk before it was answered"
    assert node.process is not None
    node.process.kill()
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    node.process.wait(10)
    node.ended()
    node.start()
    for who in people:
        wait_for("the event", partial(node.events, type="unsubscribed", recipient=who))
        assert node.final(market(node, who))["type"] == "withheld"
    wait_for("an empty journal", lambda: not list((node.data / "journal").glob("*.jsonl")))


def test_an_operator_suppresses_looks_undoes_and_forgets(node: Node, sink: Sink) -> None:
    done = node.run(
        "suppress", "add", "avi@example.com", "--stop", "marketing", "--brand", "arava", "--note", "by phone"
    )
    assert done.returncode == 0, done.stderr
    held = node.final(market(node, "Avi@Example.com"))
    assert (held["type"], held["reason"], held["at"]) == ("withheld", "suppressed", "accept")
    assert held["detail"].startswith("marketing, manual, cli on 20")
    reset = node.send("avi@example.com", sender="shop@arava.example", subject="Your password reset")
    assert node.final(reset)["type"] == "delivered"
    known = node.run("recipient", "avi@example.com")
    assert known.returncode == 0, known.stderr
    assert "marketing of arava  manual, cli" in known.stdout
    assert "withheld" in known.stdout
    undo = next(line.split()[1:] for line in known.stdout.splitlines() if "postlane suppress remove" in line)
    assert node.run(*undo).returncode == 0
    assert arrived(node, sink, market(node, "avi@example.com"))

    node.run("suppress", "add", "avi@example.com", "--stop", "marketing")
    told = json.loads(node.run("recipient", "avi@example.com", "--export").stdout)
    assert {event["type"] for event in told["events"]} >= {
        "accepted",
        "withheld",
        "delivered",
        "suppressed",
        "unsuppressed",
    }
    gone = node.run("recipient", "avi@example.com", "--forget", "--yes", "--reason", "letter of 22 Nov")
    assert gone.returncode == 0, gone.stderr
    for file in filter(Path.is_file, (node.data / "events").rglob("*")):
        assert b"avi@example.com" not in file.read_bytes().lower(), file.name
    assert json.loads(node.run("recipient", "avi@example.com", "--export").stdout)["events"] == []
    held = node.final(market(node, "avi@example.com"))
    assert (held["type"], held["reason"]) == ("withheld", "suppressed"), "he stays suppressed, by a hash alone"
    assert len(node.events(type="audit", action="recipient --forget", reason="letter of 22 Nov")) == 1


def test_an_app_with_a_token_asks_and_tells(node: Node, sink: Sink) -> None:
    """A token by command, the calls of a form, a shop and an unsubscribe link of the app's own; and what becomes of mail."""
    made = node.run("credentials", "token", "bulk", "--json")
    assert made.returncode == 0, made.stderr
    token = json.loads(made.stdout)["token"]

    def call(method: str, path: str, body: object = None, token: str = token) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", node.web, timeout=30)) as link:
            link.request(method, f"/api/v1{path}", json.dumps(body) if body is not None else None, headers)
            answer = link.getresponse()
            return answer.status, json.loads(answer.read())

    assert call("POST", "/validate", {"address": "ida@gmaill.com"})[1]["did_you_mean"] == "ida@gmail.com"
    ida = "/recipients/ida%40example.com"
    assert call("GET", ida)[1]["marketing"] is True
    assert arrived(node, sink, market(node, "ida@example.com"))
    assert call("PUT", f"{ida}/consent", {"marketing": False})[0] == 200
    (event,) = wait_for("the event", lambda: node.events(type="unsubscribed", recipient="ida@example.com"))
    assert (event["brand"], event["via"], event["by"]) == ("arava", "api", "bulk")
    assert node.final(market(node, "ida@example.com"))["reason"] == "unsubscribed"
    assert call("PUT", f"{ida}/consent", {"marketing": True})[1]["marketing"] is True
    assert arrived(node, sink, market(node, "ida@example.com"))
    assert call("PUT", f"{ida}/preferences", {"topics_off": ["tips"]})[0] == 200
    assert node.final(market(node, "ida@example.com", "Ten tips for your garden"))["reason"] == "preference"
    engaged = {"engaged": [{"recipient": "ida@example.com", "on": "2026-11-01"}]}
    assert call("POST", "/engagement", engaged) == (200, {"taken": 1, "changed": 1})

    assert call("GET", ida, token=token[:-1] + ("a" if token[-1] != "a" else "b"))[0] == 401
    assert node.run("credentials", "token", "bulk", "--remove").returncode == 0
    assert call("GET", ida)[0] == 401
    assert token not in node.log()
