"""Vocabulary: what is said where there is no room. No imports, no I/O."""

from typing import NamedTuple


class Pause(NamedTuple):
    """There is no room before `until` (ms since the epoch): nothing was tried, and nothing is written.

    why    for people, one line: "google: 20/s from 192.0.2.10"; "" where there is nothing to say
    site   whose room it is, as it turned out from the MX hosts; "": that which the delivery was queued for
    limit  what ran out, where mail to one site has more than one of it: the pool
    Mail that met the same limit of the same site waits together, of whatever domain and stream; other mail goes on.
    """

    until: int
    why: str = ""
    site: str = ""
    limit: str = ""


class Later(NamedTuple):
    """There is no room for so many ms, says who has no clock. `why` as in Pause."""

    wait: int
    why: str = ""
