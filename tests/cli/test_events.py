"""`postlane events` and `postlane message`: lines as on the screens, selectors, following."""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.cli import events as cli
from relay.cli.events import duration_ms, parse_since, render_line
from relay.event import iso
from relay.feedback.eventlog import read
from relay.ids import time_of
from relay.wildcard import any_of

ZONE = ZoneInfo("Asia/Jerusalem")
NOW = 1_763_726_400_000  # 2025-11-21T12:00:00Z
HOUR = 3_600_000
ID = "01kaj2m8q4x7aaaa"


def event(kind: str, **facts: Any) -> dict[str, Any]:
    return {"v": 1, "time": "2026-11-21T12:05:31.104Z", "type": kind, "event_id": "e1", "node": "n", "id": ID, **facts}


REPLY = {"code": 550, "enhanced": "5.1.1", "text": "no such user"}
SIMULATED = {**REPLY, "text": "no such user (simulated)"}
CAPTURED = {"code": 250, "enhanced": "2.0.0", "text": "OK captured as 17"}
LATER = {"code": 451, "enhanced": "", "text": "later"}
WRONG = {"code": 535, "enhanced": "5.7.8", "text": "User name or password wrong"}
HELLO: dict[str, Any] = {"credential": "local", "class": "marketing", "subject": "Postlane says hello"}
RESET: dict[str, Any] = {"credential": "local", "class": "transactional", "subject": "Reset"}
SIGNED = [{"d": "example.com", "s": "sandbox"}]
SOON, TOMORROW = "2026-11-21T12:07:00.000Z", "2026-11-22T12:07:00.000Z"
BARE = {"time": "2026-11-21T12:05:31.104Z", "event_id": "e", "node": "n"}
TO = {"recipient": "d@gmail.com"}
LINES = [
    (
        event("accepted", recipient="you@example.com", **HELLO),
        f'14:05:31 accepted   {ID}  local  marketing   you@example.com  "Postlane says hello"',
    ),
    (
        event("accepted", recipient="b@sim.test", **RESET),
        f'14:05:31 accepted   {ID}  local  transactional  b@sim.test  "Reset"',
    ),
    (
        event("delivered", **TO, mx="127.0.0.1", delay_ms=38, reply=CAPTURED, captured=True, signed=SIGNED),
        f"14:05:31 delivered  {ID}  to the capture server in 38 ms, signed d=example.com",
    ),
    (
        event("delivered", **TO, mx="mx.gmail.com", delay_ms=38, reply=CAPTURED),  # a stranger may say so too
        f"14:05:31 delivered  {ID}  d@gmail.com to mx.gmail.com in 38 ms",
    ),
    (
        event("delivered", **TO, mx="mx.gmail.com", tls="TLSv1.3", delay_ms=12_400, reply={"code": 250}),
        f"14:05:31 delivered  {ID}  d@gmail.com to mx.gmail.com in 12 s, TLSv1.3",
    ),
    (
        event("bounced", recipient="b@sim.test", category="bad-mailbox", reply=SIMULATED, suppressed="all"),
        f"14:05:31 bounced    {ID}  bad-mailbox: 550 5.1.1 no such user (simulated); address suppressed",
    ),
    (
        event("bounced", **TO, category="bad-mailbox", reply=REPLY, suppressed=None),
        f"14:05:31 bounced    {ID}  d@gmail.com  bad-mailbox: 550 5.1.1 no such user",
    ),
    (
        event("bounced", **TO, category="bad-mailbox", reply=REPLY, suppressed="pending:all"),
        f"14:05:31 bounced    {ID}  d@gmail.com  bad-mailbox: 550 5.1.1 no such user; suppression pending",
    ),
    (
        event("bounced-late", **TO, category="bad-mailbox", reply=REPLY, suppressed="stream:news"),
        f"14:05:31 bounced-late  {ID}  d@gmail.com  bad-mailbox: 550 5.1.1 no such user; stream news suppressed",
    ),
    (
        event("deferred", **TO, category="greylisted", reply=LATER, next_attempt=SOON),
        f"14:05:31 deferred   {ID}  d@gmail.com  greylisted: 451 later; next attempt 14:07:00",
    ),
    (
        event("deferred", **TO, next_attempt=TOMORROW),
        f"14:05:31 deferred   {ID}  d@gmail.com; next attempt Sun 22 Nov 14:07:00",
    ),
    (
        event("postponed", **TO, reason="send-window", detail="window il is closed", until=TOMORROW),
        f"14:05:31 postponed  {ID}  d@gmail.com send-window: window il is closed; until Sun 22 Nov 14:07:00",
    ),
    (
        event("withheld", **TO, reason="cancelled", detail="by noa"),
        f"14:05:31 withheld   {ID}  d@gmail.com cancelled: by noa",
    ),
    (
        {**BARE, "type": "suppressed", "recipient": "d@gmail.com", "stop": "all", "reason": "bad-mailbox"},
        "14:05:31 suppressed  d@gmail.com  all mail: bad-mailbox",
    ),
    (
        {
            **BARE,
            "type": "unsuppressed",
            "recipient": "d@gmail.com",
            "stop": "marketing",
            "brand": "arava",
            "site": "x",
        },
        "14:05:31 unsuppressed  d@gmail.com  marketing of arava",
    ),
    (
        {**BARE, "type": "rejected", "peer": "10.0.0.1", "reason": "auth", "reply": WRONG},
        "14:05:31 rejected   10.0.0.1  auth: 535 5.7.8 User name or password wrong",
    ),
    (
        {**BARE, "type": "audit", "by": "noa", "what": {"recipient": "d"}, "reason": None},
        '14:05:31 audit      by=noa what={"recipient": "d"}',
    ),
    (event("accepted", subject="a\x1b[2Jb\r\nc"), f'14:05:31 accepted   {ID}  "a [2Jb  c"'),
    ({}, "--:--:-- ?"),
]


