"""SMTP replies out of octets (RFC 5321 4.2, RFC 2034). Pure; the peer may be hostile.

Strategy: whole lines only; a reply's lines are joined by a blank; the enhanced code is split off. What is no reply,
or too long, sets `fault` and ends the reading: the caller closes the connection.
"""

import re
from functools import lru_cache

from relay.outcome import Reply

MAX_LINE = 4096  # RFC 5321 4.5.3.1.5 says 512 octets; real hosts put URLs and session data behind it
MAX_LINES = 128  # of one reply; the longest seen in the field are some 20 lines of policy text
MAX_TEXT = 1024  # characters kept of a reply: it is stored with every attempt and quoted in reports

_SHORT = 128  # octets of a line whose reply is kept for the next time: 512 of them are some 300 KB
_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ \t-])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]+|$)")


class ReplyReader:
    """Collects octets, gives replies. `fault` ("" while all is well) says why the peer cannot be understood."""

    __slots__ = ("_lines", "_rest", "fault")

    def __init__(self) -> None:
        self.fault = ""
        self._rest = b""
        self._lines: list[str] = []

    def __repr__(self) -> str:
        return f"<ReplyReader lines={len(self._lines)} rest={len(self._rest)} fault={self.fault!r}>"

    @property
    def clean(self) -> bool:
        """Is nothing left over, not even a part of a line?"""
        return not (self.fault or self._rest or self._lines)

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that `data` completes. Nothing more comes after a fault."""
        if self.fault:
            return []
        if self._rest:
            data = self._rest + data
        lines = data.split(b"\n")
        self._rest = lines.pop()
        replies: list[Reply] = []
        for line in lines:
            if not self._take(line, replies):
                return replies
        if len(self._rest) > MAX_LINE:
            self._fail(f"a line of more than {MAX_LINE} octets")
        return replies

    def _take(self, line: bytes, replies: list[Reply]) -> bool:
        if not self._lines and len(line) <= _SHORT and (reply := _single(line)) is not None:
            replies.append(reply)
            return True
        if len(line) > MAX_LINE:
            return self._fail(f"a line of more than {MAX_LINE} octets")
        match = _LINE.fullmatch(line.removesuffix(b"\r"))
        if match is None:
            return self._fail(f"{printable(line[:60].decode('latin-1'))!r} is no SMTP reply")
        code, separator, text = match.groups()
        self._lines.append(text.decode("utf-8", "replace") if text else "")
        if separator == b"-":
            return len(self._lines) < MAX_LINES or self._fail(f"a reply of more than {MAX_LINES} lines")
        replies.append(make_reply(int(code), self._lines))
        self._lines = []
        return True

    def _fail(self, why: str) -> bool:
        self.fault, self._rest, self._lines = why, b"", []
        return False


@lru_cache(maxsize=512)
def _single(line: bytes) -> Reply | None:
    """A reply of one short line, else None. A host says the same to most commands, so most replies are in the cache."""
    match = _LINE.fullmatch(line.removesuffix(b"\r"))
    if match is None or match[2] == b"-":
        return None
    return make_reply(int(match[1]), [match[3].decode("utf-8", "replace") if match[3] else ""])


def make_reply(code: int, lines: list[str]) -> Reply:
    """One reply of the lines' texts (without the code).

    An enhanced code counts only where its class agrees with the reply code (RFC 2034 4); another is left in the text,
    for people. RFC 2034 4 has it repeated in each line: said once is enough.
    """
    match = _ENHANCED.match(lines[0])
    if match is None or ord(match[1][0]) - 48 != code // 100:
        return Reply(code, "", _one_line(lines))
    enhanced = match[1]
    texts = [line[match.end() :] if line.startswith(match[0]) else line for line in lines]
    return Reply(code, enhanced, _one_line(texts))


def _one_line(lines: list[str]) -> str:
    text = lines[0].strip() if len(lines) == 1 else " ".join(filter(None, (line.strip() for line in lines)))
    return printable(text[:MAX_TEXT])


def printable(text: str) -> str:
    """`text` without control characters: it goes into logs, events and terminals."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
