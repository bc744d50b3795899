"""What is read of a message: the visible text, whatever it is wrapped in; and never more than a bounded part of it."""

import base64
import quopri
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.header import Field, split
from relay.policy.evidence.text import BODY, CLOSING, MAX_PARTS, OPENING, Text, extract, from_base64, stripped


def letter(content_type: str, body: bytes, encoding: str = "8bit", subject: str = "Hi") -> bytes:
    header = f"Subject: {subject}\r\nContent-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return header.encode() + body


def extracted(content: bytes) -> Text:
    fields, rest = split(content)
    return extract(content, fields, rest)


def read(content: bytes) -> str:
    text = extracted(content)
    return (text.opening + text.rest).decode(errors="replace").strip()


HEBREW = "תודה על ההזמנה"
PAGE = (
    b"<html><head><title>No</title><style>p > a {color:red}</style></head><BODY><p>Dear&nbsp;Dana, <b>thank</b> you"
    b" &amp; &#8220;welcome&#8221;!</p><!-- unseen --><a href='x'>Shop <img src='a'></a></body></html>"
)


def test_html_is_read_without_its_tags_styles_and_references() -> None:
    text = extracted(letter("text/html; charset=utf-8", PAGE))
    assert text.opening == b" dear dana thank you & welcome shop "
    assert (text.html, text.links, text.images) == (True, 1, 1)


def test_a_stray_sign_does_not_turn_tags_into_text() -> None:
    assert stripped(b"<p>a > b</p><p class='secret'>c</p>").split() == [b"a", b">", b"b", b"c"]
    assert stripped(b"<p>seen</p><p class='cut off").split() == [b"seen"]
    assert stripped(b"<style>p{}") == b" "


@pytest.mark.parametrize(
    ("encoding", "wrapped"),
    [
        ("8bit", HEBREW.encode()),
        ("quoted-printable", quopri.encodestring(HEBREW.encode())),
        ("base64", base64.encodebytes(HEBREW.encode())),
        ("BASE64", base64.encodebytes(HEBREW.encode())[:-3]),  # cut, still readable
    ],
)
def test_transfer_encodings(encoding: str, wrapped: bytes) -> None:
    assert read(letter("text/plain; charset=utf-8", wrapped, encoding)).startswith(HEBREW[:-2])


def test_base64_is_read_as_far_as_it_goes() -> None:
    assert read(letter("text/plain", b"QUJDR", "base64")) == "abc"
    assert read(letter("text/plain", "תודה".encode(), "base64")) == ""


@pytest.mark.parametrize("charset", ["windows-1255", "iso-8859-8-i", "ISO-8859-8"])
def test_charsets(charset: str) -> None:
    assert read(letter(f'text/plain; charset="{charset}"', HEBREW.encode("iso-8859-8"))) == HEBREW


def test_a_charset_nobody_uses_in_mail_is_read_as_utf8() -> None:
    assert read(letter("text/plain; charset=punycode", HEBREW.encode())) == HEBREW


def test_subject_with_encoded_words() -> None:
    word = base64.b64encode(HEBREW.encode()).decode()
    assert extracted(letter("text/plain", b"", subject=f"=?utf-8?B?{word}?=")).subject.decode().strip() == HEBREW


def parted(kind: str, *parts: tuple[str, bytes], boundary: str = "b1") -> bytes:
    inner = b"".join(f"--{boundary}\r\nContent-Type: {k}\r\n\r\n".encode() + body + b"\r\n" for k, body in parts)
    return letter(f'multipart/{kind}; boundary="{boundary}"', b"preamble\r\n" + inner + f"--{boundary}--\r\n".encode())


def test_the_plain_part_is_read_and_the_page_counted() -> None:
    text = extracted(parted("alternative", ("text/plain", b"order " * 60), ("text/html", PAGE)))
    assert text.opening.startswith(b" order order")
    assert b"dana" not in text.opening + text.rest
    assert text.links == 1


def test_a_plain_part_that_says_little_gives_way_to_the_page() -> None:
    assert "dear dana" in read(parted("alternative", ("text/plain", b"See this in your browser"), ("text/html", PAGE)))


def test_a_plain_part_that_is_html_is_read_as_html() -> None:
    assert read(letter("text/plain", PAGE)).startswith("dear dana")
    assert read(b"\r\n" + PAGE).startswith("dear dana")  # no header at all


def test_attachments_invitations_and_amp_are_told_apart() -> None:
    invitation = ("text/calendar; method=REQUEST", b"BEGIN:VCALENDAR")
    attached = ("text/plain\r\nContent-Disposition: attachment; filename=x", b"not read")
    text = extracted(
        parted("mixed", ("text/x-amp-html", b"unread"), ("text/html", PAGE), invitation, attached, ("image/png", b""))
    )
    assert text.calendar
    assert text.attachments == 3
    assert text.opening.startswith(b" dear dana")


def test_parts_within_parts_and_a_part_without_header() -> None:
    inner = parted("alternative", ("text/html", PAGE), boundary="b2").partition(b"\r\n\r\n")[2]
    assert "dear dana" in read(parted("mixed", ('multipart/alternative; boundary="b2"', inner)))
    assert read(letter("multipart/mixed; boundary=x", b"--x\r\nno header\r\n--x--")) == "no header"


def test_a_long_text_is_read_at_both_ends() -> None:
    words = b"".join(b"w%d " % n for n in range(60_000))
    for encoding, body in (("8bit", words), ("base64", base64.encodebytes(words))):
        text = extracted(letter("text/plain", body, encoding))
        assert text.opening.startswith(b" w0 w1 ")
        assert text.rest.endswith(b" w59999 ")
        assert len(text.opening) <= OPENING + 20
        assert len(text.rest) <= BODY + CLOSING + 20


