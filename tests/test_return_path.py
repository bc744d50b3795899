"""Return paths: what we made opens, and nothing else does."""

import random

import pytest

from relay.ids import Ids
from relay.return_path import AHEAD, MAX_AGE, ReturnPaths

NOW = 1_795_267_531_104
SECRET, OTHER = b"s" * 32, b"o" * 32
ID = Ids("n", 0, lambda: NOW).next()


def local(paths: ReturnPaths, index: int = 3) -> str:
    address = paths.address(ID, index, "bounce.shop.example")
    part, _, domain = address.rpartition("@")
    assert domain == "bounce.shop.example"
    assert len(part) <= 64
    return part


def test_it_names_message_and_recipient_in_any_case() -> None:
    paths = ReturnPaths([SECRET])
    for text in (local(paths), local(paths).upper()):
        assert paths.open(text, NOW) == (ID, 3)
    assert local(paths) == local(paths), "a retry goes by the same path: greylisting compares it"
    assert repr(paths) == "<ReturnPaths of 1 secrets>"


def test_who_leaves_has_a_token_of_another_kind() -> None:
    paths = ReturnPaths([SECRET])
    leaving = paths.leaving(ID, 3, "bounce.shop.example").rpartition("@")[0]
    assert len(leaving) <= 64
    assert paths.leaver(leaving.upper(), NOW) == (ID, 3)
    assert paths.open(leaving, NOW) is None
    for forged in (f"u-{local(paths)[2:]}", local(paths), leaving[:-1], "u-" + "0" * 32):
        assert paths.leaver(forged, NOW) is None
    assert paths.open(f"b-{leaving[2:]}", NOW) is None, "one is never taken for the other"


def test_it_is_good_for_as_long_as_what_was_sent_is_remembered() -> None:
    short = ReturnPaths([SECRET], max_age=1_000)
    assert short.open(local(short), NOW + 1_000) == (ID, 3)
    assert short.open(local(short), NOW + 1_001) is None


def test_after_a_change_of_secrets_old_ones_still_open() -> None:
    old, both = ReturnPaths([OTHER]), ReturnPaths([OTHER, SECRET])
    assert both.open(local(old), NOW) == both.open(local(both), NOW) == (ID, 3)
    assert old.open(local(both), NOW) is None


@pytest.mark.parametrize("age", [MAX_AGE + 1, -AHEAD - 1])
def test_it_is_good_for_a_time(age: int) -> None:
    paths = ReturnPaths([SECRET])
    assert paths.open(local(paths), NOW + age) is None
    assert paths.open(local(paths), NOW + age - (1 if age > 0 else -1)) == (ID, 3)


def test_forged_ones_are_nobodys() -> None:
    paths, draw = ReturnPaths([SECRET]), random.Random(6)
    honest = local(paths)
    for at in range(2, len(honest)):
        assert paths.open(honest[:at] + ("0" if honest[at] != "0" else "1") + honest[at + 1 :], NOW) is None
    for text in ("", "b-", "b-" + "z" * 32, honest[:-1], honest + "0", "x" + honest[1:], "postmaster", "b-" + "é" * 32):
        assert paths.open(text, NOW) is None
    assert all(paths.open(f"b-{draw.getrandbits(128):032x}", NOW) is None for _ in range(2_000))
