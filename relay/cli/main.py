"""The command `postlane`: finds the folders, hands the words to a command, turns what it says into an exit status.

Exit status: 0 done, 1 what it checked is wrong or the node cannot do it, 2 misuse (INTERFACE, "The command postlane").
"""

import argparse
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from relay import __version__
from relay.config import ConfigErrors, MissingDirectory, find_directories, whereabouts
from relay.control import NodeDown, Refused
from relay.signing.entries import KeysError
from relay.sockets import StartError

# Each command's module, in the order of the help. Only the one that is asked for is imported: `queue list` needs neither the
# supervisor nor DuckDB, and is there in half the time.
COMMANDS = {
    "serve": "serve",
    "status": "status",
    "check": "check",
    "plan": "plan",
    "reload": "reload",
    "policies": "policies",
    "send": "send",
    "explain": "explain",
    "bounce": "bounce",
    "events": "events",
    "message": "events",
    "queue": "queue",
    "report": "report",
    "recipient": "recipient",
    "suppress": "suppress",
    "suspend": "suspend",
    "resume": "suspend",
    "pace": "pace",
    "warmup": "warmup",
    "credentials": "credentials",
    "webhooks": "webhooks",
    "users": "users",
    "keys": "keys",
    "schema": "schema",
    "engagement": "engagement",
    "health": "health",
}


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """Of all commands; of those of one module, where `command` is one."""
    parser = argparse.ArgumentParser(
        prog="postlane", description="A sending gateway for an organisation's mail.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"postlane {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in dict.fromkeys([COMMANDS[command]] if command in COMMANDS else COMMANDS.values()):
        importlib.import_module(f"relay.cli.{module}").add_parser(subparsers)
    for one in _all_parsers(subparsers):
        one.add_argument("--config", metavar="DIR", default=argparse.SUPPRESS, help="config/ of this machine")
        one.add_argument("--policies", metavar="DIR", default=argparse.SUPPRESS, help="policies/ of the cluster")
        if not any("--json" in action.option_strings for action in one._actions):
            one.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="one object a line")
    parser.set_defaults(json=False, config=None, policies=None, anywhere=False)
    return parser


def _all_parsers(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> Iterator[argparse.ArgumentParser]:
    """Every command's parser, those of sub-commands too, so that an option may stand at the end of the line."""
    for parser in dict.fromkeys(subparsers.choices.values()):
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from _all_parsers(action)


def main(arguments: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    args = build_parser(words[0] if words else "").parse_args(words)
    try:
        if not args.anywhere:
            args.config, args.policies = find_directories(args.config, args.policies)
        status_code: int = args.run(args)
        sys.stdout.flush()
    except MissingDirectory as error:
        return _fail(str(error), 2)
    except (ConfigErrors, KeysError) as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 1
    except NodeDown as error:
        return _fail(_not_running(args.config, error), 1)
    except (StartError, Refused) as error:
        return _fail(str(error), 1)
    except BrokenPipeError:  # `postlane events | head`: the reader has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return status_code


def _not_running(config: Path, error: NodeDown) -> str:
    node = whereabouts(config)
    return f"{node.name} is not running (no answer at {node.data_dir}/control.sock: {error}). systemctl status postlane"


def _fail(text: str, code: int) -> int:
    print(f"postlane: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
