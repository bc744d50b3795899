"""What a worker learns of sites, and how it hears from and tells the others."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from relay.identity import Rate
from relay.outcome import Outcome, Reply, Scope
from relay.shaping.backoff import Action, Backoff, Rule
from relay.shaping.pace import HOLD, Bounds
from relay.shaping.pacemaker import (
    BOARDS,
    EVERY,
    MOST_SITES,
    Attempted,
    Order,
    Pacemaker,
    WarmUp,
    brief,
    ends,
    merged,
    over,
    said,
)
from relay.shaping.warmup import FEW

HERE, SITE = "192.0.2.1", "google"
BOUNDS = Bounds(start=10, floor=0.1, ceiling=40)
START = date(2026, 11, 23)
NOON = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp() * 1000)
DAY = 86_400_000
OK = Outcome(Reply(250, "2.0.0", "OK"), "END")
SLOW = Outcome(Reply(421, "4.7.28", "slow down"), "MAIL")
BLOCKED = Outcome(Reply(550, "5.7.1", "block list (S3150)"), "MAIL")


def rules(*actions: Rule) -> Backoff:
    """Each holds for replies that name its place."""
    return Backoff(actions, lambda text: {n for n, rule in enumerate(actions) if rule.place in text})


SUSPEND = Rule(Action.SUSPEND, 7_200_000, place="S3150")
OTHER = Rule(Action.OTHER_SOURCE, 60_000, place="S3150")
STREAM = Rule(Action.SUSPEND_STREAM, 60_000, place="S3150")


def sent(at: int = NOON, stream: str = "news", start: date | None = None, source: str = HERE) -> Attempted:
    return Attempted(source, SITE, stream, BOUNDS, at, start)


def asked(maker: Pacemaker, now: int = NOON, *, urgent: bool = False, times: int = 1) -> list[int]:
    return [maker.ask(HERE, SITE, "marketing", BOUNDS, now, urgent=urgent) for _ in range(times)]


class Board:
    """State's boards, as steering carries them; workers share it."""

    def __init__(self) -> None:
        self.notes: dict[str, dict[str, Any]] = {board: {} for board in BOARDS}

    def round(self, *makers: Pacemaker, now: int = NOON) -> None:
        for maker in makers:
            for board, name, note in maker.news:
                if note is None:
                    self.notes[board].pop(name, None)
                else:
                    self.notes[board][name] = note
            maker.news.clear()
        for maker in makers:
            for board, notes in self.notes.items():
                maker.heard(board, dict(notes), now)


def two() -> tuple[Pacemaker, Pacemaker, Board]:
    board, one, other = Board(), Pacemaker("one"), Pacemaker("other")
    for maker in (one, other):
        asked(maker, times=30)
    return one, other, board


# Paces


def test_a_sign_of_trouble_cuts_the_pace_of_this_source_at_this_site() -> None:
    maker = Pacemaker()
    asked(maker, times=30)
    assert maker.learn(sent(), SLOW, "rate-limited", NOON + 100) is None
    (row,) = maker.shown(NOON + 100)
    assert (row["pace"], row["direction"], row["why"]) == (5, "down", "421 4.7.28")
    assert row["last_reply"] == "421 4.7.28 slow down"
    assert said(row, "12:00") == "5 of 40/s, slower since 12:00 (421 4.7.28)"
    maker.learn(sent(), Outcome(Reply(421, "4.7.28", "x" * 1000), "MAIL"), "", NOON + 200)
    assert len(maker.shown(NOON)[0]["last_reply"]) == 200, "of a peer's words no more than a screen has room for"
    assert maker.ask("192.0.2.2", SITE, "marketing", BOUNDS, NOON, urgent=False) == 0, "another source is another pace"


def test_our_own_words_are_no_last_reply() -> None:
    maker = Pacemaker()
    maker.learn(sent(), Outcome(Reply(421, "4.4.1", "refused"), "CONNECT", Scope.SITE, internal=True), "", NOON)
    assert maker.shown(NOON)[0]["last_reply"] is None
    assert maker.shown(NOON)[0]["why"] == "refused"


