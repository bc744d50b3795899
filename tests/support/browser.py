"""A real Chromium: windows in which nothing may go wrong unheard, what axe-core finds, and pictures for the documents."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import needs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RULES = {"target-size": {"enabled": True}}  # WCAG 2.2, 2.5.8; axe does not ask it by itself

Open = Callable[..., "Page"]


@contextmanager
def launched() -> Iterator["Browser"]:
    """Debian's: nothing is downloaded."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        needs.lack("playwright is not installed: make test does it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=needs.program("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def windows(chromium: "Browser", port: int, expected: Callable[[str], bool]) -> Iterator[Open]:
    """Opens a path of the site on this port in a new window. What a page said on its console, unless it is `expected` of its URL,
    and what it fetched elsewhere fails the test."""
    contexts = []
    heard: list[str] = []

    def open_(path: str, width: int, **settings: Any) -> "Page":
        context = chromium.new_context(
            base_url=f"http://127.0.0.1:{port}", viewport={"width": width, "height": 800}, **settings
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda one: heard.append(one.text) if not expected(one.location["url"]) else None)
        page.on("request", lambda one: heard.append(one.url) if f"127.0.0.1:{port}" not in one.url else None)
        page.goto(path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert heard == []


def violations(page: "Page") -> list[str]:
    """What axe-core finds, all its rules asked."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"rules": RULES, "resultTypes": ["violations"]}).response["violations"]
    return [f"{page.url} {one['id']}: {node['html'][:300]}" for one in found for node in one["nodes"]]


def fits(page: "Page") -> bool:
    """Nothing is wider than the window (WCAG 2.2, 1.4.10)."""
    fits: bool = page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    return fits


def picture(page: "Page", name: str) -> None:
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
