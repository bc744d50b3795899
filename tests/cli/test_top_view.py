"""The words of `postlane queue top`."""

from typing import Any
from zoneinfo import ZoneInfo

from relay.cli import top_view

ZONE = ZoneInfo("Asia/Jerusalem")
ROW: dict[str, Any] = {
    "site": "google", "pool": "marketing", "waiting": 182_406, "due": 1_190, "sending": 24, "connections": 6, "limit": 6,
    "rate": 31.2, "failing": 0.0, "pace": "free", "reply": "250 2.0.0 OK", "reply_at": None, "next": None, "until": None,
    "why": "", "window": None,
}  # fmt: skip
SNAPSHOT: dict[str, Any] = {
    "time": "2026-11-21T12:05:31.000Z", "node": "relay-1", "policies": "3f9a1c", "silent": [],
    "totals": {"in": 412.4, "delivered": 398.0, "deferred": 6.0, "bounced": 1.25, "withheld": 0},
    "p99_ms": 61, "oldest_due": {"class": "marketing", "ms": 41_000}, "sites": [ROW], "suspensions": [], "held": 0,
    "guarded": 0, "runaways": [],
}  # fmt: skip
NEWS = {
    "said": "stream win-back", "waiting": 9_120, "reason": "old list", "since": "2026-11-21T07:40:00.000Z", "until": None,
    "undo": "postlane resume --stream win-back",
}  # fmt: skip


def test_a_plain_snapshot() -> None:
    held = {**SNAPSHOT, "suspensions": [NEWS], "held": 2, "silent": ["worker-1"]}
    assert top_view.plain(held, ZONE) == [
        "postlane queue top · relay-1 · policies 3f9a1c · Sat 21 Nov 14:05:31",
        "in 412/s   delivered 398/s   deferred 6/s   bounced 1/s   withheld 0/s        transactional p99 61 ms"
        "   oldest due 41 s (marketing)",
        "worker-1: no answer, not in these numbers",
        "",
        "SITE    POOL       WAITING    DUE  SENDING  CONN  RATE  PACE  LAST REPLY    WAITS FOR",
        "google  marketing  182,406  1,190       24   6/6  31/s  free  250 2.0.0 OK  -",
        "",
        "SUSPENDED  stream win-back, 9,120 waiting: old list; since 09:40:00; postlane resume --stream win-back",
        "HELD       2 by hand; postlane queue list --held",
    ]
    guarded = {**SNAPSHOT, "guarded": 1}
    assert top_view.plain(guarded, ZONE)[-1] == "HELD       1 message by runaway; postlane queue list --held"
    guarded |= {"guarded": 1_200, "runaways": ["shop to dana@gmail.com, more than 6/hour (stream order)", "x"]}
    assert top_view.plain(guarded, ZONE)[-1] == (
        "HELD       1,200 messages by runaway: shop to dana@gmail.com, more than 6/hour (stream order) and 1 more; "
        "postlane queue list --held"
    )
    assert top_view.plain({**SNAPSHOT, "p99_ms": None, "oldest_due": None, "sites": []}, ZONE)[1:] == [
        "in 412/s   delivered 398/s   deferred 6/s   bounced 1/s   withheld 0/s", "",
        "SITE  POOL  WAITING  DUE  SENDING  CONN  RATE  PACE  LAST REPLY  WAITS FOR",
    ]  # fmt: skip


def test_what_a_site_waits_for() -> None:
    soon, later, tomorrow = (f"2026-11-2{day}.000Z" for day in ("1T12:06:40", "1T13:17:31", "2T07:00:00"))

    def words(**changes: Any) -> str:
        return top_view.waits_for({**ROW, **changes}, ZONE, SNAPSHOT["time"])

    assert words(until=soon, why="google: pace 10/s") == "pace 10/s until 14:06:40"
    assert (
        words(until=soon, why="google: 40/second (policies/shaping.toml:15) from 192.0.2.1")
        == "40/second (shaping.toml:15) from 192.0.2.1 until 14:06:40"
    )
    assert words(until=later) == "no room until 15:17:31 (72 min)"
    window = {"name": "il", "opens": tomorrow}
    assert words(window=window, next=soon) == "window il closed until Sun 22 Nov 09:00 (19 h)"
    assert words(window=window, until=soon) == "no room until 14:06:40", "what is in the way first"
    assert words(next=soon, reply="451 4.3.0 later") == "retry 14:06:40"
    assert words(next=soon) == "next 14:06:40"
    assert words(next=soon, waiting=0) == "-"


def test_what_strangers_say_stays_within_its_cell() -> None:
    wild = {**ROW, "reply": "550 \x1b[2Jx" + "y" * 200, "limit": None, "rate": 0.0}
    cells = dict(zip(top_view.COLUMNS, top_view.cells(wild, ZONE, SNAPSHOT["time"]), strict=True))
    assert "\x1b" not in cells["LAST REPLY"]
    assert len(cells["LAST REPLY"]) == 32
    assert cells["LAST REPLY"].endswith("y…")
    assert (cells["CONN"], cells["RATE"]) == ("6/-", "-")


