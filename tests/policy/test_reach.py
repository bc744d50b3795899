"""Rules that no message can reach."""

from hypothesis import given
from hypothesis import strategies as st

from relay.policy.letter import Letter
from relay.policy.reach import shadowed, takes_all_of
from relay.policy.streams import Match, Size, Stream, Streams
from tests.support.rules import CRM, LETTERS, MATCHES, texts


@given(st.lists(MATCHES, max_size=8), LETTERS, st.sampled_from(["crm", "erp", "web"]))
def test_what_a_shadow_takes_the_rule_above_takes_too(matches: list[Match], one: Letter, credential: str) -> None:
    alone = [
        n
        for n, match in enumerate(matches)
        if Streams([(Stream(str(n), ""), match)]).find(one, credential, "a.example")
    ]
    for place, above in shadowed(matches):
        assert above < place
        assert place not in alone or above in alone


@given(st.lists(MATCHES, max_size=8))
def test_shadows_are_found_as_by_comparing_all_with_all(matches: list[Match]) -> None:
    slowly = [
        (place, next(above for above in range(place) if takes_all_of(matches[above], matches[place])))
        for place in range(len(matches))
        if any(takes_all_of(matches[above], matches[place]) for above in range(place))
    ]
    assert list(shadowed(matches)) == slowly


def test_shadows() -> None:
    attached = texts(attachment="*.pdf")
    assert takes_all_of(Match(attached=True), Match(texts=attached))
    assert not takes_all_of(Match(attached=False), Match(texts=attached))
    assert takes_all_of(Match(sizes=(Size(0, 9),)), Match(sizes=(Size(1, 2), Size(4, 9))))
    assert not takes_all_of(Match(sizes=(Size(0, 9),)), Match())
    assert list(shadowed([Match(), None, Match(CRM)])) == [(2, 0)]
