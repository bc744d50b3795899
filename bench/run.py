"""`python -m bench.run`: Postlane and Postfix + OpenDKIM in turn, under the same load, in interleaved rounds.

One round is one system under one load: sink, system, a short warm-up, the load, and a rest in which what was put off
(the event log, outcomes) is still done and counted. Both systems start empty each time and never run at once. Figures
are medians over the rounds; a ratio is taken within each round, so that the machine's drift falls on both.

    accept       messages a second that had their 250: from the sender's first connect to its last reply
    end to end   from the sender's first connect until the sink has all of them; sender and sink share the CPUs
    CPU          user + system seconds of the system's own processes per 1,000 messages
    memory       most of all its processes together (PSS), in rounds of their own: looking costs CPU
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bench import machine
from bench.load import Load
from bench.peers import missing
from bench.processes import BenchError, cpu_seconds, end_on_sigterm, memory
from bench.proof import prove_signed
from bench.result import publish
from bench.rig import Builder, builders, carry, running
from bench.signing_key import SigningKey

REST = 1.5  # seconds after the last delivery whose CPU still counts: Postlane exports events within a second
WARM_UP = 300  # messages: processes are forked, connections open, statements prepared


@dataclass(frozen=True)
class Result:
    """One round's figures. `peak` (bytes, all processes; the largest one) is 0 unless memory was looked at."""

    accept: float
    end_to_end: float
    cpu: float
    peak: int = 0
    largest: int = 0

    def __str__(self) -> str:
        if self.peak:
            return f"peak memory {self.peak / 2**20:.0f} MB, largest process {self.largest / 2**20:.0f} MB"
        return f"accept {self.accept:.0f}/s, end to end {self.end_to_end:.0f}/s, CPU {self.cpu:.2f} s per 1,000"


def measure(build: Builder, load: Load, key: SigningKey, parent: Path, *, look: bool = False) -> Result:
    """One round. `look`: sample memory, which costs CPU and so is done in rounds whose rates are not used."""
    with running(build, key, parent) as (system, sink, directory):
        carry(replace(load, messages=WARM_UP), system, sink, directory)
        before = cpu_seconds(system.pids())
        with MemorySampler(system.pids() if look else []) as sampler:
            accepted, delivered = carry(load, system, sink, directory)
        time.sleep(REST)
        cpu = (cpu_seconds(system.pids()) - before) * 1000 / load.messages
    return Result(load.messages / accepted, load.messages / delivered, cpu, sampler.peak, sampler.largest)


class MemorySampler:
    """Looks at the memory of process trees four times a second, in a thread."""

    def __init__(self, roots: Sequence[int]) -> None:
        self.peak = 0
        self.largest = 0
        self._roots = roots
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "MemorySampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while self._roots and not self._done.wait(0.25):
            sizes = memory(self._roots)
            self.peak = max(self.peak, sum(sizes.values()))
            self.largest = max(self.largest, *sizes.values(), 0)


def loads(sizes: Sequence[int], messages: int, sessions: int) -> list[Load]:
    """The loads of a run: each size with kept connections and with one a message, the varied one, then marketing mail.

    Fewer large messages: a round then lasts as long.
    """
    alike = [
        Load(messages if size < 50 else messages // 2, size * 1024, kept, sessions)
        for size in sizes
        for kept in (True, False)
    ]
    varied = Load(messages, 0, True, sessions, varied=True)
    return [*alike, varied, Load(messages, 10 * 1024, True, sessions, marketing=True)]


Rounds = dict[str, list[Result]]


def interleaved(systems: dict[str, Builder], load: Load, rounds: int, key: SigningKey, parent: Path) -> Rounds:
    """A B A B ..., and a last round of each that looks at memory."""
    results: Rounds = {name: [] for name in systems}
    for number in range(rounds + 1):
        look = number == rounds
        for name, build in systems.items():
            result = measure(build, load, key, parent, look=look)
            results[name].append(result)
            print(f"  {load}, round {number + 1}: {name}: {result}", file=sys.stderr, flush=True)
    return results


def _middle(results: Sequence[Result], field: str) -> float:
    return float(statistics.median(getattr(result, field) for result in results))


def row(load: Load, results: Rounds) -> str:
    """One line of the table: both systems' medians and, where both ran, the ratio with its range over the rounds."""
    cells = [str(load)]
    for rounds in results.values():
        *timed, looked = rounds
        cells.append(
            f"{_middle(timed, 'accept'):,.0f} / {_middle(timed, 'end_to_end'):,.0f} / {_middle(timed, 'cpu'):.2f}"
            f" / {looked.peak / 2**20:.0f}"
        )
    if len(results) == 2:
        theirs, ours = (rounds[:-1] for rounds in results.values())
        ratios = [b.end_to_end / a.end_to_end for a, b in zip(theirs, ours, strict=True)]
        cells.append(f"**{statistics.median(ratios):.1f}** ({min(ratios):.1f} to {max(ratios):.1f})")
        cells.append(f"{_middle(theirs, 'cpu') / _middle(ours, 'cpu'):.1f}")
    return "| " + " | ".join(cells) + " |"


def heading(names: Sequence[str]) -> list[str]:
    columns = ["load", *(f"{name}: accept / end to end (messages/s) / CPU s per 1,000 / peak MB" for name in names)]
    if len(names) == 2:
        columns += ["end-to-end ratio (range)", "CPU ratio"]
    return ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    end_on_sigterm()
    if absent := missing():
        print(
            f"bench: not here: {', '.join(absent)} (apt-get install postfix opendkim, and run as root)", file=sys.stderr
        )
        return 1

    def chosen(mail_class: str = "transactional") -> dict[str, Builder]:
        every = builders(args.workers, mail_class)
        return {name: build for name, build in every.items() if args.only in ("", name)}

    key = SigningKey.make()
    with tempfile.TemporaryDirectory(dir=args.dir, prefix="postlane-bench-") as name:
        parent = Path(name)
        parent.chmod(0o755)
        lines = [
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {args.sessions} sessions, {args.rounds} interleaved rounds",
            "",
        ]
        lines += [f"- {line}" for line in machine.describe(parent)] + ["", *heading(list(chosen()))]
        try:
            for build in chosen().values():
                prove_signed(build, key, parent)
            for load in loads(args.sizes, args.messages, args.sessions):
                systems = chosen("marketing" if load.marketing else "transactional")
                lines.append(row(load, interleaved(systems, load, args.rounds, key, parent)))
        except BenchError as problem:
            print(f"bench: {problem}", file=sys.stderr)
            return 1
    publish(lines, args.write)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description="Postlane beside Postfix + OpenDKIM")
    parser.add_argument("--only", choices=("", "postfix", "postlane"), default="", help="measure one of them alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=6000, help="in each round; half as many of 50 KB and more")
    parser.add_argument("--sessions", type=int, default=20, help="connections of the sender at a time")
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 10, 100], metavar="KB")
    parser.add_argument("--workers", type=int, default=0, help="of Postlane; 0: one per CPU")
    parser.add_argument(
        "--dir", help="where the queues live; the default is the system's directory for temporary files"
    )
    parser.add_argument("--write", metavar="FILE", help="write the table there too")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
