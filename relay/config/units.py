"""Durations, rates, sizes and addresses as admins write them, read into plain values. Pure.

Every function takes what stood in the file (of whatever type) and returns a value or raises `Wrong` in the words of
the error messages; none of them knows where in which file it stands.
"""

import json
import re
from contextlib import suppress
from datetime import date
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from relay import times
from relay.config.problems import Wrong, did_you_mean
from relay.domain import MAX_DOMAIN, a_label
from relay.identity import Rate
from relay.wildcard import recipient_pattern

_RATE = re.compile(r"(\d{1,12})/([a-z0-9]+)", re.ASCII)
_SLIDING_S = {"second": 1, "minute": 60, "hour": 3_600}
# The longest such period in seconds: a day on which the clocks go back has 25 hours, as part of its week and month too.
_CALENDAR_S = {"day": 90_000, "week": 608_400, "month": 2_682_000}
_REDIS = re.compile(r"rediss?://([^\s/@:]+@)?([^\s/@:,\[\]]+|\[[0-9a-f:.]+\])(:\d{1,5})?(/\d{1,4})?", re.ASCII)
_PLACE = r"[^\s/@:,\[\]]+(:\d{1,5})?"
_SENTINEL = re.compile(rf"rediss?\+sentinel://([^\s/@:]+@)?{_PLACE}(,{_PLACE})*/[A-Za-z0-9._-]+(/\d{{1,4}})?", re.ASCII)
_PORTS = re.compile(r":(\d{1,5})(?=[,/]|$)", re.ASCII)
_RATE_WORDS = (*_SLIDING_S, *_CALENDAR_S)
# Binary, as in Exim's limits and as people mean it: "25MB" never refuses what some other host calls 25 MB.
_SIZE_UNITS = {"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}
_SIZE = re.compile(r"(\d{1,9}) ?(b|kb|mb|gb)", re.ASCII | re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
# Names stand in events, header fields and SMTP user names (`name+stream`): no "+", no "@", no blanks, no capitals.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)

Network = IPv4Network | IPv6Network


class Address(NamedTuple):
    """Where to listen: an IP address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def shown(value: object) -> str:
    """A value as it would stand in TOML."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, date):  # datetime included
        return value.isoformat()
    if isinstance(value, (str, bool)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def duration(value: object) -> int:
    """`90s 15m 2h 7d` in ms."""
    span = times.duration(value) if isinstance(value, str) else None
    if span is not None:
        return span
    raise Wrong("duration", f'{shown(value)} is no duration: a number and s, m, h or d, such as "{_likely(value)}"')


def positive_duration(value: object) -> int:
    """A duration of one second or more, in ms."""
    span = duration(value)
    if span:
        return span
    raise Wrong("duration", f'"{value}" is no time at all; "1s" at least')


def _likely(value: object) -> str:
    """What somebody who wrote this may have meant: "24 hours" is "24h", "2 weeks" is "14d", a bare number minutes."""
    match = re.fullmatch(r"(\d{1,9})\s*([a-z]*)", str(value).strip().lower(), re.ASCII)
    if not match:
        return "15m"
    number, word = int(match[1]), match[2]
    for start, days in (("w", 7), ("mo", 30), ("y", 365)):
        if word.startswith(start):
            return f"{number * days}d"
    return f"{number}{word[0] if word[:1] in set('smhd') else 'm'}"


def rate(value: object) -> Rate:
    """`40/second` (sliding), `5/week` (calendar), `4/7d` (sliding) as a Rate."""
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if not match or not isinstance(value, str):
        words = "a number per second, minute, hour, day, week or month"
        raise Wrong("rate", f'{shown(value)} is no rate: {words}, such as "40/second", or "4/7d"')
    count, per = int(match[1]), match[2]
    if count == 0:
        raise Wrong("rate", f'"{value}" would let nothing through; a rate is 1 or more')
    return _of_period(value, count, per)


def cap_limit(value: object) -> Rate:
    """The same, and `0/day`: nothing at all."""
    if isinstance(value, str) and (match := _RATE.fullmatch(value)) and not int(match[1]):
        return _of_period(value, 0, match[2])
    return rate(value)


def _of_period(text: str, count: int, per: str) -> Rate:
    if per in _CALENDAR_S:
        return Rate(count, _CALENDAR_S[per], per, text)
    return Rate(count, _sliding_seconds(text, count, per), "", text)


def _sliding_seconds(text: str, count: int, per: str) -> int:
    if per in _SLIDING_S:
        return _SLIDING_S[per]
    if span := times.duration(per):
        return span // 1_000
    word = (
        next((word for word in _RATE_WORDS if word.startswith(per)), None) or did_you_mean(per, _RATE_WORDS) or "second"
    )
    raise Wrong("rate", f'"{text}" is no rate; write "{count}/{word}"')


def size(value: object) -> int:
    """`25MB` in bytes; 1 MB is 1,048,576."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if not match or not int(match[1]):
        raise Wrong("size", f'{shown(value)} is no size: a number and KB, MB or GB, such as "25MB"')
    return int(match[1]) * _SIZE_UNITS[match[2].lower()]


def address(value: object) -> Address:
    """`127.0.0.1:2525`, `[::]:587`"""
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        ip = ip_address(host[1:-1] if bracketed else "127.0.0.1" if host == "localhost" else host)
        if bracketed == (ip.version == 6):
            return Address(str(ip), port_number(port))
    except ValueError:
        pass
    raise Wrong("address", f'{shown(value)} is no address and port, such as "127.0.0.1:2525" or "[::1]:2525"')


def port_number(text: str) -> int:
    """0 to 65535; listening on 0 is the kernel's choice of a port."""
    if text.isascii() and text.isdigit() and int(text) < 65536:
        return int(text)
    raise Wrong("address", f"{shown(text)} is no port; 1 to 65535")


def maybe_address(value: object) -> str:
    """An address and port, normalised, or "" for none."""
    return "" if value == "" else str(address(value))


def folder(value: object) -> Path:
    if isinstance(value, str) and value.strip():
        return Path(value)
    raise Wrong("type", f'{shown(value)} is no folder, such as "/var/lib/postlane"')


def nameserver(value: object) -> str:
    """`127.0.0.1:53`; without a port, 53."""
    try:
        if isinstance(value, str):
            ip = ip_address(value)
            return str(Address(str(ip), 53))
    except ValueError:
        pass
    try:
        return str(address(value))
    except Wrong:
        raise Wrong("address", f'{shown(value)} is no name server\'s address, such as "127.0.0.1:53"') from None


def proxy(value: object) -> str:
    """`10.0.0.9:1080`, `[2001:db8::9]:1080`, or "" for none. No name, which each connection would have to look up."""
    try:
        if value == "":
            return ""
        found = address(value)
        if found.port:
            return str(found)
    except Wrong:
        pass
    raise Wrong("address", f'{shown(value)} is no address and port of a proxy, such as "10.0.0.9:1080"')


def source_address(value: object) -> str:
    """An IP address of this machine, or "" for the system's choice."""
    try:
        return str(ip_address(value)) if isinstance(value, str) and value else "" if value == "" else _no_ip(value)
    except ValueError:
        return _no_ip(value)


def _no_ip(value: object) -> str:
    raise Wrong("address", f'{shown(value)} is no IP address, such as "192.0.2.10"')


def network(value: object) -> Network:
    """`10.20.0.0/16`; a single address is a network of one."""
    if not isinstance(value, str):
        raise Wrong("network", f'{shown(value)} is no network, such as "10.20.0.0/16"')
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        wide = ip_network(value, strict=False)
    except ValueError:
        raise Wrong("network", f'{shown(value)} is no network, such as "10.20.0.0/16"') from None
    alone = value.partition("/")[0]
    raise Wrong(
        "network", f'"{value}" is an address inside a network; write "{wide}" for all of it, "{alone}" for that one'
    )


def domain(value: object) -> str:
    """A domain name as lower-case A-label (RFC 5890), the form DNS and tables use."""
    if isinstance(value, str):
        text = value.strip().removesuffix(".").lower()
        if text.startswith(("@", "*.")) or "@" in text:
            raise Wrong("domain", f'"{value}" is no domain name; write "{text.rpartition("@")[2].removeprefix("*.")}"')
        labels = _a_label(text)
        if labels is not None:
            return labels
    raise Wrong("domain", f'{shown(value)} is no domain name, such as "shop.example"')


def _a_label(text: str) -> str | None:
    name = a_label(text)
    return name if name and len(name) <= MAX_DOMAIN and all(map(_LABEL.fullmatch, name.split("."))) else None


def sending_domain(value: object) -> str:
    """A domain an app may write in From, or `*` for any."""
    return "*" if value == "*" else domain(value)


def recipient(value: object) -> str:
    """An address, a domain or a pattern of either, in lower case, its domain as A-label."""
    text = recipient_pattern(value.strip()) if isinstance(value, str) else ""
    local, at, host = text.rpartition("@")
    plain = not at or (local != "" and not re.search(r"[\s\x00-\x1f\x7f]", local))
    if plain and _a_label(host.replace("*", "x")) is not None:
        return text
    if at and not local and _a_label(host.replace("*", "x")):
        raise Wrong("recipient", f'{shown(value)} is no recipient; write "{host}"')
    such = '"dana@shop.example", "shop.example" or "*@*.shop.example"'
    raise Wrong("recipient", f"{shown(value)} is no recipient: an address, a domain or a pattern, such as {such}")


def mailbox(value: object) -> str:
    """One address that mail of ours can go to, its domain as A-label."""
    text = value.strip() if isinstance(value, str) else ""
    local, at, host = text.rpartition("@")
    label = _a_label(host)
    if at and label and local.isascii() and re.fullmatch(r"[^\s\x00-\x1f\x7f<>,;:\"()*@]+", local):
        return f"{local}@{label}"
    raise Wrong("address", f'{shown(value)} is no address, such as "postmaster@shop.example"')


def own_address(value: object) -> str:
    """An address, or the part of one before the @, in lower case."""
    text = value.strip() if isinstance(value, str) else ""
    if "@" in text:
        return mailbox(text).lower()
    if re.fullmatch(r"[!#-'*+\-./0-9=?A-Z^-~]{1,64}", text):
        return text.lower()
    raise Wrong("address", f'{shown(value)} is no address, such as "fbl@shop.example", nor the part before its @')


def maybe_domain(value: object) -> str:
    return "" if value == "" else domain(value)


def name(value: object) -> str:
    """The name of a credential, brand, pool, stream."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise Wrong("name", f"{shown(value)} is no name: small letters, digits, and . _ - between them, 63 at most")


def host_and_port(value: object) -> str:
    """`relay.example.com:587`, `192.0.2.1:25`, `[2001:db8::1]:25`, or "" for none; as written."""
    if value == "":
        return ""
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    try:
        port_number(port)
        if host.startswith("["):
            address(value)
        else:
            domain(host)
    except Wrong:
        raise Wrong("address", f'{shown(value)} is no host and port, such as "relay.example.com:587"') from None
    return str(value).lower()


MAX_URL = 100  # a token of some 860 follows in one line of a header, which may have 998 octets (RFC 5322 2.1.1)


def web_url(value: object) -> str:
    """An absolute http or https URL without a final slash, or "" for none."""
    if value == "":
        return ""
    if isinstance(value, str) and re.fullmatch(r"https?://[!-~]+", value) and not re.search(r"[<>?#\"]", value):
        if len(value) > MAX_URL:
            raise Wrong(
                "url", f"{shown(value)} has {len(value)} characters, more than the {MAX_URL} that fit into mail"
            )
        return value.rstrip("/")
    raise Wrong("url", f'{shown(value)} is no URL, such as "https://mail.shop.example"')


def color(value: object) -> str:
    """`#0b6e4f` in small letters, or "" for none."""
    if value == "":
        return ""
    if isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        return value.lower()
    raise Wrong("color", f'{shown(value)} is no colour, such as "#0b6e4f"')


def hook_url(value: object) -> str:
    """An http or https URL as it is to be asked for, or "" for none."""
    if value == "":
        return ""
    if isinstance(value, str) and re.fullmatch(r"https?://[^\s/?#@]+(/[!-~]*|\?[!-~]*)?", value) and "#" not in value:
        return value
    raise Wrong("url", f'{shown(value)} is no URL, such as "https://chat.shop.example/hooks/mail"')


def _ports_exist(url: str) -> bool:
    return all(int(port) <= 65_535 for port in _PORTS.findall(url))


def state_url(value: object) -> str:
    """`sqlite:` or `redis://host:6379/0`, `rediss:` for TLS, `user@` before the host where Redis has users; or
    `redis+sentinel://host:26379,host:26379/NAME/0`: the Sentinels that know which server is master, and its name with them
    (`rediss+sentinel:` for TLS)."""
    if isinstance(value, str) and re.match(r"rediss?(\+sentinel)?://[^/@]*:[^/]*@", value):
        raise Wrong("secret", "passwords do not stand in this file; write user@host, or host, and set password_file")
    if value == "sqlite:":
        return value
    if isinstance(value, str) and (_REDIS.fullmatch(value) or _SENTINEL.fullmatch(value)) and _ports_exist(value):
        return value
    raise Wrong("url", f'{shown(value)} is no place for state; write "sqlite:" or such as "redis://10.0.0.9:6379/0"')


@cache
def _zones() -> frozenset[str]:
    """All names: for suggestions alone, since it reads the whole database."""
    return frozenset(available_timezones())


def timezone(value: object) -> str:
    """A name of the IANA time zone database that this machine knows."""
    if isinstance(value, str):
        with suppress(ValueError, OSError, KeyError):  # no name, a folder of the database, not in it
            return ZoneInfo(value).key
    close = did_you_mean(value, _zones()) if isinstance(value, str) else None
    hint = f'did you mean "{close}"?' if close else 'such as "Europe/Berlin"'
    raise Wrong("timezone", f"{shown(value)} is no time zone; {hint}")