@pytest.mark.parametrize(("one", "line"), LINES, ids=[str(one.get("type")) for one, _ in LINES])
def test_lines(one: dict[str, Any], line: str) -> None:
    assert render_line(one, ZONE) == line


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = ["time", "type", "id", "recipient", "reply", "delay_ms", "signed", "next_attempt", "subject", "class", "reason"]
KINDS = ["accepted", "delivered", "bounced", "deferred", "withheld", "audit", None]


@given(st.dictionaries(st.sampled_from(NAMES), json_values), st.sampled_from(KINDS))
def test_whatever_an_event_holds_is_one_line(facts: dict[str, Any], kind: str | None) -> None:
    line = render_line(facts | ({"type": kind} if kind else {}), ZONE)
    assert not any(ord(one) < 32 or 127 <= ord(one) < 160 for one in line)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - 90_000),
        ("15m", NOW - 900_000),
        ("24h", NOW - 24 * HOUR),
        ("7d", NOW - 168 * HOUR),
        ("2025-11-21T11:00:00Z", NOW - HOUR),
        ("2025-11-21T13:00:00+02:00", NOW - HOUR),
        ("2025-11-21T13:00", NOW - HOUR),  # of the node's zone, two hours ahead
        ("2025-11-21", NOW - 14 * HOUR),
        ("0001-01-01", 0),
        ("999999999d", 0),
    ],
)
def test_since(text: str, expected: int) -> None:
    assert parse_since(text, NOW, ZONE) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "24", "h", "-1h", "1w", "2025-13-01"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        parse_since(text, NOW, ZONE)


@given(st.text())
def test_since_takes_anything_or_says_no(text: str) -> None:
    said = ""
    moment = -1
    try:
        moment = parse_since(text, NOW, ZONE)
    except ValueError as error:
        said = str(error)
    assert moment >= 0 or "is no time" in said


def test_durations_for_argparse() -> None:
    assert duration_ms("2h") == 2 * HOUR
    with pytest.raises(argparse.ArgumentTypeError):
        duration_ms("2 hours")


POSTLANE = """
[node]
name = "relay-1"
hostname = "relay.example.com"
data_dir = "data"
timezone = "Asia/Jerusalem"

[[listener]]
bind = "127.0.0.1:2525"
trust = ["127.0.0.0/8"]
credential = "local"
"""


@pytest.fixture
def events_dir(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "postlane.toml").write_text(POSTLANE)
    directory = tmp_path / "data" / "events"
    directory.mkdir(parents=True)
    return directory


def run(directory: Path, *words: str, as_json: bool = False) -> int:
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    args = parser.parse_args(words)
    args.config = directory.parent.parent / "config"
    args.json = as_json
    status: int = args.run(args)
    return status


