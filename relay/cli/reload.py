"""`postlane reload`: the files on disk into force, in all processes of all nodes or in none; exit 1 where they are not."""

import argparse
import getpass
import json
import sys
from collections.abc import Iterator
from typing import Any

from relay.cli.status import staging
from relay.config import whereabouts
from relay.control import request

# The supervisor waits 60 s at most for its workers to read the files, and 60 s for them to change over; in a cluster as long
# for its turn and for the other nodes, besides (relay/cluster.py).
PATIENCE = 290.0


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("reload", help="put edited files and new keys into force, without a restart")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    answer = request(whereabouts(args.config).data_dir, {"do": "reload", "by": getpass.getuser()}, PATIENCE)
    return tell(answer, as_json=args.json)


def tell(answer: dict[str, Any], *, as_json: bool) -> int:
    """What became of a change of versions; the exit status."""
    refused = "error" in answer
    if as_json:
        print(json.dumps(answer if refused else answer | {"undo": undo(answer)}))
    elif refused:
        print("\n".join(why(answer)), file=sys.stderr)
    else:
        print("\n".join(done(answer)))
    return 1 if refused else 0


def done(answer: dict[str, Any]) -> Iterator[str]:
    """One line for each node, what has to wait, and the way back."""
    yield f"{answer['node']}  {answer['version']} in force ({answer['seconds']:.2f} s)"
    for node in answer.get("nodes", ()):
        yield f"{node['node']}  {of_node(node, answer['version'])}"
    if answer["config"] != answer["config_before"]:
        yield "config/ has changed too, and is in force"
    if answer.get("only_to"):
        yield f"  {staging(answer['only_to'])}"
    yield from answer["waits"]
    back = undo(answer)
    if back:
        yield f"Undo: {back}"


def of_node(node: dict[str, Any], version: str) -> str:
    """How another node stands to what was decided."""
    if not node["up"]:
        return f"has not been heard for {node['heard']} s; it takes {version} when it is back"
    if node["policies"] != version:
        return f"has {node['policies']} in force, and is taking {version} over: postlane status"
    return f"{version} in force"


def undo(answer: dict[str, Any]) -> str | None:
    """None where policies/ is as it was."""
    return f"postlane policies rollback {answer['before']}" if answer["before"] != answer["version"] else None


def why(answer: dict[str, Any]) -> Iterator[str]:
    """The problems first: the files', or those of the processes that could not take them."""
    yield from answer.get("problems", ())
    yield f"postlane: {answer['error']}"
