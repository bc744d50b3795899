"""`postlane users`: who may log in to the admin page of this node, and what he sees and does there.

A password is generated and shown once, unless its owner types one. Nothing needs a reload: the page looks at the file each time.
"""

import argparse
import getpass
import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from relay.cli.events import now_ms
from relay.config import ConfigErrors, load_deployment, load_policies, whereabouts
from relay.config.passwords import generate
from relay.control import NodeDown, request
from relay.users import NAME, ROLES, User, Users, UsersError, hashed, weakness


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("users", help="logins of the admin page")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser(
        "add",
        help="a new user; the password is shown once",
        description="A viewer reads, with recipients' addresses masked; an operator reads all, takes suppressions off and "
        "resumes. With --credential only the mail of these apps is shown.",
    )
    add.add_argument("name")
    add.add_argument("--role", choices=ROLES, default="viewer", help="default viewer")
    many: dict[str, Any] = {"nargs": "+", "action": "extend", "default": [], "metavar": "C"}
    add.add_argument("--credential", dest="credentials", **many, help="sees the mail of these alone (default: all)")
    _changing(add, _add)
    password = actions.add_parser("password", help="a new password, shown once; sessions with the old one end")
    password.add_argument("name")
    _changing(password, _password)
    for one in (add, password):
        one.add_argument("--ask", action="store_true", help="ask for a password instead of making one up")
    remove = actions.add_parser("remove", help="no login any more; sessions end at once")
    remove.add_argument("name")
    _changing(remove, _remove)
    listing = actions.add_parser("list", help="all users")
    listing.set_defaults(run=_list)


def _changing(parser: argparse.ArgumentParser, action: Any) -> None:
    parser.add_argument("--reason", default="", help="for the audit event")

    def run(args: argparse.Namespace) -> int:
        try:
            told = action(args, Users(whereabouts(args.config).data_dir))
        except (UsersError, OSError) as error:
            print(f"postlane users: {error}", file=sys.stderr)
            return 1
        if isinstance(told, int):
            return told
        _on_record(args, told)
        return 0

    parser.set_defaults(run=run)


def _add(args: argparse.Namespace, users: Users) -> User | int:
    if NAME.fullmatch(args.name) is None:
        return _misuse(f'"{args.name}" is no name: small letters, digits, and . _ @ + - between them, 63 at most')
    if wrong := _unknown(args):
        return _misuse(wrong)
    password = _chosen(args)
    if password is None:
        return 2
    user = User(args.name, args.role, tuple(dict.fromkeys(args.credentials)), hashed(password), now_ms())
    users.add(user)
    _shown(args, user, password)
    return user


def _unknown(args: argparse.Namespace) -> str:
    """Which credential is none. Files that are broken say so elsewhere, and keep nobody from his page."""
    with suppress(ConfigErrors):
        there = load_policies(args.policies, load_deployment(args.config)).credentials
        if wrong := [name for name in args.credentials if name not in there]:
            return f'no credential "{wrong[0]}" in credentials.toml; there are: {", ".join(sorted(there)) or "none"}'
    return ""


def _password(args: argparse.Namespace, users: Users) -> User | int:
    password = _chosen(args)
    if password is None:
        return 2
    user = users.renew(args.name, hashed(password))
    _shown(args, user, password)
    return user


def _remove(args: argparse.Namespace, users: Users) -> User:
    user = users.remove(args.name)
    if args.json:
        print(json.dumps({"removed": user.name}))
    else:
        print(f"{user.name} cannot log in any more.")
        if not users.current():
            print(
                "That was the last one: the admin page is open again where it is bound to loopback, closed elsewhere."
            )
    return user


def _chosen(args: argparse.Namespace) -> str | None:
    """None: it was typed, and will not do."""
    if not args.ask:
        return generate()
    password = getpass.getpass(f"Password of {args.name}: ")
    if why := weakness(args.name, password):
        _misuse(why)
        return None
    if getpass.getpass("Again: ") != password:
        _misuse("these are two different ones")
        return None
    return password


def _shown(args: argparse.Namespace, user: User, password: str) -> None:
    if args.json:
        print(json.dumps(_facts(user) | ({} if args.ask else {"password": password})))
        return
    print(f"{user.name}   {user.role}, {_scope(user)}")
    if not args.ask:
        print(f"password   {password}   (shown this once)")


def _facts(user: User) -> dict[str, Any]:
    return {"name": user.name, "role": user.role, "credentials": list(user.credentials)}


def _scope(user: User) -> str:
    return f"mail of {', '.join(user.credentials)}" if user.credentials else "all mail"


def _list(args: argparse.Namespace) -> int:
    node = whereabouts(args.config)
    try:
        users = Users(node.data_dir).current()
    except UsersError as error:
        print(f"postlane users: {error}", file=sys.stderr)
        return 1
    zone = ZoneInfo(node.timezone)
    for user in sorted(users.values(), key=lambda one: one.name):
        if args.json:
            print(json.dumps(_facts(user) | {"since": user.since}))
        else:
            since = datetime.fromtimestamp(user.since / 1000, UTC).astimezone(zone)
            print(f"{user.name:<24} {user.role:<9} {_scope(user)}, since {since:%-d %b %Y}")
    if not users and not args.json:
        print("No users: the admin page is open where it is bound to loopback. postlane users add NAME --role operator")
    return 0


def _on_record(args: argparse.Namespace, user: User) -> None:
    """An audit event, where the node runs to record it: who may log in does not wait for that."""
    facts = {"by": getpass.getuser(), "via": "cli", "action": f"users {args.action}", "reason": args.reason}
    what = {"user": user.name, "role": user.role, "credentials": list(user.credentials)}
    with suppress(NodeDown):
        data_dir = whereabouts(args.config).data_dir
        request(data_dir, {"do": "record", "kind": "audit", "facts": {**facts, "what": what}})


def _misuse(text: str) -> int:
    print(f"postlane users: {text}", file=sys.stderr)
    return 2