def test_a_rule_says_how_far_and_for_how_long() -> None:
    maker = Pacemaker(rules=rules(Rule(Action.SLOW, 600_000, 0.25, place="slow")))
    asked(maker, times=30)
    rule = maker.learn(sent(), SLOW, "", NOON)
    assert rule is not None
    assert maker.shown(NOON + 599_999)[0]["direction"] == "down"
    assert maker.shown(NOON)[0]["pace"] == 2.5


def test_start_and_floor_are_shared_by_all_workers_and_the_ceiling_is_not() -> None:
    maker = Pacemaker()
    assert maker.share(BOUNDS) is BOUNDS
    maker.sharers = 4
    assert maker.share(BOUNDS) == Bounds(2.5, 0.025, 40)
    assert maker.share(BOUNDS) is maker.share(BOUNDS)
    maker.sharers = 2
    assert maker.share(BOUNDS) == Bounds(5, 0.05, 40)


def test_what_held_mail_is_told() -> None:
    maker = Pacemaker()
    assert asked(maker, times=25)[-1] > NOON
    assert maker.why(HERE, SITE, NOON) == "pace 10/s"
    maker.learn(sent(), SLOW, "", NOON)
    assert maker.why(HERE, SITE, NOON) == "pace 5/s (421 4.7.28)"


def test_what_is_given_back_is_there_again() -> None:
    maker = Pacemaker()
    asked(maker, times=20)
    maker.give_back(HERE, SITE)
    assert [bool(wait) for wait in asked(maker, times=2)] == [False, True]


def test_it_forgets_what_says_nothing_any_more() -> None:
    maker = Pacemaker()
    asked(maker)
    maker.forget(NOON + 60_000)
    assert len(maker.shown(NOON)) == 1
    maker.forget(NOON + DAY)
    assert maker.shown(NOON) == []


def test_of_very_many_sites_those_are_kept_that_say_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.shaping.pacemaker.MOST_TRACKS", 100)
    maker = Pacemaker()
    asked(maker)
    maker.learn(sent(), SLOW, "", NOON)
    for number in range(1_000):
        maker.ask(HERE, f"site{number}", "marketing", BOUNDS, NOON + 1 + number, urgent=False)
    maker.give_back(HERE, "site0")  # made room while its permits were asked for
    kept = {row["site"] for row in maker.shown(NOON)}
    assert len(kept) <= 100
    assert kept >= {SITE, "site999"}


def test_of_very_many_cuts_and_rules_others_hear_of_some_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.shaping.pacemaker.MOST_CUTS", 10)
    monkeypatch.setattr("relay.shaping.pacemaker.MOST_ASIDE", 10)
    one, other, board = two()
    for outcome in (SLOW, BLOCKED):
        one.rules = rules(SUSPEND)
        for number in range(100):
            what = Attempted(HERE, f"site{number}", "news", BOUNDS, NOON)
            one.learn(what, outcome, "", NOON)
            if number % 5 == 4:
                board.round(one, other)
    assert len(board.notes["pace"]) < 20
    assert len(board.notes["aside"]) == 10
    assert {row["direction"] for row in one.shown(NOON) if row["site"] == "site99"} == {"down"}
    assert one.away(HERE, "site99", NOON) is None
    for number in range(100):  # while State is down
        one.learn(Attempted(HERE, f"other{number}", "news", BOUNDS, NOON), SLOW, "", NOON)
    assert len(one.news) < 20


# Among workers


def test_a_cut_reaches_the_others_and_is_no_news_to_who_made_it() -> None:
    one, other, board = two()
    one.learn(sent(), SLOW, "", NOON + 100)
    board.round(one, other, now=NOON + 1000)
    assert [maker.shown(NOON + 1000)[0]["pace"] for maker in (one, other)] == [5, 5]
    board.round(one, other, now=NOON + 2000)
    assert [maker.shown(NOON + 2000)[0]["pace"] for maker in (one, other)] == [5, 5]


def test_one_that_starts_anew_goes_on_where_it_was_cut_to() -> None:
    one, other, board = two()
    one.learn(sent(), SLOW, "", NOON + 100)
    board.round(one, other)
    reborn = Pacemaker("one")
    board.round(reborn)
    asked(reborn, NOON + 5000)
    assert reborn.shown(NOON + 5000)[0]["pace"] == 5


