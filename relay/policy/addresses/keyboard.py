"""How far one spelling is from another, as fingers on a keyboard go: a weighted edit distance. Pure.

The distance is the restricted one of Damerau: letters left out, put in, put in another's place, and two neighbours swapped.
What happens easily costs less: Damerau (1964) found that one such slip makes up four fifths of all misspellings, and who has
counted mistyped mail domains sees swapped, doubled and lost letters far more often than a key from elsewhere.
"""

from functools import lru_cache

# Rows of QWERTY, each key half a key to the right of the one above; AZERTY and QWERTZ differ in six letters, which domains of
# the large providers hardly have.
_ROWS = ("1234567890-", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_AT = {key: (row + (0, 0.5, 0.75, 1.25)[line], line) for line, keys in enumerate(_ROWS) for row, key in enumerate(keys)}

SWAPPED = 0.5
DOUBLED = 0.5  # gmaill, and gogle for google
LOST = 0.8
NEIGHBOUR = 0.6  # of the key that was meant, or pressed beside it
ALIKE = 0.7  # in sound or in looks
STRAY = 1.0
OTHER = 1.2

_ALIKE = {
    frozenset(pair)
    for pair in ("0o", "1l", "1i", "il", "mn", "ae", "ei", "ao", "ou", "ck", "sz", "vw", "iy", "5s", "uv")
}


def near(a: str, b: str) -> bool:
    """Do these keys touch?"""
    if a not in _AT or b not in _AT:
        return False
    (x, row), (y, line) = _AT[a], _AT[b]
    return abs(x - y) <= 1 and abs(row - line) <= 1


def _put_in(typed: str, at: int) -> float:
    """The cost of the letter at `at`, which was not meant."""
    around = {typed[at - 1] if at else "", typed[at + 1] if at + 1 < len(typed) else ""}
    if typed[at] in around:
        return DOUBLED
    return NEIGHBOUR if any(near(typed[at], other) for other in around if other) else STRAY


def _left_out(meant: str, at: int) -> float:
    return DOUBLED if at and meant[at] == meant[at - 1] else LOST


def _instead(typed: str, meant: str) -> float:
    if typed == meant:
        return 0
    if near(typed, meant):
        return NEIGHBOUR
    return ALIKE if frozenset((typed, meant)) in _ALIKE else OTHER


@lru_cache(maxsize=4096)  # the same few mistakes come again and again
def distance(typed: str, meant: str) -> float:
    """0 where they are the same; about 1 for each slip."""
    before: list[float] = []
    above = [0.0]
    for column in range(len(meant)):
        above.append(above[-1] + _left_out(meant, column))
    for row in range(1, len(typed) + 1):
        here = [above[0] + _put_in(typed, row - 1)]
        for column in range(1, len(meant) + 1):
            best = min(
                above[column] + _put_in(typed, row - 1),
                here[column - 1] + _left_out(meant, column - 1),
                above[column - 1] + _instead(typed[row - 1], meant[column - 1]),
            )
            swapped = row > 1 and column > 1 and typed[row - 2 : row] == meant[column - 1] + meant[column - 2]
            if swapped and meant[column - 1] != meant[column - 2]:
                best = min(best, before[column - 2] + SWAPPED)
            here.append(best)
        before, above = above, here
    return round(above[-1], 2)
