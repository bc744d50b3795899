"""Facts of people in Redis: a hash each, beside what else is kept of that person. Pure.

postlane:{TAG}:p:KEY     name -> text; no time to live
"""

from collections.abc import Mapping, Sequence

from relay.state.redis_places import tag_of

PATTERN = "postlane:{*}:p:*"
KEY_OCTETS = 16


def name_of(key: bytes, tags: int) -> bytes:
    return f"postlane:{{{tag_of(key, tags)}}}:p:".encode() + key


def word_of(tag: int) -> str:
    """Under which it stands whether people are known here, or were."""
    return f"postlane:{{{tag}}}:people"


def key_of(name: bytes) -> bytes:
    """The other way round."""
    return name[-KEY_OCTETS:]


def by_tag(keys: Sequence[bytes], tags: int) -> dict[int, list[bytes]]:
    """Each once."""
    found: dict[int, list[bytes]] = {}
    for key in dict.fromkeys(keys):
        found.setdefault(tag_of(key, tags), []).append(key)
    return found


def words_of(facts: Mapping[str, str | None]) -> list[str | int]:
    """What `learn` is told."""
    gone = [name for name, text in facts.items() if text is None]
    put = [word for name, text in facts.items() if text is not None for word in (name, text)]
    return [len(gone), *gone, *put]


def facts_of(flat: Sequence[bytes]) -> dict[str, str]:
    """What `about` answers of one."""
    words = [word.decode() for word in flat]
    return dict(zip(words[::2], words[1::2], strict=True))


def next_place(tag: int, servers: Sequence[str]) -> int | None:
    """The tag by which to find the next server, `servers` being those of all tags: each is looked through once, whatever tags
    it has."""
    seen = set(servers[: tag + 1])
    return next((later for later in range(tag + 1, len(servers)) if servers[later] not in seen), None)
