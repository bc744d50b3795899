"""`python -m bench.backlog`: a million recipients wait for marketing mail; how soon and at what cost do they get it, and does
anybody's password reset wait for them?

The queue is laid out by the program's own spool before the node starts: 10,000 domains, of which ten hold seven tenths of
all and take 20 messages a second each, as shaping.toml says. Then, with 10,000 waiting and with all of them:

    start     from the start of the program to the first message at the sink
    CPU       of supervisor and workers for each of the first messages delivered
    memory    the largest sum of their proportional set sizes (PSS), looked at twice a second

and, of the large queue, what is delivered in a while: alone, and beside 100 transactional messages a second, whose time from
accepted to delivered is what the recipients of those notice.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench import machine
from bench.latency import RATE, SESSIONS, delays
from bench.load import Load, Sinks, Source
from bench.names import Names
from bench.postlane_node import PostlaneNode
from bench.processes import BenchError, cpu_seconds, end_on_sigterm, memory, wait_until
from bench.result import publish
from bench.signing_key import DOMAIN, SigningKey
from relay.ids import Ids
from relay.message import Change, Delivery, MailClass, Message
from relay.spool.store import Spool

DOMAINS, GIANTS = 10_000, 10
OF_GIANTS = 0.7  # of all recipients
PACE = 20  # messages a second for each giant
RECIPIENTS = 100  # of one message, as a mailing program hands them in
BODY = 4096
STREAMS = ("newsletter", "offers", "win-back")
FIRST = 3_000  # messages by whose delivery CPU is measured
WORLD = tuple(f"127.0.0.{n}" for n in range(21, 25))  # where recipients' servers are
TURNS = 3  # of draining alone and beside transactional mail
AT_ONCE = 8  # puts under way: they share commits


def _domain(draw: random.Random) -> str:
    if draw.random() < OF_GIANTS:
        return f"giant{draw.randrange(GIANTS)}.example"
    return f"d{draw.randrange(DOMAINS - GIANTS)}.example"


def _mailing(ids: Ids, draw: random.Random, content: bytes) -> tuple[Message, list[Delivery]]:
    now = _now()
    message = Message(
        id=ids.next(),
        accepted_at=now,
        credential="bulk",
        brand="bench",
        stream=draw.choice(STREAMS),
        mail_class=MailClass.MARKETING,
        author=f"news@{DOMAIN}",
        message_id=f"<{draw.getrandbits(64):x}@{DOMAIN}>",
        subject="News",
        size=len(content),
        many=True,
        content=content,
    )
    deliveries = []
    for index in range(RECIPIENTS):
        domain = _domain(draw)
        deliveries.append(
            Delivery(
                message=message,
                index=index,
                recipient=f"r{draw.getrandbits(40):x}@{domain}",
                domain=domain,
                site=domain,
                sender=f"news@{DOMAIN}",
                mail_from=f"news@{DOMAIN}",
                head=b"X-Head: "
                + b"h" * 600
                + b"\r\n",  # as long as a signature and the rest of a recipient's own fields
                next_attempt=now,
            )
        )
    return message, deliveries


async def _fill(folder: Path, shard: int, count: int) -> None:
    """Queue `count` recipients in one shard."""
    draw, ids = random.Random(shard), Ids("bench", shard, _now)
    content = (
        b"From: News <news@%s>\r\nSubject: News\r\nMIME-Version: 1.0\r\n\r\n" % DOMAIN.encode()
        + b"All that is new, in one letter.\r\n" * (BODY // 33)
    )
    spool = Spool(folder / f"{shard}.db", clock=_now, on_fatal=_raise)
    await spool.open()
    try:
        left = count
        while left > 0:
            puts = [_mailing(ids, draw, content) for _ in range(min(AT_ONCE, -(-left // RECIPIENTS)))]
            await asyncio.gather(*(spool.put(Change(put=[put])) for put in puts))
            left -= RECIPIENTS * len(puts)
    finally:
        await spool.close()


def _now() -> int:
    return time.time_ns() // 1_000_000


def _raise(error: BaseException) -> None:
    raise error


def fill(data: Path, count: int, shards: int) -> None:
    folder = data / "spool"
    folder.mkdir(mode=0o700)
    for shard in range(shards):
        asyncio.run(_fill(folder, shard, count // shards))


class Memory:
    """The largest PSS (bytes) of a node's supervisor and workers together, while the context lasts."""

    def __init__(self, node: PostlaneNode) -> None:
        self.largest = 0
        self._node = node
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.5):
            sizes = memory(self._node.pids())
            self.largest = max(self.largest, sum(size for pid, size in sizes.items() if not _is_web(pid)))


