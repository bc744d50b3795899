"""`postlane status`: is all well? Exit 1 if a worker is down or cannot write."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from relay.config import load_deployment
from relay.control import request

_SHOWN = 5  # entries of only_to in a line


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("status", help="is all well: workers, policies version, queue")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    facts = request(load_deployment(args.config).node.data_dir, {"do": "stats"})
    if "error" in facts:
        print(f"postlane: {facts['error']}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(facts))
    else:
        print("\n".join(describe(facts, time.time())))
    return 0 if all_well(facts) else 1


def all_well(facts: dict[str, Any]) -> bool:
    return all(worker["up"] and worker.get("healthy") for worker in facts["workers"])


def describe(facts: dict[str, Any], now: float) -> list[str]:
    """One line for the node, one for each worker that is not well. `now` in seconds."""
    up = [worker for worker in facts["workers"] if worker["up"]]
    waiting = sum(shard["queue"]["waiting"] for worker in up for shard in worker["shards"])
    held = sum(shard["queue"]["held"] for worker in up for shard in worker["shards"])
    oldest = [shard["queue"]["oldest"] for worker in up for shard in worker["shards"] if shard["queue"]["oldest"]]
    queue = f"queue {waiting:,}"
    if oldest:
        queue += f" (oldest accepted {age(now - min(oldest) / 1000)} ago)"
    if held:
        queue += f", {held:,} held"
    line = (
        f"* {facts['node']}  running {age(now - facts['started'] / 1000)}, {len(up)} workers   "
        f"mode {facts['mode']}   policies {facts['policies']}   {queue}"
    )
    lines = [line]
    if facts.get("only_to"):
        lines.append(f"  {staging(facts['only_to'])}")
    for worker in facts["workers"]:
        if not worker["up"]:
            lines.append(f"  {worker['name']} is down, started {worker['deaths']} times again; see the log")
        elif not worker["healthy"]:
            lines.append(f"  {worker['name']} cannot write its spool (disk full?): mail is answered 452 until it can")
    return lines


def staging(only_to: Sequence[str]) -> str:
    """What [delivery] only_to means for the mail of this node, in one sentence."""
    shown = ", ".join(only_to[:_SHOWN]) + (f" and {len(only_to) - _SHOWN} more" if len(only_to) > _SHOWN else "")
    return f"only_to: mail leaves for {shown} alone; all other mail is captured here"


def age(seconds: float) -> str:
    """A span as people say it: 41 s, 12 min, 3 h, 12 d."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
