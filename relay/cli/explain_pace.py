"""How mail may go to a recipient's site, and how it goes now: for `explain`. Limits are those of shaping.toml on disk, each with
its place; paces and operators' orders are the running node's, and none where it does not run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from relay.cli.reasons import short
from relay.cli.status import ordered
from relay.config.origin import Setting, settings_of
from relay.event import iso
from relay.message import MailClass

Json = dict[str, Any]
FILE = "shaping.toml"
_RATES = (
    "connection_rate",
    "rate",
    "site_connections",
    "site_rate",
)  # what an admin's own host has only where it says so
KEYS = ("connections", *_RATES, "reserved", "messages_per_connection", "tls")
SHOWN = 3  # sources of a pool that are slowed, by name


class Limit(NamedTuple):
    """One that holds, "policies/shaping.toml:12" or "shipped". `beside`: it is the domain's own, beside the site's."""

    key: str
    value: object
    place: str
    beside: str = ""

    def __str__(self) -> str:
        alone = f" for {self.beside} alone" if self.beside else ""
        return f"{self.key.replace('_', ' ')} {self.value}{alone} ({short(self.place)})"

    @property
    def facts(self) -> Json:
        return {"key": self.key, "value": self.value, "from": self.place, "domain": self.beside or None}


@dataclass(frozen=True)
class Pacing:
    """`policies`: the folder, None where there is none; `node`: what a running one answered to `paces`."""

    policies: Path | None
    node: Mapping[str, Sequence[Json]]

    @cached_property
    def _said(self) -> dict[tuple[object, ...], Setting]:
        found = settings_of(self.policies, FILE) if self.policies is not None else ()
        return {one.loc: one for one in found if one.value is not None}

    def limits(self, site: str, pool: str, domain: str, host: str = "") -> list[Limit]:
        """Of mail of `pool` to `domain`, as shaping/shape.py resolves them. `host`: of a relay or next hop, if it goes there."""
        if host:
            own = ("domain", host)
            return [
                one for key in KEYS if (one := self._limit((own, ("default",)), key, alone=key in _RATES)) is not None
            ]
        provider = ("provider", site)
        tables = [(*provider, "pool", pool), provider, *([("domain", domain)] if site == domain else []), ("default",)]
        found = [one for key in KEYS if (one := self._limit(tables, key)) is not None]
        return found if site == domain else list(self._with_own(found, domain))

    def _limit(self, tables: Sequence[tuple[str, ...]], key: str, *, alone: bool = False) -> Limit | None:
        for table in tables:
            one = self._said.get((*table, key))
            if one is not None and not (alone and not self._own(one)):
                return Limit(key, one.value, _place(one))
        return None

    def _own(self, one: Setting) -> bool:
        """Does a [domain] say it itself, and not what is above it?"""
        above = self._said.get(("default", one.loc[-1]))
        return one.loc[0] == "domain" and one.line > 0 and (above is None or one.line != above.line)

    def _with_own(self, found: Sequence[Limit], domain: str) -> Iterator[Limit]:
        """What a domain that shares its site says holds beside the site's limits, or instead of what is no limit."""
        own = {key: one for key in KEYS if (one := self._said.get(("domain", domain, key))) and self._own(one)}
        instead = [key for key in own if key not in ("connections", *_RATES)]
        yield from (one for one in found if one.key not in instead)
        yield from (Limit(key, one.value, _place(one), "" if key in instead else domain) for key, one in own.items())

    def paces(self, site: str, sources: Sequence[str]) -> list[Json]:
        """Of those of our addresses that it may leave from; none where no mail went there lately."""
        return [row for row in self.node.get("paces", ()) if row["site"] == site and row["source"] in sources]

    def said(self, site: str, sources: Sequence[str], pool: str, stream: str, mail_class: MailClass) -> Iterator[str]:
        """What its mail meets there now, in words."""
        rows = self.paces(site, sources)
        slowed = [row for row in rows if row["direction"] != "free"]
        spared = " (transactional mail is not held by it)" if mail_class is MailClass.TRANSACTIONAL else ""
        for row in slowed[:SHOWN]:
            by = f" from {row['source']}" if len(sources) > 1 else ""
            until = f" until {iso(row['until'])}" if row["until"] else ""
            yield f"{site}: pace now {row['said']}{by}{until}{'' if row['direction'] == 'paused' else spared}"
        if len(slowed) > SHOWN:
            yield f"{site}: {len(slowed) - SHOWN} more sources are slowed; postlane pace --site {site}"
        if rows and not slowed:
            yield f"{site}: pace now free"
        for one in self.node.get("standing", ()):
            if one["site"] != site:
                continue
            if one["kind"] == "order" and one["pool"] in ("*", pool):
                yield ordered(one) + (spared if one["pool"] == "*" else "")
            elif one["kind"] == "aside" and one["who"] == f"stream/{stream}" and not spared:
                yield f"{site}: stream {stream} waits until {iso(one['until'])}, by {one['place']}: {one['why']}"


NOTHING_SAID = Pacing(None, {})


def _place(one: Setting) -> str:
    return f"policies/{FILE}:{one.line}" if one.line else "shipped"
