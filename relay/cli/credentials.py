"""`postlane credentials`: who may hand in mail. Changes policies/credentials.toml and puts it in force.

A password is generated here, shown once, and only its hash is kept. After a change a running node of this machine
reloads, unless other edits wait on disk: those are for their author to put in force. In a cluster the change comes into force
on all nodes, or is taken back here, too.
"""

import argparse
import difflib
import getpass
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.items import Table

from relay.cli.credential_view import describe, facts, row, table
from relay.cli.reload import PATIENCE
from relay.config import ConfigErrors, Deployment, load_deployment, load_policies
from relay.config.connect import FRAMEWORKS, Door, door
from relay.config.edit import Edited, edit_credentials, take_back
from relay.config.passwords import generate, hashed, parse, until
from relay.config.problems import Wrong, no_such
from relay.config.units import duration
from relay.control import NodeDown, request
from relay.identity import Credential, proof_of

CLASSES = ("transactional", "service", "marketing", "auto")
# Keys of credentials.toml that a word on the command line sets, by option.
SCALARS = {
    "class": "mail_class",
    "brand": "brand",
    "owner": "owner",
    "quota": "quota",
    "over_quota": "over_quota",
    "dsn": "dsn",
    "line_endings": "line_endings",
    "long_lines": "long_lines",
}
LISTS = {"domains": "domain", "streams": "stream", "networks": "network"}
# How long the older password stays valid after `rotate`: the next deployment of most apps comes within a week.
KEEP = "7d"


class Misuse(Exception):
    """The words on the command line do not make sense together."""