def _is_web(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "web\n"
    except OSError:
        return False  # it has ended


@dataclass(frozen=True)
class Begun:
    """How a node with a queue begins: seconds to the first message at the sink, CPU milliseconds of each of the first."""

    first: float
    cpu: float


def begin(node: PostlaneNode, sink: Sinks, first: int) -> Begun:
    """Start the node, until `first` messages are delivered."""
    sink.reset()
    started = time.monotonic()
    node.start()
    wait_until(lambda: sink.received() > 0, 120, "nothing was delivered", every=0.01)
    seconds = time.monotonic() - started
    # The start itself (modules, the model of evidence) is no cost of a message
    before, cpu = sink.received(), cpu_seconds(node.pids())
    wait_until(lambda: sink.received() >= before + first, 300, f"{first} messages were not delivered", every=0.01)
    return Begun(seconds, (cpu_seconds(node.pids()) - cpu) / (sink.received() - before) * 1000)


def rate_of(sink: Sinks, seconds: float, besides: int = 0) -> float:
    """Messages a second that arrive in a while, without `besides`."""
    before, started = sink.received(), time.monotonic()
    time.sleep(seconds)
    return (sink.received() - before - besides) / (time.monotonic() - started)


def beside(node: PostlaneNode, sink: Sinks, seconds: int, directory: Path) -> tuple[float, int]:
    """The rate of the queue while transactional mail goes by, once the domains that it goes to are known as those of a node
    in use are; and how many messages of that there were."""
    load = Load(2 * RATE * seconds, 0, kept=True, sessions=SESSIONS, varied=True, rate=RATE)
    source = Source(load, node.port, directory)
    try:
        time.sleep(seconds)
        rate = rate_of(sink, seconds, RATE * seconds)
        wait_until(source.ended, 60 + seconds, "transactional mail was not accepted")
    finally:
        source.stop()
    return rate, load.messages


@dataclass(frozen=True)
class Setting:
    queued: int
    few: int
    seconds: int
    rounds: int
    parent: Path
    key: SigningKey
    names: Names


def _node(setting: Setting, directory: Path, sink: Sinks, queued: int) -> PostlaneNode:
    node = PostlaneNode(
        directory,
        "",
        setting.key,
        workers=2,
        nameservers=(setting.names.address,),
        remote_port=sink.port,
    )
    slow = "".join(f'\n[domain."giant{n}.example"]\nrate = "{PACE}/second"\n' for n in range(GIANTS))
    with (directory / "policies" / "shaping.toml").open("a") as shaping:
        shaping.write(slow)
    fill(node.data, queued, 2)
    return node


def report(setting: Setting) -> Iterator[str]:
    costs: dict[int, list[Begun]] = {setting.few: [], setting.queued: []}
    yield "| waiting | first delivered after | CPU ms a message | PSS of supervisor and workers |"
    yield "|---|---|---|---|"
    further: list[str] = []
    for turn in range(setting.rounds):
        for queued in (setting.few, setting.queued):
            with tempfile.TemporaryDirectory(dir=setting.parent, prefix="backlog-") as name:
                directory = Path(name)
                directory.chmod(0o755)
                sink = Sinks(directory, WORLD)
                node = _node(setting, directory, sink, queued)
                try:
                    sink.start()
                    with Memory(node) as memory:
                        begun = begin(node, sink, min(FIRST, queued // 5))
                        costs[queued].append(begun)
                        if queued == setting.queued and turn == setting.rounds - 1:
                            further = list(_drained(node, sink, setting, directory))
                finally:
                    node.stop()
                    sink.stop()
            yield f"| {queued:,} | {begun.first:.1f} s | {begun.cpu:.2f} | {memory.largest / 1e6:.0f} MB |"
    few, many = (statistics.median(one.cpu for one in costs[count]) for count in (setting.few, setting.queued))
    yield ""
    yield f"- CPU a message with {setting.queued:,} waiting, against {setting.few:,}: {many / few:.2f}"
    yield from further


def _drained(node: PostlaneNode, sink: Sinks, setting: Setting, directory: Path) -> Iterator[str]:
    """In turns, since a queue goes the faster the more of its domains are known."""
    alone, together, done = [rate_of(sink, setting.seconds)], [], 0
    for _ in range(TURNS):
        rate, count = beside(node, sink, setting.seconds, directory)
        together.append(rate)
        alone.append(rate_of(sink, setting.seconds))
        done += count
    usual = statistics.mean((before + after) / 2 for before, after in pairwise(alone))
    share = statistics.mean(together) / usual
    yield f"- marketing alone: {_listed(alone)} messages/s"
    yield f"- beside {RATE} transactional messages/s, in between: {_listed(together)} messages/s ({share:.0%})"
    yield f"- those, from accepted to delivered: {delays(node, done, 0, 'transactional')}"


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:,.0f}" for rate in rates)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.backlog", description="A large queue of marketing mail")
    parser.add_argument("--queued", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=15, help="of each measurement of a rate")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--dir", help="where the queues live; the default is the system's directory for temporary files"
    )
    parser.add_argument("--write", metavar="FILE", help="write the result there too")
    args = parser.parse_args(argv)
    end_on_sigterm()
    with tempfile.TemporaryDirectory(dir=args.dir, prefix="postlane-bench-") as name, Names(WORLD) as names:
        parent = Path(name)
        parent.chmod(0o755)
        about = (
            f"- 2 workers; {DOMAINS:,} domains, {GIANTS} of them hold {OF_GIANTS:.0%} and take {PACE} messages/s each"
        )
        lines = [*(f"- {line}" for line in machine.describe(parent)), about, ""]
        setting = Setting(args.queued, args.few, args.seconds, args.rounds, parent, SigningKey.make(), names)
        try:
            for line in report(setting):
                print(line, file=sys.stderr, flush=True)
                lines.append(line)
        except BenchError as problem:
            print(f"bench: {problem}", file=sys.stderr)
            return 1
    publish(lines, args.write)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
