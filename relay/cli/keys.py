"""postlane keys: make DKIM keys, show them, print the DNS records to publish, change their states."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from relay.event import iso
from relay.signing.entries import STATES, KeysError
from relay.signing.keyfile import ED25519, RSA
from relay.signing.keys import SigningKey, is_domain, is_selector, read_keys
from relay.signing.keystore import ED25519_SUFFIX, generate, set_state

_ALGORITHMS = {"rsa": (RSA,), "ed25519": (ED25519,), "both": (RSA, ED25519)}
_STRING = 255  # octets of one string of a TXT record (RFC 1035 3.3.14)


def add_parser(subparsers: Any) -> None:
    """Registers `keys` and its verbs."""
    verbs = subparsers.add_parser("keys", help="DKIM keys: generate, list, dns, set").add_subparsers(
        dest="verb", required=True, metavar="VERB"
    )
    new = verbs.add_parser(
        "generate",
        help="make keys for a domain and print the DNS records to publish",
        description="Makes keys in config/dkim. Where nothing signs for the domain yet they are active at once; "
        "otherwise they are pending until `postlane keys set` makes them active.",
    )
    new.add_argument("domain", type=_domain, metavar="DOMAIN")
    new.add_argument("--selector", type=_new_selector, metavar="S", help="default: year and letter, 2026a")
    new.add_argument("--algorithm", choices=tuple(_ALGORITHMS), default="both")
    state = new.add_mutually_exclusive_group()
    state.add_argument("--active", dest="state", action="store_const", const="active", default="", help="sign at once")
    state.add_argument("--pending", dest="state", action="store_const", const="pending", help="do not sign yet")
    new.set_defaults(run=_generate)

    verbs.add_parser("list", help="all keys and their states").set_defaults(run=_list)

    records = verbs.add_parser("dns", help="print the DNS records of pending and active keys")
    records.add_argument("domain", type=_domain, nargs="?", metavar="DOMAIN")
    records.set_defaults(run=_dns)

    change = verbs.add_parser("set", help="change the state of a key")
    change.add_argument("domain", type=_domain, metavar="DOMAIN")
    change.add_argument("selector", type=_selector, metavar="SELECTOR")
    change.add_argument("--state", choices=STATES, required=True)
    change.set_defaults(run=_set)


def _domain(text: str) -> str:
    name = text.lower().removesuffix(".")
    if not is_domain(name):
        raise argparse.ArgumentTypeError(
            f'"{text}" is no domain name; write it as DNS has it, such as example.com (xn--...)'
        )
    return name


def _selector(text: str) -> str:
    if not is_selector(text):
        raise argparse.ArgumentTypeError(f'"{text}" is no selector: letters and digits, and - . _ between them')
    return text


def _new_selector(text: str) -> str:
    _selector(text + ED25519_SUFFIX)  # it must leave room for the suffix of the Ed25519 key
    return _selector(text)


def _generate(args: argparse.Namespace) -> int:
    directory = args.config / "dkim"
    try:
        keys = generate(
            directory,
            args.domain,
            _ALGORITHMS[args.algorithm],
            selector=args.selector or "",
            state=args.state,
            now=time.time_ns() // 1_000_000,
        )
    except (KeysError, OSError) as error:
        return _failed("generate", error)
    if args.json:
        _print_json([_facts(key) | {"file": str(_file(directory, key))} | _record_facts(key) for key in keys])
        return 0
    for key in keys:
        print(f"Made {_file(directory, key)}   {_kind(key)}   {key.state}")
    print("\nPublish in DNS:\n")
    print("\n\n".join(zone_record(key) for key in keys))
    print("\n" + _next_step(keys))
    return 0


def _next_step(keys: Sequence[SigningKey]) -> str:
    if keys[0].state == "active":
        return "A running node signs with them after: postlane reload"
    commands = "\n".join(f"  postlane keys set {key.domain} {key.selector} --state active" for key in keys)
    look = f"dig TXT {keys[0].dns_name}"
    return f"They do not sign yet. When the records are visible ({look}):\n{commands}\n  postlane reload"


def _list(args: argparse.Namespace) -> int:
    try:
        keys, warnings = read_keys(args.config / "dkim")
    except KeysError as error:
        return _failed("list", error)
    for warning in warnings:
        print(warning, file=sys.stderr)
    if args.json:
        _print_json([_facts(key) for key in keys])
    elif keys:
        _print_rows([(key.domain, key.selector, _kind(key), key.state, iso(key.created)[:10]) for key in keys])
    else:
        print("No keys yet. Make some: postlane keys generate DOMAIN", file=sys.stderr)
    return 0


def _dns(args: argparse.Namespace) -> int:
    try:
        keys, _ = read_keys(args.config / "dkim")
    except KeysError as error:
        return _failed("dns", error)
    keys = [key for key in keys if key.state != "retired" and args.domain in (None, key.domain)]
    if not keys:
        domain = args.domain or "DOMAIN"
        return _failed("dns", f"no key to publish. Make one: postlane keys generate {domain}")
    if args.json:
        _print_json([_facts(key) | _record_facts(key) for key in keys])
    else:
        print("\n\n".join(f"; {key.state}, {_kind(key)}\n{zone_record(key)}" for key in keys))
    return 0


def _set(args: argparse.Namespace) -> int:
    try:
        key = set_state(args.config / "dkim", args.domain, args.selector, args.state)
    except (KeysError, OSError) as error:
        return _failed("set", error)
    if args.json:
        _print_json([_facts(key)])
    else:
        print(f"{key.domain} {key.selector} is {key.state}. A running node heeds it after: postlane reload")
    return 0


def zone_record(key: SigningKey) -> str:
    """The record as a line of a zone file (RFC 1035 5.1), in strings of at most 255 octets that verifiers join
    (RFC 6376 3.6.2.2). There is nothing to escape: the value has no quotes and no backslash."""
    value = key.dns_value
    strings = [f'"{value[i : i + _STRING]}"' for i in range(0, len(value), _STRING)]
    return f"{key.dns_name}. IN TXT ( " + "\n    ".join(strings) + " )"


def _facts(key: SigningKey) -> dict[str, object]:
    return {
        "domain": key.domain,
        "selector": key.selector,
        "algorithm": key.algorithm,
        "state": key.state,
        "created": iso(key.created),
    }


def _record_facts(key: SigningKey) -> dict[str, object]:
    return {"name": key.dns_name, "type": "TXT", "value": key.dns_value}


def _file(directory: Path, key: SigningKey) -> Path:
    return directory / key.domain / f"{key.selector}.pem"


def _kind(key: SigningKey) -> str:
    return f"RSA {key.private.key_size}" if isinstance(key.private, RSAPrivateKey) else "Ed25519"


def _print_json(rows: Sequence[dict[str, object]]) -> None:
    for row in rows:
        print(orjson.dumps(row).decode())


def _print_rows(rows: Sequence[tuple[str, ...]]) -> None:
    """A table with a heading on a terminal, else tab-separated lines."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    table = [("DOMAIN", "SELECTOR", "KIND", "STATE", "CREATED"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _failed(verb: str, error: object) -> int:
    print(f"postlane keys {verb}: {error}", file=sys.stderr)
    return 1
