"""By what a report without any token of ours finds what it is about: Message-ID and address, as one number. Pure.

The spool keeps it beside what it sent (spool/schema.py). Two deliveries may share one by chance, or because an app uses a
Message-ID twice, so what is found is compared with what was sought.
"""

from hashlib import blake2s

BITS = 40  # among a hundred million deliveries one in ten thousand finds a stranger as well

Sought = tuple[str, str]  # Message-ID, address


def clue(message_id: str, address: str) -> int:
    """0 where there is no Message-ID: nothing can be found by it."""
    named = plain(message_id)
    return (
        int.from_bytes(blake2s(f"{named}\n{address.lower()}".encode(), digest_size=BITS // 8).digest()) if named else 0
    )


def same(message_id: str, address: str, sought: Sought) -> bool:
    return (plain(message_id), address.lower()) == (plain(sought[0]), sought[1].lower())


def plain(message_id: str) -> str:
    """Without its angle brackets, which some reports leave out (RFC 5322 3.6.4)."""
    return message_id.strip().removeprefix("<").removesuffix(">").strip()
