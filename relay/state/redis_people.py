"""Facts of people in Redis: a hash each, under the hash tag that the person's key decides. Pure.

postlane:{TAG}:p:KEY     name -> text; no time to live
"""

import base64
from collections.abc import Mapping, Sequence

PATTERN = "postlane:{*}:p:*"


def tag_of(key: bytes, tags: int) -> int:
    """Keys are as good as random."""
    return key[0] % tags


def name_of(key: bytes, tag: int) -> str:
    return f"postlane:{{{tag}}}:p:{base64.urlsafe_b64encode(key).decode().rstrip('=')}"


def key_of(name: bytes) -> bytes:
    """The other way round."""
    text = name.rpartition(b":p:")[2]
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


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
    """What `recall` answers of one."""
    words = [word.decode() for word in flat]
    return dict(zip(words[::2], words[1::2], strict=True))


def next_place(tag: int, servers: Sequence[str]) -> int | None:
    """The tag by which to find the next server, `servers` being those of all tags: each is looked through once, whatever tags
    it has."""
    seen = set(servers[: tag + 1])
    return next((later for later in range(tag + 1, len(servers)) if servers[later] not in seen), None)
