"""`postlane queue top`: a live screen where there is a terminal, plain snapshots where there is none."""

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from relay.cli import top
from relay.cli.main import main
from relay.control import NodeDown
from tests.cli.test_top_view import OF_SITE, SNAPSHOT, ZONE
from tests.support.fake_node import FakeNode


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    node = FakeNode(SNAPSHOT)
    monkeypatch.setattr(top, "request", node)
    return node


def test_without_a_terminal_it_is_one_plain_snapshot(
    node: FakeNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["queue", "top", *folders]) == 0
    assert capsys.readouterr().out.startswith(
        "postlane queue top · relay-1 · policies 3f9a1c · Sat 21 Nov 12:05:31\nin 412/s"
    )
    assert node.asked == [{"do": "queue.top"}]


def test_json_is_one_snapshot_a_line(
    node: FakeNode, folders: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []
    monkeypatch.setattr("time.sleep", naps.append)
    assert main(["queue", "top", "--json", "--count", "3", "--every", "5", *folders]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [SNAPSHOT] * 3
    assert naps == [5.0, 5.0]


def test_a_node_that_cannot_answer_is_told(
    node: FakeNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    node.answer = {"error": "no worker is running"}
    assert main(["queue", "top", *folders]) == 1
    assert capsys.readouterr().err == "postlane: no worker is running\n"
    with pytest.raises(SystemExit):
        main(["queue", "top", "--every", "0", *folders])


@pytest.fixture
def screen(node: FakeNode, tmp_path: Path) -> top._Screen:
    return top._Screen(tmp_path, ZONE, 2.0)


def drawn(screen: top._Screen, width: int = 200, height: int = 30) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    console.print(screen._drawn(console))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_screen_shows_head_rows_and_keys(screen: top._Screen, node: FakeNode) -> None:
    assert "asking ..." in drawn(screen)
    screen._ask()
    shown = drawn(screen)
    assert "every 2 s" in shown
    assert shown.splitlines()[0].rstrip().endswith("q quit  s sort (waiting)  / filter  ↑↓ Enter site")
    assert "q quit  s sort (waiting)  / filter" in drawn(screen, width=100).splitlines()[1], "or below it"
    assert "google  marketing  182,406  1,190" in shown
    node.answer = NodeDown("it is gone")
    screen._ask()
    assert "no answer: it is gone" in drawn(screen)
    assert "182,406" in drawn(screen), "what was last known stays"


def test_no_row_is_lost_on_a_small_screen(screen: top._Screen, node: FakeNode) -> None:
    (row,) = SNAPSHOT["sites"]
    node.answer = {**SNAPSHOT, "sites": [{**row, "site": f"s{number:03}"} for number in range(300)]}
    screen._ask()
    shown = drawn(screen, width=100, height=20)
    assert len(shown.splitlines()) <= 20
    assert "(289 more)" in shown


def test_keys(screen: top._Screen) -> None:
    screen._ask()
    for key in "s/Goggle\x7f\x7f\x7fgle\r":
        assert screen._press(key)
    assert (screen._sort, screen._filter, screen._typing) == ("due", "Goggle", False)
    assert "google" not in drawn(screen)
    for key in "/yahoo\x1b":
        assert screen._press(key)
    assert (screen._filter, screen._typing) == ("", False)
    assert screen._press("x")
    for key in ("q", "\x03"):
        assert not screen._press(key)


def test_enter_opens_the_chosen_site_and_escape_the_list(screen: top._Screen, node: FakeNode) -> None:
    (row,) = SNAPSHOT["sites"]
    node.answer = {
        **SNAPSHOT,
        "sites": [row, {**row, "site": "yahoo", "waiting": 7}, {**row, "site": "walla", "waiting": 1}],
    }
    screen._ask()
    drawn(screen)
    for key in ("\x1b[B", "j", "\x1b[B", "k"):
        screen._press(key)
        drawn(screen)
    assert screen._chosen == 1
    screen._press("\r")
    assert screen._stale()
    assert "yahoo: asking ..." in drawn(screen)
    node.answer = {**node.answer, "site": {**OF_SITE, "site": "yahoo"}}
    screen._ask()
    assert node.asked[-1] == {"do": "queue.top", "site": "yahoo"}
    shown = drawn(screen)
    assert "q quit  Esc back" in shown
    assert "recovering since 14:02" in shown
    assert "walla" not in shown
    assert "more lines" in drawn(screen, height=12)
    assert screen._press("s"), "no key of this view"
    assert screen._sort == "waiting"
    screen._press("\x1b")
    assert "walla" in drawn(screen)
    assert not screen._stale()
    assert not screen._press("q")


def test_the_row_of_all_that_do_not_fit_opens_nothing(screen: top._Screen, node: FakeNode) -> None:
    (row,) = SNAPSHOT["sites"]
    node.answer = {**SNAPSHOT, "sites": [{**row, "site": f"s{number:03}"} for number in range(300)]}
    assert screen._press("\r"), "nothing is known yet"
    screen._ask()
    screen._chosen = 999
    assert "more)" in drawn(screen, height=20)
    screen._press("\r")
    assert screen._site == ""


def test_one_site_without_a_terminal(node: FakeNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    node.answer = {**SNAPSHOT, "site": OF_SITE}
    assert main(["queue", "top", "--site", "google", *folders]) == 0
    assert "recovering since 14:02 (421 4.7.28)" in capsys.readouterr().out
    assert node.asked == [{"do": "queue.top", "site": "google"}]


def test_a_terminal_is_left_as_it_was() -> None:
    import termios

    master, terminal = os.openpty()
    with open(terminal, closefd=False) as stdin, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", stdin)
        before = termios.tcgetattr(terminal)
        with top._keys() as read:
            assert not termios.tcgetattr(terminal)[3] & termios.ICANON
            assert read(0.0) is None
            os.write(master, b"\x1b[Bq\x1b")
            assert [read(5.0) for _ in range(3)] == ["\x1b[B", "q", "\x1b"]
        assert termios.tcgetattr(terminal) == before
    os.close(master)
    os.close(terminal)
