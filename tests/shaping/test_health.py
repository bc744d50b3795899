"""Sources that step aside and return: told by replies, with a clock of the test's own."""

import pytest

from relay.outcome import Outcome, Reply, Scope
from relay.shaping import health
from relay.shaping.health import (
    BLOCK_PAUSE,
    BLOCK_TRIAL,
    FAULT_PAUSE,
    FAULT_TRIAL,
    LINGER,
    PATIENCE,
    Aside,
    Health,
    Sign,
    sign_of,
)

A, B = "192.0.2.1", "192.0.2.2"
SITE, OTHER = "mx.site.test", "mx.other.test"
WHY = "554 5.7.1 blocked"


def outcome(code: int, command: str, scope: Scope = Scope.RECIPIENT, *, internal: bool = False) -> Outcome:
    return Outcome(Reply(code, "", "text"), command, scope, internal=internal)


@pytest.mark.parametrize(
    ("found", "blocked", "sign"),
    [
        (outcome(451, "CONNECT", Scope.SOURCE, internal=True), False, Sign.FAULT),
        (outcome(450, "QUOTA", Scope.SOURCE, internal=True), False, None),
        (outcome(421, "CONNECT", Scope.SITE, internal=True), False, None),  # the site does not answer
        (outcome(421, "END", Scope.HOST, internal=True), True, None),  # our own words block nobody
        (outcome(554, "CONNECT", Scope.HOST), True, Sign.BLOCKED),
        (outcome(550, "EHLO", Scope.HOST), True, Sign.BLOCKED),
        (outcome(550, "MAIL", Scope.MESSAGE), True, Sign.DOUBTFUL),
        (outcome(550, "END", Scope.MESSAGE), True, Sign.DOUBTFUL),
        (outcome(250, "END"), False, Sign.GOOD),
        (outcome(550, "RCPT"), False, Sign.GOOD),  # it may not know the recipient, but it talks to us
        (outcome(450, "DATA", Scope.MESSAGE), False, Sign.GOOD),
        (outcome(421, "RCPT", Scope.HOST), False, None),
        (outcome(550, "MAIL", Scope.MESSAGE), False, None),
        (outcome(421, "CONNECT", Scope.HOST), False, None),
    ],
)
def test_what_an_outcome_says_of_its_source(found: Outcome, blocked: bool, sign: Sign | None) -> None:
    assert sign_of(found, blocked=blocked) is sign


def test_a_source_that_cannot_be_used_steps_aside_everywhere() -> None:
    one = Health()
    assert one.usable(A, SITE, 0)
    assert one.note(A, SITE, Sign.FAULT, 0, "cannot send") == Aside(A, "", FAULT_PAUSE[0], "cannot send")
    assert not one.usable(A, SITE, FAULT_PAUSE[0] - 1)
    assert not one.usable(A, OTHER, 0)
    assert one.usable(B, SITE, 0)
    assert one.back(A, OTHER, 0) == FAULT_PAUSE[0]
    assert one.usable(A, SITE, FAULT_PAUSE[0])
    assert one.back(A, OTHER, FAULT_PAUSE[0] + 7) == FAULT_PAUSE[0] + 7


def test_a_blocked_source_steps_aside_for_that_site_alone() -> None:
    one = Health()
    one.note(A, SITE, Sign.BLOCKED, 0, WHY)
    assert not one.usable(A, SITE, 0)
    assert one.usable(A, OTHER, 0)
    assert one.usable(B, SITE, 0)
    assert one.standing(0) == [Aside(A, SITE, BLOCK_PAUSE[0], WHY)]
    assert one.standing(BLOCK_PAUSE[0]) == one.standing(0), "until it is known to be well"
    assert one.standing(BLOCK_PAUSE[0] + LINGER) == []
    one.note(A, SITE, Sign.GOOD, BLOCK_PAUSE[0])
    assert one.standing(BLOCK_PAUSE[0]) == []


