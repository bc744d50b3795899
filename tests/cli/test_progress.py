"""The bar: on a terminal, seldom, and gone at the end."""

import io

import pytest

from relay.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    out = Terminal()
    with Progress("Deciding", out) as progress:
        progress.show(0.5, "too soon")
        now += 1
        progress.show(0.5, "7 messages")
        now += 1
        progress.show(7.0)
    drawn = out.getvalue().split("\r\x1b[K")
    assert drawn == [
        "",
        f"Deciding [{'.' * 30}]   0 %",
        f"Deciding [{'#' * 15}{'.' * 15}]  50 %  7 messages",
        f"Deciding [{'#' * 30}] 100 %",
        "",
    ]


def test_nothing_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("Deciding") as progress:
        progress.show(0.5)
    assert capsys.readouterr().err == ""
