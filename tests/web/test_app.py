"""The admin site through its ASGI door: pages, what they must not do, and what machines read."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from relay.web.captures import Captures
from relay.web.connect import SubmissionPort
from tests.support.web import IDS, NOW, Events, Node, event, reply, site, stats

HTML_MAIL = (
    f"Received: from app by relay with ESMTP id {IDS[0]}; Sat, 21 Nov 2026 12:05:31 +0000\r\n"
    "Subject: Hello\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
    "--b\r\nContent-Type: text/plain\r\n\r\nplain <words>\r\n"
    "--b\r\nContent-Type: text/html\r\n\r\n<h1>Rich</h1><script>alert(1)</script><img src=https://x.example/p>\r\n--b--\r\n"
).encode()


def client(app: object, host: str = "localhost:8025") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=f"http://{host}")  # type: ignore[arg-type]


async def get(app: object, path: str, host: str = "localhost:8025") -> httpx.Response:
    async with client(app, host) as browser:
        return await browser.get(path)


def accepted(index: int = 0, **facts: object) -> dict[str, object]:
    return event("accepted", IDS[index], subject=f"Parcel-{index}", size=38_211, **facts)


@pytest.fixture
def captured(tmp_path: Path) -> Path:
    Captures(tmp_path).add("bounces@shop.example", ["dana@rcpt.example"], [], HTML_MAIL, NOW)
    return tmp_path


async def test_the_dashboard_lists_messages_newest_first_with_their_state() -> None:
    delivered = event("delivered", IDS[0], reply=reply(250, "2.0.0", "OK"))
    page = (await get(site(Events(accepted(0), accepted(1), delivered)), "/")).text
    rows = re.findall(r"<li>(.*?)</li>", page, re.DOTALL)
    assert [re.search(r">(Parcel-\d)<", row)[1] for row in rows] == ["Parcel-1", "Parcel-0"]  # type: ignore[index]
    assert ">queued</span>" in rows[0]
    assert ">delivered</span>" in rows[1]
    assert f'href="/m/{IDS[0]}"' in rows[1]


async def test_a_message_to_several_shows_each_state_once() -> None:
    events = Events(accepted(0), accepted(0, rcpt=1), accepted(0, rcpt=2), event("bounced", IDS[0], rcpt=2))
    page = (await get(site(events), "/")).text
    assert ">1 bounced</span>" in page
    assert ">2 queued</span>" in page
    assert "and 2 more" in page


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("?q=PARCEL-1+order", {1}),
        ("?q=DANA", {0, 1}),
        ("?q=" + IDS[0], {0}),
        ("?q=parcel-1+nothing", set()),
        ("?state=bounced", {1}),
        ("?class=marketing", {1}),
        ("?class=service", set()),
    ],
)
async def test_searching_the_recent_messages(query: str, shown: set[int]) -> None:
    second = [accepted(1, **{"class": "marketing"}), event("bounced", IDS[1], **{"class": "marketing"})]
    page = (await get(site(Events(accepted(0), *second)), "/" + query)).text
    assert {n for n in (0, 1) if f"/m/{IDS[n]}" in page} == shown
    assert ("No recent message matches" in page) is not bool(shown)


async def test_numbers_per_class_come_from_the_node() -> None:
    page = (await get(site(Events()), "/")).text
    assert re.search(r'marketing">\s*<h2>marketing</h2>\s*<p class="big"><span class="number">28</span>', page)
    assert "182,406" in page


async def test_an_empty_node_says_how_to_begin_and_refreshes_only_when_asked() -> None:
    page = (await get(site(Events()), "/")).text
    assert "No mail yet" in page
    assert "http-equiv" not in page
    assert 'http-equiv="refresh"' in (await get(site(Events()), "/?live=1")).text


async def test_refusals_at_the_door_are_shown() -> None:
    refused = {"type": "rejected", "time": "2026-11-21T12:00:00.000Z", "peer": "127.0.0.1", "command": "DATA"}
    words = reply(550, "5.7.1", "From domain blog.example is not one of shop's")
    page = (await get(site(Events({**refused, "reply": words}, {**refused, "reason": "no-relay"})), "/")).text
    assert "550 5.7.1 From domain blog.example" in page
    assert "no-relay" in page


@pytest.mark.parametrize("answer", [OSError("no socket"), TimeoutError(), ValueError("x"), {"error": "not running"}])
async def test_a_node_that_is_down_is_said_so_and_pages_still_work(answer: object) -> None:
    app = site(Events(accepted()), node=Node(answer))  # type: ignore[arg-type]
    assert "the node does not answer" in (await get(app, "/")).text
    assert (await get(app, "/healthz")).text == "ok\n"
    ready = await get(app, "/readyz")
    assert (ready.status_code, ready.text) == (503, "the node does not answer\n")
    assert "postlane_up 0" in (await get(app, "/metrics")).text


async def test_the_version_in_force_is_told_to_who_asks_whether_we_live() -> None:
    node = Node({"node": "relay-1", "policies": "3f9a1c", "config": "7be210"})
    answer = await get(site(Events(), node=node), "/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\npolicies 3f9a1c\n")
    assert node.asked == [{"do": "versions"}], "who counts the queues for it would wait for the workers"


async def test_ready_when_every_worker_is_up_and_can_save() -> None:
    assert (await get(site(Events()), "/readyz")).status_code == 200
    for change, trouble in (({"up": False}, "is down"), ({"healthy": False}, "cannot save mail")):
        answer = await get(site(Events(), node=Node(stats(**change))), "/readyz")
        assert (answer.status_code, answer.text) == (503, f"worker-0 {trouble}\n")


async def test_a_node_without_state_is_ready_and_says_what_waits() -> None:
    answer = await get(site(Events(), node=Node(stats(state_trouble="redis://r: gone"))), "/readyz")
    assert answer.status_code == 200
    assert answer.text == "ready\nlimits cannot be looked up (redis://r: gone): all but transactional mail waits\n"


async def test_the_story_of_one_message() -> None:
    events = Events(
        accepted(),
        event(
            "deferred",
            IDS[0],
            reply=reply(451, "4.7.1", "Greylisted"),
            category="greylisted",
            next_attempt="2026-11-21T12:10:00.000Z",
            attempt=1,
            delay_ms=38,
            transcript=["> RCPT TO:<a@rcpt.example>", "< 451 4.7.1 Greylisted <b>"],
        ),
        event("delivered", IDS[0], reply=reply(250, "2.0.0", "OK"), mx="mx1.rcpt.example", attempt=2, delay_ms=61_000),
        accepted(1),
    )
    page = (await get(site(events), f"/m/{IDS[0]}")).text
    story = page[page.index("<h2>Story</h2>") :]
    assert re.findall(r"<strong>(\w+)</strong>", story) == ["accepted", "deferred", "delivered"]
    assert "451 4.7.1 Greylisted" in story
    assert "&gt; RCPT TO:&lt;a@rcpt.example&gt;\n&lt; 451 4.7.1 Greylisted &lt;b&gt;</pre>" in story
    assert story.count("What was said in the session") == 1
    way = page[page.index("<h2>Recipient</h2>") : page.index("<h2>Content</h2>")]
    assert "250 2.0.0 OK" in way
    assert "after 1 min, attempt 2" in way
    assert "mx1.rcpt.example" in way
    assert "greylisted" not in way


async def test_of_what_waits_it_is_said_why_and_when_next() -> None:
    item = {
        "rcpt": 1,
        "why": "its site has no room: <slow>",
        "next_attempt": "2026-11-21T12:09:40.000Z",
        "in_flight": False,
    }
    node = Node({"items": [item], "cursor": None})
    events = (accepted(0), accepted(0, rcpt=1), event("delivered", IDS[0], reply=reply(250, "2.0.0", "OK")))
    page = (await get(site(Events(*events), node=node), f"/m/{IDS[0]}")).text
    assert node.asked[0] == {"do": "queue.page", "selector": {"id": IDS[0]}, "cursor": None}
    assert page.count("Not delivered yet") == 1
    assert "Not delivered yet: its site has no room: &lt;slow&gt;; next" in page
    assert "12:09:40" in page
    capped = event(
        "postponed", IDS[0], reason="capped", detail="cap arava 3/week is full", until="2026-11-24T07:10:00.000Z"
    )
    page = (
        await get(site(Events(accepted(0), capped), node=Node({"items": [{**item, "rcpt": 0}]})), f"/m/{IDS[0]}")
    ).text
    way = page[page.index("<h2>Recipient</h2>") : page.index("<h2>Story</h2>")]
    assert "capped cap arava 3/week is full" in way, "what only its event tells stays"
    assert way.count("next <time") == 1
    gone = Node(OSError("gone"))
    assert "Not delivered yet" not in (await get(site(Events(*events), node=gone), f"/m/{IDS[0]}")).text
    done = Node()
    await get(site(Events(accepted(), event("bounced", IDS[0])), node=done), f"/m/{IDS[0]}")
    assert done.asked == [], "of what has ended nobody asks the node"


async def test_a_message_whose_recipients_wait_in_several_shards_is_looked_for_in_all() -> None:
    class Shards(Node):
        async def __call__(self, question: dict[str, Any]) -> dict[str, Any]:
            self.asked.append(question)
            here = {"rcpt": 0, "why": "it is due", "next_attempt": None, "in_flight": False}
            return {"items": [here], "cursor": None} if question["cursor"] else {"items": [], "cursor": [1, None, None]}

    node = Shards()
    page = (await get(site(Events(accepted()), node=node), f"/m/{IDS[0]}")).text
    assert "Not delivered yet: it is due" in page
    assert [question["cursor"] for question in node.asked] == [None, [1, None, None]]


async def test_a_message_to_a_thousand_is_shown_in_part() -> None:
    page = (await get(site(Events(*(accepted(0, rcpt=n) for n in range(1000)))), f"/m/{IDS[0]}")).text
    assert page.count("and 800 more") == 2
    assert len(page) < 500_000


@pytest.mark.parametrize("path", ["/m/nothing", "/m/nothing/html", "/m/nothing/source.eml", "/static/x", "/x"])
async def test_what_is_not_there_is_a_page_that_says_so(path: str) -> None:
    answer = await get(site(Events()), path)
    assert answer.status_code == 404
    assert "<h1>Not found</h1>" in answer.text


async def test_a_captured_messages_views(captured: Path) -> None:
    app = site(Events(accepted()), captured)
    page = (await get(app, f"/m/{IDS[0]}")).text
    frame = re.search(r"<iframe [^>]*>", page)
    assert frame
    assert re.search(r"\ssandbox\s", frame[0])  # no value: nothing is allowed
    assert "not signed" in page
    assert "plain &lt;words&gt;" in (await get(app, f"/m/{IDS[0]}?view=text")).text
    assert '<th scope="row">Subject</th><td><bdi>Hello</bdi>' in (await get(app, f"/m/{IDS[0]}?view=headers")).text
    assert "&lt;script&gt;" in (await get(app, f"/m/{IDS[0]}?view=source")).text
    download = await get(app, f"/m/{IDS[0]}/source.eml")
    assert download.content == HTML_MAIL
    assert download.headers["content-disposition"] == f'attachment; filename="{IDS[0]}.eml"'


async def test_a_captured_message_is_shown_without_events(captured: Path) -> None:
    assert (await get(site(Events(), captured), f"/m/{IDS[0]}")).status_code == 200


async def test_each_copy_can_be_chosen(captured: Path) -> None:
    second = Captures(captured).add("a@x", ["noa@rcpt.example"], [], HTML_MAIL.replace(b"Rich", b"Second"), NOW + 1)
    app = site(Events(accepted()), captured)
    assert "noa@rcpt.example" in (await get(app, f"/m/{IDS[0]}")).text
    assert "Rich" in (await get(app, f"/m/{IDS[0]}/html")).text
    assert "Second" in (await get(app, f"/m/{IDS[0]}/html?copy={second.name}")).text
    assert "Rich" in (await get(app, f"/m/{IDS[0]}/html?copy=../../x")).text


async def test_a_copy_whose_file_has_gone(captured: Path) -> None:
    app = site(Events(accepted()), captured)
    (name,) = (c.name for c in Captures(captured).of_message(IDS[0]))
    (captured / f"{name}.eml").unlink()
    assert "made room for newer ones" in (await get(app, f"/m/{IDS[0]}")).text
    assert (await get(app, f"/m/{IDS[0]}/source.eml")).status_code == 404


async def test_the_mails_own_html_may_do_nothing(captured: Path) -> None:
    answer = await get(site(Events(), captured), f"/m/{IDS[0]}/html")
    policy = dict(d.strip().partition(" ")[::2] for d in answer.headers["content-security-policy"].split(";"))
    assert policy["sandbox"] == ""  # no allow-…: no scripts, no forms, an origin of its own
    assert policy["default-src"] == "'none'"
    assert policy["img-src"] == "data:"
    assert policy["frame-ancestors"] == "'self'"
    assert "script-src" not in policy
    assert answer.headers["x-dns-prefetch-control"] == "off"


@pytest.mark.parametrize(("dest", "status"), [("iframe", 200), ("document", 403), ("object", 403), ("script", 403)])
async def test_the_mails_own_html_is_shown_in_its_frame_alone(captured: Path, dest: str, status: int) -> None:
    async with client(site(Events(), captured)) as browser:
        answer = await browser.get(f"/m/{IDS[0]}/html", headers={"Sec-Fetch-Dest": dest})
    assert answer.status_code == status


async def test_every_answer_binds_the_browser(captured: Path) -> None:
    app = site(Events(accepted()), captured)
    for path in ("/", "/connect", f"/m/{IDS[0]}", "/healthz", "/readyz", "/metrics", "/x", "/static/postlane.css"):
        headers = (await get(app, path)).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path
        assert "script" not in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


async def test_pages_ask_nobody_else_for_anything(captured: Path) -> None:
    app = site(Events(accepted()), captured)
    for path in ("/", "/connect", f"/m/{IDS[0]}"):
        page = (await get(app, path)).text
        assert "<script" not in page
        assert not re.search(r"""(?:src|href|action)=["']?(?:https?:)?//""", page), path
        for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
            assert (await get(app, address)).status_code == 200
    css = (await get(app, "/static/postlane.css")).text
    assert "url(" not in css
    assert "@import" not in css