def test_what_is_ended_elsewhere_is_ended_here_though_the_board_is_as_it_was() -> None:
    one, other, board = two()
    board.round(one, other)
    one.order(Order(SITE, EVERY, Rate(1, 1, "", "1/second"), NOON + 60_000, "noa"))
    (news,) = one.news
    one.news.clear()  # told, and taken off by another within the second
    assert news.note is not None
    board.round(one, other)
    assert not one.orders(SITE, "x", NOON)


def test_a_cut_is_taken_off_the_board_after_an_hour() -> None:
    one, other, board = two()
    one.learn(sent(), SLOW, "", NOON)
    board.round(one, other)
    board.round(one, other, now=NOON + 3_600_001)
    board.round(one, other, now=NOON + 3_601_001)
    assert board.notes["pace"] == {}


def test_a_source_that_is_suspended_stays_away_on_all_nodes_until_its_time_is_over() -> None:
    one, other, board = two()
    one.rules = rules(SUSPEND)
    assert one.learn(sent(), BLOCKED, "reputation-block", NOON) == SUSPEND
    board.round(one, other)
    for maker in (one, other):
        away = maker.away(HERE, SITE, NOON + 7_199_999)
        assert away is not None
        assert (away.until, away.soft) == (NOON + 7_200_000, False)
        assert maker.away(HERE, SITE, NOON + 7_200_000) is None
        assert maker.away(HERE, "yahoo", NOON) is None
        (row,) = [row for row in maker.shown(NOON) if row["source"] == HERE]
        assert (row["direction"], row["until"]) == ("paused", NOON + 7_200_000)
        assert said(row, "") == "paused: S3150: 550 5.7.1 block list (S3150)"
    board.round(one, other, now=NOON + 7_200_000)
    board.round(one, other, now=NOON + 7_201_000)
    assert board.notes["aside"] == {}


def test_a_worker_that_sent_nothing_there_shows_what_stays_away_too() -> None:
    one, board, idle = Pacemaker("one", rules(SUSPEND)), Board(), Pacemaker("idle")
    one.learn(sent(), BLOCKED, "", NOON)
    one.rules = rules(STREAM)
    one.learn(sent(source="192.0.2.2"), BLOCKED, "", NOON)
    board.round(one, idle)
    (row,) = idle.shown(NOON)
    assert (row["source"], row["site"], row["direction"], row["pace"]) == (HERE, SITE, "paused", None)
    assert idle.shown(NOON + 7_200_000) == []
    assert idle.gauges(NOON) == {"paces_aside": 2, "pace_orders": 0}


def test_replies_to_what_was_under_way_do_not_prolong_a_suspension() -> None:
    maker = Pacemaker(rules=rules(SUSPEND))
    maker.learn(sent(), BLOCKED, "", NOON)
    maker.learn(sent(), BLOCKED, "", NOON + 5000)
    away = maker.away(HERE, SITE, NOON + 5000)
    assert away is not None
    assert away.until == NOON + 7_200_000


def test_a_source_that_comes_back_comes_back_gently() -> None:
    maker = Pacemaker(rules=rules(SUSPEND))
    asked(maker, times=30)
    maker.learn(sent(), BLOCKED, "", NOON)
    assert maker.why(HERE, SITE, NOON) == "pace 5/s (550 5.7.1)"


def test_other_source_is_soft() -> None:
    maker = Pacemaker(rules=rules(OTHER))
    maker.learn(sent(), BLOCKED, "", NOON)
    away = maker.away(HERE, SITE, NOON)
    assert away is not None
    assert away.soft


def test_a_stream_is_stopped_for_the_site_and_transactional_mail_never() -> None:
    maker = Pacemaker(rules=rules(STREAM))
    assert maker.learn(sent(stream=""), BLOCKED, "reputation-block", NOON) is None
    assert maker.learn(sent(), BLOCKED, "", NOON) == STREAM
    assert maker.stopped("news", SITE, NOON) is not None
    assert maker.stopped("news", "yahoo", NOON) is None
    assert maker.stopped("other", SITE, NOON) is None
    assert maker.away(HERE, SITE, NOON) is None


