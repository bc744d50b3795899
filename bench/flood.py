"""`python -m bench.flood`: what a flood of requests for the public pages does to mail.

Mail is handed in as fast as it is taken, and in turns nothing else happens, the flood hits a server of a few lines that answers
503 to everything (so what the flood's own programs and the kernel take is seen, they share the machine), and it hits the pages.
The flood: so many connections a second, each with one GET of a link that a recipient was sent, as scanners do that follow every
link of a campaign. A turn lasts some seconds and there are several of each kind, so that what else the machine does hits all.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench.load import Load, Sink, Source
from bench.postlane_node import ROOT, PostlaneNode
from bench.processes import Program, cpu_seconds, end_on_sigterm, start, tree
from bench.signing_key import SigningKey
from relay.tokens import Ticket, Tokens
from relay.web.public.gate import SHED

RECIPIENTS = 5_000  # whose links are followed
TICK = 0.005  # s
KINDS = ("calm", "elsewhere", "pages")


async def hit(port: int, paths: Sequence[str], rate: int, seconds: float) -> Counter[str]:
    """Statuses by number; `late`: those that had no answer at the end."""
    found: Counter[str] = Counter()
    requests = itertools.cycle(
        [f"GET {path} HTTP/1.1\r\nHost: u\r\nConnection: close\r\n\r\n".encode() for path in paths]
    )

    async def one(request: bytes) -> None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            line = await reader.readline()
            found[line[9:12].decode() or "closed"] += 1
            writer.transport.abort()
        except OSError as error:
            found[type(error).__name__] += 1

    begun, sent, tasks = time.monotonic(), 0, set[asyncio.Task[None]]()
    while (now := time.monotonic() - begun) < seconds:
        while sent < now * rate:
            task = asyncio.create_task(one(next(requests)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.sleep(TICK)
    if tasks:
        await asyncio.wait(tasks, timeout=1.0)
    found["late"] = len(tasks)
    return found


class _Refusing(asyncio.Protocol):
    """The least that a server can do."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(SHED)
        self._transport.close()


async def refuse() -> None:
    server = await asyncio.get_running_loop().create_server(_Refusing, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def rate_of(sink: Sink, seconds: float) -> float:
    """Messages a second that arrive in a while."""
    before, started = sink.received(), time.monotonic()
    time.sleep(seconds)
    return (sink.received() - before) / (time.monotonic() - started)


def _child(directory: Path, name: str, *words: str) -> tuple[Program, Path]:
    out = directory / f"{name}.out"
    with out.open("wb") as file:
        command = [sys.executable, "-m", "bench.flood", *words]
        return start(name, command, directory / f"{name}.log", stdout=file, cwd=ROOT), out


def _web(node: PostlaneNode) -> int:
    """The process that serves the pages."""
    processes = tree(node.pids()[0])
    return next(pid for pid in processes if Path(f"/proc/{pid}/comm").read_text() == "web\n")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.flood", description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=int, default=2_000, help="requests a second")
    parser.add_argument("--seconds", type=int, default=6, help="of a turn")
    parser.add_argument("--turns", type=int, default=5, help="of each kind")
    parser.add_argument("--hit", nargs=2, metavar=("PORT", "PATHS"), help=argparse.SUPPRESS)
    parser.add_argument("--refuse", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.refuse:
        uvloop.run(refuse())
        return 0
    if args.hit:
        paths = Path(args.hit[1]).read_text().split()
        print(json.dumps(uvloop.run(hit(int(args.hit[0]), paths, args.rate, args.seconds))))
        return 0
    end_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="postlane-bench-") as name:
        measure(Path(name), args)
    return 0


def measure(directory: Path, args: argparse.Namespace) -> None:
    directory.chmod(0o755)
    sink = Sink(directory)
    sink.start()
    node = PostlaneNode(directory, f"127.0.0.1:{sink.port}", SigningKey.make())
    server, said = _child(directory, "elsewhere", "--refuse")
    source = None
    try:
        node.start()
        links = directory / "links"
        tokens, day = Tokens([(node.data / "secret").read_bytes()]), int(time.time()) // 86_400
        people = (Ticket("", "news", f"p{number}@bench.example", day) for number in range(RECIPIENTS))
        links.write_text("\n".join(f"/u/{tokens.seal(one)}" for one in people))
        source = Source(Load(10_000_000, 10_240, kept=True), node.port, directory)
        ports = {"elsewhere": int(said.read_text()), "pages": node.public}
        rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
        answers: Counter[str] = Counter()
        rate_of(sink, 5)
        for turn, kind in enumerate(KINDS * args.turns):
            flood = None
            options = ["--rate", f"{args.rate}", "--seconds", f"{args.seconds + 2}"]
            if kind in ports:
                flood, out = _child(directory, "flood", *options, "--hit", f"{ports[kind]}", f"{links}")
                time.sleep(1.5)  # it starts Python first
            cpu, begun = cpu_seconds([_web(node)]), time.monotonic()
            rates[kind].append(rate_of(sink, args.seconds))
            busy = (cpu_seconds([_web(node)]) - cpu) / (time.monotonic() - begun)
            if flood is not None:
                flood.process.wait(30)
                told = Counter(json.loads(out.read_text()))
                answers += told if kind == "pages" else Counter()
                print(f"{turn} {kind}: {rates[kind][-1]:.0f}/s, web {busy:.0%}, {dict(told)}", flush=True)
            else:
                print(f"{turn} {kind}: {rates[kind][-1]:.0f}/s, web {busy:.0%}", flush=True)
        middle = {kind: statistics.median(found) for kind, found in rates.items()}
        print("messages/s: " + ", ".join(f"{kind} {rate:.0f}" for kind, rate in middle.items()))
        print(f"pages: {dict(answers)}")
        for kind in ("calm", "elsewhere"):
            print(f"against {kind}: {middle['pages'] / middle[kind] - 1:+.1%}")
    finally:
        if source is not None:
            source.stop()
        with contextlib.suppress(Exception):
            server.stop()
        node.stop()
        sink.stop()


if __name__ == "__main__":
    sys.exit(main())
