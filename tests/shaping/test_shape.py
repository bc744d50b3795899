"""How mail may go to a site, key by key."""

from relay.identity import Rate
from relay.shaping.shape import Beside, ProviderTable, Shape, Shapes


def rate(count: int) -> Rate:
    return Rate(count, 1, "", f"{count}/second")


DEFAULT = {"connections": 10, "messages_per_connection": 100, "rate": rate(100), "reserved": 2}
SHAPES = Shapes(
    DEFAULT,
    {
        "google": ProviderTable(
            {"connections": 8, "tls": "required"}, {"marketing": {"rate": rate(40), "site_rate": rate(70)}}
        )
    },
    {
        "bank.example": {"connections": 1, "tls": "verify"},
        "shop.example": {"rate": rate(5), "tls": "verify", "reserved": 0, "connection_rate": rate(1)},
        "private.example": {"tls": "off"},
        "relay.example": {"rate": rate(1000)},
    },
)


def test_a_site_that_nothing_is_said_of() -> None:
    shape = SHAPES.of("b.example", "marketing", "b.example")
    assert (shape.connections, shape.messages_per_connection, shape.rate, shape.reserved, shape.tls) == (
        10, 100, rate(100), 2, "opportunistic",
    )  # fmt: skip
    assert SHAPES.of("c.example", "service", "c.example") is shape, "all such sites share one"


def test_a_provider_and_its_block_for_a_pool() -> None:
    other, marketing = (SHAPES.of("google", pool, "gmail.com") for pool in ("service", "marketing"))
    assert (other.connections, other.rate, other.site_rate, other.tls) == (8, rate(100), None, "required")
    assert (marketing.connections, marketing.rate, marketing.site_rate) == (8, rate(40), rate(70))


def test_a_pool_may_be_slower_than_its_provider_or_faster() -> None:
    shapes = Shapes(
        DEFAULT,
        {
            "s": ProviderTable(
                {"connections": 4}, {"slow": {"connections": 1, "rate": rate(5)}, "fast": {"connections": 9}}
            )
        },
    )
    slow, fast = (shapes.of("s", pool, "s.example") for pool in ("slow", "fast"))
    assert slow.slots("", "s", shared=True) == [("/s#slow", 1, 0), ("/s#*", 4, 2), ("/s", 9, 2)]
    assert (fast.connections, fast.slots("", "s", shared=True)) == (9, [("/s", 9, 2)])
    assert slow.rates("", "s", shared=False) == [("rate//s#slow", rate(5), 0), ("rate//s", rate(100), 0)]


def limits(shapes: Shapes, pool: str) -> list[tuple[str, Rate]]:
    found = shapes.of("s", pool, "s.example").rates("1", "s", shared=False)
    return [(name, limit) for name, limit, _ in found]


def test_a_name_stands_for_one_limit_whatever_the_pools_say() -> None:
    """Else pools that share a source would set each other's limit, and a rate of another window begin anew each time."""
    hourly, minutely = Rate(7_200, 3_600, "", "7200/hour"), Rate(600, 60, "", "600/minute")
    pools: dict[str, dict[str, int | Rate]] = {
        "fast": {"rate": rate(20), "site_rate": rate(40)},
        "fair": {"rate": minutely},  # as fast as the provider's
        "slow": {"rate": hourly, "site_rate": rate(30)},
        "other": {"connections": 3},
    }
    shapes = Shapes(DEFAULT, {"s": ProviderTable({"rate": rate(10)}, pools)})
    found = {pool: limits(shapes, pool) for pool in (*pools, "none")}
    assert found["fast"] == [("rate/1/s", rate(20)), ("rate/*/s", rate(40))]
    assert found["fair"] == [("rate/1/s#fair", minutely), ("rate/1/s#*", rate(10)), ("rate/1/s", rate(20))]
    assert found["slow"] == [
        ("rate/1/s#slow", hourly), ("rate/1/s#*", rate(10)), ("rate/1/s", rate(20)),
        ("rate/*/s#slow", rate(30)), ("rate/*/s", rate(40)),
    ]  # fmt: skip
    assert found["other"] == found["none"] == [("rate/1/s#*", rate(10)), ("rate/1/s", rate(20))]
    assert shapes.of("s", "fast", "s.example").rate == rate(20)
    alike = Shapes(
        {"connections": 1, "messages_per_connection": 1},
        {"s": ProviderTable({}, {"a": {"rate": rate(10)}, "b": {"rate": minutely}})},
    )
    assert limits(alike, "a") == [("rate/1/s", rate(10))]
    assert limits(alike, "b") == [("rate/1/s#b", minutely), ("rate/1/s", rate(10))]
    assert shapes.of("s", "none", "s.example").bounds.ceiling == 10


