"""Where in Redis marks stand (relay/state/marks.py), and how the script is asked for them. Pure.

A mark is a field of a hash of some hundred, which Redis keeps as one compact list: some 40 octets a mark, a third of what a
key of its own takes. Fields do not end by themselves, hashes do: there is one for each part of the keys and each half of the
time that marks stay, and who looks for one asks the last three.
"""

from collections.abc import Sequence

from relay.state.marks import Change

PARTS = 1024  # of the keys of a tag: 2 million marks in half their time stay lists (hash-max-listpack-entries, 128)
GENERATIONS = 3  # halves of the time: the one that is, and as many as have to be over before a mark is


def tag_of(key: bytes, tags: int) -> int:
    return key[0] % tags


def question(
    tag: int, ttl_ms: int, changes: Sequence[Change], now: int
) -> tuple[tuple[str, ...], list[str | int | bytes]]:
    """Keys and words of one call; `changes` are all of this tag."""
    half = max(1, ttl_ms // 2)
    latest = now // half
    keys: list[str] = []
    words: list[str | int | bytes] = [GENERATIONS, GENERATIONS * half]
    for change in changes:
        part = int.from_bytes(change.key[1:3], "big") % PARTS
        keys += [f"postlane:{{{tag}}}:mark:{half}:{latest - back}:{part}" for back in range(GENERATIONS)]
        words += change
    return tuple(keys), words
