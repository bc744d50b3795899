"""What workers tell of this moment, added up to what people watch."""

from typing import Any

from relay import top
from relay.lately import Lately
from relay.message import MailClass
from relay.outcome import Reply
from relay.pause import Pause
from relay.top import Facts, Waiting

NOW = 1_795_267_531_000  # 2026-11-21T13:25:31Z
POOLS = {MailClass.TRANSACTIONAL: "fast", MailClass.SERVICE: "bulk", MailClass.MARKETING: "bulk"}
SERVICE, MARKETING = MailClass.SERVICE, MailClass.MARKETING
OK, LATER = Reply(250, "2.0.0", "OK\r\n"), Reply(451, "4.3.0", "later")


def facts(**changes: Any) -> Facts:
    usual: dict[str, Any] = {
        "pools": POOLS, "waiting": {}, "flying": {}, "connections": {}, "limits": {}.get, "pauses": [], "lately": Lately(),
        "rates": {"in": 4.0, "withheld": 0.0},
    }  # fmt: skip
    return Facts(**(usual | changes))


def shown(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return top.snapshot(
        parts, {"node": "relay-1", "policies": "3f9a1c", "silent": []}, more.get("suspensions", []), NOW
    )


def rows(*parts: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["site"], row["pool"]): row for row in shown(*parts)["sites"]}


def test_classes_of_a_pool_are_one_row() -> None:
    seen = Lately()
    for _ in range(30):
        seen.note("google", "bulk", "delivered", OK, NOW - 1)
    part = top.part(
        facts(
            waiting={
                (MARKETING, "google", "news"): Waiting(10, 2, NOW - 41_000),
                (SERVICE, "google", "note"): Waiting(5, 0, NOW + 9_000),
            },
            flying={(MARKETING, "google", "news", 0): 3},
            connections={("google", "bulk"): 2},
            limits={("google", "bulk"): 8}.get,
            lately=seen,
            paces={("google", "bulk"): "31 of 40/s up"},
        ),
        NOW,
    )
    row = rows(part)["google", "bulk"]
    assert (row["waiting"], row["due"], row["sending"], row["connections"], row["limit"]) == (15, 2, 3, 2, 8)
    assert (row["rate"], row["failing"], row["reply"], row["pace"]) == (3.0, 0.0, "250 2.0.0 OK", "31 of 40/s up")
    assert row["next"] is None, "something is due"
    found = shown(part)
    assert found["oldest_due"] == {"class": "marketing", "ms": 41_000}
    assert found["totals"] == {"in": 4.0, "withheld": 0.0}
    assert (found["node"], found["time"], found["p99_ms"]) == ("relay-1", "2026-11-21T13:25:31.000Z", None)


def test_a_site_whose_mail_all_waits_for_a_window_says_when_that_opens() -> None:
    windows = {"news": ("il", NOW + 3_600_000), "offers": ("late", NOW + 7_200_000)}

    def part(*lanes: tuple[MailClass, str, int]) -> dict[str, Any]:
        waiting = {(c, "google", stream): Waiting(5, due, NOW + 60_000) for c, stream, due in lanes}
        return top.part(facts(waiting=waiting, closed=windows.get), NOW)

    def window(*parts: dict[str, Any]) -> Any:
        return rows(*parts)["google", "bulk"]["window"]

    both = part((MARKETING, "news", 0), (MARKETING, "offers", 0))
    assert window(both) == {"name": "il", "opens": "2026-11-21T14:25:31.000Z"}
    assert window(both, top.part(facts(connections={("google", "bulk"): 1}), NOW)) == window(both)
    assert window(part((MARKETING, "offers", 0)), both) == window(both)
    assert window(both, part((MARKETING, "always", 0))) is None
    assert window(part((MARKETING, "news", 0), (MARKETING, "always", 0))) is None
    assert window(part((MARKETING, "news", 1))) is None, "it is due: it is looked at now"
    fast = top.part(
        facts(waiting={(MailClass.TRANSACTIONAL, "google", "news"): Waiting(1, 0, NOW + 9)}, closed=windows.get), NOW
    )
    assert rows(fast)["google", "fast"]["window"] is None, "it waits for no window"
    assert "windows" not in rows(both)["google", "bulk"]


def test_what_a_rule_has_put_aside_waits_until_that_is_over() -> None:
    why = "policies/shaping.toml:22: 550 S3140"
    pauses = [
        (MARKETING, Pause(NOW + 30_000, why, "google")),
        (MARKETING, Pause(NOW + 30_000, "yahoo: pace 1/s", "yahoo")),
    ]
    found = shown(top.part(facts(pauses=pauses), NOW))["sites"]
    top.pace(found, {("google", "bulk"): "paused"}, {("google", why): NOW + 4_320_000, ("walla", why): NOW})
    assert [(row["site"], row["pace"], row["until"]) for row in found] == [
        ("google", "paused", "2026-11-21T14:37:31.000Z"),
        ("yahoo", "free", "2026-11-21T13:26:01.000Z"),
    ]


