"""`python -m bench`: every part in turn, each result written to bench/results/. About a quarter of an hour."""

import argparse
import subprocess
import sys
from pathlib import Path

PARTS = ("run", "scaling", "latency", "stages")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run all parts of the benchmark")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    args.results.mkdir(exist_ok=True)
    failed = []
    for part in args.parts:
        print(f"== {part}", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", f"bench.{part}", "--write", f"{args.results / part}.md"]
        if subprocess.run(command, check=False).returncode:
            failed.append(part)
    if failed:
        print(f"bench: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