HOSTILE = '"><script>alert(1)</script>{{7*7}}'


async def test_nothing_from_outside_becomes_markup(tmp_path: Path) -> None:
    mail = HTML_MAIL.replace(b"Subject: Hello", f"Subject: {HOSTILE}\r\nX-{HOSTILE}: {HOSTILE}".encode())
    Captures(tmp_path).add(HOSTILE, [HOSTILE], [], mail, NOW)
    names = (
        "subject",
        "sender",
        "from",
        "recipient",
        "stream",
        "credential",
        "campaign",
        "class",
        "message_id",
        "time",
    )
    facts = dict.fromkeys((*names, "mx", "category", "reason", "detail", "next_attempt", "anything"), HOSTILE)
    kinds = ("accepted", "bounced", HOSTILE)
    events = [event(kind, IDS[0], **facts, reply=reply(550, "5.1.1", HOSTILE)) for kind in kinds]
    refused = {"type": "rejected", "peer": HOSTILE, "command": HOSTILE, "reply": reply(550, "", HOSTILE)}
    app = site(Events(*events, refused), tmp_path, hostname=HOSTILE)
    for path in ("/", f"/?q={HOSTILE}", f"/m/{IDS[0]}", f"/m/{IDS[0]}?view=headers", f"/m/{IDS[0]}?view=source"):
        answer = await get(app, path)
        assert answer.status_code == 200
        assert "<script" not in answer.text
        assert "{{7*7}}" in answer.text  # shown as it is, not evaluated