def test_mail_that_was_on_its_way_when_its_pace_was_forgotten_still_teaches() -> None:
    maker = Pacemaker()
    maker.learn(sent(), SLOW, "", NOON)
    assert maker.shown(NOON)[0]["direction"] == "down"


def test_a_reload_changes_the_bounds_of_a_pace() -> None:
    maker = Pacemaker()
    asked(maker)
    slower = Bounds(start=10, floor=0.1, ceiling=5)
    assert maker.ask(HERE, SITE, "marketing", slower, NOON, urgent=False) == 0
    assert maker.shown(NOON)[0]["ceiling"] == 5


def test_what_was_not_told_yet_is_not_forgotten_by_reading() -> None:
    maker = Pacemaker(rules=rules(SUSPEND))
    maker.learn(sent(), BLOCKED, "", NOON)
    maker.heard("aside", {}, NOON)
    assert maker.away(HERE, SITE, NOON) is not None


# Orders

ORDER = Order(SITE, EVERY, Rate(10, 1, "", "10/second"), NOON + 7_200_000, "noa", "complaints")


def test_an_order_holds_on_all_nodes_until_its_time_is_over() -> None:
    one, other, board = two()
    one.order(ORDER)
    own = Order(SITE, "marketing", Rate(5, 1, "", "5/second"), NOON + 60_000, "noa")
    one.order(own)
    board.round(one, other)
    assert other.orders(SITE, "marketing", NOON) == [own, ORDER]
    assert other.orders(SITE, "service", NOON) == [ORDER]
    assert other.orders(SITE, "marketing", NOON + 60_000) == [ORDER]
    assert other.orders("yahoo", "marketing", NOON) == []
    assert other.shown(NOON)[0]["ceiling"] == 5
    assert (ORDER.key(HERE), ORDER.all_pools, own.all_pools) == ("order/192.0.2.1/google/*", True, False)


def test_an_operator_ends_orders_and_lets_sources_back() -> None:
    one, other, board = two()
    one.rules = rules(SUSPEND)
    one.order(ORDER)
    one.learn(sent(), BLOCKED, "", NOON)
    board.round(one, other)
    assert [row["kind"] for row in other.standing(NOON)] == ["aside", "order"]
    assert other.end("yahoo", EVERY, NOON) == []
    assert len(other.end(SITE, EVERY, NOON)) == 2
    board.round(other, one)
    for maker in (one, other):
        assert maker.away(HERE, SITE, NOON) is None
        assert not maker.orders(SITE, "marketing", NOON)
        assert maker.standing(NOON) == []


def test_an_operator_ends_the_order_of_one_pool_alone() -> None:
    maker = Pacemaker()
    maker.order(ORDER)
    maker.order(Order(SITE, "marketing", Rate(5, 1, "", "5/second"), NOON + 60_000, "noa"))
    assert [row["pool"] for row in maker.end(SITE, "marketing", NOON)] == ["marketing"]
    assert maker.orders(SITE, "marketing", NOON) == [ORDER]


# Warm-up


def test_a_new_source_has_the_budget_of_its_day() -> None:
    maker = Pacemaker(warmup=WarmUp((10, 20)))
    budgets = [maker.budget(HERE, SITE, START, NOON + days * DAY) for days in (-1, 0, 1, 2)]
    assert budgets == [0, 10, 20, None]


def test_bad_replies_stop_its_growth_at_that_site_on_all_nodes() -> None:
    one, other, board = two()
    for number in range(FEW):
        one.learn(sent(start=START), SLOW if number == 0 else OK, "rate-limited" if number == 0 else "", NOON)
    board.round(one, other)
    for maker in (one, other):
        assert [maker.budget(HERE, SITE, START, NOON + days * DAY) for days in (0, 1, 2)] == [250, 250, 500]
        assert maker.budget(HERE, "yahoo", START, NOON + DAY) == 500


@pytest.mark.parametrize(("outcome", "category"), [(BLOCKED, "spam-block"), (SLOW, "rate-limited")])
def test_what_is_bad_for_a_new_source(outcome: Outcome, category: str) -> None:
    maker = Pacemaker()
    for _ in range(FEW):
        maker.learn(sent(start=START), outcome, category, NOON)
    assert maker.budget(HERE, SITE, START, NOON + DAY) == 250


