"""Ids: unique, sortable, reversible."""

from hypothesis import given
from hypothesis import strategies as st

from relay.ids import Ids, pack, time_of, unpack

NOW = 1_795_267_531_104


def test_ids_of_one_maker_are_unique_and_ascend_even_in_one_millisecond() -> None:
    ids = Ids("relay-1", 0, lambda: NOW)
    made = [ids.next() for _ in range(5000)]
    assert made == sorted(set(made))
    assert all(len(one) == 16 for one in made)


def test_a_clock_set_back_gives_no_id_twice() -> None:
    times = [NOW, NOW + 1, NOW - 5000, NOW - 4999, NOW + 2]
    ids = Ids("relay-1", 0, lambda: times.pop(0))
    made = [ids.next() for _ in range(5)]
    assert made == sorted(set(made))


def test_shards_and_nodes_have_their_own() -> None:
    makers = [Ids(node, shard, lambda: NOW) for node in ("relay-1", "relay-2") for shard in (0, 1)]
    assert len({maker.next() for maker in makers}) == 4


def test_an_id_tells_its_time_and_nothing_else_does() -> None:
    assert time_of(Ids("relay-1", 0, lambda: NOW).next()) == NOW
    assert time_of("no-id") is None
    assert time_of("u" * 16) is None  # u is no letter of Crockford's base32


@given(st.binary(min_size=10, max_size=10))
def test_packing_is_reversible(octets: bytes) -> None:
    assert pack(unpack(octets)) == octets
