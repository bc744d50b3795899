"""`python -m bench.stages`: where do the microseconds go? CPU of one message's way through Postlane, by stage.

A node carries a load as in bench/run.py while a sampler inside each worker (sampler/sitecustomize.py) books CPU. In the
event loop's thread it belongs to the innermost function of relay/ on the stack, so that a library's and the kernel's
work are their caller's; what is on nobody's behalf is the loop's own. The threads for signing, spool and State are
booked whole. "elsewhere" is the rest of what the node's processes used: supervisor, web, the sampler.
"""

import argparse
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.load import Load, Sink
from bench.postlane_node import ROOT, PostlaneNode
from bench.processes import cpu_seconds, end_on_sigterm
from bench.rig import carry
from bench.run import REST, WARM_UP
from bench.signing_key import SigningKey

RELAY = f"{ROOT / 'relay'}/"
LOOP = "event loop"


@dataclass(frozen=True)
class Sample:
    """CPU (ns) that one thread used in one place: `stage` is a folder or module of relay/, `where` a function."""

    thread: str
    stage: str
    where: str
    spent: int


def samples(folder: Path) -> Iterator[Sample]:
    """What the samplers of all workers wrote."""
    for path in folder.glob("*.json"):
        for thread, stack, spent in json.loads(path.read_text()):
            if thread == "MainThread":
                yield Sample("in the loop", *place(stack), spent)
            else:
                name = re.split(r"[-_ ]", thread)[0]  # "signer-0", "spool 1.db", "asyncio_0"
                yield Sample("own thread", name, f"(all of {name})", spent)


def place(stack: list[str]) -> tuple[str, str]:
    """Stage and function of a stack (innermost first)."""
    for name in stack:
        if name.startswith(RELAY):
            inside = name.removeprefix(RELAY)
            stage = inside.partition(":")[0].partition("/")[0].removesuffix(".py")
            return (LOOP, LOOP) if inside in ("worker.py:main", "worker.py:<module>") else (stage, inside)
    return LOOP, LOOP


def table(title: str, spent: Counter[tuple[str, ...]], messages: int, rows: int) -> list[str]:
    """Lines of "us a message, share, name", the largest first."""
    total = sum(spent.values())
    lines = [title]
    for name, nanoseconds in spent.most_common(rows):
        lines.append(f"{nanoseconds / 1000 / messages:8.1f} us {100 * nanoseconds / total:5.1f} %  {'  '.join(name)}")
    return [*lines, f"{total / 1000 / messages:8.1f} us in all", ""]


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    end_on_sigterm()
    load = Load(args.messages, args.size * 1024, not args.one, args.sessions, varied=args.varied)
    key = SigningKey.make()
    with tempfile.TemporaryDirectory(prefix="postlane-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        sink = Sink(directory)
        books = directory / "samples"
        books.mkdir()
        environment = {"PYTHONPATH": f"{Path(__file__).parent / 'sampler'}", "BENCH_SAMPLES": f"{books}"}
        node = PostlaneNode(directory, f"127.0.0.1:{sink.port}", key, workers=args.workers, environment=environment)
        try:
            sink.start()
            node.start()
            carry(replace(load, messages=WARM_UP), node, sink, directory)
            (books / "on").touch()
            before = cpu_seconds(node.pids())
            accepted, delivered = carry(load, node, sink, directory)
            time.sleep(REST)
            cpu = cpu_seconds(node.pids()) - before
        finally:
            node.stop()
            sink.stop()
        found = list(samples(books))
    elsewhere = Sample("other processes", "elsewhere", "elsewhere", int(cpu * 1e9) - sum(one.spent for one in found))
    by_stage = Counter[tuple[str, ...]]()
    by_function = Counter[tuple[str, ...]]()
    for sample in [*found, elsewhere]:
        by_stage[sample.stage, sample.thread] += sample.spent
        by_function[sample.where, sample.thread] += sample.spent
    rates = f"{load.messages / delivered:.0f}/s end to end, {load.messages / accepted:.0f}/s accepted"
    lines = [f"{load}: {rates}", ""]
    lines += table("CPU of one message by stage", by_stage, load.messages, 30)
    lines += table("By function", by_function, load.messages, args.functions)
    text = "\n".join(lines) + "\n"
    print(text)
    if args.write:
        Path(args.write).write_text(f"```\n{text}```\n")
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.stages", description="CPU of one message, by stage")
    parser.add_argument("--messages", type=int, default=6000)
    parser.add_argument("--size", type=int, default=10, metavar="KB")
    parser.add_argument("--one", action="store_true", help="one message a connection")
    parser.add_argument("--varied", action="store_true", help="the load of bench/varied.py")
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--functions", type=int, default=40, help="how many to list")
    parser.add_argument("--write", metavar="FILE", help="write the tables there too")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