@pytest.mark.parametrize("path", ["/", f"/m/{IDS[0]}"])
async def test_events_of_another_version_are_no_fault(path: str) -> None:
    odd = {"id": IDS[0], "type": None, "time": 7, "rcpt": "x", "reply": "250", "class": ["y"], "size": "big"}
    bare = {"id": IDS[0], "rcpt": 1, "reply": {"code": None}, "delay_ms": "soon", "recipient": None}
    assert (await get(site(Events(odd, bare, {"id": 5}, {})), path)).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost:8025", "127.0.0.1", "[::1]:8025", "LOCALHOST", "shop.localhost:1", "relay.example"]
)
async def test_who_may_ask(host: str) -> None:
    assert (await get(site(Events(), hosts=frozenset({"relay.example"})), "/", host)).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8025", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.7", "[::2]"],
)
async def test_a_name_that_somebody_points_at_us_is_refused(host: str) -> None:
    app = site(Events(accepted()))
    for path in ("/", "/metrics", "/healthz"):
        answer = await get(app, path, host)
        assert answer.status_code == 421
        assert "Parcel" not in answer.text


async def test_bound_to_a_wildcard_any_address_will_do_but_no_name() -> None:
    app = site(Events(), any_address=True)
    assert (await get(app, "/", "10.0.0.7:8025")).status_code == 200
    assert (await get(app, "/", "evil.example")).status_code == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
