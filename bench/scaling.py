"""`python -m bench.scaling`: what a second worker costs and brings, and what an app with few connections gets.

With SO_REUSEPORT the kernel gives each connection to a worker by chance: two long-lived connections land on the same
one in half of all starts. The signing threads are to even that out; the spread over the rounds shows how far they do.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import machine
from bench.load import Load
from bench.processes import end_on_sigterm
from bench.result import publish
from bench.rig import builders
from bench.run import measure
from bench.signing_key import SigningKey

SESSIONS = (1, 2, 4, 20)
HEADING = ["| workers | connections | end to end, messages/s (least to most) | CPU ms a message |", "|---|---|---|---|"]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description="Workers and connections")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--write", metavar="FILE", help="write the table there too")
    args = parser.parse_args(argv)
    end_on_sigterm()
    key = SigningKey.make()
    with tempfile.TemporaryDirectory(prefix="postlane-bench-") as name:
        parent = Path(name)
        parent.chmod(0o755)
        lines = [*(f"- {line}" for line in machine.describe(parent)), "- 10 KB, kept connections", "", *HEADING]
        for workers in (1, 2):
            build = builders(workers)["postlane"]
            for sessions in SESSIONS:
                load = Load(args.messages, 10 * 1024, kept=True, sessions=sessions)
                results = [measure(build, load, key, parent) for _ in range(args.rounds)]
                rates = [result.end_to_end for result in results]
                cpu = statistics.median(result.cpu for result in results)
                rate = f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
                lines.append(f"| {workers} | {sessions} | {rate} | {cpu:.2f} |")
                print(lines[-1], flush=True)
    publish(lines, args.write)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
