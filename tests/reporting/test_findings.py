"""Bounces told as what goes wrong, not as combinations."""

from relay.reporting.findings import Bounces, Finding, Whole, completed, finding, lines


def row(category: str | None, stream: str | None, site: str, count: int) -> Bounces:
    return Bounces(category, stream, "crm", site, "192.0.2.1", count)


def found(*rows: Bounces, ended: int = 1000) -> list[Finding]:
    """Each stream with as much mail."""
    return [finding(line, Whole(2000, 1000, 90, 1)) for line in lines(rows, {row.stream: ended for row in rows})]


def test_what_is_of_one_site_is_told_as_that_sites() -> None:
    (one,) = found(row("reputation-block", "news", "microsoft", 90), row("reputation-block", "news", "google", 10))
    assert one.scope == {"stream": "news", "site": "microsoft", "credential": "crm", "source": "192.0.2.1"}
    assert (one.count, one.share, one.usual) == (100, 0.045, 0.001)
    assert one.command.startswith("postlane report messages --category reputation-block --stream news --credential crm")


def test_what_is_spread_over_many_is_everybodys() -> None:
    (one,) = found(*(row("bad-mailbox", f"s{n}", f"site{n}", 10) for n in range(9)))
    assert one.scope == {"credential": "crm", "source": "192.0.2.1"}
    assert one.spread["stream"] == 9
    assert one.whom == ["credential crm", "source 192.0.2.1"]


def test_a_stream_that_fares_far_worse_has_its_own_line() -> None:
    told = found(
        *(row("bad-mailbox", f"s{n}", "google", 10) for n in range(9)), row("bad-mailbox", "win-back", "google", 200)
    )
    assert [(one.scope.get("stream"), one.count) for one in told] == [("win-back", 200), (None, 90)]


def test_a_few_bounces_of_a_small_stream_are_no_line() -> None:
    told = found(
        *(row("bad-mailbox", f"s{n}", "google", 10) for n in range(9)), row("bad-mailbox", "tiny", "google", 15)
    )
    assert len(told) == 1


def test_what_has_no_category_or_no_stream_is_told_too() -> None:
    (one,) = found(row(None, None, "google", 3))
    assert (one.category, one.whom) == (None, ["credential crm", "site google", "source 192.0.2.1"])
    assert one.command == "postlane report messages --credential crm --site google --source 192.0.2.1"


def test_no_bounces_no_lines() -> None:
    assert found() == []


def test_of_a_scope_without_mail_there_is_no_share() -> None:
    (line,) = lines([row("quota", "news", "google", 1)], {})
    assert finding(line, Whole()).share is None
    assert finding(line, Whole()).usual is None


def test_what_the_largest_combinations_leave_out_is_counted_all_the_same() -> None:
    rows = [row("quota", "news", "google", 5), row("quota", "news", "gmx", 3)]
    exact = [("quota", "news", "crm", 20), ("bad-mailbox", "club", "crm", 7)]
    whole = completed(rows, exact)
    assert [(one.category, one.stream, one.site, one.many) for one in whole[2:]] == [
        ("quota", "news", None, 12),
        ("bad-mailbox", "club", None, 7),
    ]
    quota, _ = lines(whole, {})
    assert (quota.many, quota.scope) == (20, {"stream": "news", "credential": "crm"})
    assert completed(rows, [("quota", "news", "crm", 8)]) == rows
