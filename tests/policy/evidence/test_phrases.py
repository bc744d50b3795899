"""All phrases at once: which concepts texts hold, and where."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay.policy.evidence.lexicon import normal
from relay.policy.evidence.phrase import readings
from relay.policy.evidence.phrases import Phrases

PHRASES = Phrases(
    {
        "en": {
            "order": "your order {n}; order; request* to reset (it|that)",
            "way": "see *browser* or (app|phone)*",
            "both": "2 for 1; link",
        },
        "de": {"order": "bestell*", "both": "link; *rabatt"},
    }
)


def text(words: str) -> bytes:
    return b" " + normal(words.encode()) + b" "


def names(*texts: str) -> list[list[str]]:
    return [[PHRASES.concepts[number] for number in found] for found in PHRASES.found([text(one) for one in texts])]


def test_each_text_has_its_concepts_each_once() -> None:
    assert names("Your order 7, a link", "", "Bestellung", "an order and a Bestellung") == [
        ["order", "both"],
        [],
        ["order"],
        ["order"],
    ]
    assert PHRASES.found([text("none")]) == [[]]
    assert repr(PHRASES) == f"<Phrases concepts=3 heads={len(PHRASES._sure) + len(PHRASES._asking)}>"


def test_nothing_is_found_across_texts() -> None:
    assert names("request", "to reset it", "see", "xbrowser or app") == [[], [], [], []]
    assert names("3 for 1", "2 for 1") == [[], ["both"]]


@given(st.lists(st.text(alphabet="requst to:12for link", max_size=20), min_size=1, max_size=4))
def test_texts_searched_together_hold_what_each_holds_alone(texts: list[str]) -> None:
    assert names(*texts) == [names(one)[0] for one in texts]


def test_a_quote_is_what_the_message_says() -> None:
    def quote(concept: str, words: str) -> str:
        return PHRASES.quote(concept, text(words))

    assert quote("order", "About Your Order 77: sent") == "your order 77"
    assert quote("order", "12 of 2026: Requesting to reset it, please") == "requesting to reset it"
    assert quote("way", "See webbrowsers or apps") == "see webbrowsers or app"
    assert quote("both", "20 Winterrabatt") == "rabatt"
    assert quote("both", "your order") == ""


class Counted(bytes):
    """Octets that count how often they were searched."""

    searched = 0

    def find(self, *args: Any) -> int:
        self.searched += 1
        return bytes.find(self, *args)


def test_words_made_to_fit_in_many_ways_are_followed_from_where_the_ways_meet() -> None:
    """Else each of the six steps would be taken six times as often as the one before it."""
    options = [f"{a}{b}" for a in "abc" for b in "xy"]
    group = f"({'|'.join(options)})*"
    reading = next(readings(f"go* {' *'.join([group] * 6)} end*", "en"))
    words = Counted(b" go " + b" ".join([b"".join(o.encode() for o in options)] * 6) + b" no ")
    assert reading.head == b" go"
    assert reading.span(words, 0, 3, words) is None
    assert 6 < words.searched < 6 * 6 * 6 * 2
