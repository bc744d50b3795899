"""`postlane reload`: policies and keys on disk into force, in all workers or none. Exit 1 if what runs stayed as it was."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from relay.cli.status import staging
from relay.config import load_deployment
from relay.control import request

# The supervisor waits 60 s at most for its workers to read the files, and 60 s for them to change over.
_PATIENCE = 150.0


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("reload", help="put edited policies and new keys into force, without a restart")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    node = load_deployment(args.config).node
    answer = request(node.data_dir, {"do": "reload"}, _PATIENCE)
    refused = "error" in answer
    if args.json:
        print(json.dumps(answer))
    elif refused:
        print("\n".join(why(answer)), file=sys.stderr)
    else:
        print(in_force(node.name, answer))
    return 1 if refused else 0


def in_force(name: str, answer: dict[str, Any]) -> str:
    before = f"  before: {answer['before']}" if answer["before"] != answer["version"] else ""
    more = f"\n  {staging(answer['only_to'])}" if answer.get("only_to") else ""
    return f"{name}  {answer['version']} in force{before}{more}"


def why(answer: dict[str, Any]) -> Iterator[str]:
    """The problems first: the files', or those of the workers that could not read them."""
    yield from answer.get("problems", ())
    yield from (worker["error"] for worker in answer.get("workers", ()) if "error" in worker)
    yield f"postlane: {answer['error']}"
