"""What is known of one person, and the short texts in which State keeps it."""

import pytest
from hypothesis import given, settings
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
WISHES = st.builds(
    Wish, st.frozensets(NAMES, max_size=3), st.sampled_from(["", "1/day"]), st.none() | TIMES, TIMES, TEXTS
)
DAYS = st.integers(0, 40_000)
UNANSWERED = {"unanswered": st.integers(0, 1_000), "latest": TIMES}
ENGAGED = st.builds(Engaged, last=DAYS, **UNANSWERED) | st.builds(Engaged, told=DAYS, **UNANSWERED)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(BLOCKS, unique_by=lambda block: block.name, max_size=3),
    st.dictionaries(NAMES, WISHES, max_size=2),
    st.dictionaries(NAMES, ENGAGED, max_size=2),
    st.just("") | NAMES,
)
def test_what_is_told_is_what_is_known(
    blocks: list[Block], wishes: dict[str, Wish], engaged: dict[str, Engaged], sealed: str
) -> None:
    facts = {block.name: block.dump() for block in blocks}
    facts |= {f"w:{brand}": wish.dump() for brand, wish in wishes.items()}
    facts |= {f"e:{brand}": one.dump() for brand, one in engaged.items()}
    facts |= {f"u:{brand}": one.dump_unanswered() for brand, one in engaged.items()}
    facts |= {ADDRESS: sealed} if sealed else {}
    assert person_of(facts) == Person(tuple(blocks), wishes, engaged, sealed)


def test_most_people_are_nobody() -> None:
    assert person_of({}) is NOBODY


def test_facts_take_little_room_and_a_newer_form_is_read_as_far_as_it_is_known() -> None:
    block = Block("all", "", "bad-mailbox", "dsn", 1_795_267_531_104)
    assert (block.name, block.dump()) == ("b:all||bad-mailbox", '[1795267531104,null,"dsn"]')
    assert Block.load(block.name, '[1795267531104,null,"dsn","","","",null,{"more":1},7]') == block
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


def test_an_answer_ends_what_was_unanswered() -> None:
    facts = {"e:a": Engaged(20_000).dump(), "u:a": Engaged(20_000, 0, 7, 1_795_000_000).dump_unanswered()}
    assert person_of(facts).engaged["a"] == Engaged(20_000, 0, 7, 1_795_000_000)
    assert person_of(facts | {"e:a": Engaged(20_001).dump()}).engaged["a"] == Engaged(20_001)
    assert person_of({"u:a": facts["u:a"]}).engaged == {}, "of whom nobody ever told anything"


def test_of_who_never_answered_silence_counts_from_when_that_was_said() -> None:
    never = Engaged(None, 20_000, 3, 1_795_000_000)
    assert (never.since, Engaged(20_500).since) == (20_000, 20_500)
    assert person_of({"e:a": never.dump(), "u:a": never.dump_unanswered()}).engaged["a"] == never
