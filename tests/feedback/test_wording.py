"""Phrases, and the one pass that finds them."""

import pytest

from relay.feedback.taxonomy import Category
from relay.feedback.wording import CLASSES, GAP, PHRASES, STEP_LIMIT, WORD_LIMIT, Phrases, listed, words_of


@pytest.fixture(scope="module")
def few() -> Phrases:
    return Phrases(
        (
            (Category.QUOTA, "mailbox .. full; over quota"),
            (Category.BAD_MAILBOX, "{user} .. {absent}; no such|known user"),
            (Category.SPAM_BLOCK, "spam"),
        )
    )


def found(phrases: Phrases, text: str) -> str:
    rank = phrases.find(words_of(text.casefold()))
    return phrases.ranked[rank][1] if rank < len(phrases.ranked) else ""


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("The mailbox is full", "mailbox .. full"),
        ("mailbox full", "mailbox .. full"),
        ("mailbox " + "x " * GAP + "full", "mailbox .. full"),
        ("mailbox " + "x " * (GAP + 1) + "full", ""),
        ("full mailbox", ""),
        ("over my quota", ""),
        ("OVER_QUOTA", "over quota"),
        ("The user doesn't exist", "{user} .. {absent}"),
        ("The user doesn’t exist", "{user} .. {absent}"),
        ("user here was not found", "{user} .. {absent}"),
        ("user was found, not", ""),
        ("no known user", "no such|known user"),
        ("spam, and over quota", "over quota"),
        ("<spam@example.com>: no", ""),
        ("192.0.2.1 spam 5.7.1", "spam"),
        ("", ""),
    ],
)
def test_finds_the_first_phrase_of_the_list(few: Phrases, text: str, phrase: str) -> None:
    assert found(few, text) == phrase


def test_a_gap_is_counted_from_the_last_mention(few: Phrases) -> None:
    assert found(few, "mailbox " + "x " * 20 + "mailbox is full") == "mailbox .. full"


def test_a_phrase_that_repeats_a_word_needs_it_twice() -> None:
    twice = Phrases(((Category.OTHER, "bad bad user"),))
    assert twice.find(["bad", "user"]) == 1
    assert twice.find(["bad", "bad", "user"]) == 0


def test_work_is_bounded(few: Phrases) -> None:
    assert found(few, "x " * WORD_LIMIT + "spam") == ""
    busy = Phrases(((Category.QUOTA, "; ".join(f"busy w{n}" for n in range(STEP_LIMIT))), (Category.OTHER, "spam")))
    assert busy.find(["spam"]) == STEP_LIMIT
    assert busy.find(["w1", *["busy w1"] * 2]) > STEP_LIMIT
    several = Phrases(
        ((Category.QUOTA, "; ".join(f"a{n} .. busy" for n in range(STEP_LIMIT))), (Category.OTHER, "spam"))
    )
    assert several.find(["busy", "busy", "spam"]) == len(several.ranked)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no <lea@a.example> here", "no here"),
        ("lea@a.example: unknown", "unknown"),
        ("(lea@a.example)dan@b.example", ""),
        ("lea@ a.example", "lea a example"),
        ("@a.example", "a example"),
        ("lea@a.example:dan@b.example full", "full"),
    ],
)
def test_what_stands_in_addresses_says_nothing(text: str, words: str) -> None:
    assert words_of(text) == words.split()


def test_a_long_run_that_is_no_address_is_looked_through_once() -> None:
    assert words_of(";" * 200_000 + " full @") == ["full"]  # a minute and more where each character begins it anew


def test_repr_tells_its_size(few: Phrases) -> None:
    assert repr(few).startswith("<Phrases: 5 phrases, ")


def test_the_lists_are_in_the_words_that_are_looked_for() -> None:
    entries = [entry for _, text in PHRASES for entry in listed(text, ";")]
    terms = [term for text in CLASSES.values() for term in listed(text, ",")]
    for text in (*entries, *terms):
        plain = " ".join(part for part in text.replace("|", " ").split() if part != ".." and not part.startswith("{"))
        assert words_of(plain) == plain.split(), text
    assert not [entry for entry in entries if entry.startswith("..") or entry.endswith("..")]
