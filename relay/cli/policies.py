"""`postlane policies`: the versions of policies/ this node accepted, what is in force and where it comes from, and the
way back. Only `rollback` needs a running node; the rest reads the kept copies in data_dir.
"""

import argparse
import difflib
import getpass
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from relay import control
from relay.alert import when
from relay.cli import reload
from relay.config import whereabouts
from relay.config.origin import Setting, settings_of
from relay.config.policies import MODELS
from relay.config.problems import no_such
from relay.config.reader import contents, fingerprint
from relay.control import request
from relay.event import iso
from relay.kept import Decision, Store, Version, read_decision

Json = dict[str, Any]


class Refused(control.Refused):
    """Why there is nothing to show."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("policies", help="accepted versions: list, diff, show, rollback")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="accepted versions, the latest first")
    listing.set_defaults(run=run_list)
    diff = actions.add_parser("diff", help="from a version (default: the one in force) to the files on disk")
    diff.add_argument("version", metavar="VERSION", nargs="?", default="")
    diff.set_defaults(run=run_diff)
    show = actions.add_parser("show", help="each value in force, and where it comes from")
    show.add_argument("file", metavar="FILE", help="such as retry or policies/retry.toml")
    show.add_argument("name", metavar="NAME", nargs="?", default="", help="only this credential, brand, class ...")
    show.set_defaults(run=run_show)
    back = actions.add_parser("rollback", help="put an accepted version in force again; the files on disk stay")
    back.add_argument("version", metavar="VERSION")
    back.add_argument("--reason", default="", help="why; kept in the events")
    back.set_defaults(run=run_rollback)


# Versions


def run_list(args: argparse.Namespace) -> int:
    place = whereabouts(args.config)
    decision, on_disk = _decision(place.data_dir), fingerprint(contents(args.policies))
    for version in Store(place.data_dir, "policies").versions():
        facts = {"version": version.name, "at": iso(version.at), "in_force": version.name == decision.policies}
        facts["on_disk"] = version.name == on_disk
        print(json.dumps(facts) if args.json else _line(version, decision, on_disk, ZoneInfo(place.timezone)))
    return 0


def _line(version: Version, decision: Decision, on_disk: str, zone: ZoneInfo) -> str:
    notes = ["on disk"] if version.name == on_disk else []
    if version.name == decision.policies:
        notes.insert(0, f"in force since {when(decision.at, zone)} ({decision.how}, {decision.by})")
    mark = "*" if version.name == decision.policies else " "
    return f"{mark} {version.name}  {when(version.at, zone)}  {', '.join(notes)}".rstrip()


def _decision(data_dir: Path) -> Decision:
    decision = read_decision(data_dir)
    if decision is None:
        raise Refused(f"nothing was ever in force here (no {data_dir}/versions): start the node first")
    return decision


def _kept(data_dir: Path, version: str) -> Version:
    store = Store(data_dir, "policies")
    found = store.find(version)
    if found is None:
        names = [one.name for one in store.versions()]
        raise Refused(no_such("version", version, names, str(store.folder)))
    return found


# What differs


def run_diff(args: argparse.Namespace) -> int:
    data_dir = whereabouts(args.config).data_dir
    in_force = _decision(data_dir).policies
    version = _kept(data_dir, args.version or in_force)
    title = f"{version.name}, in force" if version.name == in_force else version.name
    before, after = contents(version.folder), contents(args.policies)
    for file in sorted({*before, *after}):
        lines = "\n".join(changes(f"policies/{file}", before.get(file), after.get(file), title))
        if lines:
            print(
                json.dumps({"file": f"policies/{file}", "version": version.name, "diff": lines}) if args.json else lines
            )
    return 0


def changes(file: str, before: bytes | None, after: bytes | None, title: str) -> Iterator[str]:
    """The unified diff of one file; None: it is not there."""
    old, new = ((text or b"").decode("utf-8", "replace").splitlines() for text in (before, after))
    names = [file if text is not None else "/dev/null" for text in (before, after)]
    return difflib.unified_diff(old, new, names[0], names[1], f"({title})", "(on disk)", lineterm="")


# What holds


def run_show(args: argparse.Namespace) -> int:
    data_dir = whereabouts(args.config).data_dir
    version = _kept(data_dir, _decision(data_dir).policies)
    file = Path(args.file).name.removesuffix(".toml") + ".toml"
    if file not in MODELS:
        raise Refused(no_such("file", file, MODELS, "policies/ that this version acts on"))
    settings = settings_of(version.folder, file)
    chosen = [one for one in settings if not args.name or args.name in one.loc[:2]]
    if args.name and not chosen:
        raise Refused(no_such("name", args.name, _names(settings), f"policies/{file}"))
    if args.json:
        for one in chosen:
            facts = {"file": f"policies/{file}", "key": one.key, "value": _plain(one), "from": _origin(file, one)}
            print(json.dumps(facts, default=str))
    else:
        rows = [(one.key, _value(one), _origin(file, one)) for one in chosen]
        print("\n".join(_table(rows) if sys.stdout.isatty() else map("\t".join, rows)))
    if contents(version.folder).get(file) != contents(args.policies).get(file):
        print(f"policies/{file} on disk is another one: postlane policies diff", file=sys.stderr)
    return 0


def _names(settings: list[Setting]) -> list[str]:
    return list(dict.fromkeys(str(step) for one in settings for step in one.loc[:2]))


def _origin(file: str, setting: Setting) -> str:
    return f"policies/{file}:{setting.line}" if setting.line else "shipped"


def _plain(setting: Setting) -> Any:
    """Hashes of passwords are not for screens."""
    if setting.loc[-1] != "password" or not setting.value:
        return setting.value
    given = [setting.value] if isinstance(setting.value, str) else setting.value
    return [str(entry).partition(":")[0] + ":..." for entry in given]


def _value(setting: Setting) -> str:
    value = _plain(setting)
    return "none" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _table(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)] if rows else [0, 0]
    return (f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for key, value, origin in rows)


# The way back


def run_rollback(args: argparse.Namespace) -> int:
    question = {"do": "rollback", "version": args.version, "by": getpass.getuser(), "reason": args.reason}
    answer = request(whereabouts(args.config).data_dir, question, reload.PATIENCE)
    status = reload.tell(answer, as_json=args.json)
    if not status and not args.json and answer["on_disk"] != answer["version"]:
        print(f"The files on disk are still {answer['on_disk']}: the next reload of them puts those in force again.")
        print(f"See postlane policies diff; a restart of the node keeps {answer['version']} until they change.")
    return status
