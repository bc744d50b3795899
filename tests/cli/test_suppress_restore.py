"""What events tell of people again, also of those whose addresses were removed from them."""

from typing import Any

from relay.cli.suppress_restore import got, known
from relay.masking import pseudonym

KEY = bytes(range(16))
DANA, NOBODY = "dana@b.example", pseudonym(KEY, "b.example")


def key_of(address: str) -> str:
    return {DANA: KEY.hex()}.get(address, "f" * 32)


def event(kind: str, recipient: str | None, **more: Any) -> dict[str, Any]:
    stopped = {"stop": "marketing", "brand": None, "reason": "manual", "expires": None, "source": "cli"}
    return {"time": "2026-11-21T10:05:31.104Z", "type": kind, "recipient": recipient, **stopped, **more}


def test_who_is_known_by_a_pseudonym_is_told_again_by_his_key() -> None:
    after: dict[str, Any] = {"topics_off": [], "at_most": "1/day", "paused_until": None}
    blocks, wishes = known(
        [event("suppressed", NOBODY), event("preferences-changed", NOBODY, after=after), event("suppressed", DANA)],
        key_of,
    )
    assert [(one.get("recipient"), one.get("key")) for one in blocks] == [(None, KEY.hex()), (DANA, None)]
    assert [(one.get("recipient"), one["key"], one["at_most"]) for one in wishes] == [(None, KEY.hex(), "1/day")]


def test_what_ended_later_by_address_is_not_told_again() -> None:
    begun = [event("suppressed", NOBODY), event("suppressed", NOBODY, stop="all")]
    ended = event("unsuppressed", DANA, was="manual")
    assert [one["stop"] for one in known([*begun, ended], key_of)[0]] == ["all"]
    other = event("unsuppressed", "noa@b.example", was="manual")
    assert [one["stop"] for one in known([*begun, other], key_of)[0]] == ["marketing", "all"]
    assert known([event("suppressed", DANA), ended], key_of)[0] == []
    assert known([event("suppressed", NOBODY), event("unsuppressed", NOBODY, was="manual")], key_of)[0] == []


def test_nobody_is_nobody() -> None:
    assert known([event(kind, None) for kind in ("suppressed", "unsuppressed", "preferences-changed")], key_of) == (
        [],
        [],
    )
    assert list(got([event("delivered", None, **{"class": "marketing"})])) == []


def test_what_arrived_counts_by_key_too() -> None:
    mails = [event("delivered", who, **{"class": "marketing"}) for who in (NOBODY, DANA)]
    assert [(one.get("key"), one.get("recipient")) for one in got(mails)] == [(KEY.hex(), None), (None, DANA)]