def test_a_block_that_may_be_about_the_message_counts_with_others() -> None:
    one = Health()
    for _ in range(PATIENCE - 1):
        assert one.note(A, SITE, Sign.DOUBTFUL, 0, WHY) is None
    assert one.usable(A, SITE, 0)
    assert one.standing(0) == []
    one.note(A, SITE, Sign.GOOD, 0)
    for _ in range(PATIENCE - 1):
        assert one.note(A, SITE, Sign.DOUBTFUL, 0, WHY) is None
    assert one.note(A, SITE, Sign.DOUBTFUL, 0, WHY) == Aside(A, SITE, BLOCK_PAUSE[0], WHY)
    assert not one.usable(A, SITE, 0)


@pytest.mark.parametrize(("sign", "lengths"), [(Sign.FAULT, FAULT_PAUSE), (Sign.DOUBTFUL, BLOCK_PAUSE)])
def test_pauses_grow_up_to_a_bound_and_begin_afresh_after_a_good_reply(sign: Sign, lengths: tuple[int, int]) -> None:
    one, now, seen = Health(), 0, []
    for _ in range(PATIENCE - 1 if sign is Sign.DOUBTFUL else 0):
        one.note(A, SITE, sign, now)
    for _ in range(40):
        one.note(A, SITE, sign, now)
        seen.append(one.back(A, SITE, now) - now)
        now = one.back(A, SITE, now)
        one.taken(A, SITE, now)
    assert seen[:3] == [lengths[0], 2 * lengths[0], 4 * lengths[0]]
    assert seen == sorted(seen)
    assert seen[-1] == lengths[1]
    one.note(A, SITE, Sign.GOOD, now)
    assert one.usable(A, SITE, now)
    one.note(A, SITE, Sign.FAULT, now)
    assert one.back(A, SITE, now) - now == FAULT_PAUSE[0]


def test_replies_that_were_under_way_when_a_pause_began_do_not_make_it_longer() -> None:
    one = Health()
    one.note(A, SITE, Sign.BLOCKED, 0, WHY)
    assert [one.note(A, SITE, Sign.BLOCKED, 10, WHY) for _ in range(40)] == [None] * 40
    assert one.back(A, SITE, 10) == BLOCK_PAUSE[0]


def test_after_a_pause_one_attempt_tries() -> None:
    one, now = Health(), BLOCK_PAUSE[0]
    one.note(A, SITE, Sign.BLOCKED, 0, WHY)
    one.taken(A, SITE, now)
    assert not one.usable(A, SITE, now)
    assert one.usable(A, SITE, now + BLOCK_TRIAL), "a reply that never comes holds nobody for ever"
    one.note(A, SITE, None, now + 5)
    assert one.usable(A, SITE, now + 5), "it learnt nothing: the next may try"
    one.taken(A, SITE, now + 6)
    one.note(A, SITE, Sign.BLOCKED, now + 7, WHY)
    assert one.back(A, SITE, now + 7) == now + 7 + 2 * BLOCK_PAUSE[0]


def test_one_site_that_is_slow_keeps_a_mended_source_from_the_others_for_seconds_only() -> None:
    one, now = Health(), FAULT_PAUSE[0]
    one.note(A, SITE, Sign.FAULT, 0)
    one.taken(A, SITE, now)
    assert not one.usable(A, OTHER, now)
    assert one.usable(A, OTHER, now + FAULT_TRIAL)
    one.note(A, SITE, Sign.GOOD, now + 1)
    assert one.usable(A, OTHER, now + 1)


def test_what_is_well_is_not_marked() -> None:
    one = Health()
    one.taken(A, SITE, 0)
    one.note(A, SITE, Sign.GOOD, 0)
    one.note(A, SITE, None, 0)
    assert repr(one) == "<Health 0 marks>"


def test_sources_that_a_reload_took_away_are_forgotten() -> None:
    one = Health()
    one.note(A, SITE, Sign.BLOCKED, 0, WHY)
    one.note(B, SITE, Sign.FAULT, 0, WHY)
    one.keep([B])
    assert one.usable(A, SITE, 0)
    assert not one.usable(B, SITE, 0)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "MOST", 3)
    one = Health()
    for number in range(10):
        one.note(A, f"site{number}", Sign.BLOCKED, 0, WHY)
    assert [aside.site for aside in one.standing(0)] == ["site7", "site8", "site9"]