def test_unknown_users_and_our_own_troubles_are_not() -> None:
    maker = Pacemaker()
    for _ in range(FEW):
        maker.learn(sent(start=START), Outcome(Reply(550, "5.1.1", "no such user"), "RCPT"), "bad-mailbox", NOON)
        maker.learn(
            sent(start=START), Outcome(Reply(421, "4.4.1", "timeout"), "CONNECT", Scope.SITE, internal=True), "", NOON
        )
    assert maker.budget(HERE, SITE, START, NOON + DAY) == 500


def test_complaints_stop_it_too() -> None:
    maker = Pacemaker()
    for _ in range(2 * FEW):
        maker.learn(sent(start=START), OK, "", NOON)
    maker.complained(HERE, SITE, START, NOON)
    assert maker.budget(HERE, SITE, START, NOON + DAY) == 500
    maker.complained(HERE, SITE, START, NOON)
    assert maker.budget(HERE, SITE, START, NOON + DAY) == 250, "at once, also where it is the last that is heard today"
    assert maker.news[-1].note is not None
    assert maker.news[-1].note["why"] == "2 complaints about 40 messages"


def test_complaints_in_the_night_are_held_against_the_day_that_follows() -> None:
    maker = Pacemaker()
    for _ in range(2):
        maker.complained(HERE, SITE, START, NOON + DAY)
    for _ in range(FEW):
        maker.learn(sent(start=START), OK, "", NOON + DAY)
    assert maker.budget(HERE, SITE, START, NOON + 2 * DAY) == 500


def test_of_a_day_at_very_many_sites_those_are_kept_that_most_mail_went_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.shaping.pacemaker.MOST_TRACKS", 100)
    maker = Pacemaker()
    for _ in range(FEW - 1):
        maker.learn(sent(start=START), SLOW, "", NOON)
    for number in range(1_000):
        maker.learn(Attempted(HERE, f"site{number}", "news", BOUNDS, NOON, START), OK, "", NOON)
    assert len(maker._days) <= 100
    maker.learn(sent(start=START), SLOW, "", NOON)
    assert maker.budget(HERE, SITE, START, NOON + DAY) == 250, "its nineteen bad replies were not forgotten"


def test_what_was_noted_of_a_source_that_is_warm_by_now_is_taken_off() -> None:
    one, other, board = Pacemaker(warmup=WarmUp((1, 2))), Pacemaker(warmup=WarmUp((1, 2))), Board()
    one.hold(HERE, "yahoo", START, NOON, "")
    for _ in range(FEW):
        one.learn(sent(start=START), SLOW, "", NOON)
    board.round(one, other)
    one.forget(NOON + DAY)
    board.round(one, other)
    assert sorted(board.notes["warmup"]) == [f"{HERE} {SITE}", f"{HERE} yahoo"]
    assert one.budget(HERE, SITE, START, NOON + 2 * DAY) == 2, "a day later than by its schedule"
    for maker in (one, other):
        for _ in range(9):  # State is down
            maker.forget(NOON + 3 * DAY)
        assert len(maker.news) == 1
    board.round(one, other)
    assert sorted(board.notes["warmup"]) == [f"{HERE} yahoo"], "what an operator holds stays"
    assert one.budget(HERE, SITE, START, NOON + 3 * DAY) is None


def test_a_source_that_became_warm_is_not_stopped() -> None:
    maker = Pacemaker(warmup=WarmUp((1,)))
    for _ in range(FEW):
        maker.learn(sent(start=START), SLOW, "", NOON + DAY)
    assert [news.board for news in maker.news if news.board == "warmup"] == []