def put(directory: Path, *events: dict[str, Any], name: str = "2026-11-21T12.0.open.jsonl") -> None:
    with (directory / name).open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in events)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an hour after `event`."""
    monkeypatch.setattr(cli, "now_ms", lambda: round(datetime(2026, 11, 21, 12, 35, 31, tzinfo=UTC).timestamp() * 1000))


@pytest.mark.usefixtures("now")
def test_events_of_the_last_day_as_lines(events_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(events_dir, event("accepted", time="2026-11-20T12:30:00.000Z", recipient="old@x.example"))
    put(events_dir, event("accepted", time="2026-11-20T13:00:00.000Z", recipient="a@x.example"), event("bounced"))
    assert run(events_dir, "events") == 0
    assert capsys.readouterr().out.splitlines() == [
        "-- Fri 20 Nov 2026",
        f"15:00:00 accepted   {ID}  a@x.example",
        "-- Sat 21 Nov 2026",
        f"14:05:31 bounced    {ID}",
    ]


@pytest.mark.usefixtures("now")
def test_events_chosen_as_json(events_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = event("bounced", **{"class": "marketing"}, domain="x.example", pool="p")
    put(events_dir, event("bounced", **{"class": "service"}, domain="x.example", pool="p"), wanted, event("accepted"))
    chosen = ("--type", "bounced,deferred", "--class", "marketing", "--domain", "X.example", "--pool", "p")
    assert run(events_dir, "events", *chosen, "--since", "31m", as_json=True) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [wanted]
    assert run(events_dir, "events", *chosen, "--since", "29m", as_json=True) == 0
    assert run(events_dir, "events", *chosen, "--since", "2h", "--until", "1h", as_json=True) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("now")
def test_selectors_may_be_repeated_and_hold_wildcards(events_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts: dict[str, Any] = {"class": "marketing", "pool": "cold-1"}
    put(
        events_dir,
        event("bounced", **facts, event_id="1", domain="mail.x.example"),
        event("deferred", **facts, event_id="2", domain="xn--bcher-kva.example"),
        event("bounced", **facts, event_id="3", domain="y.example"),
        event("bounced", **{**facts, "class": "service"}, event_id="4", domain="mail.x.example"),
    )
    chosen = ("--type", "Bounced", "--type", "d*", "--class", "M*", "--domain", "*.x.example", "--domain", "Bücher.*")
    assert run(events_dir, "events", *chosen, "--pool", "COLD-*", as_json=True) == 0
    assert [json.loads(line)["event_id"] for line in capsys.readouterr().out.splitlines()] == ["1", "2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--class", "market"), "is none of transactional, service, marketing"),
        (("--stream", "x" * 321), "none longer than 320"),
    ],
)
def test_what_no_event_can_be(
    events_dir: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, str], said: str
) -> None:
    try:
        status = run(events_dir, "events", *words)
    except SystemExit as misuse:
        status = int(misuse.code or 0)
    assert status == 2
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("now")
def test_events_of_one_id_from_whenever_it_was_accepted(events_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_at = time_of(ID)
    assert made_at is not None
    put(events_dir, event("accepted", time=iso(made_at)), event("bounced", id="another", time=iso(made_at)))
    assert run(events_dir, "events", "--id", ID, as_json=True) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_misused(events_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(events_dir, "events", "--since", "yesterday") == 2
    assert "is no time" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(events_dir, "events", "--follow", "--until", "1h")


def test_following_goes_on_through_rotation_and_new_shards(events_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_LOOK_AGAIN", 0)
    put(events_dir, event("accepted", event_id="past"))

    def read_while_an_event_comes(*args: Any, **asked: Any) -> Iterator[dict[str, Any]]:
        put(events_dir, event("accepted", event_id="both", time=iso(time.time_ns() // 1_000_000)))
        return read(*args, **asked)

    monkeypatch.setattr(cli, "read", read_while_an_event_comes)
    with closing(cli._followed(events_dir, 0, {"type": any_of("accepted")})) as events:
        assert [next(events)["event_id"], next(events)["event_id"]] == ["past", "both"]
        put(events_dir, event("bounced", event_id="other"), event("accepted", event_id="new"))
        assert next(events)["event_id"] == "new"
        (events_dir / "2026-11-21T12.0.open.jsonl").rename(events_dir / "2026-11-21T12.0.jsonl")
        put(events_dir, event("accepted", event_id="next hour"), name="2026-11-21T13.0.open.jsonl")
        assert next(events)["event_id"] == "next hour"
        put(events_dir, event("accepted", event_id="new shard"), name="2026-11-21T13.1.open.jsonl")
        assert next(events)["event_id"] == "new shard"


def test_the_story_tells_what_was_done_about_its_app_s_word(
    events_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {"claimed": "transactional", "judged": "marketing", "confidence": 0.83, "evidence": ["discount", "offer"]}
    put(events_dir, event("accepted", **said, contradiction="rerouted"))
    assert run(events_dir, "message", ID) == 0
    told = "  rerouted: says transactional, reads as marketing 0.83: discount, offer"
    assert told in capsys.readouterr().out.splitlines()


def test_message_story(events_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = {"message_id": "<1@x.example>", "recipient": "d@gmail.com"}
    names = {"credential": "shop", "brand": "", "stream": "order", "class": "service", "from": "o@x.example"}
    put(
        events_dir,
        event("accepted", **about, **names, subject="Your order", size=18_231),
        event("deferred", **about, time="2026-11-21T12:06:00.000Z", reply=REPLY, next_attempt="2026-11-21T12:07:00Z"),
        event("delivered", **about, time="2026-11-21T12:07:00.500Z", mx="mx.gmail.com", delay_ms=89_396),
        event("delivered", message_id="<2@x.example>", id="another"),
    )
    expected = f"""\
{ID}  "Your order"  <1@x.example>
  from o@x.example  18.2 kB
  credential shop, stream order, class service
  21 Nov 14:05:31.104  accepted   d@gmail.com
  21 Nov 14:06:00.000  deferred   d@gmail.com: 550 5.1.1 no such user; next attempt 14:07:00
  21 Nov 14:07:00.500  delivered  d@gmail.com to mx.gmail.com in 89 s
