"""`postlane queue top`: a live screen of what a node does, by site and pool."""

import argparse
import contextlib
import json
import os
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from relay import top
from relay.cli import top_view
from relay.config import whereabouts
from relay.control import NodeDown, Refused, request

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Json = dict[str, Any]
EVERY = 2.0  # s: what rates over ten seconds change in
_ENOUGH = 8  # lines that head, names of columns and foot take


def add_parser(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser("top", help="live: what each site waits for, how fast it goes")
    parser.add_argument("--every", type=_seconds, default=EVERY, metavar="S", help="seconds (default 2)")
    parser.add_argument(
        "--count", type=int, default=0, metavar="N", help="with --json: so many lines (default: no end)"
    )
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError("from 0.1 to 3600")
    return value


def run(args: argparse.Namespace) -> int:
    place = whereabouts(args.config)
    if args.json:
        _lines(place.data_dir, args.every, args.count)
    elif sys.stdout.isatty() and sys.stdin.isatty():
        _Screen(place.data_dir, ZoneInfo(place.timezone), args.every).run()
    else:
        print("\n".join(top_view.plain(snapshot(place.data_dir), ZoneInfo(place.timezone))))
    return 0


def snapshot(data_dir: Path) -> Json:
    answer = request(data_dir, {"do": "queue.top"})
    if "error" in answer:
        raise Refused(answer["error"])
    return answer


def _lines(data_dir: Path, every: float, count: int) -> None:
    number = 0
    while True:
        print(json.dumps(snapshot(data_dir), ensure_ascii=False), flush=True)
        number += 1
        if number == count:
            return
        time.sleep(every)


class _Screen:
    """The live screen, and what its keys have changed. While the node does not answer it says so, and asks again."""

    def __init__(self, data_dir: Path, zone: ZoneInfo, every: float) -> None:
        self._data_dir, self._zone, self._every = data_dir, zone, every
        self._sort = top.SORTS[0]
        self._filter = ""
        self._typing = False
        self._last: Json | None = None
        self._trouble = ""

    def run(self) -> None:
        from rich.console import Console  # noqa: PLC0415 (0.1 s that only this screen is worth)
        from rich.live import Live  # noqa: PLC0415

        console = Console()
        with _keys() as read, Live(console=console, screen=True, auto_refresh=False) as live:
            due = 0.0
            while True:
                if time.monotonic() >= due:
                    self._ask()
                    due = time.monotonic() + self._every
                live.update(self._drawn(console), refresh=True)
                key = read(max(0.0, due - time.monotonic()))
                if key is not None and not self._press(key):
                    return

    def _ask(self) -> None:
        try:
            self._last, self._trouble = snapshot(self._data_dir), ""
        except (NodeDown, Refused) as error:
            self._trouble = f"no answer: {error}"

    def _press(self, key: str) -> bool:
        """False: it is enough."""
        if self._typing:
            self._type(key)
        elif key in ("q", "Q", "\x03", "\x04"):
            return False
        elif key == "s":
            self._sort = top.SORTS[(top.SORTS.index(self._sort) + 1) % len(top.SORTS)]
        elif key == "/":
            self._typing, self._filter = True, ""
        return True

    def _type(self, key: str) -> None:
        if key in ("\r", "\n"):
            self._typing = False
        elif key in ("\x1b", "\x03"):
            self._typing, self._filter = False, ""
        elif key in ("\x7f", "\b"):
            self._filter = self._filter[:-1]
        elif key.isprintable():
            self._filter += key

    def _drawn(self, console: "Console") -> "RenderableType":
        from rich.console import Group  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        keys = (
            f"filter: {self._filter}_" if self._typing else f"q quit   s sort ({self._sort})   / filter {self._filter}"
        )
        if self._last is None:
            return Group(Text(self._trouble or "asking ..."), Text(keys, style="dim"))
        first, *others = top_view.head(self._last, self._zone, self._every)
        keeps = list(top_view.foot(self._last, self._zone))
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", expand=False)
        for name in top_view.COLUMNS:
            table.add_column(name, justify="right" if name in top_view.NUMBERS else "left", no_wrap=True)
        room = max(3, console.height - _ENOUGH - len(keeps))
        for row in top_view.rows(self._last, self._sort, self._filter, room):
            table.add_row(*(Text(cell) for cell in top_view.cells(row, self._zone)), style=_style(row))
        trouble = [Text(self._trouble, style="bold red")] if self._trouble else []
        return Group(
            Text(first, style="bold"), *map(Text, others), *trouble, Text(keys, style="dim"), Text(""), table, Text(""),
            *(Text(line, style="yellow") for line in keeps),
        )  # fmt: skip


def _style(row: Json) -> str:
    if row["until"] is not None:
        return "yellow"
    return "red" if row["failing"] > row["rate"] else ""


@contextlib.contextmanager
def _keys() -> Iterator[Any]:
    """A function that waits some seconds for a key: one character, or None. The terminal is as it was in the end."""
    import termios  # noqa: PLC0415
    import tty  # noqa: PLC0415

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def read(seconds: float) -> str | None:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        return os.read(descriptor, 1).decode(errors="replace") if ready else None

    try:
        tty.setcbreak(descriptor)
        yield read
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
