"""Domains whose mail waits for TLS: told of where that lasts, until they take some."""

from relay.egress.security.unmet import MOST, PATIENCE, QUIET, Unmet


def news(unmet: Unmet, now: int) -> list[tuple[str, str, str]]:
    return [(state, one.domain, one.why) for state, one in unmet.news(now)]


def test_what_lasts_is_told_once_and_over_when_mail_arrives() -> None:
    unmet = Unmet()
    unmet.waits("b.example", "no STARTTLS", 1_000)
    unmet.waits("b.example", "no STARTTLS", 1_000 + PATIENCE - 1)
    assert news(unmet, 1_000 + PATIENCE) == [], "time alone says nothing: it was not tried again"
    unmet.waits("b.example", "bad certificate", 1_000 + PATIENCE)
    assert news(unmet, 1_000 + PATIENCE) == [("firing", "b.example", "bad certificate")]
    assert news(unmet, 2_000 + PATIENCE) == []
    assert [(one.since, one.tries) for one in unmet.standing()] == [(1_000, 3)]
    assert repr(unmet) == "<Unmet of b.example>"
    unmet.arrived("c.example")
    assert news(unmet, 2_000 + PATIENCE) == []
    unmet.arrived("b.example")
    assert news(unmet, 3_000 + PATIENCE) == [("resolved", "b.example", "bad certificate")]
    assert (unmet.standing(), repr(unmet)) == ([], "<Unmet of none>")
    assert news(unmet, 4_000 + PATIENCE) == []


def test_what_was_over_before_anybody_was_told_is_not_told() -> None:
    unmet = Unmet()
    unmet.waits("b.example", "no STARTTLS", 1_000)
    unmet.arrived("b.example")
    unmet.waits("b.example", "no STARTTLS", 1_000 + PATIENCE)
    assert news(unmet, 1_000 + PATIENCE) == []


def test_it_is_over_too_when_nothing_is_tried_any_more() -> None:
    unmet = Unmet()
    for at in (0, PATIENCE):
        unmet.waits("b.example", "no STARTTLS", at)
    unmet.waits("c.example", "no STARTTLS", 0)
    assert [state for state, *_ in news(unmet, PATIENCE)] == ["firing"]
    assert news(unmet, PATIENCE + QUIET - 1) == []
    assert news(unmet, PATIENCE + QUIET) == [("resolved", "b.example", "no STARTTLS")]


def test_what_is_known_is_bounded() -> None:
    unmet = Unmet()
    for at in (0, PATIENCE):
        for number in range(MOST + 10):
            unmet.waits(f"d{number}.example", "no STARTTLS", at)
    assert len(news(unmet, PATIENCE)) == len(unmet.standing()) == MOST
