"""The categories, whom they are about, and what is said to follow."""

import pytest

from relay.feedback.taxonomy import MEANINGS, Category, Reach, follows


def test_there_are_23_categories_and_each_has_its_meaning() -> None:
    assert len(Category) == 23
    assert set(MEANINGS) == set(Category)
    assert {c for c in Category if MEANINGS[c].condemns} == {"bad-mailbox", "inactive-mailbox", "bad-domain"}
    assert all(MEANINGS[c].reach is Reach.RECIPIENT for c in Category if MEANINGS[c].condemns)


@pytest.mark.parametrize("category", Category)
def test_only_what_condemns_an_address_is_said_to_suppress_it_at_once(category: Category) -> None:
    assert (follows(category, True, "failed") == "suppress the address") == MEANINGS[category].condemns
    assert follows(category, False, "failed") != "suppress the address"
    assert follows(category, False, "delayed").startswith("wait")
