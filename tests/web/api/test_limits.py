"""How much may be asked, and of how many that is remembered."""

import pytest

from relay.web.api.limits import A_SECOND, AT_ONCE, TRUSTED, WRONG_A_SECOND, WRONG_AT_ONCE, Limits


def test_a_credential_has_its_own() -> None:
    limits = Limits()
    limits.right("proof", 0)
    assert [limits.before("shop", "proof", 0) for _ in range(int(AT_ONCE))] == [0.0] * int(AT_ONCE)
    assert limits.before("shop", "proof", 0) == 1 / A_SECOND
    assert limits.before("club", "proof", 0) == 0
    assert limits.before("shop", "proof", 1 / A_SECOND) == 0


def test_wrong_tokens_are_limited_together_and_right_ones_are_not() -> None:
    limits = Limits()
    limits.right("right", 0)
    for number in range(int(WRONG_AT_ONCE)):
        assert limits.before("shop", f"wrong {number}", 0) == 0
        limits.wrong(f"wrong {number}", 0)
    assert limits.before("shop", "another", 0) > 0
    assert limits.before("shop", "right", 0) == 0
    assert limits.before("shop", "another", 1 / WRONG_A_SECOND) == 0


def test_a_token_is_trusted_for_a_while_and_no_more_once_it_is_wrong() -> None:
    limits = Limits()
    limits.right("proof", 0)
    for _ in range(int(WRONG_AT_ONCE)):
        limits.wrong("other", 0)
    assert limits.before("shop", "proof", 0) == 0
    limits.wrong("proof", 0)
    assert limits.before("shop", "proof", 0) > 0
    limits.right("proof", 0)
    later = TRUSTED + 0.001
    limits._wrong.left, limits._wrong.at = 0.0, later
    assert limits.before("shop", "proof", later) > 0


def test_who_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.web.api.limits.KNOWN", 3)
    limits = Limits()
    for number in range(10):
        limits.right(f"proof {number}", 0)
        limits.before(f"app {number}", f"proof {number}", 0)
    assert repr(limits) == "<Limits of 3 credentials>"
