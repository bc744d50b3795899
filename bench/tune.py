"""`python -m bench.tune`: is the Postfix of the comparison as fast as it gets? Each change of its settings, measured.

One change at a time against postfix/main.cf.in as it stands, interleaved, 10 KB with kept connections. Whoever finds a
change that is faster beyond the spread has found a fault of the benchmark: please tell us.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import machine
from bench.load import Load
from bench.peers import PostfixOpenDkim
from bench.processes import end_on_sigterm
from bench.result import publish
from bench.rig import Builder
from bench.run import Result, measure
from bench.signing_key import SigningKey


def variant(*settings: str, concurrency: int = 20) -> Builder:
    """The tuned pair with these lines of main.cf on top, or with another number of delivery processes."""
    return lambda directory, sink, key: PostfixOpenDkim(
        directory, sink, key, concurrency=concurrency, settings=settings
    )


VARIANTS = {
    "as published": variant(),
    "every connection kept by scache": variant("smtp_connection_cache_destinations = static:all"),
    "no connection kept by scache": variant("smtp_connection_cache_on_demand = no"),
    "5 delivery processes": variant(concurrency=5),
    "50 delivery processes": variant(concurrency=50),
    "a log file": variant("maillog_file = $data_directory/mail.log", "maillog_file_prefixes = /"),
    "processes end after 100 uses (the default)": variant("max_use = 100"),
    "flat queue directories": variant("hash_queue_names = defer", "hash_queue_depth = 1"),
    "default milter macros": variant("milter_connect_macros = j {daemon_name} {daemon_addr} v _"),
}
SESSIONS = (8, 20, 40)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.tune", description="Variations of the tuned Postfix")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--write", metavar="FILE", help="write the table there too")
    args = parser.parse_args(argv)
    end_on_sigterm()
    key = SigningKey.make()
    runs = [(name, build, 20) for name, build in VARIANTS.items()]
    runs += [(f"as published, {sessions} senders", VARIANTS["as published"], sessions) for sessions in SESSIONS]
    results: dict[str, list[Result]] = {name: [] for name, _, _ in runs}
    with tempfile.TemporaryDirectory(prefix="postlane-bench-") as folder:
        parent = Path(folder)
        parent.chmod(0o755)
        lines = [*(f"- {line}" for line in machine.describe(parent)), ""]
        for _ in range(args.rounds):
            for name, build, sessions in runs:
                load = Load(args.messages, 10 * 1024, kept=True, sessions=sessions)
                results[name].append(measure(build, load, key, parent))
                print(f"{name}: {results[name][-1]}", flush=True)
    lines += ["| Postfix + OpenDKIM | end to end, messages/s (least to most) | CPU ms a message |", "|---|---|---|"]
    for name, rounds in results.items():
        rates = [result.end_to_end for result in rounds]
        cpu = statistics.median(result.cpu for result in rounds)
        lines.append(
            f"| {name} | {statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f}) | {cpu:.2f} |"
        )
    publish(lines, args.write)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
