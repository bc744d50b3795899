"""`python -m bench.returns`: what it costs to understand a reply, a returned mail, and a flood of them.

    python -m bench.returns [--mails DIR] [--program] [--bounces 3000]

A reply is classified: many usual ones, and those made to take long within what is looked at. A returned mail is read, in the
usual forms; `--mails` names a folder of others, one mail a file. Both are this process's CPU, of each the least of some rounds,
so that what else the machine does counts little. `--program` starts a node of one worker, has it deliver as many messages by
return paths, and hands in a bounce of each over some connections: bounces a second from the first connection to the last event,
and the node's CPU for one, in which the report to the app and its delivery are. It prints Markdown.
"""

import argparse
import smtplib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Thread

import orjson

from bench.load import Sink
from bench.postlane_node import PostlaneNode
from bench.processes import BenchError, cpu_seconds, free_port, wait_until
from bench.signing_key import DOMAIN, SigningKey
from relay.feedback.parts import MAX_OCTETS
from relay.feedback.replies import diagnose, rank_of
from relay.feedback.returned import read_mail
from relay.feedback.wording import TEXT_LIMIT
from relay.outcome import Reply
from relay.return_path import ReturnPaths

ROUNDS = 15
SESSIONS = 20
RETURN_PATH = "bounce.bench.example"

USUAL = (
    (550, "5.1.1", "<dana@example.com>: Recipient address rejected: User unknown in virtual mailbox table", "RCPT"),
    (
        550,
        "5.1.1",
        "The email account that you tried to reach does not exist. Please try double-checking the recipient's email address for "
        "typos or unnecessary spaces. For more information, go to https://support.google.com/mail/?p=NoSuchUser",
        "RCPT",
    ),
    (452, "4.2.2", "The recipient's inbox is out of storage space. Please direct the recipient to free some", "RCPT"),
    (552, "5.2.2", "Mailbox quota exceeded", "RCPT"),
    (554, "5.7.1", "Service unavailable; Client host [192.0.2.7] blocked using zen.example.org", "RCPT"),
    (
        421,
        "4.7.0",
        "[TSS04] Messages from 192.0.2.7 temporarily deferred due to unexpected volume or complaints",
        "MAIL",
    ),
    (550, "5.7.26", "Unauthenticated email from shop.example is not accepted due to domain's DMARC policy", "END"),
    (450, "4.2.0", "<dana@example.com>: Recipient address rejected: Greylisted, see http://postgrey.example", "RCPT"),
    (550, "", "Requested action not taken: mailbox unavailable", "RCPT"),
    (451, "4.3.0", "Temporary lookup failure", "RCPT"),
    (
        550,
        "5.7.1",
        "Our system has detected that this message is likely suspicious due to the very low reputation",
        "END",
    ),
    (552, "5.3.4", "Message size exceeds fixed maximum message size", "END"),
    (550, "5.4.1", "Recipient address rejected: Access denied. AS(201806281)", "RCPT"),
    (454, "4.7.1", "Relay access denied", "RCPT"),
    (550, "", "El buzón del destinatario está lleno y no puede recibir mensajes en este momento", "RCPT"),
    (550, "", "Die Adresse ist unbekannt", "RCPT"),
    (554, "", "no", "END"),
    (550, "5.2.1", "The user you are trying to contact is disabled", "RCPT"),
)
SLOW = (
    "the ",
    "user ",
    "mailbox is ",
    "a",
    "é",
    "5.1.1 ",
    "no such ",
    "550 ",
    "x" * 40 + " ",
    "не ",
    "message was rejected due to ",
    "authorized isp declined file judged negotiation assigned not ",
)

