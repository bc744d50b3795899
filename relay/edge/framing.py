"""Where a message ends, and whether its lines are lines. Pure; works on bytes in bulk.

The only end of DATA is CRLF.CRLF (or .CRLF at once: an empty message). Every known kind of SMTP smuggling plays on
another server taking LF.LF, LF.CRLF, CRLF.LF, CR.CR and the like for an end (CVE-2023-51764 to 51766). None of these
ends a message here; and since each holds a bare CR or LF, a message with one is refused as a whole, so nobody behind us
can be misled either. Where a credential asks for `fix`, bare CR and LF become CRLF after the true end was found, so a
message is never split.

A pass over the octets costs up to 1 us per KB, which soon is more than all the rest of a session. Hence one search for
two things (end and stuffed dots), which is a Needle's; and line ends are made anew and compared: bytes.replace() of one
octet is faster than bytes.count() or a regular expression. What is large is mostly base64, whose lines are all of one
length: their ends are columns, which can be cut out as such in a third of that time.
"""

import re

from relay.needle import Needle
from relay.outcome import Reply

END = b"\r\n.\r\n"
DOT = Needle(b"\r\n.")
MAX_LINE = 1000  # RFC 5321 4.5.3.1.6: text line with its CRLF
LARGE = 32 << 10  # octets from which on it pays to look for even lines
LEAST_WIDTH = 40  # of even lines: each costs some 5 ns

BARE = Reply(550, "5.5.2", "bare CR or LF: lines must end with CRLF")
NUL = Reply(550, "5.6.0", "NUL in the message")
LONG_LINE = Reply(550, "5.6.0", "line longer than 998 octets")

_ANY_LINE_END = re.compile(rb"\r\n|\r|\n")


class DataReader:
    """Takes one message out of a buffer that grows from read to read, looking at each octet once.

    `discard` makes it find the end without keeping what is before; `dropped` counts what that threw away.
    """

    __slots__ = ("_scanned", "_started", "_stuffed", "discard", "dropped")

    def __init__(self) -> None:
        self._scanned = 0
        self._started = False  # the message's first octets are no longer in the buffer
        self._stuffed = False  # a line that begins with a dot was seen
        self.discard = False
        self.dropped = 0

    def take(self, buffer: bytearray) -> bytes | None:
        """The message without its dots (RFC 5321 4.5.2) once its end is in `buffer`, which then begins behind it."""
        if not self._started and buffer.startswith(b".\r\n"):
            del buffer[:3]
            return b""
        end = self._find_end(buffer)
        if end < 0:
            if self.discard:
                self._drop(buffer)
            return None
        content = b"" if self.discard else bytes(memoryview(buffer)[: end + 2])
        del buffer[: end + len(END)]
        if content.startswith(b"."):
            content = content[1:]
        return content.replace(DOT.octets, b"\r\n") if self._stuffed else content

    def _find_end(self, buffer: bytearray) -> int:
        """Where END begins, or -1; `_scanned` is then where it may yet begin."""
        if not self._stuffed:
            dot = DOT.find(buffer, self._scanned)
            if dot < 0:
                self._scanned = max(0, len(buffer) - len(DOT.octets) + 1)
                return -1
            self._scanned = dot
            if END.startswith(buffer[dot : dot + len(END)]):
                return dot if len(buffer) >= dot + len(END) else -1
            self._stuffed = True
        end = buffer.find(END, self._scanned)
        if end < 0:
            self._scanned = max(self._scanned, len(buffer) - len(END) + 1)
        return end

    def _drop(self, buffer: bytearray) -> None:
        if self._scanned:
            del buffer[: self._scanned]
            self.dropped += self._scanned
            self._scanned, self._started = 0, True


def checked(content: bytes, *, fix: bool, long_lines: bool) -> bytes | Reply:
    """The content as it may go on: CRLF line ends only, no NUL, no line that RFC 5321 forbids (unless `long_lines`).

    A BDAT body whose last line has no end gains one: RFC 5322 2.1 knows no other line, and DATA could not carry it.
    """
    if b"\0" in content:
        return NUL
    start, end = even_lines(content) if len(content) >= LARGE else (0, 0)
    above, below = content[:start], content[end:]
    if _has_bare(above) or _has_bare(below):
        if not fix:
            return BARE
        content = _ANY_LINE_END.sub(b"\r\n", content)
        above, below = b"", content
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
        below += b"\r\n"
    if not long_lines and (has_long_line(above) or has_long_line(below)):
        return LONG_LINE
    return content


def even_lines(content: bytes) -> tuple[int, int]:
    """Where the lines around the middle that are all equally long begin and end, of MAX_LINE octets at most and without a bare CR
    or LF; (0, 0) if there are none."""
    first = content.find(b"\n", len(content) // 2) + 1
    width = content.find(b"\n", first) + 1 - first
    if not (first and LEAST_WIDTH <= width <= MAX_LINE):
        return 0, 0
    row, top = divmod(first - 1, width)
    column = content[top::width]  # whose LFs around `row` end these lines, and the line above them
    above = len(column[:row].rstrip(b"\n"))
    last = len(column) - len(column[row:].lstrip(b"\n")) - 1
    start, end = top + above * width + 1, top + last * width + 1
    lines = bytearray(memoryview(content)[start:end])
    del lines[width - 1 :: width]
    if lines[width - 2 :: width - 1] != b"\r" * (last - above):
        return 0, 0
    del lines[width - 2 :: width - 1]
    return (0, 0) if b"\r" in lines or b"\n" in lines else (start, end)


def _has_bare(content: bytes) -> bool:
    """Is there a CR or LF that is no part of a CRLF? If not, each CR can be left out: the LF tells where it was."""
    return content.replace(b"\r", b"").replace(b"\n", b"\r\n") != content


def has_long_line(content: bytes) -> bool:
    """Jumps from the last line end within reach to the next: one search per 1,000 octets instead of one per line."""
    start, last, before = 0, len(content) - MAX_LINE, content.rfind
    while start < last:
        end = before(b"\n", start, start + MAX_LINE)
        if end < 0:
            return True
        start = end + 1
    return False
