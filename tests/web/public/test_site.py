"""The public site through its ASGI door: what changes something and what never does, in which words, with which headers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relay.tokens import Tokens
from relay.web.public.languages import CODES
from relay.web.public.limits import A_MINUTE
from tests.support.public import NOW, TICKET, TOKEN, TOKENS, Site

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
WEEK = 7 * 86_400_000


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with Site(tmp_path) as made:
        yield made


@pytest.fixture
async def browser(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with site.client() as client:
        yield client


async def told(site: Site) -> list[dict[str, Any]]:
    """What the desk was asked to change, once the journal is empty."""
    async with asyncio.timeout(10):
        while site.journal.waiting:  # noqa: ASYNC110 the journal has nobody to tell that it is empty
            await asyncio.sleep(0.005)
    return site.desk.changes


def form(action: str, **fields: Any) -> dict[str, Any]:
    return {"action": action, "stamp": TOKENS.stamp(TOKEN, NOW), "lang": "en"} | fields


# --- one-click


@pytest.mark.parametrize(
    "encoded",
    [
        {"data": ONE_CLICK},
        {"files": {"List-Unsubscribe": (None, "One-Click")}},
        {"content": b"List-Unsubscribe=One-Click"},
    ],
    ids=["urlencoded", "multipart", "no content type"],
)
async def test_one_click_unsubscribes_without_redirect_or_cookie(
    site: Site, browser: httpx.AsyncClient, encoded: dict[str, Any]
) -> None:
    answer = await browser.post(f"/u/{TOKEN}", **encoded)
    assert (answer.status_code, answer.text) == (200, "You are unsubscribed.\n")
    assert "set-cookie" not in answer.headers
    (question,) = await told(site)
    (block,) = question["entries"]
    assert (question["what"], question["via"]) == ("block", "one-click")
    assert block == {
        "recipient": "dana.levi@gmail.com",
        "stop": "marketing",
        "brand": "arava",
        "reason": "unsubscribed",
        "source": "one-click",
        "since": NOW,
        "stream": "arava-newsletter",
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"List-Unsubscribe=",
        b"List-Unsubscribe=One-Click&List-Unsubscribe=One-Click",
        b"list-unsubscribe=One-Click",
        b"action=leave",
        b"List-Unsubscribe=Two-Click",
        b"x" * 100_000,
    ],
)
async def test_a_post_that_does_not_say_so_changes_nothing(
    site: Site, browser: httpx.AsyncClient, content: bytes
) -> None:
    answer = await browser.post(f"/u/{TOKEN}", content=content)
    assert answer.status_code == 400
    assert "Unsubscribe from <bdi>Arava Home</bdi>?" in answer.text, "a person is shown the button"
    assert await told(site) == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", ["u", "p"])
async def test_no_other_method_changes_anything(site: Site, browser: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await browser.request(method, f"/{path}/{TOKEN}?List-Unsubscribe=One-Click&action=leave")
    assert answer.status_code == (200 if method in ("GET", "HEAD") else 405)
    assert await told(site) == []


async def test_one_click_is_taken_while_nobody_is_there_to_hear_of_it(tmp_path: Path) -> None:
    async with Site(tmp_path) as site, site.client() as browser:
        site.desk.down = True
        assert (await browser.post(f"/u/{TOKEN}", data=ONE_CLICK)).status_code == 200
        assert site.journal.waiting == 1
    async with Site(tmp_path) as after:
        (question,) = await told(after)
        assert question["entries"][0]["since"] == NOW


async def test_many_times_within_a_minute_is_once_until_he_comes_back(site: Site, browser: httpx.AsyncClient) -> None:
    for _ in range(2 * A_MINUTE):
        assert (await browser.post(f"/u/{TOKEN}", data=ONE_CLICK)).status_code == 200
    assert len(await told(site)) == 1
    assert (await browser.post(f"/p/{TOKEN}", data=form("return"))).status_code == 200
    await browser.post(f"/u/{TOKEN}", data=ONE_CLICK)
    assert [one["what"] for one in await told(site)] == ["block", "unblock", "block"]
    site.now += 60_001
    await browser.post(f"/u/{TOKEN}", data=ONE_CLICK)
    assert len(await told(site)) == 4


async def test_what_cannot_be_kept_is_not_promised(tmp_path: Path) -> None:
    async with Site(tmp_path) as site, site.client() as browser:
        (tmp_path / "journal").rmdir()
        (tmp_path / "journal").write_text("no folder")
        answer = await browser.post(f"/u/{TOKEN}", data=ONE_CLICK)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "300")
        page = await browser.post(f"/p/{TOKEN}", data=form("leave"))
        assert page.status_code == 503
        assert "We could not save it just now" in page.text
        (tmp_path / "journal").unlink()
        (tmp_path / "journal").mkdir()
        assert (await browser.post(f"/u/{TOKEN}", data=ONE_CLICK)).status_code == 200


async def test_an_app_whose_url_was_replaced_is_noted_down_to_be_told(
    site: Site, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[dict[str, Any]] = []

    async def keep(entry: dict[str, Any]) -> None:
        heard.append(entry)

    monkeypatch.setattr(site.calls, "append", keep)
    token = TOKENS.seal(TICKET._replace(calls="https://crm.example/u?id=7"))
    await browser.post(f"/u/{token}", data=ONE_CLICK)
    await browser.post(f"/p/{token}", data=form("save") | {"stamp": TOKENS.stamp(token, NOW)})
    await told(site)
    assert heard == [{"at": NOW, "url": "https://crm.example/u?id=7"}], "that he is gone, not what he prefers"


# --- tokens


@pytest.mark.parametrize(
    "token",
    [
        TOKEN[:-1],
        TOKEN + "A",
        ("B" if TOKEN[0] == "A" else "A") + TOKEN[1:],
        Tokens([b"f" * 32]).seal(TICKET),
        "x" * 5_000,
        "..%2f..%2fetc%2fpasswd",
        "%00",
    ],
    ids=["truncated", "longer", "forged", "foreign key", "endless", "path", "nul"],
)
async def test_a_token_that_is_not_ours_leads_nowhere(site: Site, browser: httpx.AsyncClient, token: str) -> None:
    for path in ("u", "p"):
        shown = await browser.get(f"/{path}/{token}")
        assert shown.status_code == 404
        assert "This link does not work" in shown.text
        assert (await browser.post(f"/{path}/{token}", data=ONE_CLICK)).status_code == 404
        assert (await browser.post(f"/{path}/{token}", data=form("leave"))).status_code == 404
    assert site.desk.asked == []


@pytest.mark.parametrize(
    "headers",
    [{"Host": "["}, {"Host": ""}, {"Accept-Language": "\x00;q=,,"}, {"Content-Type": "multipart/form-data; boundary="}],
)
async def test_odd_headers_do_no_harm(browser: httpx.AsyncClient, headers: dict[str, str]) -> None:
    for path in (f"/u/{TOKEN}", f"/p/{TOKEN}"):
        assert (await browser.get(path, headers=headers)).status_code == 200
        assert (await browser.post(path, headers=headers, content=b"\xff")).status_code == 400
    assert (await browser.get("/a/b/c/d", headers=headers)).status_code == 404


async def test_a_token_is_used_as_often_as_a_person_would(site: Site, browser: httpx.AsyncClient) -> None:
    for _ in range(A_MINUTE):
        assert (await browser.get(f"/u/{TOKEN}")).status_code == 200
    many = await browser.get(f"/p/{TOKEN}", headers={"Accept-Language": "de"})
    assert (many.status_code, many.headers["retry-after"]) == (429, "60")
    assert "Einen Moment bitte" in many.text
    other = TOKENS.seal(TICKET._replace(recipient="noa@gmail.com"))
    assert (await browser.get(f"/u/{other}")).status_code == 200, "nobody else waits for it"
    assert (await browser.post(f"/u/{TOKEN}", data=ONE_CLICK)).status_code == 200, "leaving is never refused"
    site.now += 60_000
    assert (await browser.get(f"/u/{TOKEN}")).status_code == 200


# --- preferences


async def test_the_page_shows_what_is_known_and_confirms_what_is_chosen(site: Site, browser: httpx.AsyncClient) -> None:
    site.desk.preferences["arava"] = {"topics_off": ["tips"], "at_most": "1/day", "paused_until": None}
    page = (await browser.get(f"/p/{TOKEN}")).text
    assert 'value="tips">' in page
    assert 'value="offers" checked>' in page
    assert 'value="daily" checked>' in page
    assert "club" not in page.partition('class="aside"')[0], "what is service mail cannot be chosen"
    assert "Club points and benefits" in page.partition('class="aside"')[2], "but is named"
    saved = await browser.post(f"/p/{TOKEN}", data=form("save", topic=["tips"], frequency="weekly", pause="4"))
    assert saved.status_code == 200
    assert "Saved. This is what you have chosen:" in saved.text
    assert 'value="weekly" checked>' in saved.text
    assert "Until 19 December 2026" in saved.text
    (asked,) = await told(site)
    wish, lifted = asked["changes"]
    assert (asked["do"], asked["what"], asked["via"]) == ("people", "together", "page"), "all of it, or nothing"
    assert asked["recipient"] == "dana.levi@gmail.com"
    assert wish == {
        "what": "wish",
        "brand": "arava",
        "topics_off": ["new", "offers"],
        "at_most": "1/week",
        "paused_until": NOW + 4 * WEEK,
    }
    where = {"brand": "arava", "stop": "topic:tips", "reason": "unsubscribed"}
    assert lifted == {"what": "unblock", "where": where}
    again = (await browser.get(f"/p/{TOKEN}")).text
    assert 'value="keep" selected>Until 19 December 2026' in again
    kept = form("save", topic=["tips"], frequency="weekly", pause="keep", until=str(NOW + 4 * WEEK))
    await browser.post(f"/p/{TOKEN}", data=kept)
    assert (await told(site))[-1]["changes"][0]["paused_until"] == NOW + 4 * WEEK


async def test_unsubscribing_from_all_is_confirmed_and_can_be_undone(site: Site, browser: httpx.AsyncClient) -> None:
    left = await browser.post(f"/p/{TOKEN}", data=form("leave"))
    assert "You are unsubscribed. <bdi>Arava Home</bdi> will send you no more advertising." in left.text
    assert "What still arrives" in left.text
    gone = (await browser.get(f"/p/{TOKEN}")).text
    assert "You are unsubscribed from <bdi>Arava Home</bdi>" in gone
    assert 'value="save"' not in gone
    back = await browser.post(f"/p/{TOKEN}", data=form("return"))
    assert "Welcome back" in back.text
    assert 'value="save"' in back.text
    assert [one["what"] for one in await told(site)] == ["block", "unblock"]


async def test_what_others_have_stopped_a_link_does_not_start(site: Site, browser: httpx.AsyncClient) -> None:
    site.desk.block("marketing", "arava", "complaint")
    page = (await browser.get(f"/p/{TOKEN}")).text
    assert "No advertising is sent to this address." in page
    assert "<button" not in page


async def test_without_the_desk_one_can_still_leave(site: Site, browser: httpx.AsyncClient) -> None:
    site.desk.down = True
    page = await browser.get(f"/p/{TOKEN}")
    assert page.status_code == 503
    assert "We cannot show what you chose before" in page.text
    assert 'value="save"' not in page.text
    assert "Unsubscribe from all" in page.text
    left = await browser.post(f"/p/{TOKEN}", data=form("leave"))
    assert "You are unsubscribed" in left.text
    site.desk.down = False
    assert [one["what"] for one in await told(site)] == ["block"]


@pytest.mark.parametrize(
    "fields",
    [
        {"stamp": ""},
        {"stamp": TOKENS.stamp(TOKEN, NOW - 26 * 3_600_000)},
        {"stamp": TOKENS.stamp("another", NOW)},
        {"action": "delete"},
        {"action": ""},
    ],
)
async def test_a_form_that_is_not_of_our_page_changes_nothing(
    site: Site, browser: httpx.AsyncClient, fields: dict[str, str]
) -> None:
    answer = await browser.post(f"/p/{TOKEN}", data=form("leave") | fields)
    assert answer.status_code == 400
    assert "Please press the button again" in answer.text
    assert (await browser.post(f"/p/{TOKEN}", data=ONE_CLICK)).status_code == 400
    assert await told(site) == []


async def test_nonsense_in_a_form_is_what_a_new_recipient_has(site: Site, browser: httpx.AsyncClient) -> None:
    bad = form("save", topic=["offers", "x", "<b>"], frequency="hourly", pause="999999999999", until="-1", lang="xx")
    assert (await browser.post(f"/p/{TOKEN}", data=bad)).status_code == 200
    wish = (await told(site))[0]["changes"][0]
    assert (wish["topics_off"], wish["at_most"], wish["paused_until"]) == (["new", "tips"], "", None)
    await browser.post(f"/p/{TOKEN}", data=form("save", pause="keep", until=str(NOW + 60 * WEEK)))
    assert (await told(site))[-1]["changes"][0]["paused_until"] is None, "no longer than a year"


async def test_mail_of_no_brand_has_a_page_too(site: Site, browser: httpx.AsyncClient) -> None:
    token = TOKENS.seal(TICKET._replace(brand=""))
    page = (await browser.get(f"/p/{token}")).text
    assert "Your mail from <bdi>mail.relay.example</bdi>" in page
    assert "Topics" not in page
    gone = TOKENS.seal(TICKET._replace(brand="sold-last-year"))
    assert (await browser.post(f"/u/{gone}", data=ONE_CLICK)).status_code == 200, "old mail may be unsubscribed from"


# --- languages, looks, headers


@pytest.mark.parametrize("code", CODES)
async def test_every_page_speaks_every_language(site: Site, browser: httpx.AsyncClient, code: str) -> None:
    direction = "rtl" if code in ("he", "ar") else "ltr"
    site.desk.preferences["arava"] = {"topics_off": [], "at_most": "each", "paused_until": "2026-12-24T00:00:00.000Z"}
    for path in (f"/u/{TOKEN}", f"/p/{TOKEN}", "/p/broken"):
        page = await browser.get(path, headers={"Accept-Language": f"{code}-XX, en;q=0.5"})
        assert f'<html lang="{code}" dir="{direction}">' in page.text
        assert page.headers["content-language"] == code
        assert "{" not in page.text, "every value stands in its place"
        assert (await browser.get(f"{path}?lang={code}", headers={"Accept-Language": "fr"})).text.count(
            f'<html lang="{code}"'
        ) == 1
    for action in ("save", "leave", "return"):
        done = await browser.post(f"/p/{TOKEN}", data=form(action, lang=code))
        assert f'<html lang="{code}"' in done.text
        assert "{" not in done.text


async def test_a_brand_shows_its_logo_and_colours_and_says_what_it_wants(
    site: Site, browser: httpx.AsyncClient
) -> None:
    page = (await browser.get(f"/u/{TOKEN}")).text
    logo = page.partition('<img src="')[2].partition('"')[0]
    colors = page.rpartition('<link rel="stylesheet" href="')[2].partition('"')[0]
    picture = await browser.get(f"/u/{logo}")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in picture.headers["content-security-policy"], "a picture that could hold a script"
    assert (await browser.get(f"/u/{colors}")).text == ":root{--accent:#0b6e4f;--on-accent:#ffffff}"
    other = (await browser.get(f"/u/{TOKENS.seal(TICKET._replace(brand='marom'))}")).text
    assert "<img" not in other
    words = (await browser.get(f"/p/{TOKENS.seal(TICKET._replace(brand='marom'))}?lang=he")).text
    assert '<bdi lang="en">Pick &lt;your&gt; trails.</bdi>' in words, "its own words in place of ours"
    assert "colors.css" not in other
    for missing in ("/s/x.css", "/b/x/logo", "/b/x/colors.css", "/", "/u/"):
        assert (await browser.get(missing)).status_code == 404
    assert (await browser.get("/favicon.ico")).status_code == 204
    assert (await browser.get("/robots.txt")).text == "User-agent: *\nDisallow: /\n"


async def test_nothing_is_fetched_from_elsewhere_and_browsers_are_told_so(
    site: Site, browser: httpx.AsyncClient
) -> None:
    page = await browser.get(f"/p/{TOKEN}")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "'unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in page.text.replace("https://mail.arava.example", "")
    assert "<script" not in page.text
    assert " style=" not in page.text
    assert page.headers["referrer-policy"] == "no-referrer", "a link away would tell the token"
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["x-robots-tag"] == "noindex, nofollow"
    assert page.headers["vary"] == "Accept-Language"
    assert "dana.levi" not in page.text, "who has the link need not be whom it is about"
    css = await browser.get("/s/public.css")
    assert "immutable" in css.headers["cache-control"]
