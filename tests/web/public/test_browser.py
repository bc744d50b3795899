"""The public pages as people meet them: a real Chromium, English and Hebrew, phone and desktop, with and without scripts.

SCREENSHOTS=docs/pages pytest tests/web/public/test_browser.py   writes the pictures that the documents show.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relay.web.public.languages import CODES
from tests.support.browser import Open, fits, picture, violations, windows
from tests.support.public import NOW, TOKEN, Site, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.scenario

WIDTHS = {"phone": 390, "desktop": 1280}
PAGES = {"unsubscribe": f"/u/{TOKEN}", "preferences": f"/p/{TOKEN}"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def visit(chromium: "Browser", site: Site) -> Iterator[Open]:
    """Opens a path in a new window."""
    with served(site) as port:
        documents = [f"http://127.0.0.1:{port}{path}" for path in (*PAGES.values(), "/u/broken")]
        with windows(chromium, port, documents.__contains__) as open_:

            def in_language(path: str, language: str = "en", width: int = 390, **settings: Any) -> "Page":
                return open_(path, width, locale=language, **settings)

            yield in_language


@pytest.mark.parametrize("which", PAGES)
@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("language", ["en", "he"])
def test_pages_are_accessible_and_fit(visit: Open, site: Site, language: str, size: str, which: str) -> None:
    site.desk.preferences["arava"] = {
        "topics_off": ["tips"],
        "at_most": "1/week",
        "paused_until": "2026-12-24T00:00:00.000Z",
    }
    page = visit(PAGES[which], language, WIDTHS[size], bypass_csp=True)
    assert page.locator("html").get_attribute("dir") == ("rtl" if language == "he" else "ltr")
    assert violations(page) == []
    assert fits(page)
    picture(page, f"{which}-{language}-{size}")


def test_in_the_dark_too_and_on_the_smallest_screen_in_every_language(visit: Open) -> None:
    page = visit(PAGES["preferences"], "ar", 320, bypass_csp=True, color_scheme="dark")
    assert violations(page) == []
    for path in PAGES.values():
        for code in CODES:
            page.goto(f"{path}?lang={code}")
            assert page.locator("html").get_attribute("lang") == code
            assert fits(page), (path, code)


@pytest.mark.parametrize(("language", "saved", "left"), [("en", "Saved", "Unsubscribed"), ("he", "נשמר", "הוסרת")])
def test_all_of_it_works_without_scripts(visit: Open, site: Site, language: str, saved: str, left: str) -> None:
    page = visit(PAGES["unsubscribe"], language, java_script_enabled=False)
    page.click(".or a")
    page.uncheck("input[value=tips]")
    page.check("input[value=weekly]")
    page.select_option("#pause", "4")
    page.click("button[value=save]")
    assert page.title().startswith(saved)
    assert page.locator("[role=status]").inner_text().startswith(saved)
    assert not page.is_checked("input[value=tips]")
    assert page.is_checked("input[value=weekly]")
    picture(page, f"saved-{language}-phone")
    wish, *_ = site.desk.changes[0]["changes"]
    assert (wish["topics_off"], wish["at_most"]) == (["tips"], "1/week")
    assert wish["paused_until"] == NOW + 4 * 7 * 86_400_000

    page.click("button[value=leave]")
    assert page.title().startswith(left)
    picture(page, f"left-{language}-phone")
    assert site.desk.blocks
    page.click("button[value=return]")
    assert site.desk.blocks == []
    page.click("footer a[lang=ru]")
    assert page.locator("html").get_attribute("lang") == "ru"


def test_it_can_be_used_with_the_keyboard_alone(visit: Open, site: Site) -> None:
    page = visit(PAGES["unsubscribe"])
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.value") == "leave":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "one sees where one is"
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert [block["stop"] for block in site.desk.blocks] == ["marketing"]


def test_what_is_wrong_is_said_accessibly_too(visit: Open, site: Site) -> None:
    site.desk.down = True
    page = visit(PAGES["preferences"], bypass_csp=True)
    assert violations(page) == []
    page.goto("/u/broken")
    assert violations(page) == []
