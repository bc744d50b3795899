"""Which rules no message can reach, because one above takes all that they would. Pure.

What cannot be told for certain is no shadow: two RE2 patterns are compared as texts only.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from relay.policy.patterns import Kind, Pattern, covers
from relay.policy.streams import Match, Size


def takes_all_of(wide: Match, narrow: Match) -> bool:
    """Is it certain that every message that `narrow` fits, `wide` fits too?"""
    if wide.credentials and not (narrow.credentials and narrow.credentials <= wide.credentials):
        return False
    attached = True if "attachment" in narrow.texts else narrow.attached
    if wide.attached is not None and wide.attached != attached:
        return False
    if wide.sizes and not (narrow.sizes and all(_within(size, wide.sizes) for size in narrow.sizes)):
        return False
    for key, patterns in wide.texts.items():
        theirs = narrow.texts.get(key)
        if theirs is None or not all(any(covers(one, other) for one in patterns) for other in theirs):
            return False
    return True


def _within(size: Size, sizes: Iterable[Size]) -> bool:
    return any(wide.least <= size.least and size.most <= wide.most for wide in sizes)


def shadowed(matches: Sequence[Match | None]) -> Iterator[tuple[int, int]]:
    """(rule that can never match, first rule above that takes all of it), by their places.

    Every rule is kept under the rarest of its conditions; of those above, a rule meets only the ones kept under something
    that it could be taken by. So 2,000 rules are not 2 million comparisons.
    """
    kept: dict[_Handle, list[int]] = {}
    common = Counter(handle for match in matches if match is not None for one in _handles(match) for handle in one)
    lengths = {len(text) for _, kind, text in common if kind == "glob"}
    for place, match in enumerate(matches):
        if match is None:
            continue
        near = {above for handle in _may_be_taken_by(match, lengths) for above in kept.get(handle, ())}
        for above in sorted(near):
            wide = matches[above]
            if wide is not None and takes_all_of(wide, match):
                yield place, above
                break
        rarest = min(_handles(match), key=lambda one: max(common[handle] for handle in one))
        for handle in set(rarest):
            kept.setdefault(handle, []).append(place)


_Handle = tuple[str, str, str]  # key, kind, text
_ANY: _Handle = ("", "", "")
_SLICE = 12  # last letters of a wildcard pattern's longest part, which it is kept under: numbers commonly end a name


def _handles(match: Match) -> list[list[_Handle]]:
    """For each key the handles of its patterns; a rule without texts and credentials is kept under _ANY."""
    keys = [[_handle(key, pattern) for pattern in patterns] for key, patterns in match.texts.items()]
    if match.credentials:
        keys.append([("credential", "", name) for name in match.credentials])
    return keys or [[_ANY]]


def _handle(key: str, pattern: Pattern) -> _Handle:
    if pattern.kind is Kind.GLOB:
        return key, "glob", max(pattern.text.split("*"), key=len)[-_SLICE:]
    if pattern.kind is Kind.WORDS:
        return key, "words", max(pattern.text.split(), key=len)
    return key, pattern.kind.value, pattern.text


def _may_be_taken_by(match: Match, lengths: Iterable[int]) -> Iterator[_Handle]:
    """Under what a rule is kept that `covers` all patterns of this one: it covers the first of each key. `lengths`: those
    of all slices that wildcard patterns are kept under."""
    yield _ANY
    for name in match.credentials:
        yield "credential", "", name
    for key, (pattern, *_) in match.texts.items():
        if pattern.kind is Kind.RE2:
            yield key, "re2", pattern.text
        elif pattern.kind is Kind.EXACT:
            yield key, "exact", pattern.text
        elif pattern.kind is Kind.WORDS:
            yield from ((key, "words", word) for word in pattern.text.split())
        text = pattern.text
        slices = {text[at : at + length] for length in lengths for at in range(len(text) - length + 1)}
        yield from ((key, "glob", one) for one in slices)
