"""`postlane suppress`: whom mail is not sent to, and why; on all nodes of a cluster."""

import argparse
import getpass
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from relay.cli import slips, suppress_csv, suppress_restore
from relay.cli.events import duration_ms, now_ms, parse_since, printable
from relay.cli.progress import Progress
from relay.config import whereabouts
from relay.control import granted, request
from relay.feedback.eventarchive import read, scan
from relay.people import SELECTORS, wrong_with
from relay.person import PENDING

Json = dict[str, Any]
ALL: Json = {"pending": False}  # the selectors where none are given
_SETTLED = {"confirm": "confirmed", "drop": "dropped"}
_COUNTED = 100 * 86_400_000  # ms: no cap counts longer ago, but those of whoever wants it so
_PAGE = 500  # entries of one question
_SHOWN = 10  # bad lines of a file that are shown


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "suppress", help="whom mail is not sent to: list, show, add, remove, confirm, drop ..."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="blocks, in no order")
    _add_selectors(listing)
    listing.add_argument("--limit", type=int, default=100, help="rows at most (default 100; 0: all)")
    listing.set_defaults(run=run_list)
    show = actions.add_parser("show", help="what stops mail to these addresses")
    show.add_argument("addresses", metavar="ADDRESS", nargs="+")
    show.set_defaults(run=run_show)
    add = actions.add_parser("add", help="send these addresses no more mail")
    add.add_argument("addresses", metavar="ADDRESS", nargs="+")
    _add_what(add, "all", "manual")
    add.set_defaults(run=run_add)
    remove = actions.add_parser(
        "remove",
        help="send again",
        description="The blocks of these addresses, or without any all that fit: --since 2h --site hotmail --reason "
        "bad-mailbox undoes what a provider's bad hour did.",
    )
    remove.add_argument("addresses", metavar="ADDRESS", nargs="*")
    _add_selectors(remove)
    remove.add_argument("--all", action="store_true", help="every block of everybody")
    _add_hand(remove)
    remove.set_defaults(run=run_remove)
    for name, help_text in (
        ("confirm", "what is pending stops mail from now on"),
        ("drop", "what is pending was wrong"),
    ):
        settle = actions.add_parser(
            name,
            help=help_text,
            description="What a site said of unknown users while it said so of nearly everybody is pending: list --stop pending. "
            "It is settled by itself where it says the same on another day, or takes mail; after 30 days it is dropped.",
        )
        _add_selectors(settle)
        settle.add_argument("--all", action="store_true", help="all that is pending")
        _add_hand(settle)
        settle.set_defaults(run=run_settle)
    take = actions.add_parser(
        "import",
        help="a list of another system's",
        description="CSV with a header (recipient or email, stop, brand, reason, source, since, expires, note), or an "
        "address a line; what a line does not say the options do.",
    )
    take.add_argument("file", metavar="FILE", help="-: standard input")
    _add_what(take, None, "imported")
    take.add_argument("--skip-bad", action="store_true", help="take the good lines of a file that has bad ones")
    take.set_defaults(run=run_import)
    restore = actions.add_parser(
        "restore",
        help="tell State again what it lost",
        description="Where Redis lost its data, marketing waits. On each node: postlane suppress restore, which reads this "
        "node's events; then lists of one's own by import; at last, once: postlane suppress restore --done.",
    )
    restore.add_argument("--done", action="store_true", help="all is back, as far as it can be: marketing goes again")
    restore.add_argument("--note", default="", help="kept in the events")
    restore.add_argument("--dry-run", action="store_true", help="only count")
    restore.add_argument("--yes", action="store_true", help="do not ask")
    restore.set_defaults(run=run_restore)
    export = actions.add_parser("export", help="as CSV, which import reads")
    _add_selectors(export)
    export.set_defaults(run=run_export)


def _add_selectors(parser: argparse.ArgumentParser) -> None:
    for name in SELECTORS:
        text = "all, marketing, topic:T, stream:S, pending" if name == "stop" else None
        parser.add_argument(f"--{name}", dest=f"by_{name}", metavar=name.upper(), help=text)
    parser.add_argument("--since", metavar="24h", help="that began since; a time ago or an RFC 3339 time")
    parser.add_argument("--until", metavar="1h", help="that began before")
    parser.add_argument("--over", action="store_true", help="also those whose time is over")