def test_workers_add_up_and_the_last_word_counts() -> None:
    one, other = Lately(), Lately()
    one.note("google", "bulk", "delivered", OK, NOW - 2)
    other.note("google", "bulk", "deferred", LATER, NOW - 1)
    one.took(20)
    other.took(61)
    parts = [
        top.part(facts(lately=one, waiting={(MARKETING, "google", "news"): Waiting(7, 0, NOW + 60_000)}, held=1), NOW),
        top.part(
            facts(
                lately=other,
                waiting={(MARKETING, "google", "news"): Waiting(5, 0, NOW + 30_000)},
                pauses=[(MARKETING, Pause(NOW + 5_000, "google: 20/s", "google"))],
                connections={("google", "bulk"): 1},
                limits={("google", "bulk"): 6}.get,
                paces={("google", "bulk"): "paused"},
                held=2,
            ),
            NOW,
        ),
    ]
    row = rows(*parts)["google", "bulk"]
    assert (row["waiting"], row["rate"], row["failing"], row["reply"]) == (12, 0.1, 0.1, "451 4.3.0 later")
    assert (row["next"], row["until"], row["why"]) == (
        "2026-11-21T13:26:01.000Z", "2026-11-21T13:25:36.000Z", "google: 20/s",
    )  # fmt: skip
    assert (row["connections"], row["limit"], row["pace"]) == (1, 6, "paused")
    found = shown(*parts, suspensions=[{"said": "all"}])
    assert (found["held"], found["p99_ms"], found["totals"]["in"]) == (3, 61, 8.0)
    assert found["oldest_due"] is None
    assert found["suspensions"] == [{"said": "all"}]


def test_a_site_with_nothing_to_do_leaves_the_list() -> None:
    seen = Lately()
    seen.note("quiet", "bulk", "delivered", OK, NOW - top.QUIET)
    seen.note("lately", "bulk", "delivered", OK, NOW - top.QUIET + 1)
    seen.note("waits", "bulk", "delivered", OK, NOW - top.QUIET)
    part = top.part(facts(lately=seen, waiting={(MARKETING, "waits", "news"): Waiting(1, 0, NOW + 1)}), NOW)
    assert set(rows(part)) == {("lately", "bulk"), ("waits", "bulk")}


def test_a_pause_that_is_over_says_nothing() -> None:
    row = rows(top.part(facts(pauses=[(MARKETING, Pause(NOW, "why", "x", "cold"))]), NOW))["x", "cold"]
    assert (row["until"], row["why"]) == (None, "")


def test_rows_are_filtered_arranged_and_summed() -> None:
    waiting = {(MARKETING, f"s{number}", "news"): Waiting(number, 10 - number, NOW) for number in range(1, 6)}
    sites = shown(top.part(facts(waiting=waiting), NOW))["sites"]
    assert [row["site"] for row in sites] == ["s5", "s4", "s3", "s2", "s1"]
    assert [row["site"] for row in top.arranged(sites, "due")] == ["s1", "s2", "s3", "s4", "s5"]
    assert [row["site"] for row in top.arranged(reversed(sites), "site")] == ["s1", "s2", "s3", "s4", "s5"]
    assert [row["site"] for row in top.filtered(sites, "BULK s3")] == ["s3"]
    assert top.filtered(sites, "s3 fast") == []
    left = top.rest(sites[3:])
    assert left is not None
    assert (left["site"], left["waiting"], left["due"]) == ("(2 more)", 3, 17)
    assert top.rest([]) is None


def test_a_nodes_workers_are_one_part_for_other_nodes() -> None:
    workers = [
        top.part(facts(waiting={(MARKETING, f"s{n:03}.example", "news"): Waiting(n, 1, NOW)}), NOW)
        for n in (*range(1, top.MOST + 3), 5)
    ]
    one = top.together(workers, {("s005.example", "bulk"): "5 of 9/s"})
    assert len(one["rows"]) == top.MOST + 1
    assert one["rows"][0]["site"] == f"s{top.MOST + 2:03}.example"
    assert one["rows"][-1]["site"] == "(2 more)"
    assert (one["rows"][-1]["waiting"], one["rows"][-1]["windows"]) == (3, [])
    (row,) = (row for row in one["rows"] if row["site"] == "s005.example")
    assert (row["waiting"], row["due"], row["pace"]) == (10, 2, "5 of 9/s")
    whole = top.snapshot([one, *workers[:1]], {"node": "relay-1", "nodes": ["relay-1", "relay-2"]}, [], NOW)
    assert sum(row["waiting"] for row in whole["sites"]) == sum(range(1, top.MOST + 3)) + 5 + 1
    assert whole["oldest_due"] is not None
    assert top.together([], {}) == {
        "rows": [], "totals": {}, "p99_ms": None, "oldest": None, "held": 0, "guarded": 0, "runaways": [],
    }  # fmt: skip