def test_what_does_not_fit_is_one_row() -> None:
    sites = [{**ROW, "site": f"s{number}", "waiting": number} for number in range(9)]
    found = top_view.rows({**SNAPSHOT, "sites": sites}, "waiting", "", 3)
    assert [row["site"] for row in found] == ["s8", "s7", "(7 more)"]
    assert found[-1]["waiting"] == 21
    assert len(top_view.rows({**SNAPSHOT, "sites": sites}, "waiting", "", 9)) == 9
    assert [row["site"] for row in top_view.rows({**SNAPSHOT, "sites": sites}, "site", "s4", 3)] == ["s4"]
    assert top_view.cells(found[-1], ZONE, SNAPSHOT["time"])[:2] == ("(7 more)", "marketing")
    other = [*sites, {**ROW, "site": "s", "pool": "fast", "waiting": 0}]
    assert top_view.rows({**SNAPSHOT, "sites": other}, "waiting", "", 3)[-1]["pool"] == "", "of several"


def test_beside_other_nodes_it_says_whose_numbers_they_are() -> None:
    two = {**SNAPSHOT, "nodes": ["relay-1", "relay-2"], "unseen": []}
    assert "· relay-1, relay-2 · policies" in top_view.head(two, ZONE, 2.0)[0]
    alone = {**SNAPSHOT, "nodes": ["relay-1"], "unseen": ["relay-2"]}
    assert "· relay-1 (without relay-2) ·" in top_view.head(alone, ZONE, 2.0)[0]


OF_SITE: dict[str, Any] = {
    "site": "google",
    "lanes": [
        {"class": "marketing", "stream": "news", "waiting": 9, "due": 2, "sending": 1, "next": None},
        {"class": "service", "stream": "no\x1b[2Jte", "waiting": 1, "due": 0, "sending": 0, "next": "2026-11-21T12:09:40.000Z"},
    ],
    "pauses": [
        {"class": "marketing", "limit": "cold", "until": "2026-11-21T12:05:33.000Z", "why": "google: pace 31/s (421 4.7.28)"}
    ],
    "paces": [
        {
            "source": "192.0.2.1", "pool": "marketing", "last_reply": "250 OK",
            "said": "31 of 40/s, recovering since 14:02 (421 4.7.28)",
        },
        {"source": "", "pool": "", "said": "paused: shipped: 421", "last_reply": None},
    ],
    "standing": [
        {"kind": "order", "site": "google", "pool": "*", "rate": "10/second", "by": "noa", "until": "2026-11-21T14:05:31.000Z"},
        {"kind": "order", "site": "google", "pool": "cold", "rate": "1/second", "by": "noa", "until": "2026-11-21T12:05:41.000Z"},
        {
            "kind": "aside", "site": "google", "who": "192.0.2.2", "place": "shaping.toml:22", "why": "550 S3140",
            "until": "2026-11-21T13:17:31.000Z",
        },
    ],
}  # fmt: skip


def test_the_view_of_a_site() -> None:
    other = {**ROW, "site": "yahoo"}
    found = top_view.plain({**SNAPSHOT, "sites": [other, ROW], "suspensions": [NEWS], "site": OF_SITE}, ZONE)
    assert found[2:] == [
        "",
        "SITE    POOL       WAITING    DUE  SENDING  CONN  RATE  PACE  LAST REPLY    WAITS FOR",
        "google  marketing  182,406  1,190       24   6/6  31/s  free  250 2.0.0 OK  -",
        "",
        "CLASS      STREAM    WAITING  DUE  SENDING  NEXT",
        "marketing  news            9    2        1  -",
        "service    no [2Jte        1    0        0  14:09:40",
        "",
        "SOURCE     POOL       PACE                                             LAST REPLY",
        "192.0.2.1  marketing  31 of 40/s, recovering since 14:02 (421 4.7.28)  250 OK",
        "-                     paused: shipped: 421                             -",
        "",
        "WAITS      marketing (cold): pace 31/s (421 4.7.28) until 14:05:33",
        "ORDERED    mail at most 10/second from each source until 16:05:31 (2 h), by noa",
        "ORDERED    mail of pool cold at most 1/second from each source until 14:05:41, by noa",
        "ASIDE      192.0.2.2 until 15:17:31 (72 min), by shaping.toml:22: 550 S3140",
    ]
    nobody = {**OF_SITE, "site": "x.example", "lanes": [], "paces": [], "standing": [], "pauses": []}
    assert top_view.of_site({**SNAPSHOT, "site": nobody}, ZONE) == [
        "Nothing is known of x.example: no mail waits for it, and none went there lately."
    ]
