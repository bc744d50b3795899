"""The categories, and whom they are about."""

from relay.feedback.taxonomy import MEANINGS, Category, Reach


def test_there_are_23_categories_and_each_has_its_meaning() -> None:
    assert len(Category) == 23
    assert set(MEANINGS) == set(Category)
    assert {c for c in Category if MEANINGS[c].condemns} == {"bad-mailbox", "inactive-mailbox", "bad-domain"}
    assert all(MEANINGS[c].reach is Reach.RECIPIENT for c in Category if MEANINGS[c].condemns)
