"""`python -m bench`: every part in turn, each result written to bench/results/. About half an hour."""

import argparse
import sys
from pathlib import Path

from bench import backlog, latency, reload, run, scaling, stages

PARTS = {
    "run": run.main,
    "scaling": scaling.main,
    "latency": latency.main,
    "stages": stages.main,
    "reload": reload.main,
    "backlog": backlog.main,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run all parts of the benchmark")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    args.results.mkdir(exist_ok=True)
    failed = []
    for part in args.parts:
        print(f"== {part}", file=sys.stderr, flush=True)
        if PARTS[part](["--write", f"{args.results / part}.md"]):
            failed.append(part)
    if failed:
        print(f"bench: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