HEAD = """\
Return-Path: <>
Received: from mx.example.net (mx.example.net [192.0.2.25]) by relay.bench.example with ESMTP; Sun, 22 Nov 2026 10:00:00 +0000
Date: Sun, 22 Nov 2026 10:00:00 +0000
From: Mail Delivery System <MAILER-DAEMON@mx.example.net>
To: {to}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
"""
WORDS = """\
This is the mail system at host mx.example.net.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

For further assistance, please send mail to postmaster.

<dana@example.com>: host in.example.com[198.51.100.4] said: 550 5.1.1
    <dana@example.com>: Recipient address rejected: User unknown in virtual
    mailbox table (in reply to RCPT TO command)
"""
STATUS = """\
Reporting-MTA: dns; mx.example.net
X-Postfix-Queue-ID: 4F1Q2s3xY2z1
Arrival-Date: Sun, 22 Nov 2026 09:59:58 +0000

Final-Recipient: rfc822; dana@example.com
Original-Recipient: rfc822;dana@example.com
Action: failed
Status: 5.1.1
Remote-MTA: dns; in.example.com
Diagnostic-Code: smtp; 550 5.1.1 <dana@example.com>: Recipient address rejected:
    User unknown in virtual mailbox table
"""
RETURNED = (
    "From: Shop <orders@shop.example>\nTo: dana@example.com\nSubject: Your order\nMessage-ID: <7@shop.example>\n\n"
    + ("Thank you for your order of flowers and a vase, which leaves today.\n" * 150)
)


def multipart(kind: str, *parts: tuple[str, str]) -> str:
    """Of (media type, content) each."""
    inside = "".join(f"--b/1\nContent-Type: {media}\n\n{content}\n" for media, content in parts)
    return f'Content-Type: multipart/report; report-type={kind}; boundary="b/1"\n\n{inside}--b/1--\n'


def report(to: str, words: str = WORDS, status: str = STATUS, media: str = "text/plain") -> str:
    parts = ((media, words), ("message/delivery-status", status), ("message/rfc822", RETURNED))
    return HEAD.format(to=to) + multipart("delivery-status", *parts)


def usual_mails() -> Iterator[bytes]:
    """Forms of the mail systems that send most reports."""
    to = "orders@shop.example"
    head, page = HEAD.format(to=to), "".join(f"<p>{line}</p>" for line in WORDS.splitlines())
    full = "Action: failed\nStatus: 5.2.2\nDiagnostic-Code: smtp; 552 full\n"
    many = STATUS + "".join(f"\nFinal-Recipient: rfc822; p{number}@example.com\n{full}" for number in range(20))
    fields = "Feedback-Type: abuse\nUser-Agent: P/1\nVersion: 1\n"
    complaint = multipart("feedback-report", ("message/feedback-report", fields), ("message/rfc822", RETURNED))
    texts = (
        report(to),
        report(to, words="Delivery has failed to these recipients or groups:\n\ndana@example.com\n" * 3),
        report(to, status=many),
        report(to, words=f"<html><body>{page}</body></html>", media="text/html"),
        f"{head}X-Failed-Recipients: dana@example.com\n\n{WORDS}\n--- This is a copy of the message. ---\n\n{RETURNED}",
        f"{head}\nHi. This is the qmail-send program.\n\n<dana@example.com>:\nSorry, no mailbox here by that name. (#5.1.1)\n",
        head.replace("Undelivered Mail Returned to Sender", "complaint") + complaint,
    )
    yield from (text.replace("\n", "\r\n").encode() for text in texts)


def least(work: Callable[[], object]) -> float:
    """Microseconds of CPU, as of words that were not met before."""
    spans = []
    for _ in range(ROUNDS):
        rank_of.cache_clear()
        begun = time.thread_time_ns()
        work()
        spans.append(time.thread_time_ns() - begun)
    return min(spans) / 1_000


def classification() -> Iterator[str]:
    usual = [(Reply(code, enhanced, text), command) for code, enhanced, text, command in USUAL]
    slow = [(Reply(550, "", (text * TEXT_LIMIT)[:TEXT_LIMIT]), "RCPT") for text in SLOW]
    spans = [least(lambda one=one: diagnose(*one)) for one in usual]  # type: ignore[misc]
    worst, which = max((least(lambda one=one: diagnose(*one)), one[0].text[:20]) for one in slow)  # type: ignore[misc]
    yield "| classification of a reply | CPU | wanted |\n|---|---|---|"
    yield f"| median of {len(usual)} usual ones | {statistics.median(spans):.1f} us | 20 us |"
    yield f"| the longest of them | {max(spans):.1f} us | |"
    yield f"| the worst of {len(slow)} of {TEXT_LIMIT} characters (`{which.strip()}...`) | {worst:.1f} us | 200 us |\n"


