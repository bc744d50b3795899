"""Counts of what became of mail: added once, bounded, and added up."""

import pytest

from relay.policy import tallies
from relay.policy.tallies import HOUR, KNOWN, QUARTER, Facts, Faults, Hour, Row, Sheet, Sums, alike, within
from relay.tally import DNS, LATE, Kind, Tally


def hour_of(begin: int, sheets: list[Sheet], facts: Facts) -> Hour:
    hour = Hour(begin)
    for sheet in sheets:
        hour.add(sheet, facts)
    return hour


NOW = 494_400 * HOUR + 2 * QUARTER + 1_000


def tally(kind: str = Kind.DELIVERED, **changes: object) -> Tally:
    return Tally(kind, "news", False, "crm", "arava", "may", "google", NOW)._replace(**changes)  # type: ignore[arg-type]


def nothing(**changes: object) -> Facts:
    return Facts(lambda _: False, lambda *_: None, lambda *_: False)._replace(**changes)  # type: ignore[arg-type]


def test_each_kind_counts_as_what_it_is() -> None:
    sheet = Sheet("news")
    for kind in Kind:
        sheet.add(tally(kind))
    assert sheet.counts == {Row(2, False, "crm", "arava", "may", "google"): [1, 4, 2, 2, 1, 1, 0, 0]}
    assert {*LATE.values()} == {Kind.LATE_HARD, Kind.LATE_SPAM, Kind.LATE_FAULT}


def test_faults_of_the_sender_are_counted_beside_the_rows() -> None:
    sheet, facts = Sheet("news"), {"fault": "auth-failure", "said": "550 5.7.26", "domain": "a.example"}
    for number, kind in enumerate((Kind.FAULT, Kind.LATE_FAULT, Kind.PUT_OFF), 1):
        sheet.add(tally(kind, **facts), number)
    sheet.add(tally(Kind.FAULT, at=NOW + QUARTER, **{**facts, "said": "421 4.7.0"}))
    sheet.add(tally(Kind.FAULT, **{**facts, "fault": "bad-sender"}))
    found = {
        (2, "auth-failure"): Faults(6, 3, "550 5.7.26", "a.example"),
        (3, "auth-failure"): Faults(1, 0, "421 4.7.0", "a.example"),
        (2, "bad-sender"): Faults(1, 0, "550 5.7.26", "a.example"),
    }
    assert sheet.faults == found
    assert Sheet.load(sheet.dump()) == sheet
    begin = NOW // HOUR * HOUR
    hour = hour_of(begin, [sheet, sheet], nothing())
    assert hour.faults[("news", "auth-failure")] == {
        begin + 2 * QUARTER: Faults(12, 6, "550 5.7.26", "a.example"),
        begin + 3 * QUARTER: Faults(2, 0, "421 4.7.0", "a.example"),
    }
    told = [tally(Kind.FAULT, **facts), tally(Kind.FAULT, **{**facts, "fault": "bad-sender"})]
    assert alike(told) == {(NOW // HOUR, "news"): {told[0]: 1, told[1]: 1}}


def test_how_many_recipients_of_what_arrived_still_cared() -> None:
    sheet = Sheet("news")
    for tier, number in ((0, 4), (1, 2), (2, 1)):
        sheet.add(tally(tier=tier), number)
        sheet.add(tally(Kind.HARD, tier=tier))
    assert [counts[KNOWN:] for counts in sheet.counts.values()] == [[3, 2]]
    assert alike([tally(tier=1), tally(tier=2), tally(tier=1, at=NOW + 1), tally(at=NOW + HOUR)]) == {
        (NOW // HOUR, "news"): {tally(tier=1): 2, tally(tier=2): 1},
        (NOW // HOUR + 1, "news"): {tally(at=NOW + HOUR): 1},
    }


def test_a_kind_of_a_newer_postlane_counts_as_nothing() -> None:
    sheet = Sheet("news")
    sheet.add(tally("?"))
    assert list(sheet.counts.values()) == [[0] * 8]


def test_a_sheet_is_kept_as_text() -> None:
    sheet = Sheet("news", "a/0 d", 7)
    sheet.add(tally())
    assert Sheet.load(sheet.dump()) == sheet
    for text in ("x", "[]", "[1, 2, 3, 4]", '["news", "", 0, [[1]]]'):
        with pytest.raises(ValueError, match=r"."):
            Sheet.load(text)


def test_of_many_campaigns_and_sites_the_later_ones_share_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "MOST", 2)
    sheet = Sheet("news")
    for number in range(6):
        sheet.add(tally(campaign=f"c{number}", site=f"s{number}"))
    assert [(row.campaign, row.site) for row in sheet.counts] == [
        ("c0", "s0"),
        ("c1", "s1"),
        ("*", "s2"),
        ("*", "s3"),
        ("*", "*"),
    ]
    assert sum(counts[0] for counts in sheet.counts.values()) == 6


def test_sheets_of_all_shards_are_added_up_by_stream_and_site() -> None:
    sheets = [Sheet("news"), Sheet("news"), Sheet("order")]
    sheets[0].add(tally())
    sheets[1].add(tally(Kind.HARD, site="yahoo"))
    sheets[1].add(tally(Kind.COMPLAINT, site="yahoo", at=NOW - QUARTER))
    sheets[2].add(tally(urgent=True, site=""))
    sheets[2].add(tally(Kind.HARD, urgent=True, site=DNS))
    begin = NOW // HOUR * HOUR
    hour = hour_of(begin, sheets, nothing(reports=lambda site: site == "yahoo"))
    assert hour.streams[("news", False)] == {
        begin + 2 * QUARTER: Sums(delivered=1, bounced=1, hard=1),
        begin + QUARTER: Sums(complaints=1),
    }
    assert hour.totals[("news", False)] == Sums(delivered=1, bounced=1, hard=1, complaints=1)
    assert hour.streams[("order", True)] == {begin + 2 * QUARTER: Sums(delivered=1, bounced=1, hard=1)}
    assert hour.sites == {
        "google": {(begin + 2 * QUARTER, "news"): (1, 0)},
        "yahoo": {(begin + 2 * QUARTER, "news"): (1, 1), (begin + QUARTER, "news"): (0, 0)},
    }
    assert within([hour], ("news", False), begin, begin + 2 * QUARTER) == Sums(complaints=1)
    assert within([hour, Hour(begin)], ("news", False), begin, begin + HOUR).sent == 2


def test_complaints_count_where_they_are_reported_or_imported_and_nothing_where_a_site_had_its_bad_hour() -> None:
    sheet = Sheet("news")
    for _ in range(4):
        sheet.add(tally())
    sheet.add(tally(Kind.COMPLAINT))
    key, begin = ("news", False), NOW // HOUR * HOUR

    def sums(facts: Facts) -> Sums:
        return within([hour_of(begin, [sheet], facts)], key, begin, begin + HOUR)

    assert (sums(nothing()).complaints, sums(nothing()).reporting) == (0, 0)
    reported = sums(nothing(reports=lambda _: True))
    assert (reported.complaints, reported.reporting) == (1, 4)
    imported = sums(nothing(reports=lambda _: True, share=lambda *_: 0.5))
    assert (imported.complaints, imported.reporting) == (2, 4)
    assert sums(nothing(aside=lambda *_: True)) == Sums()
