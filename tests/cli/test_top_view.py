"""The words of `postlane queue top`."""

from typing import Any
from zoneinfo import ZoneInfo

from relay.cli import top_view

ZONE = ZoneInfo("Asia/Jerusalem")
ROW: dict[str, Any] = {
    "site": "google", "pool": "marketing", "waiting": 182_406, "due": 1_190, "sending": 24, "connections": 6, "limit": 6,
    "rate": 31.2, "failing": 0.0, "pace": "free", "reply": "250 2.0.0 OK", "reply_at": None, "next": None, "until": None,
    "why": "",
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
        "in 412/s   delivered 398/s   deferred 6.0/s   bounced 1.2/s   withheld 0/s   transactional p99 61 ms"
        "   oldest due 41 s (marketing)",
        "worker-1: no answer, not in these numbers",
        "",
        "SITE    POOL       WAITING    DUE  SENDING  CONN  RATE  PACE  LAST REPLY    WAITS FOR",
        "google  marketing  182,406  1,190       24   6/6  31/s  free  250 2.0.0 OK  -",
        "",
        "SUSPENDED  stream win-back, 9,120 waiting: old list; since Sat 09:40:00; postlane resume --stream win-back",
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
        "in 412/s   delivered 398/s   deferred 6.0/s   bounced 1.2/s   withheld 0/s", "",
        "SITE  POOL  WAITING  DUE  SENDING  CONN  RATE  PACE  LAST REPLY  WAITS FOR",
    ]  # fmt: skip


def test_what_a_site_waits_for() -> None:
    at = "2026-11-21T12:09:40.000Z"
    assert top_view.waits_for({**ROW, "until": at, "why": "rate: 20/s"}, ZONE) == "rate: 20/s, until Sat 14:09:40"
    assert top_view.waits_for({**ROW, "until": at}, ZONE) == "no room, until Sat 14:09:40"
    assert top_view.waits_for({**ROW, "next": at, "reply": "451 4.3.0 later"}, ZONE) == "retry Sat 14:09:40"
    assert top_view.waits_for({**ROW, "next": at}, ZONE) == "next Sat 14:09:40"
    assert top_view.waits_for({**ROW, "next": at, "waiting": 0}, ZONE) == "-"


def test_what_strangers_say_stays_within_its_cell() -> None:
    wild = {**ROW, "reply": "550 \x1b[2Jx" + "y" * 200, "limit": None, "rate": 0.0}
    cells = dict(zip(top_view.COLUMNS, top_view.cells(wild, ZONE), strict=True))
    assert "\x1b" not in cells["LAST REPLY"]
    assert len(cells["LAST REPLY"]) == 32
    assert cells["LAST REPLY"].endswith("y…")
    assert (cells["CONN"], cells["RATE"]) == ("6", "-")


def test_what_does_not_fit_is_one_row() -> None:
    sites = [{**ROW, "site": f"s{number}", "waiting": number} for number in range(9)]
    found = top_view.rows({**SNAPSHOT, "sites": sites}, "waiting", "", 3)
    assert [row["site"] for row in found] == ["s8", "s7", "(7 more)"]
    assert found[-1]["waiting"] == 21
    assert len(top_view.rows({**SNAPSHOT, "sites": sites}, "waiting", "", 9)) == 9
    assert [row["site"] for row in top_view.rows({**SNAPSHOT, "sites": sites}, "site", "s4", 3)] == ["s4"]
    assert top_view.cells(found[-1], ZONE)[0] == "(7 more)"
