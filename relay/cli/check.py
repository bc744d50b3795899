"""`postlane check`: every error of config/, its keys and policies/ in one go. Exit 1 if there is one; warnings do not count."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from relay.config import Problem, whereabouts
from relay.control import NodeDown, request
from relay.in_force import examine_files

# A node that does not answer at once is not worth the wait: its version only rounds off the summary.
_PATIENCE = 2.0


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("check", help="every error of config and policies, with file, line and cure")
    parser.add_argument(
        "--format", choices=sorted(FORMATS), help="text (default); github: as annotations of a workflow"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    examined = examine_files(args.config, args.policies)
    problems = examined.problems
    errors = sum(not problem.warning for problem in problems)
    form = args.format or ("json" if args.json else "text")
    for problem in problems:
        print(FORMATS[form](problem))
    if form == "text":
        print(summary(errors, len(problems) - errors, examined.files) + (_in_force(args.config) if errors else ""))
    return 1 if errors else 0


def summary(errors: int, warnings: int, files: int) -> str:
    return f"{_count(errors, 'error')}, {_count(warnings, 'warning')} in {_count(files, 'file')}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _in_force(config: Path) -> str:
    """What the errors did not touch, where a node runs."""
    try:
        version = request(whereabouts(config).data_dir, {"do": "versions"}, _PATIENCE).get("policies")
    except NodeDown:
        return ""
    return f" The running policies ({version}) are untouched."


def _json(problem: Problem) -> str:
    facts = {
        "file": problem.file,
        "line": problem.line or None,
        "key": problem.key,
        "message": problem.message,
        "code": problem.slug,
        "severity": "warning" if problem.warning else "error",
    }
    return json.dumps(facts | ({"help": problem.cure} if problem.cure else {}), ensure_ascii=False)


def _github(problem: Problem) -> str:
    """A workflow command: `::error file=...,line=...::message`, with the characters that would end it escaped."""
    place = f"file={_property(problem.file)}" + (f",line={problem.line}" if problem.line else "")
    text = ": ".join(part for part in (problem.key, problem.message) if part)
    level = "warning" if problem.warning else "error"
    return f"::{level} {place},title={_property(problem.slug)}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


FORMATS: dict[str, Callable[[Problem], str]] = {"text": str, "json": _json, "github": _github}