async def test_the_site_only_reads(method: str) -> None:
    async with client(site(Events())) as browser:
        answer = await browser.request(method, "/")
    assert answer.status_code == 405
    assert {*answer.headers["allow"].split(", ")} >= {"GET", "HEAD"}


async def test_settings_to_paste_and_recipients_that_play_a_part() -> None:
    page = (await get(site(Events()), "/connect")).text
    for words in ("EMAIL_PORT = 2525", "MAIL_HOST=127.0.0.1", "port: 2525", "WP Mail SMTP", "bounce@sim.test"):
        assert words in page
    assert "an absence note goes back" in page
    assert "any password" in page


async def test_a_live_node_asks_for_a_credential_and_plays_no_parts() -> None:
    ports = (SubmissionPort("192.0.2.5", 587, "starttls", login=True),)
    page = (await get(site(Events(), mode="live", ports=ports), "/connect")).text
    assert "postlane credentials add" in page
    assert "sim.test" not in page
    assert "No listener" in (await get(site(Events(), ports=()), "/connect")).text


async def test_a_staging_node_says_whose_mail_leaves(captured: Path) -> None:
    sent = [accepted(), event("delivered", IDS[0], mx="127.0.0.1", captured=True, source="192.0.2.1")]
    app = site(Events(*sent), captured, mode="live", only_to=("dana@a.example", "*.b.example"))
    page = (await get(app, f"/m/{IDS[0]}")).text
    assert "Mail leaves for dana@a.example, *.b.example alone; all other is captured" in page
    assert "to the capture server" in page
    assert "192.0.2.1</code>" not in page.partition("<h2>Story</h2>")[0]
    assert "captured" not in (await get(site(Events(accepted()), mode="live"), "/")).text


