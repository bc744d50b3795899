"""Finds a few octets in many: what bytes.find() does, at the speed of memory. Pure.

For a single octet bytes.find() asks the C library, whose vector instructions take 1.5 us for 100 KB; for two or more it
compares one by one, which takes 40 to 180 us. The search of the Rust crate memchr, which an Aho-Corasick automaton of one
pattern is, takes 5. It lists every occurrence, though, so a body full of them would make it slow: the beginning, where what
occurs often is soon found, is searched by find(), and the rest piece by piece.
"""

from ahocorasick_rs import BytesAhoCorasick

BEGINNING = 1024  # octets; less is done by find() before the automaton was called
PIECE = 16 << 10  # octets: if nothing but needles, a list that takes 0.8 ms, once a search


class Needle:
    """`octets`, two at the least. Thread-safe."""

    __slots__ = ("_listed", "_more", "octets")

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self._listed = BytesAhoCorasick([octets]).find_matches_as_indexes
        self._more = len(octets) - 1  # of the next piece, so that none is missed that lies across

    def __repr__(self) -> str:
        return f"<Needle {self.octets!r}>"

    def find(self, content: bytes | bytearray, start: int = 0) -> int:
        """Where it first begins in `content` from `start` (not negative) on, or -1."""
        size, at = len(content), start + BEGINNING
        found = content.find(self.octets, start, at + self._more)
        if found >= 0 or at >= size:
            return found
        view = memoryview(content)  # for which the library holds on to Python's lock
        while at < size:
            listed = self._listed(view[at : at + PIECE + self._more])
            if listed:
                return at + listed[0][1]
            at += PIECE
        return -1
