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


def test_of_those_that_are_able() -> None:
    pool = Pool("p", (A, B, NONE))
    assert pool.choose_able("", 0.999, lambda source: source is not B) is A
    assert pool.choose_able(B.address, 0.0, lambda source: source is not B) is A
    assert pool.choose_able(NONE.address, 0.0, lambda source: source is NONE) is NONE
    assert pool.choose_able("", 0.0, lambda source: source is NONE) is None
    assert pool.choose_able(A.address, 0.0, lambda _: False) is None
    chosen = Counter(pool.choose_able("", number / 1000, lambda _: True) for number in range(1000))
    assert chosen == {A: 250, B: 750}


def test_which_hosts_a_source_reaches() -> None:
    six, any_of_them = Source("2001:db8::1", ""), Source("", "")
    families = frozenset({4}), frozenset({6}), frozenset({4, 6})
    assert [A.reaches(each) for each in families] == [True, False, True]
    assert [six.reaches(each) for each in families] == [False, True, True]
    assert [any_of_them.reaches(each) for each in families] == [True, True, True]


def test_which_pools_are_mixed() -> None:
    six, any_of_them = Source("2001:db8::1", ""), Source("", "")
    assert Pool("p", (A, six)).mixed
    assert not Pool("p", (A, B, any_of_them)).mixed
    assert not Pool("p", (six, any_of_them)).mixed


def test_a_single_source_needs_no_choice() -> None:
    assert Pool("p", (A,)).choose("", 0.999) is A


def test_of_those_that_are_able_it_chooses_as_of_all() -> None:
    pool = Pool("p", (A, B, NONE))
    assert pool.choose_able("", 0.0, lambda _: True) is A
    assert pool.choose_able("", 0.0, lambda source: source is not A) is B
    assert pool.choose_able(NONE.address, 0.0, lambda source: source is not A) is NONE
    assert pool.choose_able(A.address, 0.999, lambda source: source is not A) is B
    assert pool.choose_able("", 0.0, lambda _: False) is None
    assert pool.choose_able("", 0.0, lambda source: source is NONE) is None


@pytest.mark.parametrize("sources", [(), (NONE,), (A, Source("x", "", -1))])
def test_a_pool_that_could_send_nothing_is_refused(sources: tuple[Source, ...]) -> None:
    with pytest.raises(ValueError, match="pool p has no source"):
        Pool("p", sources)
