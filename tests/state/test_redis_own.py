"""What a process remembers of its share, to tell it again."""

from zoneinfo import ZoneInfo

from relay.identity import Rate
from relay.state.limits import slice_ms
from relay.state.redis_own import Grants, Holdings

UTC = ZoneInfo("UTC")
HOURLY = Rate(10, 3_600, "", "10/hour")
DAILY = Rate(10, 86_400, "day", "10/day")


def test_grants_are_kept_while_they_count() -> None:
    grants, slice_of = Grants(), slice_ms(HOURLY)
    grants.add("k", HOURLY, 1_000, 2, UTC, 1_000 * slice_of)
    grants.add("k", HOURLY, 1_000, 3, UTC, 1_000 * slice_of)
    grants.add("k", HOURLY, 1_001, 1, UTC, 1_001 * slice_of)
    assert list(grants.still(1_001 * slice_of)) == [("k", 97 * slice_of, {1_000: 5, 1_001: 1})]
    assert list(grants.still(1_097 * slice_of)) == [("k", slice_of, {1_001: 1})]
    assert list(grants.still(1_098 * slice_of)) == []
    assert repr(grants) == "<Grants of 1 names>"


def test_what_no_longer_counts_is_forgotten_with_the_next_slot() -> None:
    grants, slice_of = Grants(), slice_ms(HOURLY)
    for slot in range(1_000, 2_000):
        grants.add("k", HOURLY, slot, 1, UTC, slot * slice_of)
    assert len(grants._granted["k"]) == 97


def test_a_day_counts_until_it_ends() -> None:
    grants = Grants()
    grants.add("k", DAILY, 1, 4, UTC, 0)
    ((_, rest, counts),) = grants.still(-62_135_596_800_000)  # 1 January of year 1 has number 1
    assert (rest, counts) == (86_400_000, {1: 4})


def test_leases_by_holder_and_key() -> None:
    holdings = Holdings()
    for key in "ccd":
        holdings.add("a", key)
    holdings.add("b", "c")
    assert holdings.keys("a") == {"c", "d"}
    assert holdings.count("a", "c") == 2
    holdings.subtract("a", "c")
    holdings.subtract("a", "d")
    holdings.subtract("a", "unknown")
    assert sorted(holdings.all()) == [("a", "c"), ("b", "c")]
    holdings.lives("a", 30_000)
    assert holdings.ttl("a") == 30_000
    holdings.unsure = {("a", "c"), ("b", "c")}
    holdings.noted["a"].add("c")
    assert repr(holdings) == "<Holdings of 2 holders, unsure of 2>"
    holdings.drop("a")
    assert (holdings.keys("a"), holdings.noted["a"], holdings.unsure) == (set(), set(), {("b", "c")})