class Refused(Exception):
    """What was asked cannot be done to this file."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("credentials", help="who may hand in mail")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    add = actions.add_parser("add", help="a new app; its password is shown once")
    add.add_argument("name")
    _settings(add, adding=True)
    add.add_argument("--no-password", action="store_true", help="only machines of --network, which cannot log in")
    _changing(add, _add)

    change = actions.add_parser("set", help="change keys; lists grow by --domain and shrink by --remove-domain")
    change.add_argument("name")
    _settings(change, adding=False)
    change.add_argument("--enable", action="store_true", help="undo disable")
    _changing(change, _set)

    listing = actions.add_parser("list", help="all credentials")
    listing.set_defaults(run=_guarded(_list))

    show = actions.add_parser("show", help="one credential; --for prints an app's settings")
    show.add_argument("name")
    show.set_defaults(run=_guarded(_show))

    rotate = actions.add_parser("rotate", help="a new password; the old one stays valid for a while")
    rotate.add_argument("name")
    rotate.add_argument(
        "--keep", metavar="DURATION", default=KEEP, help=f"the old one's time (default {KEEP}; 0s: none)"
    )
    _changing(rotate, _rotate)

    token = actions.add_parser("token", help="a new token for /api/v1, shown once; the old one stays valid for a while")
    token.add_argument("name")
    token.add_argument(
        "--keep", metavar="DURATION", default=KEEP, help=f"the old one's time (default {KEEP}; 0s: none)"
    )
    token.add_argument("--remove", action="store_true", help="no new one: what there is ends now")
    _changing(token, _token)

    disable = actions.add_parser("disable", help="refuse its logins and its networks from now on")
    disable.add_argument("name")
    _changing(disable, _disable)

    for one in (add, show, rotate):
        one.add_argument("--for", dest="framework", choices=sorted(FRAMEWORKS), help="print settings to paste")


def _settings(parser: argparse.ArgumentParser, *, adding: bool) -> None:
    many: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    parser.add_argument("--domain", metavar="D", required=adding, **many, help="From domain it may use")
    parser.add_argument("--stream", metavar="S", **many, help="stream it may name")
    parser.add_argument("--network", metavar="CIDR", **many, help="machines that need not log in")
    if not adding:
        for option in LISTS.values():
            parser.add_argument(f"--remove-{option}", metavar="X", **many)
    parser.add_argument("--class", dest="mail_class", choices=CLASSES, required=adding)
    empty = "" if adding else ' ("": none)'
    parser.add_argument("--brand", help=f"where the From domain does not tell{empty}")
    parser.add_argument("--owner", help=f"whom reports and alerts name{empty}")
    parser.add_argument("--quota", metavar="RATE", help=f"recipients, such as 20000/hour{empty}")
    parser.add_argument("--over-quota", choices=("pace", "refuse"))
    parser.add_argument("--dsn", choices=("full", "headers", "none"), help="what a bounce returns of the message")
    parser.add_argument("--line-endings", choices=("refuse", "fix"), help="bare CR or LF")
    parser.add_argument("--long-lines", choices=("refuse", "allow"), help="over 998 octets")


def _changing(parser: argparse.ArgumentParser, action: "Callable[[argparse.Namespace], int]") -> None:
    parser.add_argument("--reason", default="", help="for the audit event")
    parser.add_argument("--dry-run", action="store_true", help="show what would change in the file")
    parser.set_defaults(run=_guarded(action))


def _guarded(action: "Callable[[argparse.Namespace], int]") -> "Callable[[argparse.Namespace], int]":
    """Faults of the caller and of the file as words and exit status."""

    def run(args: argparse.Namespace) -> int:
        try:
            return action(args)
        except (Misuse, Wrong) as error:
            return _complain(str(error), 2)
        except Refused as error:
            return _complain(str(error), 1)
        except ConfigErrors as errors:
            for problem in errors.problems:
                print(problem, file=sys.stderr)
            if hasattr(args, "dry_run"):
                print("Nothing was changed.", file=sys.stderr)
            return 1
        except OSError as error:
            return _complain(f"{error.filename}: {error.strerror}", 1)

    return run


def _complain(text: str, status: int) -> int:
    print(f"postlane credentials: {text}", file=sys.stderr)
    return status


# Changes


def _add(args: argparse.Namespace) -> int:
    if args.no_password and not args.network:
        raise Misuse("--no-password leaves nobody who could use it; add --network")
    password = "" if args.no_password else generate()

    def change(document: TOMLDocument) -> None:
        credentials = document.setdefault("credential", tomlkit.table(is_super_table=True))
        if args.name in credentials:
            raise Refused(f'credential "{args.name}" is there already; use set, or rotate for a new password')
        table = tomlkit.table()
        _apply(table, args)
        if password:
            table["password"] = hashed(password)
        credentials[args.name] = table

    return _carry_out(args, change, "add", password)


def _set(args: argparse.Namespace) -> int:
    def change(document: TOMLDocument) -> None:
        table = _table(document, args.name)
        _apply(table, args)
        if args.enable:
            table.pop("disabled", None)

    return _carry_out(args, change, "set")


def _rotate(args: argparse.Namespace) -> int:
    password = generate()
    keep = duration(args.keep)

    def change(document: TOMLDocument) -> None:
        _renew(_table(document, args.name), "password", hashed(password), keep)

    return _carry_out(args, change, "rotate", password)


def _renew(table: Table, key: str, entry: str, keep: int) -> None:
    """A new hash under `key`; the one that was valid without end stays so for `keep` ms."""
    newest = _newest(table.get(key, []))
    if newest and keep:
        both = tomlkit.array()
        both.extend([until(newest, int(time.time() * 1000) + keep), entry])
        table[key] = both.multiline(True)
    else:
        table[key] = entry


def _token(args: argparse.Namespace) -> int:
    """It begins with the credential's name, so that who is called knows whose it is."""
    token = f"{args.name}.{generate()}"
    keep = duration(args.keep)

    def change(document: TOMLDocument) -> None:
        table = _table(document, args.name)
        if args.remove:
            table.pop("token", None)
        else:
            _renew(table, "token", hashed(proof_of(token)), keep)

    return _carry_out(args, change, "token", token="" if args.remove else token)


def _newest(entries: object) -> str | None:
    """The password that has no end; what is already on its way out goes now, since two at most are valid."""
    several = [entries] if isinstance(entries, str) else entries if isinstance(entries, list) else []
    return next((str(entry) for entry in several if not parse(str(entry)).until), None)


def _disable(args: argparse.Namespace) -> int:
    def change(document: TOMLDocument) -> None:
        _table(document, args.name)["disabled"] = True

    return _carry_out(args, change, "disable")


def _table(document: TOMLDocument, name: str) -> Table:
    credentials = document.get("credential", {})
    if name not in credentials:
        raise Refused(no_such("credential", name, credentials, "credentials.toml"))
    table: Table = credentials[name]
    return table


def _apply(table: Table, args: argparse.Namespace) -> None:
    """The options that were given, as keys; an empty text takes the key away."""
    for key, option in SCALARS.items():
        value = getattr(args, option)
        if value == "":
            table.pop(key, None)
        elif value is not None:
            table[key] = value
    for key, option in LISTS.items():
        gone = getattr(args, f"remove_{option}", [])
        present = list(table.get(key, []))
        unknown = [entry for entry in gone if entry not in present]
        if unknown:
            raise Refused(no_such(option, unknown[0], present, f"credential {args.name}"))
        wanted = [entry for entry in dict.fromkeys([*present, *getattr(args, option)]) if entry not in gone]
        if wanted != present:
            table[key] = wanted