"""
    for name in (ID, "<1@x.example>", "1@x.example"):
        assert run(events_dir, "message", name) == 0
        assert capsys.readouterr().out == expected


def test_the_story_of_what_waits_says_why_and_when_next(
    events_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(
        events_dir,
        event("accepted", rcpt=0, recipient="a@x"),
        event("accepted", rcpt=1, recipient="b@x"),
        event("delivered", rcpt=0, recipient="a@x"),
    )
    waits = {"recipient": "b@x", "why": "its site has no room", "in_flight": False, "accepted": SOON}
    asked: list[Any] = []

    def node(_: Path, question: dict[str, Any]) -> dict[str, Any]:
        asked.append(question["selector"])
        return {"items": [{**waits, "next_attempt": SOON}, {**waits, "in_flight": True}], "cursor": None}

    monkeypatch.setattr("relay.cli.queue.request", node)
    assert run(events_dir, "message", ID) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "  b@x is not delivered yet: its site has no room; next 14:07:00",
        "  b@x is not delivered yet: its site has no room",
    ]
    put(events_dir, event("withheld", rcpt=1, recipient="b@x"))
    assert run(events_dir, "message", ID) == 0
    assert "not delivered yet" not in capsys.readouterr().out
    assert asked == [{"id": ID}], "of what has ended nobody asks the node"


def test_the_story_has_the_session_of_each_one_s_last_failure(
    events_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {"reply": REPLY, "message_id": "<1@x.example>"}
    put(
        events_dir,
        event("accepted", **said),
        event("deferred", **said, rcpt=0, transcript=["< 450 once"]),
        event("bounced", **said, rcpt=0, transcript=["> RCPT TO:<d@gmail.com>", "< 550 no\x1b[2J"]),
        event("deferred", **said, rcpt=1, transcript=["< 451 other"]),
        event("deferred", **said, rcpt=2, transcript="of another version"),
    )
    assert run(events_dir, "message", ID) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if line.startswith("      ")] == [
        "      > RCPT TO:<d@gmail.com>",
        "      < 550 no [2J",
        "      < 451 other",
    ]
    assert "bounced" in told[told.index("      > RCPT TO:<d@gmail.com>") - 1]


def test_message_as_json_and_two_of_one_message_id(events_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(events_dir, event("accepted", message_id="<1@x>"), event("accepted", message_id="<1@x>", id="another"))
    assert run(events_dir, "message", "<1@x>", as_json=True) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [ID, "another"]
    assert run(events_dir, "message", "<1@x>") == 0
    assert len(capsys.readouterr().out.split("\n\n")) == 2


def test_message_unknown(events_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(events_dir, "message", "nobody@x") == 1
    assert "no event of <nobody@x>" in capsys.readouterr().err