def _add_what(parser: argparse.ArgumentParser, stop: str | None, reason: str) -> None:
    said = "" if stop is None else f" (default {stop})"
    parser.add_argument("--stop", default=stop, help=f"all, marketing, topic:T, stream:S{said}")
    parser.add_argument("--brand", default="", help="of this brand alone (default: of every brand)")
    parser.add_argument("--reason", default=reason, help=f"a word for lists (default {reason})")
    parser.add_argument("--source", default="", help="who said so (default cli, or the file's name)")
    parser.add_argument("--for", dest="span", metavar="30d", type=duration_ms, help="it ends by itself")
    _add_hand(parser)


def _add_hand(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--note", default="", help="why, in your words; kept with it and in the events")
    parser.add_argument("--dry-run", action="store_true", help="only count")
    parser.add_argument("--yes", action="store_true", help="do not ask")


# -- looking


def run_list(args: argparse.Namespace) -> int:
    where = _where(args)
    if where is None:
        return 2
    rows = listed(whereabouts(args.config).data_dir, where)
    shown = 0
    for row in itertools.islice(rows, args.limit or None):
        print(json.dumps(row) if args.json else line(row))
        shown += 1
    if not shown and not args.json:
        print("Nobody is suppressed." if where == ALL else "Nothing fits.")
    elif args.limit and next(rows, None) is not None:
        print(f"(more; --limit {args.limit})", file=sys.stderr)
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Exit 1 where mail to none of them is stopped."""
    data_dir, found = whereabouts(args.config).data_dir, False
    for address in args.addresses:
        person = ask(data_dir, {"what": "show", "recipient": address})
        found |= any(not block["over"] and not block["stop"].startswith(PENDING) for block in person["blocks"])
        if args.json:
            print(json.dumps({"recipient": address, "blocks": person["blocks"]}))
            continue
        if not person["blocks"]:
            print(f"{printable(address)}: nothing stops mail")
        for block in person["blocks"]:
            print(line({"recipient": address, **block}))
            print(f"    {undo(address, block)}")
    return 0 if found else 1


def run_export(args: argparse.Namespace) -> int:
    where = _where(args)
    if where is None:
        return 2
    rows = listed(whereabouts(args.config).data_dir, where)
    if args.json:
        for row in rows:
            print(json.dumps(row))
    else:
        suppress_csv.write(rows, sys.stdout)
    return 0


def listed(data_dir: Path, where: Json) -> Iterator[Json]:
    """All that fit, page by page; each once, though a page may tell of it again."""
    seen: set[tuple[str, ...]] = set()
    for page in _pages(data_dir, {"what": "list", "where": where}):
        again: set[tuple[str, ...]] = set()
        for row in page["rows"]:
            name = tuple(str(row[part]) for part in ("key", "stop", "brand", "reason"))
            if name not in seen and name not in again:
                yield row
            again.add(name)
        seen = again  # Redis tells of one again within the same walk, near where it told of him first


def line(row: Json) -> str:
    """dana@gmail.com  marketing of arava  complaint, dsn  since 2026-11-21T12:05:31.104Z  "said by phone" """
    who = row["recipient"] or f"(forgotten, key {row['key']})"
    return f"{printable(who)}  {told(row)}"


def told(row: Json) -> str:
    """The same without whose it is."""
    why = ", ".join(filter(None, (row["reason"], row["source"])))
    until = f" until {row['expires']}" if row["expires"] else ""
    over = "  over" if row.get("over") else ""
    note = f'  "{row["note"]}"' if row["note"] else ""
    return printable(f"{what(row)}  {why}  since {row['since']}{until}{over}{note}")


def what(row: Json) -> str:
    """all mail; marketing of arava; topic offers of arava"""
    if row["stop"].startswith(PENDING):
        return f"nothing yet (pending: {what({**row, 'stop': row['stop'].removeprefix(PENDING)})})"
    stop = "all mail" if row["stop"] == "all" else row["stop"].replace(":", " ")
    return f"{stop} of {row['brand']}" if row["brand"] else stop


def undo(address: str, block: Json) -> str:
    """The command that takes it off."""
    brand = f" --brand {block['brand']}" if block["brand"] else ""
    return f"postlane suppress remove {printable(address)} --stop {block['stop']}{brand} --reason {block['reason']}"


# -- changing


def run_add(args: argparse.Namespace) -> int:
    data_dir, count = whereabouts(args.config).data_dir, len(args.addresses)
    block = {"stop": args.stop, "brand": args.brand or None, "expires": None}
    kind, _, name = args.stop.partition(":")
    slips.warn(request, data_dir, {kind: name})
    if args.dry_run:
        return _would(args, count, f"{count:,} addresses would get no more: {what(block)}.")
    defaults = _defaults(args, args.source or "cli")
    entries = [{"recipient": address, **defaults} for address in args.addresses]
    done = _send(data_dir, entries, count, args)
    _audit(data_dir, args, {"recipients": args.addresses[:_SHOWN]}, done)
    if args.json:
        print(json.dumps(done))
        return 0
    means = f"{what(block)}{', transactional mail too' if args.stop == 'all' else ''}"
    same = f"; {done['same']:,} had it already" if done["same"] else ""
    brand = f" --brand {args.brand}" if args.brand else ""
    print(f"{done['changed']:,} suppressed: {means}{same}.")
    print(f"Undo: postlane suppress remove ADDRESS --stop {args.stop}{brand} --reason {args.reason}")
    return 0


def run_import(args: argparse.Namespace) -> int:
    """The file is read twice: first to count and to find what is wrong with it."""
    source = "standard input" if args.file == "-" else Path(args.file).name
    defaults = _defaults(args, args.source or source)
    try:
        file = _opened(args.file)
    except OSError as error:
        print(f"postlane suppress import: {args.file} cannot be read: {error.strerror}", file=sys.stderr)
        return 1
    data_dir = whereabouts(args.config).data_dir
    wrong = partial(wrong_with, brands=ask(data_dir, {"what": "brands"})["brands"])
    with file:
        good = bad = 0
        try:
            for row in suppress_csv.read(file, defaults, wrong):
                if not row.fault:
                    good += 1
                    continue
                bad += 1
                if bad <= _SHOWN:
                    print(f"{args.file}:{row.line}: {printable(row.fault)}", file=sys.stderr)
        except UnicodeDecodeError:
            print(f"postlane suppress import: {args.file} is no text in UTF-8", file=sys.stderr)
            return 1
        if bad:
            more = f", {bad - _SHOWN:,} of them not shown" if bad > _SHOWN else ""
            help_text = "" if args.skip_bad else " Nothing was changed; --skip-bad takes the others."
            hint = "" if args.stop else " Where lines do not say what they stop: --stop marketing, all, ..."
            print(f"{bad:,} bad lines{more}.{help_text}{hint}", file=sys.stderr)
            if not args.skip_bad:
                return 1
        if args.dry_run:
            return _would(args, good, f"{good:,} addresses would be suppressed.")
        if not good:
            print("There is nobody in it.", file=sys.stderr)
            return 1
        if not _sure(args, f"This suppresses {good:,} addresses"):
            return 1
        file.seek(0)
        entries = (row.entry for row in suppress_csv.read(file, defaults, wrong) if not row.fault)
        done = _send(data_dir, entries, good, args)
    _audit(data_dir, args, {"file": source}, {**done, "bad": bad})
    if args.json:
        print(json.dumps({**done, "bad": bad}))
    else:
        print(f"{done['changed']:,} suppressed, {done['same']:,} were already.")
    return 0


def _opened(name: str) -> TextIO:
    """To be read twice: standard input is kept aside. Raises OSError."""
    if name != "-":
        return Path(name).open(encoding="utf-8-sig", newline="")
    import tempfile  # noqa: PLC0415 (here alone)

    kept = tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115 (the caller closes it)
    for text in sys.stdin:
        kept.write(text)
    kept.seek(0)
    return kept


def run_remove(args: argparse.Namespace) -> int:
    where = _where(args)
    if where is None:
        return 2
    if not args.addresses and not args.all and where == ALL:
        print(
            "postlane suppress remove: say whose or which: an ADDRESS, --since, --site, --reason ... or --all.",
            file=sys.stderr,
        )
        return 2
    data_dir = whereabouts(args.config).data_dir
    if args.addresses:
        return _remove_of(args, where, data_dir)
    count = 0
    with Progress("counting") as progress:
        for page in _pages(data_dir, {"what": "list", "where": where, "count": True}):
            count += page["found"]
            progress.show(0.0, f"{count:,} blocks")
    if args.dry_run:
        return _would(args, count, f"{count:,} blocks would be taken off.")
    if not count:
        print("Nothing fits." if where != ALL else "Nobody is suppressed.", file=sys.stderr)
        return 1
    if not args.yes and sys.stdin.isatty():
        text = input(f"This takes {count:,} blocks off, and mail goes there again. Type {count} to go on: ")
        if text.strip() != str(count):
            return _unchanged()
    removed = 0
    with Progress("removing") as progress:
        for page in _pages(data_dir, {"what": "clear", "where": where, **_by(args)}):
            removed += page["removed"]
            progress.show(removed / count, f"{removed:,} of {count:,}")
    _audit(data_dir, args, where, {"removed": removed})
    print(json.dumps({"removed": removed}) if args.json else f"{removed:,} blocks taken off.")
    return 0


def run_settle(args: argparse.Namespace) -> int:
    """`confirm` and `drop`. Exit 1 where nothing is pending that fits."""
    where = _where(args)
    if where is None:
        return 2
    if where == ALL and not args.all:
        print(f"postlane suppress {args.action}: say which: --site, --since ... or --all.", file=sys.stderr)
        return 2
    where, data_dir = {**where, "pending": True}, whereabouts(args.config).data_dir
    count = sum(page["found"] for page in _pages(data_dir, {"what": "list", "where": where, "count": True}))
    if args.dry_run:
        return _would(args, count, f"{_count(count, 'pending suppression')} would be {_SETTLED[args.action]}.")
    if count and not _sure(args, f"{_count(count, 'pending suppression')} will be {_SETTLED[args.action]}"):
        return 1
    what, done, field = ("confirm", 0, "changed") if args.action == "confirm" else ("clear", 0, "removed")
    for page in _pages(data_dir, {"what": what, "where": where, **_by(args)}):
        done += page[field]
    if set(where) <= {"pending", "site"}:  # the alert ends with all of a site, or of all
        word = _SETTLED[args.action]
        granted(request(data_dir, {"do": "health", "what": "settle", "site": where.get("site", ""), "word": word}))
    _audit(data_dir, args, where, {_SETTLED[args.action]: done})
    told = f"{_count(done, 'pending suppression')} {_SETTLED[args.action]}."
    print(json.dumps({_SETTLED[args.action]: done}) if args.json else told)
    return 0 if done else 1


def _remove_of(args: argparse.Namespace, where: Json, data_dir: Path) -> int:
    """Exit 1 where there was nothing to take off."""
    total = 0
    for address in args.addresses:
        question = {"recipient": address, "where": {**where, "over": True}}
        if args.dry_run:
            blocks = ask(data_dir, {"what": "show", "recipient": address})["blocks"]
            gone = [block for block in blocks if _fits(block, where)]
        else:
            gone = ask(data_dir, {"what": "unblock", **question, **_by(args)})["removed"]
        total += len(gone)
        if args.json:
            print(json.dumps({"recipient": address, "would_remove" if args.dry_run else "removed": gone}))
            continue
        for block in gone:
            print(f"{'Would take off' if args.dry_run else 'Taken off'}: {line({'recipient': address, **block})}")
        if not gone:
            print(f"{printable(address)}: no such block", file=sys.stderr)
    if total and not args.dry_run:
        _audit(data_dir, args, {"recipients": args.addresses[:_SHOWN], **where}, {"removed": total})
    return 0 if total else 1


def _fits(block: Json, where: Json) -> bool:
    """As the node would judge, but for times, which a dry run of single addresses leaves out."""
    return all((block[name] or "") == where[name] for name in SELECTORS if name in where)


def _send(
    data_dir: Path, entries: Iterable[Json], count: int, args: argparse.Namespace, *, silent: bool = False
) -> Json:
    """In pages; what was sent before one that is refused stays done. `silent`: events of it are there already."""
    done, sent, rest = {"changed": 0, "same": 0}, 0, iter(entries)
    with Progress("suppressing") as progress:
        while page := list(itertools.islice(rest, _PAGE)):
            via = {"via": "restore", "silent": True} if silent else {}
            answer = ask(data_dir, {"what": "block", "entries": page, **_by(args), **via})
            done = {name: done[name] + answer[name] for name in done}
            sent += len(page)
            progress.show(sent / count, f"{sent:,} of {count:,}")
    return done


def run_restore(args: argparse.Namespace) -> int:
    data_dir = whereabouts(args.config).data_dir
    if args.done:
        if args.dry_run:
            return _would(args, 0, "Marketing would go again.")
        if not _sure(args, "Marketing goes again by what State knows now"):
            return 1
        ask(data_dir, {"what": "restored"})
        _audit(data_dir, args, {"done": True}, {})
        print(json.dumps({"done": True}) if args.json else "Marketing goes again.")
        return 0
    events = read(data_dir / "events", match={"type": suppress_restore.TYPES})
    blocks, wishes = suppress_restore.known(
        events, lambda address: str(ask(data_dir, {"what": "show", "recipient": address})["key"])
    )
    known = f"{_count(len(blocks), 'block')} and {_count(len(wishes), 'preference')}"
    if args.dry_run:
        return _would(args, len(blocks) + len(wishes), f"{known} would be told again.")
    if not _sure(args, f"This tells State {known} again"):
        return 1
    done = _send(data_dir, blocks, len(blocks) or 1, args, silent=True)
    for wish in wishes:
        ask(data_dir, {"what": "wish", **wish, "silent": True})
    told = {**done, "preferences": len(wishes), "mails": _send_got(data_dir)}
    _audit(data_dir, args, {}, told)
    if args.json:
        print(json.dumps(told))
    else:
        what = f"{_count(done['changed'], 'block')}, {_count(len(wishes), 'preference')}"
        print(f"{what} and {_count(told['mails'], 'mail')} that arrived told again, from this node's events.")
        print("When every node has done so, and lists of your own are imported: postlane suppress restore --done")
    return 0


def _send_got(data_dir: Path) -> int:
    """What people got of late, for their caps, in pages: how many mails that were."""
    arrived = scan(data_dir / "events", since=now_ms() - _COUNTED, match={"type": "delivered"})
    entries, sent = suppress_restore.got(arrived), 0
    while page := list(itertools.islice(entries, _PAGE)):
        ask(data_dir, {"what": "got", "entries": page})
        sent += len(page)
    return sent


# -- words


def ask(data_dir: Path, question: Json) -> Json:
    """Of the desk (relay/people.py). Raises Refused."""
    return granted(request(data_dir, {"do": "people", **question}))


def _pages(data_dir: Path, question: Json) -> Iterator[Json]:
    cursor = ""
    while True:
        answer = ask(data_dir, {**question, "cursor": cursor})
        yield answer
        cursor = answer["cursor"]
        if not cursor:
            return


def _where(args: argparse.Namespace) -> Json | None:
    """The selectors that were given; None, and it is said, where one is no time."""
    where: Json = {name: found for name in SELECTORS if (found := getattr(args, f"by_{name}")) is not None}
    zone = ZoneInfo(whereabouts(args.config).timezone)
    try:
        for name in ("since", "until"):
            if text := getattr(args, name):
                where[name] = parse_since(text, now_ms(), zone)
    except ValueError as error:
        print(f"postlane suppress {args.action}: {error}", file=sys.stderr)
        return None
    where["pending"] = f"{where.get('stop', '')}:".startswith(PENDING)
    if where.get("stop") == PENDING[:-1]:
        del where["stop"]
    return where | ({"over": True} if args.over else {})


def _defaults(args: argparse.Namespace, source: str) -> Json:
    said = {"stop": args.stop or "", "brand": args.brand, "reason": args.reason, "source": source, "note": args.note}
    return said | ({"until": now_ms() + args.span} if args.span else {})


def _by(args: argparse.Namespace) -> Json:
    return {"by": getpass.getuser(), "via": "cli", "reason": args.note}


def _audit(data_dir: Path, args: argparse.Namespace, about: Json, done: Json) -> None:
    facts = {"by": getpass.getuser(), "via": "cli", "action": f"suppress {args.action}", "what": about}
    request(data_dir, {"do": "record", "kind": "audit", "facts": {**facts, "reason": args.note, **done}})


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _would(args: argparse.Namespace, count: int, text: str) -> int:
    print(json.dumps({"would_change": count}) if args.json else f"{text} Nothing was changed.")
    return 0


def _sure(args: argparse.Namespace, text: str) -> bool:
    if args.yes or not sys.stdin.isatty():
        return True
    if input(f"{text}. Go on? [y/N] ").strip().lower() in ("y", "yes"):
        return True
    _unchanged()
    return False


def _unchanged() -> int:
    print("Nothing was changed.", file=sys.stderr)
    return 1