ROW = {
    "site": "google", "pool": "marketing", "waiting": 182_406, "due": 1_190, "sending": 24, "connections": 6, "limit": 6,
    "rate": 31.2, "failing": 0.0, "pace": "31 of 40/s up", "reply": "250 2.0.0 OK", "reply_at": None, "next": None,
    "until": None, "why": "", "window": None,
}  # fmt: skip
STOPPED = {
    "said": "stream win-back", "waiting": 9_120, "reason": "old <list>", "since": "2026-11-21T07:40:00.000Z", "until": None,
    "by": "noa", "undo": "postlane resume --stream win-back",
}  # fmt: skip
TOP = {
    "time": "2026-11-21T12:05:31.000Z", "node": "relay-1", "nodes": ["relay-1"], "unseen": [], "policies": "3f9a1c", "silent": [],
    "totals": {"in": 412.4, "delivered": 398.0, "deferred": 6.0, "bounced": 1.25, "withheld": 0},
    "guarded": 0, "runaways": [], "p99_ms": 61, "oldest_due": {"class": "marketing", "ms": 41_000}, "suspensions": [STOPPED],
    "held": 2,
    "sites": [
        ROW,
        {**ROW, "site": "yahoo", "waiting": 12, "until": "2026-11-21T12:07:00.000Z", "limit": None,
         "why": "yahoo: 20/second (policies/shaping.toml:7)"},
        {**ROW, "site": "slow.example", "waiting": 3, "due": 0, "rate": 0.0, "failing": 0.3, "reply": "451 4.3.0 <later>",
         "next": "2026-11-21T12:09:40.000Z"},
        {**ROW, "site": "walla", "due": 0, "window": {"name": "il", "opens": "2026-11-22T07:00:00.000Z"}},
    ],
}  # fmt: skip


