"""Returned mail made to hurt: what strangers may hand in at a listener for bounces, by what is wrong with it.

`made(to)` gives each as octets with CRLF line ends; `to` is where it is handed in.
"""

from collections.abc import Iterator

MB = 1 << 20
HEAD = "From: Mail Delivery System <MAILER-DAEMON@mx.example.net>\nTo: {to}\nSubject: Undelivered Mail Returned to Sender\n"
REPORT = 'Content-Type: multipart/report; report-type=delivery-status; boundary="=b"\n\n'
WORDS = "--=b\nContent-Type: text/plain\n\nIt did not work.\n"
STATUS = """--=b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

{}
"""
FAILED = "Final-Recipient: rfc822; {}\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 no such user\n"


def made(to: str) -> dict[str, bytes]:
    return {
        name: text.replace("{to}", to).replace("\n", "\r\n").encode("utf-8", "surrogateescape") for name, text in _all()
    }


def _all() -> Iterator[tuple[str, str]]:
    whole = HEAD + REPORT + WORDS + STATUS.format(FAILED.format("lea@example.com")) + "--=b--\n"
    yield (
        "10,000 recipients",
        HEAD + REPORT + STATUS.format("\n".join(FAILED.format(f"p{number}@example.com") for number in range(10_000))),
    )
    yield (
        "10,000 recipients in words",
        HEAD + "\n" + "\n".join(f"<p{n}@example.com>: no such user" for n in range(10_000)),
    )
    yield (
        "10,000 recipients in one field",
        f"X-Failed-Recipients: {', '.join(f'p{n}@b.example' for n in range(10_000))}\n" + HEAD,
    )
    yield "nested 100 deep", HEAD + _nested(100) + WORDS
    yield "nested 100 deep, returned", HEAD + "".join("Content-Type: message/rfc822\n\n" for _ in range(100)) + whole
    yield "cut in its header", whole[: len(HEAD) + 30]
    yield "cut in its status", whole[: whole.index("Diagnostic-Code") + 4]
    yield "cut in its boundary", whole[: whole.rindex("--=b--") + 2]
    yield "without From", whole.partition("\n")[2]
    yield "without header", "\n" + whole
    yield "without anything", ""
    for charset in ("utf-16", "utf-7", "iso-2022-jp", "x-unknown", "idna", "\udcff\udcfe"):
        part = WORDS.replace("text/plain", f'text/plain; charset="{charset}"').replace(
            "work", "wo\udcffrk \udc80\udcc3"
        )
        yield f"charset {charset!r}", HEAD + REPORT + part + STATUS.format(FAILED.format("lea\udcff@example.com"))
    encoded = "Content-Transfer-Encoding: base64\n\n"
    yield "base64 that is none", HEAD + REPORT + f"--=b\n{encoded}{'!===' * 50_000}\n"
    yield "base64 without end", HEAD + REPORT + f"--=b\nContent-Type: text/html\n{encoded}{'PGE+' * 60_000}"
    yield "a mail bomb of one word", HEAD + "\n" + "bounce " * (MB // 7)
    yield "a mail bomb without line ends", HEAD + "\n" + "x" * MB
    yield "a mail bomb of tags", HEAD + "Content-Type: text/html\n\n" + "<" * MB
    yield "a mail bomb of open tags", HEAD + "Content-Type: text/html\n\n" + "<style" * (MB // 6)
    yield "a mail bomb of addresses", HEAD + "\n" + "a@b " * (MB // 4)
    yield "a mail bomb of addresses in angles", HEAD + "\n" + "<a@b.c>\n" * (MB // 8)
    yield "a mail bomb of at signs", HEAD + "\n" + "@" * MB
    yield "a mail bomb of quotes", HEAD + "\n" + '"' * MB
    yield "a mail bomb of digits", HEAD + "\n" + "550 5.1.1 " * (MB // 10)
    yield "a mail bomb of blanks", HEAD + "\n" + "\n" * MB + "end"
    yield "a mail bomb of spaces", HEAD + "\n" + (" " * 200_000 + "\n") + "end"
    yield "a mail bomb of links", HEAD + "\n" + "https://x.example/y " * (MB // 20)
    yield "a mail bomb of boundaries", HEAD + REPORT + "--=b\n" * (MB // 5)
    yield "a mail bomb of parts", HEAD + REPORT + WORDS * (MB // len(WORDS))
    yield "a mail bomb of dashes", HEAD + REPORT.replace('"=b"', "x") + "--" * (MB // 2)
    yield "a header without end", HEAD + "X: y\n" * (MB // 5)
    yield "a field without end", "Subject: " + "delivery " * (MB // 9) + "\n" + HEAD + "\nhi"
    yield "a field of folds", "Subject: a\n" + " b\n" * (MB // 3) + HEAD + "\nhi"
    yield "a Content-Type without end", HEAD + "Content-Type: multipart/report;" + ' a="b";' * 60_000 + "\n\nhi"
    yield "a subject of words", HEAD.replace("Subject: ", "Subject: " + "=?utf-8?q?=61?= " * 60_000) + "\nhi"
    yield "JSON without end", HEAD + "\n" + '{"notificationType": ' + "[" * MB
    yield (
        "JSON of names",
        HEAD + "\n" + '{"notificationType": "Bounce", ' + ", ".join(f'"{n}": 1' for n in range(20_000)) + "}",
    )
    yield "a status of colons", HEAD + REPORT + STATUS.format("a: " * (MB // 3))
    yield "a status of blocks", HEAD + REPORT + STATUS.format("Final-Recipient: rfc822; a@b.example\n\n" * 20_000)
    yield "a diagnostic without end", HEAD + REPORT + STATUS.format(FAILED.format("lea@example.com") + " x" * (MB // 2))


def _nested(deep: int) -> str:
    parts = [f'Content-Type: multipart/mixed; boundary="={level}"\n\n--={level}\n' for level in range(deep)]
    return "".join(parts)