def _carry_out(
    args: argparse.Namespace, change: "Callable[[TOMLDocument], None]", action: str, password: str = "", token: str = ""
) -> int:
    deployment = load_deployment(args.config)
    edited = edit_credentials(args.policies, deployment, change, dry_run=args.dry_run)
    if args.dry_run:
        lines = difflib.unified_diff(
            edited.before.splitlines(), edited.after.splitlines(), edited.file, edited.file, n=1, lineterm=""
        )
        print("\n".join(lines))
        return 0
    credential = edited.policies.credentials[args.name]
    for warning in edited.policies.warnings:
        if warning.file == edited.file and f"credential.{args.name}." in warning.key + ".":
            print(warning, file=sys.stderr)
    became = _put_in_force(deployment, edited, args, action) if edited.after != edited.before else ""
    _tell(args, deployment, credential, password, token)
    if became:
        print(became, file=sys.stderr)
    return 0


def _tell(args: argparse.Namespace, deployment: Deployment, credential: Credential, password: str, token: str) -> None:
    entry = door(deployment, args.name if password else "", password)
    if args.json:
        secrets = {"password": password, "token": token}
        print(json.dumps(facts(credential) | {name: secret for name, secret in secrets.items() if secret}))
    elif token:
        print(f"token  {token}      shown this once; only its hash is kept\nuse    Authorization: Bearer {token}")
    elif password:
        print(f"user      {args.name}\npassword  {password}      shown this once; only its hash is kept")
    else:
        print("\n".join(describe(credential)))
    framework = getattr(args, "framework", None)
    if framework and not args.json:
        print(f"\n{_for(framework, entry)}")


def _for(framework: str, entry: Door | None) -> str:
    if entry is None:
        raise Refused("no listener of config/postlane.toml takes mail from apps")
    return FRAMEWORKS[framework](entry)


def _put_in_force(deployment: Deployment, edited: Edited, args: argparse.Namespace, action: str) -> str:
    """Make a running node reload, and record who did what; what became of it, in a sentence. Raises Refused where the nodes of
    a cluster did not take it, and nothing is changed."""
    by_hand = "Put it in force: systemctl reload postlane (or SIGHUP to postlane serve)"
    data_dir, shared = deployment.node.data_dir, deployment.state.url != "sqlite:"
    try:
        running = request(data_dir, {"do": "stats"}).get("policies")
        if running != edited.version_before:
            return f"The running node has policies {running}, and other edits wait on disk. {by_hand}"
        answer = request(data_dir, {"do": "reload", "by": getpass.getuser()}, PATIENCE)
        if "error" in answer and shared and not answer.get("open") and take_back(args.policies, edited):
            request(data_dir, {"do": "reload", "by": getpass.getuser()}, PATIENCE)  # ends the alert
            lines = [*answer.get("problems", ()), answer["error"], "Nothing was changed, on any node."]
            raise Refused("\n".join(lines))
        if answer.get("version") != edited.policies.version:
            why = [answer.get("error", "it reads another folder"), *(answer["problems"] if answer.get("open") else ())]
            return f"The running node did not take it: {'; '.join(why)}. {by_hand}"
        audit = {"by": getpass.getuser(), "via": "cli", "action": f"credentials {action}"}
        what = {"what": {"credential": args.name}, "reason": args.reason}
        request(data_dir, {"do": "record", "kind": "audit", "facts": audit | what})
    except NodeDown:
        if shared:
            return "No node runs here; start it, then postlane reload puts it in force on all nodes"
        return "No node runs here; it is in force from the next start. Elsewhere: systemctl reload postlane"
    return f"In force: policies {edited.policies.version}"


# Looking


def _list(args: argparse.Namespace) -> int:
    policies = load_policies(args.policies, load_deployment(args.config))
    if args.json:
        for credential in policies.credentials.values():
            print(json.dumps(facts(credential)))
        return 0
    rows = [("NAME", "CLASS", "DOMAINS", "QUOTA", "BRAND", "LOGIN"), *map(row, policies.credentials.values())]
    print("\n".join(table(rows) if sys.stdout.isatty() else map("\t".join, rows)))
    return 0


def _show(args: argparse.Namespace) -> int:
    deployment = load_deployment(args.config)
    policies = load_policies(args.policies, deployment)
    credential = policies.credentials.get(args.name)
    if credential is None:
        raise Refused(no_such("credential", args.name, policies.credentials, "credentials.toml"))
    if args.framework:
        user, password = (args.name, "the password it was given") if credential.passwords else ("", "")
        print(_for(args.framework, door(deployment, user, password)))
    elif args.json:
        print(json.dumps(facts(credential)))
    else:
        print("\n".join(describe(credential)))
    return 0