def reading(folder: Path | None) -> Iterator[str]:
    if folder is None:
        what, mails = "forms", list(usual_mails())
    else:
        what, mails = "mails", [path.read_bytes()[:MAX_OCTETS] for path in sorted(folder.rglob("*")) if path.is_file()]
    spans = sorted(least(lambda mail=mail: read_mail(mail)) for mail in mails)  # type: ignore[misc]
    yield "| reading a returned mail | CPU | wanted |\n|---|---|---|"
    yield f"| median of {len(mails)} {what} | {statistics.median(spans) / 1_000:.2f} ms | 1.5 ms |"
    yield f"| 95 of 100 | {spans[int(len(spans) * 0.95)] / 1_000:.2f} ms | |"
    yield f"| the longest | {spans[-1] / 1_000:.2f} ms | |\n"


# --- through the program


def sent(port: int, count: int) -> list[str]:
    """Hand in so many messages; their ids."""
    found = list[str]()
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        letter = f"From: orders@{DOMAIN}\r\nTo: dana@example.com\r\nSubject: hi\r\n\r\nhi\r\n"
        client.ehlo()
        for number in range(count):
            client.mail(f"orders@{DOMAIN}")
            client.rcpt(f"p{number}@example.com")
            code, answer = client.data(letter)
            if code != 250:
                raise BenchError(f"{code} {answer.decode()}")
            found.append(answer.split()[2].decode())
    return found


def hand_in(port: int, paths: Sequence[str]) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.ehlo()
        for path in paths:
            client.mail("")
            client.rcpt(path)
            code, answer = client.data(report(path).replace("\n", "\r\n"))
            if code != 250:
                raise BenchError(f"{code} {answer.decode()}")


def events(data: Path, kind: str) -> int:
    files = (data / "events").glob("*.jsonl")
    return sum(orjson.loads(line)["type"] == kind for file in files for line in file.read_bytes().splitlines() if line)


def wait(data: Path, kind: str, count: int, seconds: float) -> float:
    """When there were so many events."""
    wait_until(lambda: events(data, kind) >= count, seconds, f"not {count} events {kind}", every=0.5)
    return time.monotonic()


def with_returns(directory: Path, port: int) -> None:
    """The node's files, with a return path and a listener for what comes back."""
    config, brands = directory / "config" / "postlane.toml", directory / "policies" / "brands.toml"
    config.write_text(config.read_text() + f'\n[[listener]]\nbind = "127.0.0.1:{port}"\nrole = "bounces"\n')
    brands.write_text(brands.read_text() + f'return_path_domain = "{RETURN_PATH}"\n')


def through_the_program(directory: Path, count: int) -> Iterator[str]:
    directory.chmod(0o755)
    sink, port = Sink(directory), free_port()
    sink.start()
    node = PostlaneNode(directory, f"127.0.0.1:{sink.port}", SigningKey.make(), workers=1)
    with_returns(directory, port)
    try:
        node.start()
        ids = sent(node.port, count)
        wait(node.data, "delivered", count, 120)
        paths = ReturnPaths([(node.data / "secret").read_bytes()])
        addresses = [paths.address(identifier, 0, RETURN_PATH) for identifier in ids]
        cpu, begun = cpu_seconds(node.pids()), time.monotonic()
        threads = [Thread(target=hand_in, args=(port, addresses[first::SESSIONS])) for first in range(SESSIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken = time.monotonic()
        heard = wait(node.data, "bounced-late", count, 120)
        cpu = cpu_seconds(node.pids()) - cpu
    finally:
        node.stop()
        sink.stop()
    yield f"| {count} bounces of {len(report('')) // 1024} KB at one worker, {SESSIONS} connections | | wanted |\n|---|---|---|"
    yield f"| taken | {count / (taken - begun):.0f}/s | 300/s |"
    yield f"| until the last is on record, told and learnt from | {count / (heard - begun):.0f}/s | 300/s |"
    yield f"| CPU of the node for one | {cpu / count * 1_000:.2f} ms | |"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.returns", description=__doc__.partition("\n")[0])
    parser.add_argument("--mails", type=Path, help="a folder of returned mails, instead of forms of our own")
    parser.add_argument("--bounces", type=int, default=3_000)
    parser.add_argument("--program", action="store_true", help="through a node, too")
    args = parser.parse_args(argv)
    for line in (*classification(), *reading(args.mails)):
        print(line)
    if args.program:
        with tempfile.TemporaryDirectory(prefix="postlane-bench-") as name:
            for line in through_the_program(Path(name), args.bounces):
                print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
