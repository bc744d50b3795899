"""The desk as postmasters meet it: a real Chromium, light and dark, wide and narrow, by keyboard, without scripts.

SCREENSHOTS=docs/desk pytest tests/web/desk/test_browser.py   writes the pictures that the documents show.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relay.web.desk import views
from tests.support.browser import Open, fits, picture, violations, windows
from tests.support.desk import DANA, STORY, Company, Node, Remembered, desk_site, served, users
from tests.support.logins import PASSWORD

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.scenario

PAGES = {
    "today": "/today",
    "bounces": "/report/bounces",
    "provider": "/report/bounces?site=microsoft&by=stream&span=7d",
    "latency": "/report/latency",
    "messages": "/found?report=bounces&category=auth-failure",
    "recipient": "/recipient?address=dana.levi@gmail.com",
    "message": f"/m/{STORY}",
    "suppressed": "/suppressed",
    "pending": "/suppressed?pending=1",
    "settle": "/suppressed/many?pending=1&site=google",
    "queue": "/queue",
    "search": "/recipient",
    "not-found": "/nothing",
}
SHOWN = ("today", "bounces", "provider", "recipient", "message", "suppressed", "settle")  # in both schemes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("company")
    Company(folder)
    users(folder)
    return folder


@pytest.fixture
def node(node: Node) -> Node:
    told = {"what": "wish", "recipient": DANA, "brand": "arava", "topics_off": ["offers"], "at_most": "1/week"}
    node.tell({"do": "people", "by": "", "via": "page", **told})
    node.block("noa.cohen@outlook.com", "avi@walla.co.il", stop="marketing", reason="complaint", site="microsoft")
    node.doubt("google", *(f"reader.{number}@gmail.com" for number in range(238)))
    return node


@pytest.fixture
def visit(
    chromium: "Browser", folder: Path, reader: Remembered, node: Node, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Open]:
    """Opens a path in a new window, logged in."""
    monkeypatch.setattr(views, "SOON", 60.0)  # a busy machine shows the whole page too
    with (
        served(desk_site(folder, node, reader=reader)) as port,
        windows(chromium, port, lambda url: "/nothing" in url) as open_,
    ):

        def logged_in(path: str, name: str = "noa", width: int = 1280, **settings: Any) -> "Page":
            page = open_(path, width, **settings)
            if name:
                page.fill("[name=name]", name)
                page.fill("[name=password]", PASSWORD)
                page.press("[name=password]", "Enter")
                page.wait_for_url(lambda url: "/login" not in url)
            return page

        yield logged_in


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_and_fits(visit: Open, scheme: str) -> None:
    page = visit("/login", name="", color_scheme=scheme, bypass_csp=True)
    assert violations(page) == []
    picture(page, f"login-{scheme}")
    page = visit("/today", color_scheme=scheme, bypass_csp=True)
    for name, path in PAGES.items():
        page.goto(path)
        assert violations(page) == []
        assert fits(page), path
        if name in SHOWN:
            for session in page.locator("details.session summary").all()[:1]:
                session.click()
            picture(page, f"{name}-{scheme}")
    page.set_viewport_size({"width": 390, "height": 800})
    for name, path in PAGES.items():
        page.goto(path)
        assert fits(page), path
        if scheme == "light":
            assert violations(page) == []
        if name in ("today", "bounces", "settle") and scheme == "light":
            picture(page, f"{name}-phone")


def test_all_of_it_works_without_scripts_and_by_keyboard(visit: Open, node: Node) -> None:
    page = visit(PAGES["recipient"], java_script_enabled=False)
    assert page.locator("h1").inner_text() == "dana.levi@gmail.com"
    page.fill("[name=why]", "customer corrected the mailbox, ticket 5512")
    page.press("[name=why]", "Enter")
    assert page.locator("[role=status]").inner_text().startswith("Done")
    assert [one["by"] for one in node.people.events("unsuppressed")] == ["noa"]
    page.goto("/today")
    page.fill("[name=why]", "list cleaned")
    page.press("[name=why]", "Enter")
    page.locator(".cards").wait_for()
    assert page.get_by_text("Suspended: stream win-back").count() == 0
    page.get_by_role("link", name="Confirm or drop").press("Enter")
    page.get_by_text("238 addresses", exact=True).wait_for()
    why = page.locator("form", has=page.get_by_role("button", name="Drop")).locator("[name=why]")
    why.fill("Google says that it was theirs")
    why.press("Enter")
    assert page.locator("[role=status]").inner_text() == "Done: 238 dropped: mail goes on."
    page.goto("/suppressed?reason=complaint")
    page.get_by_role("link", name="Undo all that fit").press("Enter")
    page.fill("[name=why]", "a test of ours")
    page.get_by_role("button", name="Undo 2").press("Enter")
    assert page.locator("[role=status]").inner_text() == "Done: 2 taken off: mail goes again."
    assert [one["action"] for one in node.people.events("audit")] == [
        "suppress remove",
        "suppress drop",
        "suppress remove",
    ]
    page.get_by_role("button", name="Log out").press("Enter")
    assert page.title().startswith("Log in")
    page.goto("/today")
    assert page.title().startswith("Log in")


def test_from_a_spike_to_its_messages(visit: Open) -> None:
    page = visit("/report/bounces")
    column = page.locator("a.column", has=page.locator("title", has_text="Sat 21 Nov 11:00")).locator("rect").first
    column.click()
    page.get_by_text("weren't sent").nth(60).wait_for()
    page.locator("td a").first.click()
    page.locator("h2", has_text="Story").wait_for()
    page.goto("/report/bounces")
    page.locator("summary").first.press("Enter")
    page.get_by_role("link", name="Sat 21 Nov 11:00").press("Enter")
    page.get_by_text("weren't sent").nth(60).wait_for()
    page.goto("/report/bounces")
    with page.expect_download() as told:
        page.get_by_role("link", name="CSV", exact=True).click()
    assert told.value.suggested_filename == "postlane-bounces-by-category.csv"
    assert "reputation-block,126" in told.value.path().read_text()


def test_one_sees_where_one_is(visit: Open) -> None:
    page = visit("/today")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(12):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            "(() => { let one = document.activeElement; for (; one; one = one.parentElement) "
            "if (getComputedStyle(one).outlineStyle === 'solid') return true; return false })()"
        )
        assert seen, page.evaluate("document.activeElement.outerHTML")


def test_a_viewer_sees_masked_addresses_in_the_browser_too(visit: Open) -> None:
    page = visit(PAGES["recipient"], name="dan")
    assert page.locator("h1").inner_text() == "d***@gmail.com"
    assert page.locator("form[action='/undo']").count() == 0
    assert "dana" not in page.url
    picture(page, "recipient-viewer")
