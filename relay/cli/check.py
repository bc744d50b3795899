"""`postlane check`: every error of config/, its keys and policies/ in one go. Exit 1 if there is one; warnings do not count."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from relay.config import Deployment, Problem, examine_deployment, examine_policies
from relay.config.reader import Examined, shown_path
from relay.control import NodeDown, request
from relay.signing.entries import KeyProblem, KeysError
from relay.signing.keys import SigningKey, read_keys

# A node that does not answer at once is not worth the wait: its version only rounds off the summary.
_PATIENCE = 2.0


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("check", help="every error of config and policies, with file, line and cure")
    parser.add_argument(
        "--format", choices=sorted(FORMATS), help="text (default); github: as annotations of a workflow"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    deployment = examine_deployment(args.config)
    keys = examine_keys(args.config / "dkim")
    policies = examine_policies(args.policies, deployment.value)
    problems = in_order([*deployment.problems, *keys.problems, *policies.problems])
    errors = sum(not problem.warning for problem in problems)
    form = args.format or ("json" if args.json else "text")
    for problem in problems:
        print(FORMATS[form](problem))
    if form == "text":
        files = deployment.files + keys.files + policies.files
        print(summary(errors, len(problems) - errors, files) + _in_force(deployment, errors))
    return 1 if errors else 0


def examine_keys(directory: Path) -> Examined[list[SigningKey]]:
    """config/dkim as it would come into force."""
    files = len([*directory.glob("keys.toml"), *directory.glob("[!.]*/[!.]*.pem")])
    try:
        keys, warnings = read_keys(directory)
    except KeysError as error:
        return Examined(None, [_problem(one) for one in error.problems], files)
    return Examined(keys, [_problem(one) for one in warnings], files)


def _problem(of: KeyProblem) -> Problem:
    return Problem(shown_path(of.file), of.line, of.key, of.message, of.slug, of.warning)


def in_order(problems: Sequence[Problem]) -> list[Problem]:
    """By file, in the order the files were read; within one from top to bottom."""
    files = list(dict.fromkeys(problem.file for problem in problems))
    return sorted(problems, key=lambda problem: (files.index(problem.file), problem.line))


def summary(errors: int, warnings: int, files: int) -> str:
    return f"{_count(errors, 'error')}, {_count(warnings, 'warning')} in {_count(files, 'file')}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _in_force(deployment: Examined[Deployment], errors: int) -> str:
    """What the errors did not touch, where a node runs."""
    if not errors or deployment.value is None:
        return ""
    try:
        version = request(deployment.value.node.data_dir, {"do": "stats"}, _PATIENCE).get("policies")
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
