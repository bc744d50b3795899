"""`python -m bench.reload`: what a reload with thousands of stream rules takes, and how long a connection waits for it.

Eight connections ask NOOP all the time, idle and beside 100 messages a second, while one rule after another is changed
and put in force. A pause is the longest time one of them waited for its answer; the same without reloads stands beside it,
because a shared machine pauses by itself. Then: CPU of finding a message's stream among the rules, hot.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from smtplib import SMTP

from bench import machine, varied
from bench.load import Load, Sink, Source
from bench.postlane_node import PostlaneNode
from bench.processes import BenchError, end_on_sigterm
from bench.result import publish
from bench.signing_key import SigningKey
from relay.config.deployment import load_deployment
from relay.config.policies import load_policies
from relay.control import request
from relay.header import split
from relay.policy.letter import Letter
from relay.rewrite import subject_of

PROBES = 8
ROUNDS = 10
RATE = 100  # messages a second
NOOPS = 50  # of one session


def rules(count: int, version: int) -> str:
    """streams.toml: a tenth by credential and subject, the rest as tools mark their campaigns."""
    lines = ["[default]", 'on_contradiction = "trust"', ""]
    for number in range(count):
        lines += ["[[stream]]", f'name = "s{number}-{version}"' if not number else f'name = "s{number}"']
        if number % 10:
            lines.append(f'match.header.X-Campaign = "campaign-{number}-*"')
        else:
            lines.append(f'match.subject = "our word {number}"')
            lines.append('match.credential = "app"')
        lines.append('class = "marketing"')
    return "\n".join(lines) + "\n"


class Probe:
    """One connection that asks NOOP again and again; `longest` is the slowest answer (seconds) since the last `reset`.

    A session bears so many of them; then another connection takes its place.
    """

    def __init__(self, port: int) -> None:
        self.longest = 0.0
        self._port = port
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            with SMTP("127.0.0.1", self._port, timeout=30) as client:
                for _ in range(NOOPS):
                    begun = time.perf_counter()
                    client.noop()
                    self.longest = max(self.longest, time.perf_counter() - begun)
                    self._ended.wait(0.002)

    def reset(self) -> None:
        self.longest = 0.0

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(30)


def pauses(probes: Sequence[Probe], act: Callable[[], float]) -> tuple[list[float], list[float]]:
    """(seconds each act took, longest answer to any probe meanwhile), ROUNDS times."""
    took, longest = [], []
    for _ in range(ROUNDS):
        for probe in probes:
            probe.reset()
        took.append(act())
        time.sleep(0.3)
        longest.append(max(probe.longest for probe in probes))
    return took, longest


def report(node: PostlaneNode, count: int, directory: Path) -> Iterator[str]:
    streams = directory / "policies" / "streams.toml"
    version = [0]

    def change() -> float:
        version[0] += 1
        streams.write_text(rules(count, version[0]))
        answer = request(node.data, {"do": "reload", "by": "bench"}, timeout=60)
        if "error" in answer:
            raise BenchError(f"the reload was refused: {answer}")
        return float(answer["seconds"])

    def nothing() -> float:
        time.sleep(0.6)
        return 0.6

    change()
    probes = [Probe(node.port) for _ in range(PROBES)]
    try:
        yield "| beside | reload: median, longest | longest wait: median, worst | the same without a reload |"
        yield "|---|---|---|---|"
        for beside in ("nothing", f"{RATE} messages/s"):
            load = Load(RATE * 40, 0, kept=True, sessions=4, varied=True, rate=RATE)
            source = Source(load, node.port, directory) if beside != "nothing" else None
            try:
                _, calm = pauses(probes, nothing)
                took, waits = pauses(probes, change)
            finally:
                if source is not None:
                    source.stop()
            yield (f"| {beside} | {statistics.median(took):.2f} s, {max(took):.2f} s | {_ms(waits)} | {_ms(calm)} |")
    finally:
        for probe in probes:
            probe.stop()


def _ms(waits: Sequence[float]) -> str:
    return f"{statistics.median(waits) * 1000:.0f} ms, {max(waits) * 1000:.0f} ms"


def finding(directory: Path) -> str:
    """CPU of Streams.find for varied mail that no rule, or the last of its kind, takes."""
    deployment = load_deployment(directory / "config")
    streams = load_policies(directory / "policies", deployment).streams
    letters = []
    for number, (_, wire) in enumerate(varied.messages(500)):
        marked = f"X-Campaign: campaign-{number % 2000 + 1}-a\r\n".encode() + wire if number % 2 else wire
        fields, rest = split(marked)
        letters.append(Letter(fields, marked, rest, subject_of(fields), "app@bench.example", ["d1.example"]))
    spent = []
    for _ in range(20):
        begun = time.process_time()
        for letter in letters:
            streams.find(letter, "app", "bench.example")
        spent.append((time.process_time() - begun) / len(letters))
    return f"finding a message's stream among the rules: {min(spent) * 1e6:.0f} us"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.reload", description="Reload under load")
    parser.add_argument("--rules", type=int, default=2000)
    parser.add_argument("--write", metavar="FILE", help="write the result there too")
    args = parser.parse_args(argv)
    end_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="postlane-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        sink = Sink(directory)
        sink.start()
        node = PostlaneNode(directory, f"127.0.0.1:{sink.port}", SigningKey.make())
        lines = [*(f"- {line}" for line in machine.describe(directory)), f"- {args.rules:,} rules", ""]
        try:
            node.start()
            for line in report(node, args.rules, directory):
                print(line, file=sys.stderr, flush=True)
                lines.append(line)
            lines += ["", finding(directory)]
        except BenchError as problem:
            print(f"bench: {problem}", file=sys.stderr)
            return 1
        finally:
            node.stop()
            sink.stop()
    publish(lines, args.write)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
