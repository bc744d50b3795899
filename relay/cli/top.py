"""`postlane queue top`: a live screen of what a node does, by site and pool; behind Enter, of one site."""

import argparse
import contextlib
import json
import os
import re
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
from relay.control import NodeDown, Refused, granted, request

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Json = dict[str, Any]
EVERY = 2.0  # s: what rates over ten seconds change in
_ENOUGH = 4  # lines that names of columns, foot, the last one and a head too long for its line take
_APART = 4  # columns at least between the head and the keys beside it
ENTER, BACK = ("\r", "\n"), ("\x1b", "\x7f", "\b", "\r", "\n")
MOVES = {"\x1b[A": -1, "\x1bOA": -1, "k": -1, "\x1b[B": 1, "\x1bOB": 1, "j": 1}
_KEY = re.compile("\x1b[\\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)


def add_parser(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser("top", help="live: what each site waits for, how fast it goes")
    parser.add_argument("--every", type=_seconds, default=EVERY, metavar="S", help="seconds (default 2)")
    parser.add_argument(
        "--count", type=int, default=0, metavar="N", help="with --json: so many lines (default: no end)"
    )
    parser.add_argument("--site", default="", metavar="SITE", help="one site: its lanes, paces and what is in the way")
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError("from 0.1 to 3600")
    return value


def run(args: argparse.Namespace) -> int:
    place = whereabouts(args.config)
    if args.json:
        _lines(place.data_dir, args.every, args.count, args.site)
    elif sys.stdout.isatty() and sys.stdin.isatty():
        _Screen(place.data_dir, ZoneInfo(place.timezone), args.every, args.site).run()
    else:
        print("\n".join(top_view.plain(snapshot(place.data_dir, args.site), ZoneInfo(place.timezone))))
    return 0


def snapshot(data_dir: Path, site: str = "") -> Json:
    return granted(request(data_dir, {"do": "queue.top", **({"site": site} if site else {})}))


def _lines(data_dir: Path, every: float, count: int, site: str) -> None:
    number = 0
    while True:
        print(json.dumps(snapshot(data_dir, site), ensure_ascii=False), flush=True)
        number += 1
        if number == count:
            return
        time.sleep(every)


class _Screen:
    """The live screen, and what its keys have changed. While the node does not answer it says so, and asks again."""

    def __init__(self, data_dir: Path, zone: ZoneInfo, every: float, site: str = "") -> None:
        self._data_dir, self._zone, self._every = data_dir, zone, every
        self._sort = top.SORTS[0]
        self._filter = ""
        self._typing = False
        self._site = site  # whose view it is; "": the list
        self._chosen = 0  # the row that Enter opens
        self._rows: list[Json] = []  # as last drawn
        self._last: Json | None = None
        self._trouble = ""

    def run(self) -> None:
        from rich.console import Console  # noqa: PLC0415 (0.1 s that only this screen is worth)
        from rich.live import Live  # noqa: PLC0415

        console = Console()
        with _keys() as read, Live(console=console, screen=True, auto_refresh=False) as live:
            due = 0.0
            while True:
                if time.monotonic() >= due or self._stale():
                    self._ask()
                    due = time.monotonic() + self._every
                live.update(self._drawn(console), refresh=True)
                key = read(max(0.0, due - time.monotonic()))
                if key is not None and not self._press(key):
                    return

    def _ask(self) -> None:
        try:
            self._last, self._trouble = snapshot(self._data_dir, self._site), ""
        except (NodeDown, Refused) as error:
            self._trouble = f"no answer: {error}"

    def _stale(self) -> bool:
        """Is the site's view wanted, and what is known the list?"""
        shown = self._last.get("site", {}).get("site", "") if self._last is not None else ""
        return bool(self._site) and shown != self._site and not self._trouble

    def _press(self, key: str) -> bool:
        """False: it is enough."""
        if self._typing:
            self._type(key)
        elif key in ("q", "Q", "\x03", "\x04"):
            return False
        elif self._site:
            if key in BACK:
                self._site, self._trouble = "", ""
        elif key in ENTER:
            self._open()
        elif key in MOVES:
            self._chosen += MOVES[key]
        elif key == "s":
            self._sort = top.SORTS[(top.SORTS.index(self._sort) + 1) % len(top.SORTS)]
        elif key == "/":
            self._typing, self._filter, self._chosen = True, "", 0
        return True

    def _open(self) -> None:
        """The row for all that do not fit is no site."""
        if self._rows and not self._rows[self._chosen]["site"].startswith("("):
            self._site, self._trouble = self._rows[self._chosen]["site"], ""

    def _type(self, key: str) -> None:
        if key in ENTER:
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

        if self._last is None:
            return Group(Text(self._trouble or "asking ..."), Text(self._keys(), style="dim"))
        first, *others = top_view.head(self._last, self._zone, self._every)
        apart = console.width - len(first) - len(self._keys())
        above = [Text(first + " " * max(apart, 0), style="bold")]
        if apart >= _APART:
            above[0].append(self._keys(), style="dim not bold")
        else:
            above.append(Text(self._keys(), style="dim"))
        trouble = [Text(self._trouble, style="bold red")] if self._trouble else []
        above += [*map(Text, others), *trouble, Text("")]
        if self._site:
            return Group(*above, *map(Text, self._of_site(max(3, console.height - len(above) - 1))))
        keeps = list(top_view.foot(self._last, self._zone))
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", expand=False)
        for name in top_view.COLUMNS:
            table.add_column(name, justify="right" if name in top_view.NUMBERS else "left", no_wrap=True)
        room = max(3, console.height - len(above) - _ENOUGH - len(keeps))
        self._rows = top_view.rows(self._last, self._sort, self._filter, room)
        self._chosen = max(0, min(self._chosen, len(self._rows) - 1))
        for number, row in enumerate(self._rows):
            cells = (Text(cell) for cell in top_view.cells(row, self._zone, self._last["time"]))
            table.add_row(*cells, style=f"{_style(row)} reverse" if number == self._chosen else _style(row))
        return Group(*above, table, Text(""), *(Text(line, style="yellow") for line in keeps))

    def _keys(self) -> str:
        """Those that do something now."""
        if self._site:
            return "q quit  Esc back"
        if self._typing:
            return f"filter: {self._filter}_"
        return f"q quit  s sort ({self._sort})  / filter{f' {self._filter}' if self._filter else ''}  ↑↓ Enter site"

    def _of_site(self, room: int) -> list[str]:
        if self._last is None or self._stale() or "site" not in self._last:
            return [f"{self._site}: asking ..."]
        lines = top_view.of_site(self._last, self._zone)
        return lines if len(lines) <= room else [*lines[: room - 1], f"({len(lines) - room + 1} more lines)"]


def _style(row: Json) -> str:
    if row["until"] is not None:
        return "yellow"
    return "red" if row["failing"] > row["rate"] else ""


@contextlib.contextmanager
def _keys() -> Iterator[Any]:
    """A function that waits some seconds for a key: one character, what a terminal sends for an arrow, or None. The terminal is
    as it was in the end."""
    import termios  # noqa: PLC0415
    import tty  # noqa: PLC0415

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    waiting: list[str] = []

    def read(seconds: float) -> str | None:
        if not waiting and select.select([descriptor], [], [], seconds)[0]:
            waiting.extend(_KEY.findall(os.read(descriptor, 256).decode(errors="replace")))
        return waiting.pop(0) if waiting else None

    try:
        tty.setcbreak(descriptor)
        yield read
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
