from collections import Counter

import pytest

from relay.egress.pools import Pool, Source

A = Source("192.0.2.1", "a.test", 1)
B = Source("192.0.2.2", "b.test", 3)
NONE = Source("192.0.2.3", "c.test", 0)


def test_chooses_by_weight() -> None:
    pool = Pool("p", (A, B, NONE))
    chosen = Counter(pool.choose("", number / 1000).address for number in range(1000))
    assert chosen == {A.address: 250, B.address: 750}


def test_keeps_the_address_a_recipient_knows() -> None:
    pool = Pool("p", (A, B, NONE))
    assert pool.choose(B.address, 0.0) is B
    assert pool.choose(NONE.address, 0.0) is NONE


def test_an_address_that_left_the_pool_is_not_used() -> None:
    assert Pool("p", (A, B)).choose("192.0.2.9", 0.0) is A


def test_a_single_source_needs_no_choice() -> None:
    assert Pool("p", (A,)).choose("", 0.999) is A


@pytest.mark.parametrize("sources", [(), (NONE,), (A, Source("x", "", -1))])
def test_a_pool_that_could_send_nothing_is_refused(sources: tuple[Source, ...]) -> None:
    with pytest.raises(ValueError, match="pool p has no source"):
        Pool("p", sources)
