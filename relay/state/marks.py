"""Marks: short values under hashes, which end by themselves: what is known of mail that passed lately. Pure.

FIRST   leaves the value where none stands: who finds nothing there is the first
MOST    leaves the value where none as great stands: the newest, where values are ids
PUT     leaves it, whatever stands there
DROP    takes it off where it stands, or the same with more behind it: nobody takes what another left
TAKE    counts one more, unless there are as many as `value` says (a number, as text) that came within `ms`. Its answer is not
        what stood there, but b"" where it is counted, and else in how many ms there is room again, as text
"""

from typing import NamedTuple

FIRST, MOST, PUT, DROP, TAKE = "first", "most", "put", "drop", "take"


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


def taken(change: Change, stands: bytes, now: int) -> tuple[bytes, bytes]:
    """Of a TAKE at `now` (ms): what stands when it is done, and the answer. A mark of its kind is the times of what was
    counted, the oldest first."""
    times = [at for at in map(int, stands.split()) if at > now - change.ms]
    limit = int(change.value)
    if len(times) >= limit:
        return b" ".join(b"%d" % at for at in times), b"%d" % (times[-limit] + change.ms - now)
    return b" ".join(b"%d" % at for at in (*times, now)), b""
