"""A load of our own: `python -m bench.varied PORT MESSAGES SESSIONS [options]`. Prints its times as JSON.

Unlike smtp-source's, no two messages are alike: 50 senders, 1,000 recipient domains, sizes from 1 to 100 KB, and bodies
as mail has them: half are indented HTML (runs of blanks, which relaxed canonicalisation must fold), a sixth hold UTF-8.
Commands are pipelined (RFC 2920) as a modern client's are. The seed is fixed: every run sends the same but for its
Message-IDs, since what is handed in again under the same one is acknowledged and not sent.
"""

import argparse
import asyncio
import itertools
import json
import random
import time
from collections.abc import Iterator

from bench.signing_key import DOMAIN

SIZES = {1_000: 15, 4_000: 35, 10_000: 30, 30_000: 15, 100_000: 5}  # bytes: per cent; receipts to long newsletters
BODIES = 200  # drawn once, so that the sender's own work stays small; each message has its own header and first line
_WORDS = "order your shipped today thank you for invoice account password reset tent offer weekend garden club"
_HEBREW = "ערבה לבית תודה על ההזמנה"


def _body(draw: random.Random) -> bytes:
    """Lines up to a drawn size: plain text, indented HTML, or text with UTF-8."""
    size = draw.choices(list(SIZES), list(SIZES.values()))[0]
    kind = draw.choices(("text", "html", "utf8"), (2, 3, 1))[0]
    words = f"{_WORDS} {_HEBREW}".split() if kind == "utf8" else _WORDS.split()
    lines: list[str] = []
    length = 0
    while length < size:
        line = " ".join(draw.choices(words, k=10))
        if kind == "html":
            line = f'{"  " * draw.randrange(6)}<td class="c{draw.randrange(40)}">{line}</td>'
        lines.append(line)
        length += len(line) + 2
    return "\r\n".join(lines).encode() + b"\r\n"


def messages(count: int, domain: str = "", seed: int = 2, run: str = "1") -> Iterator[tuple[bytes, bytes]]:
    """(commands MAIL, RCPT and DATA; content with the final dot), one for each message. `domain`: of all recipients; `run`: in
    their Message-IDs."""
    draw = random.Random(seed)
    bodies = [_body(draw) for _ in range(BODIES)]
    for number in range(count):
        sender = f"app{number % 50}@{DOMAIN}"
        recipient = f"r{number}@{domain or f'd{draw.randrange(1000)}.example'}"
        body = draw.choice(bodies)
        size = len(body) + 300
        content = (
            f"From: App <{sender}>\r\nTo: <{recipient}>\r\nSubject: Your order {number}\r\n"
            f"Message-ID: <{number}.{run}.{seed}@{DOMAIN}>\r\nDate: Sat, 21 Nov 2026 12:05:31 +0000\r\n"
            f"MIME-Version: 1.0\r\nContent-Type: text/{'html' if b'<td' in body else 'plain'}; charset=utf-8\r\n"
            f"Content-Transfer-Encoding: 8bit\r\n\r\nOrder {number}\r\n"
        ).encode()
        commands = f"MAIL FROM:<{sender}> BODY=8BITMIME SIZE={size}\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode()
        yield commands, content + body + b".\r\n"


async def _expect(reader: asyncio.StreamReader, code: bytes) -> None:
    """Read one reply; SystemExit with its text if it is another than `code`."""
    while True:
        line = await reader.readline()
        if not line.startswith(code):
            raise SystemExit(f"expected {code.decode()}, got {line!r}")
        if line[3:4] != b"-":
            return


Work = Iterator[tuple[float, tuple[bytes, bytes]]]  # when to send (time.monotonic()), what


async def _session(port: int, work: Work) -> None:
    """One connection that sends until `work`, shared by all, is used up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await _expect(reader, b"220")
    writer.write(b"EHLO load.example\r\n")
    await _expect(reader, b"250")
    for at, (commands, content) in work:
        if (early := at - time.monotonic()) > 0:
            await asyncio.sleep(early)
        writer.write(commands)
        for code in (b"250", b"250", b"354"):
            await _expect(reader, code)
        writer.write(content)
        await writer.drain()
        await _expect(reader, b"250")
    writer.write(b"QUIT\r\n")
    await _expect(reader, b"221")
    writer.close()


async def _send(port: int, mail: Iterator[tuple[bytes, bytes]], sessions: int, rate: float) -> None:
    first = next(mail)  # draws the bodies before the clock starts
    started = time.monotonic()

    def paced() -> Work:
        for number, message in enumerate(itertools.chain([first], mail)):
            yield started + number / rate if rate else started, message

    work = paced()
    await asyncio.gather(*(_session(port, work) for _ in range(sessions)))
    print(json.dumps({"started": started, "ended": time.monotonic()}))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.varied", description="Send varied mail to 127.0.0.1:PORT")
    for name in ("port", "messages", "sessions"):
        parser.add_argument(name, type=int)
    parser.add_argument("--domain", default="", help="of every recipient; default: 1,000 of them")
    parser.add_argument("--rate", type=float, default=0, help="messages a second; default: as fast as they are taken")
    args = parser.parse_args()
    mail = messages(args.messages, args.domain, run=f"{time.time_ns():x}")
    send = _send(args.port, mail, args.sessions, args.rate)
    asyncio.run(asyncio.wait_for(send, timeout=900))


if __name__ == "__main__":
    main()