def test_an_operator_holds_a_source_and_lets_it_grow_again() -> None:
    one, other, board = two()
    one.hold(HERE, "yahoo", START, NOON, "theirs")
    one.hold(HERE, EVERY, START, NOON + DAY, "blocklist")
    board.round(one, other)
    later = NOON + 5 * DAY
    assert [other.budget(HERE, site, START, later) for site in (SITE, "yahoo")] == [500, 250]
    other.resume(HERE, EVERY, START, later)
    board.round(other, one)
    assert [one.budget(HERE, site, START, later + DAY) for site in (SITE, "yahoo")] == [1000, 500]
    assert one.sites_of(HERE) == [SITE, "yahoo"]
    assert one.sites_of("192.0.2.9") == []
    for number in range(MOST_SITES):
        one.ask(HERE, f"small{number}", "marketing", BOUNDS, NOON, urgent=False)
    one.learn(Attempted(HERE, "zoho", "news", BOUNDS, NOON, START), OK, "", NOON)
    assert len(one.sites_of(HERE)) == MOST_SITES
    assert {SITE, "zoho"} <= set(one.sites_of(HERE)), "noted ones, and where most of its mail went"


def test_a_site_is_held_and_resumed_alone() -> None:
    maker = Pacemaker()
    maker.hold(HERE, SITE, START, NOON, "")
    assert maker.budget(HERE, SITE, START, NOON + 3 * DAY) == 250
    maker.resume(HERE, SITE, START, NOON + 3 * DAY)
    assert maker.budget(HERE, SITE, START, NOON + 4 * DAY) == 500


# For people


def row(**changes: Any) -> dict[str, Any]:
    about = {"site": SITE, "source": HERE, "pool": "marketing", "pace": 5.0, "ceiling": 40, "direction": "recovering"}
    return {**about, "since": NOON, "last_reply": None, "until": None, "why": "421 4.7.28", **changes}


def test_paces_of_several_workers_are_one_to_people() -> None:
    (one,) = merged([row(), row(pace=20, since=NOON + 5, direction="down", last_reply="250 OK")])
    assert (one["pace"], one["direction"], one["since"], one["last_reply"]) == (25, "down", NOON + 5, "250 OK")
    assert merged([row(pace=30), row(pace=30)])[0]["pace"] == 40
    assert merged([row(), row(pace=None, direction="free", since=None)])[0]["pace"] is None
    assert merged([row(ceiling=None), row(ceiling=None)])[0]["pace"] == 10
    assert len(merged([row(), row(site="yahoo")])) == 2


def test_paces_in_a_narrow_column() -> None:
    rows = [
        row(),
        row(source="192.0.2.2", direction="down", pace=2.0),
        row(site="yahoo", direction="paused", pace=None),
    ]
    rows += [row(site="walla", pool="service", direction="free", pace=None), row(pool="service")]
    assert brief(rows) == {
        (SITE, "marketing"): "2 of 40/s down",
        (SITE, "service"): "5 of 40/s up",
        ("yahoo", "marketing"): "paused",
    }


def test_when_it_is_over_what_a_rule_has_put_aside() -> None:
    aside = {"kind": "aside", "site": SITE, "place": "policies/shaping.toml:22", "why": "550 S3140", "until": NOON + 9}
    rows = [
        aside,
        {**aside, "until": NOON + 5},
        {**aside, "site": "yahoo"},
        {"kind": "order", "site": SITE, "until": NOON},
    ]
    why = "policies/shaping.toml:22: 550 S3140"
    assert ends(rows) == {(SITE, why): NOON + 5, ("yahoo", why): NOON + 9}


def test_no_note_of_what_an_operator_or_a_schedule_says_is_over_by_itself() -> None:
    assert not over("warmup", {}, NOON)
    assert not over("pace", {"at": NOON - HOLD}, NOON)


def test_repr() -> None:
    assert repr(Pacemaker()) == "<Pacemaker 0 paces, 0 aside, 0 orders>"
    assert START + timedelta(days=1) == Pacemaker().today(NOON + DAY)


def test_a_host_that_never_answered_is_no_news_for_others() -> None:
    refused = Outcome(Reply(421, "4.4.1", "refused"), "CONNECT", Scope.SITE, internal=True)
    maker = Pacemaker("w1")
    asked(maker)
    maker.learn(sent(), refused, "", NOON)
    assert (maker.news, maker.shown(NOON)[0]["direction"]) == ([], "down"), "here it counts"
    other = Pacemaker("w2")
    asked(other)
    other.learn(sent(), OK, "", NOON)
    other.learn(sent(), refused, "", NOON)
    assert [one.board for one in other.news] == ["pace"]