def test_links_and_references_take_no_room() -> None:
    filled = (
        b"<p>Hello</p>"
        + b"&#8203;&#x200d; " * 400
        + b"https://x.example/?code=abc " * 50
        + b"<p>Dana</p>"
        + b" and" * 2000
    )
    text = extracted(letter("text/html", filled + b"<p>Goodbye</p>"))
    assert text.opening.startswith(b" hello dana and and ")
    assert text.rest.endswith(b" and goodbye ")


def test_the_length_of_a_long_text_is_estimated_from_what_was_read() -> None:
    assert extracted(letter("text/plain", b"word " * 800)).length == pytest.approx(800 * 5, abs=5)
    assert extracted(letter("text/plain", b"word,  two " * 1500)).length == pytest.approx(1500 * 9, rel=0.02)


def test_pages_may_be_indented() -> None:
    page = b"<table>\r\n" + b"".join(b"%b<td>cell %d</td>\r\n" % (b" " * 60, n) for n in range(120)) + b"</table>"
    text = extracted(letter("text/html", page))
    assert text.opening.startswith(b" cell 0 cell 1 ")
    assert text.rest.endswith(b" cell 119 ")


def test_a_large_style_sheet_does_not_hide_the_page() -> None:
    page = b"<html><style>" + b".x{color:red}\r\n" * 3000 + b"</style><body><p>Seen</p></body></html>"
    assert read(letter("text/html", page)) == "seen"


class Counted(bytes):
    """Octets that count how many of them were looked at."""

    looked = 0

    def __getitem__(self, key: Any) -> Any:
        taken = bytes.__getitem__(self, key)
        self.looked += len(taken) if isinstance(taken, bytes) else 1
        return taken

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        end = len(self) if end is None else end
        at = bytes.find(self, sub, start, end)
        self.looked += (at if at >= 0 else end) - start
        return at


def nested(depth: int) -> bytes:
    opened = "".join(f"--b{n}\r\nContent-Type: multipart/mixed; boundary=b{n + 1}\r\n\r\n" for n in range(depth))
    return letter("multipart/mixed; boundary=b0", opened.encode() + b"--b\r\n\r\ntext")


MANY_FIELDS = b"".join(b"X-%d: y\r\n" % n for n in range(100_000))
BOMBS = {
    "50 MB of text": letter("text/plain", b"word " * 10_000_000),
    "50 MB of base64": letter("text/html", b"QUJD" * 12_500_000, "base64"),
    "50 MB of tags": letter("text/html", b"<" * 50_000_000),
    "nested 1000 deep": nested(1000),
    "a million parts": letter("multipart/mixed; boundary=b", b"--b\r\n\r\nx\r\n" * 1_000_000),
    "100,000 fields": MANY_FIELDS + letter("text/plain", b"x"),
    "a subject of 10 MB": letter("text/plain", b"x", subject="=?utf-8?Q?a?= " * 700_000),
    "a Content-Type of 10 MB": letter("text/plain; " + "boundary=" * 1_000_000, b"x"),
    "references": letter("text/html", b"&nbsp;&#847;&#1488;&lt;" * 500_000),
    "styles": letter("text/html", b"<style>" * 1_000_000),
    "dashes": letter("multipart/mixed; boundary=" + "-" * 60 + "x", b"-" * 5_000_000),
    "never closed": letter("multipart/mixed; boundary=q", b"--q\r\nContent-Type: text/html\r\n\r\n" + PAGE * 20_000),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_cost_a_bounded_number_of_octets(bomb: str) -> None:
    content = Counted(BOMBS[bomb])
    fields, rest = split(BOMBS[bomb])
    text = extract(content, fields, rest)
    assert content.looked < 2_000_000
    assert len(text.subject) <= 1202
    assert len(text.opening) + len(text.rest) <= OPENING + BODY + CLOSING + 100
    assert text.attachments <= MAX_PARTS


ANY_HEADER = st.sampled_from(
    ["text/plain", "text/html; charset=koi8-r", "multipart/mixed; boundary=b", 'multipart/x; boundary="', "", "text"]
)


@given(st.binary(), ANY_HEADER, st.sampled_from(["base64", "quoted-printable", "7bit", "x"]))
def test_any_octets_give_some_text(body: bytes, kind: str, encoding: str) -> None:
    content = letter(kind, b"--b\r\n" + body + b"\r\n--b" + body, encoding)
    text = extracted(content)
    for section in (text.subject, text.opening, text.rest):
        assert section.startswith(b" ")
        assert section.endswith(b" ")
        assert b"  " not in section.strip()


@given(st.binary())
def test_any_octets_at_all(content: bytes) -> None:
    fields, rest = split(content)
    assert extract(content, fields, rest).length >= 0
    assert extract(content, [Field("subject", content), Field("content-type", content)], rest).subject[:1] == b" "


@given(st.text(alphabet="aB3+/=!-\r\n \x80", max_size=80).map(lambda text: text.encode("latin-1")))
def test_base64_of_any_kind_is_read_as_far_as_it_goes(octets: bytes) -> None:
    content = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n" + octets
    extract(content, *split(content))
    assert from_base64(b"aGVsbG8!!!gd29ybGQ") == b"hello world"
    assert from_base64(b"abcd!!!e") == from_base64(b"abcd")
