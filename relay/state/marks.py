"""Marks: short values under hashes, which end by themselves: what is known of mail that passed lately. Pure.

FIRST   leaves the value where none stands: who finds nothing there is the first
MOST    leaves the value where none as great stands: the newest, where values are ids
PUT     leaves it, whatever stands there
DROP    takes it off where it stands, or the same with more behind it: nobody takes what another left
"""

from typing import NamedTuple

FIRST, MOST, PUT, DROP = "first", "most", "put", "drop"


class Change(NamedTuple):
    """Of the mark under `key`, 3 octets or more of a hash. `ms`: how long the value is to stay."""

    what: str
    key: bytes
    value: bytes
    ms: int = 0


def after(change: Change, stands: bytes) -> bytes:
    """What stands when it is done, where `stands` did before; b"": nothing."""
    match change.what:
        case "first":
            return stands or change.value
        case "most":
            return max(stands, change.value)
        case "drop":
            return b"" if stands.startswith(change.value) else stands
    return change.value