def test_of_a_rate_that_transactional_mail_shares_a_part_is_reserved() -> None:
    """As large a one as of the connections, a fifth at most, one message at least, and never all of them."""
    daily, once = Rate(12, 90_000, "day", "12/day"), Rate(1, 60, "", "1/minute")
    said = {"connections": 10, "messages_per_connection": 9, "reserved": 1, "rate": rate(100), "site_rate": daily}
    shape = Shapes(said).of("s", "p", "s.example")
    assert [part for *_, part in shape.rates("1", "s", shared=True)] == [10, 1]
    assert [part for *_, part in shape.rates("1", "s", shared=False)] == [0, 1], "only what leaves from other sources"
    few = Shapes({**said, "connections": 2, "site_rate": once}).of("s", "p", "s.example")
    assert [part for *_, part in few.rates("1", "s", shared=True)] == [20, 0]
    none = Shapes({**said, "reserved": 0}).of("s", "p", "s.example")
    assert [part for *_, part in none.rates("1", "s", shared=True)] == [0, 0]


def test_a_domain_that_is_its_own_site_speaks_for_it() -> None:
    shape = SHAPES.of("bank.example", "marketing", "bank.example")
    assert (shape.connections, shape.tls, shape.rate, shape.alone) == (1, "verify", rate(100), None)


def test_a_domain_that_shares_its_site_has_limits_of_its_own_beside_the_site_s() -> None:
    shape = SHAPES.of("google", "marketing", "shop.example")
    assert (shape.connections, shape.rate, shape.tls, shape.reserved) == (8, rate(40), "verify", 0)
    assert shape.alone == Beside("@shop.example", connections=8, rate=rate(5), connection_rate=rate(1))
    assert SHAPES.of("google", "marketing", "private.example").alone is None


def test_what_is_counted_and_under_which_names() -> None:
    shape = SHAPES.of("google", "marketing", "shop.example")
    assert shape.rates("192.0.2.1", "google", shared=True) == [
        ("rate/192.0.2.1/google#marketing", rate(40), 0),  # of the pool
        ("rate/192.0.2.1/google", rate(100), 0),  # of all pools that have this source
        ("rate/192.0.2.1/@shop.example", rate(5), 0),
        ("rate/*/google", rate(70), 0),
    ]
    assert shape.openings("192.0.2.1", "google", shared=True) == [("open/192.0.2.1/@shop.example", rate(1), 0)]
    assert shape.slots("192.0.2.1", "google", shared=True) == [
        ("192.0.2.1/google", 8, 0),
        ("192.0.2.1/@shop.example", 8, 0),
    ]
    whole = Shapes(
        DEFAULT | {"site_connections": 20, "connection_rate": rate(3)},
        domains={"d.example": {"connections": 2, "site_connections": 3, "site_rate": rate(4)}},
    ).of("s", "p", "d.example")
    assert whole.slots("", "s", shared=True) == [
        ("/s", 10, 2), ("/@d.example", 2, 2), ("*/s", 20, 2), ("*/@d.example", 3, 2),
    ]  # fmt: skip
    assert whole.slots("", "s", shared=False)[0] == ("/s", 10, 0), "nobody would use what is reserved"
    assert whole.openings("", "s", shared=True) == [("open//s", rate(3), 1)]
    assert [name for name, *_ in whole.rates("", "s", shared=True)] == ["rate//s", "rate/*/@d.example"]


def test_a_host_the_admin_named_is_no_provider() -> None:
    assert SHAPES.of_host("10.0.0.9").rates("", "10.0.0.9:25", shared=True) == []
    assert SHAPES.of_host("10.0.0.9").connections == 10
    assert SHAPES.of_host("relay.example").rate == rate(1000)
    assert repr(SHAPES) == "<Shapes of 1 providers, 4 domains>"


def test_connections_are_kept_apart_where_a_domain_or_a_pool_has_limits_of_its_own() -> None:
    alone = Beside("@bank.example", connections=1)
    assert Shape(8, 50, alone=alone).apart == "@bank.example"
    assert Shape(2, 50, pool="slow", among=(Beside("", connections=8),), alone=alone).apart == "#slow@bank.example"
    assert Shape(8, 50, site_connections=9, alone=Beside("@b.example", rate=rate(5))).apart == ""