async def test_the_queue_is_shown_by_site_and_pool() -> None:
    node = Node(TOP)
    page = (await get(site(Events(), node=node), "/queue")).text
    assert node.asked == [{"do": "queue.top"}]
    rows = re.findall(r'<th scope="row"><bdi>(.*?)</bdi>(.*?)</tr>', page, re.DOTALL)
    assert [name for name, _ in rows] == ["google", "walla", "yahoo", "slow.example"]
    assert all(one in rows[0][1] for one in ("182,406", "1,190", "6/6", "31/s", "31 of 40/s up", "250 2.0.0 OK"))
    assert "<td>20/second (shaping.toml:7), until 12:07:00" in rows[2][1]
    assert "window il closed until Sun 22 Nov 2026 07:00:00" in rows[1][1]
    assert "retry 12:09:40" in rows[3][1]
    assert "451 4.3.0 &lt;later&gt;" in rows[3][1]
    assert "<strong>stream win-back</strong>, 9,120 waiting: old &lt;list&gt;;" in page
    assert "<code>postlane resume --stream win-back</code>" in page
    assert "<dd>412/s</dd>" in page
    assert "<dd>41.0 s <small>marketing</small></dd>" in page
    assert 'http-equiv="refresh"' not in page


async def test_what_is_held_as_one_too_many_is_told() -> None:
    held = {**TOP, "guarded": 3, "runaways": ["shop-web to <dana@gmail.com>, more than 6/hour"]}
    page = (await get(site(Events(), node=Node(held)), "/queue")).text
    assert "<dt>held as runaways</dt><dd>3</dd>" in page
    assert "shop-web to &lt;dana@gmail.com&gt;, more than 6/hour" in page
    assert "Runaways" not in (await get(site(Events(), node=Node(TOP)), "/queue")).text


async def test_the_queue_is_filtered_sorted_and_refreshed_without_scripts() -> None:
    app = site(Events(), node=Node(TOP))
    page = (await get(app, "/queue?q=SLOW&sort=rate&live=1")).text
    assert re.findall(r'<th scope="row"><bdi>(.*?)</bdi>', page) == ["slow.example"]
    assert '<meta http-equiv="refresh" content="5">' in page
    assert "<option selected>rate</option>" in page
    assert "<script" not in page
    assert "No site matches." in (await get(app, "/queue?q=nothing")).text
    assert (await get(app, "/queue?sort=nonsense")).status_code == 200


async def test_a_node_that_is_idle_or_gone_says_so() -> None:
    idle = {**TOP, "sites": [], "suspensions": [], "silent": ["worker-1"], "p99_ms": None, "oldest_due": None}
    page = (await get(site(Events(), node=Node(idle)), "/queue")).text
    assert "Nothing waits, and nothing was sent lately." in page
    assert "worker-1 gives no answer" in page
    assert "the node does not answer" in (await get(site(Events(), node=Node(OSError("gone"))), "/queue")).text


async def test_a_long_queue_shows_its_largest_sites() -> None:
    many = {**TOP, "sites": [{**ROW, "site": f"s{number}", "waiting": number} for number in range(250)]}
    page = (await get(site(Events(), node=Node(many)), "/queue")).text
    assert page.count('<th scope="row">') == 200
    assert "50 more; narrow the list" in page


async def test_the_apps_api_is_here_where_it_has_no_address_of_its_own() -> None:
    """Behind the same Host, with methods of its own; the pages keep theirs."""
    with_api, without = site(Events(), api=True), site(Events())
    async with client(with_api) as app:
        asked = await app.post("/api/v1/validate", json={"address": "x"})
        assert (asked.status_code, asked.headers["content-type"]) == (401, "application/problem+json")
        assert (await app.get("/api/v1/openapi.json")).json()["openapi"] == "3.1.0"
        assert (await app.post("/")).status_code == 405
    async with client(with_api, "evil.example") as app:
        assert (await app.post("/api/v1/validate", json={})).status_code == 421
    async with client(without) as app:
        assert (await app.post("/api/v1/validate", json={})).status_code == 404
