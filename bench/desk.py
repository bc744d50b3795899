"""How soon the postmaster's desk is painted over very many events, and how much memory its process takes then.

    python -m bench.desk --folder DIR

DIR is what `bench.reports --folder DIR` laid out and counted. The admin site runs over it in a process of its own, its clock at
the end of the events. Chromium, driven by Playwright (`make test` installs it), opens each page in a new window: cold, the first
one of a process that has just started; warm, when the same has just been asked. Paint is what Chromium calls the first
contentful paint, `all` when the last of the page is there. Memory is PSS, of a process that shares nothing: forked from the
supervisor, as in production, it is less.
"""

import argparse
import multiprocessing
import socket
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop

from bench.reports import END
from relay.reporting import Reader
from relay.web.app import create_app
from relay.web.login.service import Login
from relay.web.settings import WebSettings
from relay.web.tail import EventTail

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGES = (
    "/today",
    "/today?span=7d",
    "/report/bounces?span=7d&by=category",
    "/report/bounces?span=7d&by=skeleton",
    "/report/complaints?span=7d&by=skeleton",
    "/report/bounces?span=7d&by=domain",
    "/report/bounces?span=7d&by=category&domain=small-579.example",
    "/report/sites?span=7d&by=site",
)
BLANK = "/connect"  # asks nothing of events


async def _nothing_stands(question: dict[str, Any]) -> dict[str, Any]:
    return {"node": "relay-1", "workers": [], "suspensions": [], "alerts": []} if question["do"] == "stats" else {}


def serve(folder: Path, link: socket.socket) -> None:
    settings = WebSettings(
        node="relay-1",
        hostname="relay-1.example",
        mode="live",
        events=EventTail(folder, lambda _: ()),
        clock=lambda: END,
        version="0",
        timezone="UTC",
    )
    login = Login(folder, loopback=True, clock=lambda: END)
    app = create_app(settings, _nothing_stands, login, Reader([folder]))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    uvloop.run(server.serve([link]))


@contextmanager
def site(folder: Path) -> Iterator[tuple[int, int]]:
    """Its port and process."""
    with socket.create_server(("127.0.0.1", 0)) as link:
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(folder, link), daemon=True)
        process.start()
        assert process.pid is not None
        yield link.getsockname()[1], process.pid
        process.terminate()
        process.join()


def pss(pid: int) -> int:
    """MB"""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Pss:"))) >> 10


def painted(browser: "Browser", port: int, path: str) -> tuple[float, float]:
    """Seconds until something was there, and all."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{port}", viewport={"width": 1280, "height": 800})
    page = context.new_page()
    answer = page.goto(path, timeout=60_000)
    assert answer is not None
    assert answer.ok, (path, answer.status)
    assert path == BLANK or page.locator("table").count(), f"{path} was not answered"
    while (paint := page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")) is None:
        page.wait_for_timeout(5)  # a small page is loaded before it is painted
    whole = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    context.close()
    return paint / 1000, whole / 1000


def measure(browser: "Browser", folder: Path, path: str, rounds: int) -> str:
    """A row."""
    cold, warm, memory = [], [], 0
    for _ in range(rounds):
        with site(folder) as (port, pid):
            painted(browser, port, BLANK)  # Python has read its modules
            cold.append(painted(browser, port, path))
            warm.append(painted(browser, port, path))
            memory = max(memory, pss(pid))
    told = [
        f"{statistics.median(one):.2f} ({max(one):.2f})" for kind in (cold, warm) for one in zip(*kind, strict=True)
    ]
    return f"| {path} | {' | '.join(told)} | {memory} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - for developers

    print("| page | cold: paint, s | all | warm: paint | all | PSS, MB |")
    print("|---|---|---|---|---|---|")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for path in PAGES:
            print(measure(browser, args.folder, path, args.rounds), flush=True)
        with site(args.folder) as (port, pid):
            for path in (*PAGES, *PAGES):
                painted(browser, port, path)
            print(f"\nAll of them, one after the other, in one process: {pss(pid)} MB")
        browser.close()


if __name__ == "__main__":
    main()
