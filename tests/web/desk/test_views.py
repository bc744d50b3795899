"""The desk through the whole site, over events on disk: what each visitor sees, and what he cannot be made to see."""

import csv
import io
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from starlette.routing import Route

from relay.web.desk import asking, suppressions, views
from relay.web.desk.asked import BY
from relay.web.login import checking
from tests.support.desk import DANA, STORY, SUSPENSION, Company, Node, Remembered, desk_site, users
from tests.support.event_folder import HOUR, NOON, EventFolder, said
from tests.support.logins import browser, form_in, log_in, login_of

REPORTS = [f"/report/{name}" for name in BY]
PAGES = [
    "/today",
    "/messages",
    *REPORTS,
    "/found",
    "/recipient",
    "/suppressed",
    "/suppressed?pending=1",
    "/queue",
    "/connect",
    f"/m/{STORY}",
]
FILES = ["/report/bounces/csv", "/found/csv", "/found/csv?report=complaints"]
NAME = "dana.levi"  # what no viewer may read

Enter = Callable[[str], Awaitable[httpx.AsyncClient]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("company")
    Company(folder, days=2)
    users(folder)
    return folder


@pytest.fixture
async def enter(folder: Path, reader: Remembered, node: Node, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Enter]:
    """Logs in; "": somebody before the page of a machine without users."""
    monkeypatch.setattr(checking, "fits", lambda password, kept: kept.startswith("$argon2id$"))
    monkeypatch.setattr(views, "SOON", 60.0)  # a busy machine shows the whole page too
    async with AsyncExitStack() as open_clients:

        async def log_in_as(name: str) -> httpx.AsyncClient:
            client = await open_clients.enter_async_context(browser(desk_site(folder, node, reader=reader)))
            assert (await log_in(client, name)).status_code == 303
            return client

        yield log_in_as


def cells(page: str) -> list[list[str]]:
    """The rows of a page's tables, as words."""
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [
        [" ".join(re.sub(r"<[^>]+>", " ", one).split()) for one in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


async def sealed_dana(client: httpx.AsyncClient) -> str:
    address: str = (await client.get("/recipient", params={"address": DANA})).headers["location"]
    return address


async def test_today_at_a_glance(enter: Enter) -> None:
    page = (await (await enter("noa")).get("/")).text
    assert "<h1>The last 24 hours</h1>" in page
    cards = re.findall(r'<li class="card( jump)?"><a href="([^"]+)">(\w+)</a>', page)
    assert [name for _, _, name in cards] == ["Accepted", "Delivered", "Bounced", "Complaints", "Deferred", "Withheld"]
    assert [name for jump, _, name in cards if jump] == ["Bounced"]
    assert page.index("reputation-block") < page.index("Providers")
    assert "Suspended: stream win-back" in page
    assert "helpdesk: 14 of 14 refused" in page
    assert page.count("<svg viewBox") == 2
    rows = {row[0]: row for row in cells(page) if row}
    assert rows["reputation-block"][1:] == ["126 usually 0", "7.7 % far above the usual usually 0 %"]
    assert "postlane resume" not in page, "an operator has a button"


async def test_a_report_with_the_replies_themselves_and_the_way_down(enter: Enter) -> None:
    client = await enter("noa")
    page = (await client.get("/report/bounces")).text
    assert "5.7.1 Unfortunately, messages from [198.51.100.20] weren&#39;t sent" in page
    spike = re.findall(r'<th scope="row"><a href="([^"]+)">Sat 21 Nov 11:00</a>', page)
    assert len(spike) == 1, "the chart is a table, too"
    within = (await client.get(spike[0].replace("&amp;", "&"))).text
    assert within.count("reputation-block") >= 61
    assert within.count("<tr>") - 1 <= 100
    drill = re.search(r'href="([^"]+)"><bdi>reputation-block</bdi>', page)
    assert drill is not None
    down = (await client.get(drill[1].replace("&amp;", "&"))).text
    assert {row[0] for row in cells(down)} >= {"arava-newsletter"}
    assert 'aria-label="Of any category"' in down
    message = re.search(r'href="(/m/[^"]+)"', within)
    assert message is not None


@pytest.mark.parametrize("path", REPORTS)
async def test_each_report_is_drawn_by_whatever_it_is_asked(enter: Enter, path: str) -> None:
    client = await enter("noa")
    name = path.rpartition("/")[2]
    for by in (BY[name][0], BY[name][-1]) if name != "bounces" else ("stream", "skeleton"):
        answer = await client.get(path, params={"by": by, "span": "7d"})
        assert answer.status_code == 200
        assert answer.text.count('aria-current="true"') == 2


async def test_older_messages_are_behind_newer_ones(enter: Enter) -> None:
    client, seen, address = await enter("noa"), list[str](), "/found?report=bounces&category=reputation-block"
    while address:
        page = (await client.get(address)).text
        seen += re.findall(r'href="/m/(m\d+)"', page)
        older = re.search(r'class="button quiet" href="([^"]+)">Older', page)
        address = older[1].replace("&amp;", "&") if older else ""
        assert len(seen) < 1000
    assert len(set(seen)) == 126


async def test_one_recipients_whole_story(enter: Enter) -> None:
    client = await enter("noa")
    address = await sealed_dana(client)
    assert "dana" not in address
    page = (await client.get(address)).text
    assert f'<h1><bdi dir="ltr">{DANA}</bdi></h1>' in page
    assert "<strong>bad-mailbox</strong> stops all mail of every brand" in page
    assert page.count("is over quota") == 2
    assert ["arava", "3/week", "2", "1", "arava marketing 2"] in cells(page)
    assert (await client.get("/recipient?r=nonsense")).status_code == 404
    assert "is no address" in (await client.get("/recipient?address=<script>")).text


async def test_one_messages_story_has_what_was_said_in_its_sessions(enter: Enter) -> None:
    page = (await (await enter("noa")).get(f"/m/{STORY}")).text
    assert page.count("&gt; EHLO t1.arava.example") == 2
    assert f"&gt; RCPT TO:&lt;{DANA}&gt;" in page
    assert "/recipient?r=" in page


async def test_a_message_of_another_node_is_found_by_its_id_alone(enter: Enter) -> None:
    client = await enter("noa")
    identifier = re.search(r'href="/m/(m\d+)"', (await client.get("/found?category=auth-failure")).text)
    assert identifier is not None
    page = (await client.get(f"/m/{identifier[1]}")).text
    assert "DKIM = did not pass" in page
    for pattern in ("m*", f"{identifier[1]}*", "*", "%", "m_"):
        assert (await client.get(f"/m/{pattern}")).status_code == 404, pattern
    assert (await (await enter("shop")).get(f"/m/{identifier[1]}")).status_code == 404


async def test_files_for_a_spreadsheet(enter: Enter) -> None:
    client = await enter("noa")
    answer = await client.get("/report/bounces/csv?by=category")
    assert answer.headers["content-disposition"] == 'attachment; filename="postlane-bounces-by-category.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert (rows[0]["category"], rows[0]["bounces"]) == ("reputation-block", "126")
    rows = list(csv.DictReader(io.StringIO((await client.get("/report/bounces/csv?by=hour")).text)))
    assert {row["hour"]: row["bounces"] for row in rows}["2026-11-21T11:00:00.000Z"] == "23"
    rows = list(csv.DictReader(io.StringIO((await client.get("/found/csv?category=auth-failure")).text)))
    assert len(rows) == 14
    assert {row["code"] for row in rows} == {"550"}


# -- who may see what


async def test_a_viewer_sees_no_address_anywhere(enter: Enter, node: Node) -> None:
    client = await enter("dan")
    address = await sealed_dana(client)
    for path in (
        *PAGES,
        *FILES,
        address,
        "/found?report=sites&stream=order",
        "/report/sites?stream=order",
        "/messages?q=order",
    ):
        answer = await client.get(path)
        assert answer.status_code == 200, path
        assert NAME not in answer.text.lower(), path
        assert not re.search(r"[a-z0-9]@(?:gmail|outlook|walla|gmx|yahoo)", answer.text), path
    page = (await client.get(address)).text
    assert "d***@gmail.com" in page
    assert "/undo" not in page
    assert "d***@gmail.com is over quota" in page
    assert "RCPT TO:&lt;d***@gmail.com&gt;" in (await client.get(f"/m/{STORY}")).text


async def test_a_viewer_cannot_find_out_a_name_letter_by_letter(enter: Enter) -> None:
    client = await enter("dan")
    for guess in ("dana", "dana.levi@", DANA):
        assert "No recent message matches" in (await client.get("/messages", params={"q": guess})).text
    assert STORY in (await (await enter("noa")).get("/messages", params={"q": "dana.levi"})).text


async def test_who_is_limited_sees_his_apps_alone(enter: Enter) -> None:
    client = await enter("shop")  # to shop-web, of which are the streams order and password-reset
    others = (
        "arava-newsletter",
        "win-back",
        "marom-newsletter",
        "delivery-notice",
        "helpdesk",
        "crm",
        "warehouse",
        "reputation-block",
    )
    address = await sealed_dana(client)
    for path in ("/today", "/messages", *REPORTS, *FILES, "/found", address, f"/m/{STORY}", "/today?span=7d"):
        text = (await client.get(path)).text
        words = set(re.findall(r"[\w-]+", text))  # as a whole: what is sealed may hold any letters
        assert not words.intersection(others), path
    rows = list(csv.DictReader(io.StringIO((await client.get("/report/streams/csv")).text)))
    assert {row["stream"] for row in rows} == {"order", "password-reset"}
    assert "Suspended" not in (await client.get("/today")).text
    assert "What stops mail" not in (await client.get(address)).text


async def test_who_is_limited_gets_nothing_by_asking_for_more(enter: Enter) -> None:
    client = await enter("shop")
    page = (await (await enter("noa")).get("/found?report=sites&credential=crm")).text
    identifier = re.search(r'href="/m/(m\d+)"', page)
    assert identifier is not None
    for path in ("/queue", "/suppressed", "/suppressed?brand=arava", "/suppressed/many?pending=1"):
        assert (await client.get(path)).status_code == 403, path
    for path in (f"/m/{identifier[1]}", f"/m/{identifier[1]}/html", f"/m/{identifier[1]}/source.eml"):
        assert (await client.get(path)).status_code == 404, path
    for query in ("credential=crm", "credential=*", "credential=re:.*", "credential=CRM"):
        for path in (*REPORTS, *FILES, "/found", "/today"):
            answer = await client.get(path + ("&" if "?" in path else "?") + query)
            assert answer.status_code == 403, (path, query)
    for query in (
        "credential=crm&credential=shop-web",
        "stream=arava-newsletter",
        "stream=*",
        "site=*&credential=shop-web",
    ):
        for path in (*FILES, "/found?report=sites"):
            text = (await client.get(path + ("&" if "?" in path else "?") + query)).text
            assert not re.search(r"<bdi>arava-newsletter</bdi></a>|,crm,", text), (path, query)
            assert "198.51.100.20] weren" not in text, (path, query)


async def test_an_answer_that_is_kept_for_one_is_not_shown_to_another(folder: Path, node: Node, enter: Enter) -> None:
    app = desk_site(folder, node)  # one that remembers nothing but what the desk itself keeps
    async with browser(app) as noa, browser(app) as shop, browser(app) as dan:
        await log_in(noa, "noa")
        await log_in(shop, "shop")
        await log_in(dan, "dan")
        for path in ("/found?report=bounces", "/today"):
            assert "arava-newsletter" in (await noa.get(path)).text
            assert "arava-newsletter" not in (await shop.get(path)).text
            assert not re.search(r"p\d+@", (await dan.get(path)).text)


async def test_who_looks_at_a_page_without_users_sees_all_and_changes_nothing(
    folder: Path, node: Node, tmp_path: Path
) -> None:
    (tmp_path / "events").symlink_to(folder / "events")
    app = desk_site(tmp_path, node)
    async with browser(app) as client:
        page = (await client.get(await sealed_dana(client))).text
        assert DANA in page
        assert "/undo" not in page
        assert "postlane resume --stream win-back" in (await client.get("/today")).text
        assert (await client.post("/undo", data={"form": "x"})).status_code == 403


# -- what operators change


async def test_a_suppression_is_taken_off_with_a_reason_and_on_record(enter: Enter, node: Node) -> None:
    client = await enter("noa")
    page = (await client.get(await sealed_dana(client))).text
    form = dict(re.findall(r'name="(form|r|stop|brand|reason)" value="([^"]*)"', page[page.index('action="/undo"') :]))
    assert (await client.post("/undo", data={**form, "why": "  "})).status_code == 409
    done = await client.post("/undo", data={**form, "why": "customer corrected the mailbox, ticket 5512"})
    assert done.status_code == 303
    after = (await client.get(done.headers["location"])).text
    assert "Done: mail goes again" in after
    assert "Nothing: all mail goes." in after
    (gone,) = node.people.events("unsuppressed")
    assert (gone["recipient"], gone["by"], gone["reason"]) == (
        DANA,
        "noa",
        "customer corrected the mailbox, ticket 5512",
    )
    (audit,) = node.people.events("audit")
    assert (audit["by"], audit["via"], audit["action"], audit["removed"]) == ("noa", "web", "suppress remove", 1)
    assert audit["what"]["recipient"] == DANA


async def test_only_that_block_is_taken_off(enter: Enter, node: Node) -> None:
    node.block(stop="marketing", reason="complaint", brand="arava")
    client = await enter("noa")
    page = (await client.get(await sealed_dana(client))).text
    forms = page.split('action="/undo"')[1:]
    assert len(forms) == 2
    chosen = next(one for one in forms if 'value="complaint"' in one)
    form = dict(re.findall(r'name="(form|r|stop|brand|reason)" value="([^"]*)"', chosen))
    await client.post("/undo", data={**form, "why": "asked for it"})
    assert [one["was"] for one in node.people.events("unsuppressed")] == ["complaint"]


async def test_a_suspension_ends_with_a_reason(enter: Enter, node: Node) -> None:
    client = await enter("noa")
    form = form_in((await client.get("/today")).text)
    told = {"form": form, "id": str(SUSPENSION), "why": "list cleaned, ticket 5519"}
    assert (await client.post("/resume", data={**told, "why": ""})).status_code == 409
    assert "not in force" in (await client.post("/resume", data={**told, "id": "7"})).text
    assert (await client.post("/resume", data=told)).status_code == 303
    assert node.suspensions == []
    asked = next(one for one in node.asked if one["do"] == "resume" and not one.get("dry_run"))
    assert asked["what"] == {"stream": "win-back"}
    assert (asked["by"], asked["via"], asked["reason"]) == ("noa", "web", "list cleaned, ticket 5519")


async def test_what_would_end_other_suspensions_too_is_not_done(enter: Enter, node: Node) -> None:
    node.suspensions.append({**node.suspensions[0], "id": 5, "said": "stream win-back, site gmx"})
    client = await enter("noa")
    form = form_in((await client.get("/today")).text)
    answer = await client.post("/resume", data={"form": form, "id": str(SUSPENSION), "why": "x"})
    assert answer.status_code == 409
    assert "would also resume stream win-back, site gmx" in answer.text
    assert len(node.suspensions) == 2


@pytest.mark.parametrize("name", ["dan", "shop"])
async def test_only_operators_change_anything(enter: Enter, node: Node, name: str) -> None:
    operator, client = await enter("noa"), await enter(name)
    page = (await operator.get(await sealed_dana(operator))).text
    form = dict(re.findall(r'name="(r|stop|brand|reason)" value="([^"]*)"', page[page.index('action="/undo"') :]))
    mine = form_in((await client.get("/connect")).text)
    for path, fields in (("/undo", form), ("/resume", {"id": str(SUSPENSION)})):
        assert (await client.post(path, data={**fields, "form": mine, "why": "x"})).status_code == 403
    for path in ("/undo", "/resume"):
        assert (
            await operator.post(path, data={**form, "id": str(SUSPENSION), "form": mine, "why": "x"})
        ).status_code == 403
    assert node.people.events("unsuppressed") == []
    assert len(node.suspensions) == 1


async def test_an_address_that_we_did_not_seal_changes_nothing(enter: Enter, node: Node) -> None:
    client = await enter("noa")
    form = form_in((await client.get("/today")).text)
    for r in ("", DANA, "AAAA"):
        answer = await client.post(
            "/undo", data={"form": form, "r": r, "stop": "all", "reason": "bad-mailbox", "why": "x"}
        )
        assert answer.status_code == 403
    assert node.people.events("unsuppressed") == []


async def test_what_the_node_refuses_is_told(enter: Enter, node: Node) -> None:
    client = await enter("noa")
    page = (await client.get(await sealed_dana(client))).text
    form = dict(re.findall(r'name="(form|r|stop|brand|reason)" value="([^"]*)"', page[page.index('action="/undo"') :]))
    node.down = True
    answer = await client.post("/undo", data={**form, "why": "x"})
    assert (answer.status_code, "the node does not answer" in answer.text) == (409, True)
    assert (
        "not in force any more"
        in (await client.post("/resume", data={"form": form["form"], "id": "1", "why": "x"})).text
    )


UNKNOWN = [f"u{number}@gmail.com" for number in range(238)]


def fields_in(page: str, do: str) -> dict[str, str]:
    """Of the form with that button."""
    form = next(one for one in page.split('action="/suppressed/many"')[1:] if f'name="do" value="{do}"' in one)
    return {**dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form.partition("</form>")[0])), "do": do}


async def stopped(node: Node, **where: object) -> int:
    page = await node({"do": "people", "what": "list", "where": {"pending": False, **where}, "count": True})
    return int(page["found"])


async def test_what_a_site_said_in_a_bad_hour_is_dropped_as_a_whole(enter: Enter, node: Node) -> None:
    node.doubt("google", *UNKNOWN)
    node.doubt("gmx", "tal@gmx.de")
    client = await enter("noa")
    way = re.search(
        r'class="button" href="([^"]+)">Confirm or drop<span class="sr"> what google', (await client.get("/today")).text
    )
    assert way is not None
    page = (await client.get(way[1].replace("&amp;", "&"))).text
    assert "<strong>238 addresses</strong>" in page
    assert "google bounced 96 % of 250 as unknown users" in page
    fields = fields_in(page, "drop")
    assert (await client.post("/suppressed/many", data={**fields, "why": " "})).status_code == 409
    done = await client.post("/suppressed/many", data={**fields, "why": "Google says it was theirs"})
    assert done.status_code == 303
    assert "Done: 238 dropped: mail goes on." in (await client.get(done.headers["location"])).text
    assert await stopped(node, pending=True) == 1, "gmx's is another hour"
    assert node.people.events("unsuppressed") == [], "nothing was"
    (audit,) = node.people.events("audit")
    assert (audit["by"], audit["via"], audit["action"], audit["dropped"]) == ("noa", "web", "suppress drop", 238)
    assert (audit["what"], audit["reason"]) == ({"site": "google", "pending": True}, "Google says it was theirs")
    assert {"do": "health", "what": "settle", "site": "google", "word": "dropped"} in node.asked


async def test_of_one_recipient_it_is_shown_and_dropped_too(enter: Enter, node: Node) -> None:
    node.doubt("google", DANA)
    client = await enter("noa")
    page = (await client.get(await sealed_dana(client))).text
    assert "<strong>bad-mailbox</strong> waits for a second word, and would stop all mail of every brand" in page
    form = page.split('action="/undo"')[-1]
    fields = dict(re.findall(r'name="(form|r|stop|brand|reason)" value="([^"]*)"', form))
    assert (await client.post("/undo", data={**fields, "why": "she wrote to us"})).status_code == 303
    assert await stopped(node, pending=True) == 0
    assert await stopped(node) == 1


async def test_or_it_is_confirmed(enter: Enter, node: Node) -> None:
    node.doubt("google", *UNKNOWN[:3])
    before = await stopped(node, reason="bad-mailbox")
    client = await enter("noa")
    pending = (await client.get("/suppressed?pending=1&reason=bad-mailbox")).text
    assert pending.count('<th scope="row">') == 3
    way = re.search(r'href="([^"]+)">Confirm or drop all that fit', pending)
    assert way is not None
    fields = fields_in((await client.get(way[1].replace("&amp;", "&"))).text, "confirm")
    assert (await client.post("/suppressed/many", data={**fields, "why": "a dead list"})).status_code == 303
    assert await stopped(node, reason="bad-mailbox") == before + 3
    assert [told["by"] for told in node.people.events("suppressed")[-3:]] == ["noa"] * 3
    assert not [one for one in node.asked if one.get("what") == "settle"], "it may be a part of the hour's alone"
    after = (await client.get(way[1].replace("&amp;", "&"))).text
    assert "Nobody fits any more" in after


async def test_all_that_fit_are_undone_as_they_were_counted(enter: Enter, node: Node) -> None:
    node.block(*(f"p{number}@gmx.de" for number in range(41)), reason="quota", site="gmx")
    client = await enter("noa")
    page = (await client.get("/suppressed?site=gmx&since=24h")).text
    way = re.search(r'href="(/suppressed/many[^"]+)">Undo all that fit', page)
    assert way is not None
    page = (await client.get(way[1].replace("&amp;", "&"))).text
    assert "Undo 41</button>" in page
    fields = fields_in(page, "undo")
    assert fields["since"] == str(NOON - 24 * HOUR)
    done = await client.post("/suppressed/many", data={**fields, "why": "their mailboxes were full of our test"})
    assert "Done: 41 taken off" in (await client.get(done.headers["location"])).text
    assert await stopped(node) == 1
    (audit,) = node.people.events("audit")
    assert (audit["action"], audit["removed"], audit["what"]["site"]) == ("suppress remove", 41, "gmx")


async def test_nobody_undoes_everything_by_a_slip_or_a_made_up_form(enter: Enter, node: Node) -> None:
    node.doubt("google", *UNKNOWN[:3])
    client = await enter("noa")
    assert "Undo all" not in (await client.get("/suppressed")).text
    assert "Done" not in (await client.get(f"/suppressed?done=removed&n={'9' * 5_000}")).text
    assert (await client.get("/suppressed/many")).headers["location"] == "/suppressed"
    form = {"form": form_in((await client.get("/today")).text), "why": "x"}
    for made in (
        {"do": "undo"},
        {"do": "undo", "pending": "1"},
        {"do": "confirm", "site": "google"},
        {"do": "forget", "site": "google"},
        {"do": "undo", "since": "24h"},
    ):
        assert (await client.post("/suppressed/many", data={**form, **made})).status_code == 400, made
    assert await stopped(node) == 1
    assert await stopped(node, pending=True) == 3


async def test_a_viewer_sees_what_waits_and_settles_nothing(enter: Enter, node: Node) -> None:
    node.doubt("google", *UNKNOWN[:3])
    client = await enter("dan")
    for path in ("/today", "/suppressed"):
        page = (await client.get(path)).text
        assert 'href="/suppressed?pending=1&amp;site=google">Show<' in page
        assert "/suppressed/many" not in page
    pending = (await client.get("/suppressed?pending=1&site=google")).text
    assert (pending.count('<th scope="row">'), "u1@" in pending) == (3, False)
    assert (await client.get("/suppressed/many?pending=1&site=google")).status_code == 403
    form = {"form": form_in((await client.get("/connect")).text), "why": "x", "do": "drop", "pending": "1"}
    assert (await client.post("/suppressed/many", data=form)).status_code == 403
    assert await stopped(node, pending=True) == 3


async def test_what_cannot_be_counted_or_changed_is_said(
    enter: Enter, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.doubt("google", *UNKNOWN[:3])
    client = await enter("noa")
    path = "/suppressed/many?pending=1&site=google&stop=all&since=7d"
    fields = fields_in((await client.get(path)).text, "drop")
    node.down = True
    assert "They could not be counted: the node does not answer." in (await client.get(path)).text
    answer = await client.post("/suppressed/many", data={**fields, "why": "x"})
    assert (answer.status_code, "Nothing was changed" in answer.text) == (409, True)
    assert node.people.events("audit") == []
    node.down = False
    monkeypatch.setattr(suppressions, "COUNTING", -1.0)
    for part in range(3):
        node.block(*(f"p{part}-{number}@gmx.de" for number in range(400)), reason="quota", site="gmx")
    page = (await client.get(path)).text
    assert "postlane suppress drop --stop pending:all --site google --since 2026-11-14T" in page
    assert 'action="/suppressed/many"' not in page


async def test_what_was_done_in_part_is_said_and_on_record(enter: Enter, node: Node) -> None:
    node.doubt("google", *UNKNOWN[:3])
    client = await enter("noa")
    fields = fields_in((await client.get("/suppressed/many?pending=1&site=google")).text, "confirm")
    node.refuses = "health"
    answer = await client.post("/suppressed/many", data={**fields, "why": "x"})
    assert answer.status_code == 409
    assert "Only some were changed" in answer.text
    assert "State cannot be reached. 3 were confirmed before." in answer.text
    assert [one["confirmed"] for one in node.people.events("audit")] == [3]


async def test_what_takes_long_to_count_comes_in_two_parts(
    enter: Enter, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: object) -> bool:
        return False

    monkeypatch.setattr(suppressions, "quickly", never)
    node.doubt("google", *UNKNOWN[:1])
    page = (await (await enter("noa")).get("/suppressed/many?pending=1&site=google")).text
    assert page.index("Counting …") < page.index("<strong>1 address</strong>") < page.index("</main>")
    assert page.count("<main") == page.count("</html>") == page.count("<h1") == 1


# -- lists, and days on which nothing works


async def test_the_list_of_the_suppressed_is_filtered_and_paged(enter: Enter, node: Node) -> None:
    node.block(*(f"p{number}@gmx.de" for number in range(230)), reason="complaint", stop="marketing", site="gmx")
    client = await enter("noa")
    assert (await client.get("/suppressed?reason=bad-mailbox")).text.count('<th scope="row">') == 1
    first = (await client.get("/suppressed?site=gmx")).text
    more = re.search(r'href="(/suppressed\?[^"]*cursor=[^"]+)"', first)
    assert more is not None
    second = (await client.get(more[1].replace("&amp;", "&"))).text
    assert first.count('<th scope="row">') + second.count('<th scope="row">') == 230
    assert "Nobody fits" in (await client.get("/suppressed?brand=none")).text


async def test_a_node_that_is_down_is_said_so_and_what_is_on_disk_is_shown(enter: Enter, node: Node) -> None:
    client = await enter("noa")
    node.down = True
    assert "the node does not answer" in (await client.get("/today")).text
    assert "126" in (await client.get("/report/bounces")).text
    assert "The node does not answer" in (await client.get("/suppressed")).text
    page = (await client.get(await sealed_dana(client))).text
    assert "what it knows of this person is not shown" in page
    assert "is over quota" in page


async def test_a_desk_that_is_busy_says_so(enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "WAITING", 0)
    client = await enter("noa")
    for path in ("/today", "/report/bounces", "/found", *FILES):
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5"), path
        assert "Load again" in answer.text
    assert "was not read in time" in (await client.get(await sealed_dana(client))).text


async def test_a_company_without_events(tmp_path: Path, node: Node) -> None:
    async with browser(desk_site(tmp_path, node)) as client:
        for path in ("/", *PAGES[:-1], *FILES):
            assert (await client.get(path)).status_code == 200, path
        assert "Nothing in this time." in (await client.get("/report/bounces")).text
        assert "Nothing was recorded." in (await client.get("/found")).text


async def test_what_takes_long_comes_in_two_parts(enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is the same page as at once, but for the words that say so and go by themselves."""
    client = await enter("noa")
    monkeypatch.setattr(views, "QUICK", 60.0)
    at_once = (await client.get("/report/bounces")).text

    async def never(_: object) -> bool:
        return False

    monkeypatch.setattr(views, "quickly", never)
    for path in ("/today", "/report/bounces", "/found"):
        page = (await client.get(path)).text
        assert page.count("Reading the event log") == 1
        assert page.count("<main") == page.count("</html>") == page.count("<h1") == 1
        assert page.index("Reading the event log") < page.index("<h1") < page.index("</main>")
        assert "<!-- here -->" not in page
    said = (await client.get("/report/bounces")).text
    parts, whole = (text[text.index('<nav class="sub"') :].partition("</main>")[0].split() for text in (said, at_once))
    assert parts == [*whole, "</div>"]
    monkeypatch.setattr(asking, "WAITING", 0)
    for kept in ("FRESH", "KEPT"):
        monkeypatch.setattr(asking, kept, -1)
    assert "One moment" in (await client.get("/report/bounces")).text


async def test_what_is_no_report_is_not_found(enter: Enter) -> None:
    client = await enter("noa")
    for path in ("/report/nonsense", "/report/nonsense/csv", "/found?report=summary", "/report/bounces/html"):
        assert (await client.get(path)).status_code == 404


HOSTILE = "\"><script>alert(1)</script>{{7*7}}<img src=x onerror=alert(2)>'--"


async def test_nothing_that_strangers_wrote_becomes_markup_or_a_formula(tmp_path: Path, node: Node) -> None:
    log = EventFolder(tmp_path / "events")
    facts = dict.fromkeys(
        (
            "stream",
            "credential",
            "campaign",
            "site",
            "source",
            "category",
            "domain",
            "brand",
            "class",
            "skeleton",
            "subject",
        ),
        HOSTILE,
    )
    person = f"{HOSTILE}@gmail.com"
    for kind in ("bounced", "complained", "delivered", "deferred"):
        mail = {**facts, "id": HOSTILE, "rcpt": 0, "recipient": person, "command": HOSTILE, "transcript": [HOSTILE]}
        log.add(kind, NOON - HOUR, 30, reply={**said(550, HOSTILE), "enhanced": HOSTILE}, **mail)
    node.suspensions[0] |= {"said": HOSTILE, "reason": HOSTILE, "by": HOSTILE, "undo": HOSTILE}
    node.alerts[0] |= {"summary": HOSTILE, "advice": HOSTILE}
    node.block("x@gmail.com", note=HOSTILE)
    app = desk_site(tmp_path, node)
    async with browser(app) as client:
        found = (await client.get("/recipient", params={"address": person})).headers["location"]
        other = (await client.get("/recipient", params={"address": "x@gmail.com"})).headers["location"]
        pages = ["/today", *(f"{path}?by={by}" for path in REPORTS for by in BY[path.rpartition("/")[2]][-1:])]
        pages += ["/found?report=bounces", "/found?report=sites", found, other, "/suppressed", "/messages"]
        pages += [
            f"/report/bounces?stream={HOSTILE}&span={HOSTILE}",
            f"/suppressed?reason={HOSTILE}",
            f"/recipient?address={HOSTILE}",
        ]
        for path in pages:
            answer = await client.get(path, follow_redirects=True)
            assert answer.status_code == 200, path
            assert "<script" not in answer.text, path
            assert "<img src=x" not in answer.text, path
            assert "style=" not in answer.text, path
            assert "script" not in answer.headers["content-security-policy"], path
        text = (await client.get("/found/csv")).text
        for row in csv.reader(io.StringIO(text)):
            assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)


def test_every_page_that_takes_a_form_asks_whose_it_is(folder: Path, node: Node) -> None:
    """So that no page to come forgets it: each is known here, and tried above and in login/test_pages.py."""
    app = desk_site(folder, node)
    posts = {one.path for one in app.routes if isinstance(one, Route) and "POST" in (one.methods or ())}
    assert posts == {"/login", "/logout", "/undo", "/resume", "/suppressed/many"}
    assert repr(login_of(folder)).startswith("<Login ")
