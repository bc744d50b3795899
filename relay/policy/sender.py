"""Whose name a message carries: the mailboxes of From and Sender (RFC 5322 3.4, RFC 6854), read strictly.

Mail programs disagree about sloppy address lists, and an attacker lives from that; so what this reader does not fully
understand has no mailboxes (None), and accept() refuses it. Comments, quoted names, folded lines, groups and
internationalised addresses (RFC 6532) are understood; obsolete source routes are not.
"""

import re
from collections.abc import Collection

from relay.domain import a_label
from relay.header import readable

# The two forms nearly all mail has: `Name <local@domain>` and `local@domain`. One match, 1 us.
_SIMPLE = re.compile(
    r'(?:(?:"[^"\\]*"|[^<>()\[\]:;@\\,"]*)<([^<>()\[\]:;@\\,"\s]+@[^<>()\[\]:;@\\,"\s]+)>|([^<>()\[\]:;@\\,"\s]+@[^<>()\[\]:;@\\,"\s]+))'
)
_MAX_NAME = 1_000  # octets of From in which a name is looked for; a line of a header has 998 at most (RFC 5322 2.1.1)
_TOKEN = re.compile(r'\s+|"(?:[^"\\]|\\.)*"|\[[^\[\]\\]*\]|[<>,:;@]|[^\s<>,:;@"()\[\]\\]+', re.DOTALL)


def mailboxes(value: bytes) -> list[str] | None:
    """Every address in a From or Sender field's value, as `local@domain`; None if the value cannot be read for certain."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    simple = _SIMPLE.fullmatch(text.strip())
    if simple:
        return [simple[1] or simple[2]]
    tokens = _tokens(text)
    return None if tokens is None else _address_list(tokens)


def _tokens(text: str) -> list[str] | None:
    tokens: list[str] = []
    at = 0
    while at < len(text):
        if text[at] == "(":
            end = _comment_end(text, at)
            if end is None:
                return None
            at = end
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        if not match[0].isspace():
            tokens.append(match[0])
        at = match.end()
    return tokens


def _comment_end(text: str, start: int) -> int | None:
    """Where the comment that opens at `start` ends; comments nest (RFC 5322 3.2.2)."""
    depth, at = 0, start
    while at < len(text):
        character = text[at]
        if character == "\\":
            at += 1
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return None


def _address_list(tokens: list[str]) -> list[str] | None:
    """address-list: mailboxes and groups between commas; a group is `name: mailbox, mailbox;` and does not nest."""
    found: list[str] = []
    entry: list[str] = []
    in_group = False
    for part in [*tokens, ","]:
        if part == ":" and not in_group and "<" not in entry and "@" not in entry:
            in_group, entry = True, []
        elif part == "," or (part == ";" and in_group):
            address = _mailbox(entry) if entry else ""
            if address is None:
                return None
            if address:
                found.append(address)
            in_group, entry = in_group and part != ";", []
        elif part in (":", ";"):
            return None
        else:
            entry.append(part)
    return None if in_group else found


def _mailbox(tokens: list[str]) -> str | None:
    if tokens[-1] == ">":
        if tokens.count("<") != 1 or tokens.count(">") != 1:
            return None
        opening = tokens.index("<")
        if "@" in tokens[:opening]:
            return None  # `a@x <b@y>`: programs differ on which of the two counts
        tokens = tokens[opening + 1 : -1]
    if len(tokens) != 3 or tokens[1] != "@" or any(t in "<>" for t in (tokens[0], tokens[2])):
        return None
    return "".join(tokens)


def display_name(value: bytes) -> str:
    """The name before the first address of a From field's value (RFC 5322 3.4), or in a comment behind it, as old programs
    write it; "" if there is none, or an address again."""
    before, angle, _ = value[:_MAX_NAME].partition(b"<")
    if not angle:
        before = before.partition(b"(")[2].rpartition(b")")[0]
    name = readable(before).strip(" \t\"'")
    return "" if "@" in name and " " not in name else name


def domain_of(address: str) -> str:
    """The domain as a lower-case A-label; "" if it is none (RFC 5890)."""
    return a_label(address.rpartition("@")[2].rstrip(".")) or ""


def permitted(domain: str, domains: Collection[str]) -> bool:
    """May a credential with these domains write mail from `domain`? `*.example.com` stands for its subdomains, `*` for any."""
    return domain in domains or any(d[0] == "*" and (d == "*" or domain.endswith(d[1:])) for d in domains)
