"""What is known of one person, and the short texts in which State keeps it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.person import ADDRESS, NOBODY, Block, Engaged, Person, Wish, person_of

NAMES = st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True)
TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)
TIMES = st.integers(0, 2**53 - 1)
BLOCKS = st.builds(
    Block,
    st.sampled_from(["all", "marketing"]) | NAMES.map("topic:{}".format) | NAMES.map("stream:{}".format),
    st.just("") | NAMES,
    NAMES,
    TEXTS,
    TIMES,
    st.none() | TIMES,
    TEXTS,
    TEXTS,
    TEXTS,
)
WISHES = st.builds(Wish, st.frozensets(NAMES), st.sampled_from(["", "1/day"]), st.none() | TIMES, TIMES, TEXTS)
ENGAGED = st.builds(Engaged, st.none() | st.integers(0, 40_000), st.integers(0, 1_000))


@given(
    st.lists(BLOCKS, unique_by=lambda block: block.name),
    st.dictionaries(NAMES, WISHES),
    st.dictionaries(NAMES, ENGAGED),
    st.just("") | NAMES,
)
def test_what_is_told_is_what_is_known(
    blocks: list[Block], wishes: dict[str, Wish], engaged: dict[str, Engaged], sealed: str
) -> None:
    facts = {block.name: block.dump() for block in blocks}
    facts |= {f"w:{brand}": wish.dump() for brand, wish in wishes.items()}
    facts |= {f"e:{brand}": one.dump() for brand, one in engaged.items()}
    facts |= {ADDRESS: sealed} if sealed else {}
    assert person_of(facts) == Person(tuple(blocks), wishes, engaged, sealed)


def test_most_people_are_nobody() -> None:
    assert person_of({}) is NOBODY


def test_facts_take_little_room_and_a_newer_form_is_read_as_far_as_it_is_known() -> None:
    block = Block("all", "", "dead-mailbox", "dsn", 1_795_267_531_104)
    assert (block.name, block.dump()) == ("b:all||dead-mailbox", '[1795267531104,null,"dsn"]')
    assert Block.load(block.name, '[1795267531104,null,"dsn","","","",{"more":1},7]') == block
    assert Wish.load("[]") == Wish()
    assert person_of({"z:unknown": "?", "b:all||manual": "[1]"}).blocks == (Block("all", "", "manual", since=1),)


@pytest.mark.parametrize(
    ("name", "text"), [("b:all||manual", "{}"), ("b:all||manual", "["), ("b:all", "[1]"), ("w:a", "1")]
)
def test_what_cannot_be_read_is_never_taken_for_nothing(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        person_of({name: text})


def test_a_block_is_over_at_its_end() -> None:
    assert not Block("all", "", "manual").over(10**15)
    assert [Block("all", "", "manual", until=1000).over(now) for now in (999, 1000)] == [False, True]
