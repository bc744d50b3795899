"""What stands in State as a note is read as it was written, by an older Postlane too."""

from dataclasses import dataclass

import pytest

from relay.policy.note import Note


@dataclass(frozen=True, slots=True)
class Seat(Note):
    name: str
    since: int = 0


def test_it_is_read_as_it_was_written() -> None:
    assert Seat.load(Seat("here", 7).dump()) == Seat("here", 7)


def test_what_is_not_known_is_passed_over_and_what_lacks_is_as_usual() -> None:
    assert Seat.load('{"name": "here", "until": 9}') == Seat("here")


@pytest.mark.parametrize("text", ["{}", "[]", "", "null", "{"])
def test_what_is_none_raises(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        Seat.load(text)
