"""What one worker knows of how sites take its mail, and what it tells the others. Pure; `now` is in ms.

It joins paces (pace.py), what back-off rules have put aside (backoff.py), operators' orders and warm-up (warmup.py). Before
an attempt the shaper asks `stopped`, `away`, `ask` and `budget`; after it, `learn` takes what came of it.

What others must know goes out as notes (`news`), one for each source or stream and site, and comes in by `heard`: the caller
carries them to State and back (relay/steering.py). So a cut or a suspension holds on all nodes within a second or two, and
for a worker that starts anew; and what an operator orders is a note as well.

| board | name of a note | says |
|---|---|---|
| pace | source site | a cut: the others take it as their own |
| aside | source site; stream/NAME site | carries nothing to that site, until when and why |
| order | site pool | at most so fast, until when (an operator) |
| warmup | source site | where on the schedule it is, where that is not what the days since its first day make it |
| hold | source | its growth is stopped, or was, at all sites (an operator) |
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, tzinfo
from heapq import nlargest, nsmallest
from math import inf
from typing import Any, NamedTuple

from relay.identity import Rate
from relay.outcome import Outcome, Reply
from relay.shaping.backoff import Action, Backoff, Rule
from relay.shaping.pace import Bounds, Cut, Pace, Sign, View, in_short, per_second, rate_text, sign_of, words
from relay.shaping.warmup import SCHEDULE, Day, Hold, Progress, day_of

BOARDS = ("pace", "aside", "order", "warmup", "hold")
EVERY = "*"  # in place of a site or a pool: all of them
MOST_TRACKS = 20_000  # sources at sites, some KB each; beyond, those go that say the least
MOST_CUTS = 5_000  # told to others: all workers read all of them each second; of more sites each learns for itself
MOST_ASIDE = 2_000  # beyond, what asks for it only slows its source down
MOST_SITES = 100  # of a new source, for people: State is asked for each
SHOWN = 200  # characters of a reply, for people
_NO_HOLD = Hold()
_BAD = frozenset({"spam-block", "reputation-block"})  # categories that, beside trouble, speak against a new source

Json = dict[str, Any]


class News(NamedTuple):
    """A note to be put on a board; `note` None: to be taken off."""

    board: str
    name: str
    note: Json | None


@dataclass(frozen=True, slots=True)
class Aside:
    """A source, or a stream, carries nothing to a site until then. `soft`: unless there is no other. `place`: the rule's."""

    until: int
    why: str
    place: str
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """An operator's: mail of `pool` to `site` from each source at most so fast, until then (ms)."""

    site: str
    pool: str
    rate: Rate
    until: int
    by: str
    reason: str = ""

    @property
    def all_pools(self) -> bool:
        return self.pool == EVERY

    def key(self, source: str) -> str:
        """What its permits are counted under."""
        return f"order/{source}/{self.site}/{self.pool}"

    def note(self) -> Json:
        return asdict(self)

    @classmethod
    def read(cls, note: Json) -> "Order":
        return cls(**{**note, "rate": Rate(**note["rate"])})


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What shaping.toml says of new sources: messages a day and site, and where a day begins."""

    schedule: tuple[int, ...] = SCHEDULE
    zone: tzinfo = UTC
    timezone: str = "UTC"


@dataclass(slots=True)
class Track:
    """One source at one site. `pool`, `reply`: of the last attempt."""

    pace: Pace
    bounds: Bounds
    pool: str = ""
    reply: Reply | None = None


class Attempted(NamedTuple):
    """What was attempted: `sent` (ms), by which source, for whom. `stream` "": it may not be stopped. `start`: its warm-up's
    first day; None: it is warm."""

    source: str
    site: str
    stream: str
    bounds: Bounds
    sent: int
    start: date | None = None


class Pacemaker:
    """See above. `name`: whose notes are ours. The wiring replaces `rules` and `warmup` at a reload, and sets `sharers`: how
    many workers share what is said of a site as a whole."""

    def __init__(self, name: str = "", rules: Backoff | None = None, warmup: WarmUp | None = None) -> None:
        self.rules = rules or Backoff()
        self.warmup = warmup or WarmUp()
        self.news: list[News] = []
        # Sites where an order or what was put aside has ended: for the wiring, which empties it.
        self.opened: set[str] = set()
        self._name = name
        self._sharers = 1
        self._shares: dict[Bounds, Bounds] = {}
        self._tracks: dict[tuple[str, str], Track] = {}
        self._cuts: dict[str, Cut] = {}  # others', by the name of their notes
        self._asides: dict[str, Aside] = {}
        self._orders: dict[str, Order] = {}
        self._progress: dict[str, Progress] = {}
        self._holds: dict[str, Hold] = {}
        self._days: dict[tuple[str, str], Day] = {}
        self._heard: dict[str, Mapping[str, Json]] = {}  # by board: as it was when nothing here has changed since

    def __repr__(self) -> str:
        return f"<Pacemaker {len(self._tracks)} paces, {len(self._asides)} aside, {len(self._orders)} orders>"

    @property
    def sharers(self) -> int:
        return self._sharers

    @sharers.setter
    def sharers(self, count: int) -> None:
        if count != self._sharers:
            self._sharers = max(1, count)
            self._shares.clear()

    # -- before an attempt

    def stopped(self, stream: str, site: str, now: int) -> Aside | None:
        """Is this stream stopped for this site?"""
        return self._aside(f"stream/{stream} {site}", now) if self._asides else None

    def away(self, source: str, site: str, now: int) -> Aside | None:
        """Does this source stay away from this site?"""
        return self._aside(f"{source} {site}", now) if self._asides else None

    def _aside(self, name: str, now: int) -> Aside | None:
        found = self._asides.get(name)
        return found if found is not None and found.until > now else None

    def orders(self, site: str, pool: str, now: int) -> Sequence[Order]:
        """Those of operators that hold for this mail."""
        if not self._orders:
            return ()
        found = (self._orders.get(name) for name in (f"{site} {pool}", f"{site} {EVERY}"))
        return [order for order in found if order is not None and order.until > now]

    def ask(self, source: str, site: str, pool: str, bounds: Bounds, now: int, *, urgent: bool) -> int:
        """0: one message may go, and is counted; else when (ms) to ask again."""
        track = self._tracks.get((source, site))
        if track is None:
            track = self._track(source, site, bounds, now)
        elif track.bounds is not bounds:
            track.bounds = bounds
        track.pool = pool
        return track.pace.ask(bounds, now, urgent=urgent)

    def _track(self, source: str, site: str, bounds: Bounds, now: int) -> Track:
        if len(self._tracks) >= MOST_TRACKS:
            self._make_room()
        track = self._tracks[source, site] = Track(Pace(bounds, now), bounds)
        cut = self._cuts.get(f"{source} {site}")
        if cut is not None:
            track.pace.begin_cut(bounds, cut, now)
        return track

    def _make_room(self) -> None:
        """A tenth at once, of those never cut first, and of these those that were not asked for the longest."""
        for key in nsmallest(max(1, MOST_TRACKS // 10), self._tracks, key=lambda key: self._tracks[key].pace.worth):
            del self._tracks[key]

    def share(self, bounds: Bounds) -> Bounds:
        """This worker's: start and floor are the site's, the ceiling is State's to keep."""
        if self._sharers == 1:
            return bounds
        found = self._shares.get(bounds)
        if found is None:
            part = Bounds(bounds.start / self._sharers, bounds.floor / self._sharers, bounds.ceiling)
            found = self._shares[bounds] = part
        return found

    def give_back(self, source: str, site: str) -> None:
        """What was asked for does not go now."""
        track = self._tracks.get((source, site))
        if track is not None:  # else it made room meanwhile
            track.pace.give_back()

    def why(self, source: str, site: str, now: int) -> str:
        """Of a pace that holds mail: "pace 31 of 40/s (421 4.7.28)"."""
        track = self._tracks[source, site]
        view = track.pace.view(track.bounds, now)
        return f"pace {rate_text(track.pace.rate)}{f' ({view.why})' if view.why else ''}"

    # -- warm-up

    def progress(self, source: str, site: str, start: date) -> Progress:
        """Of a source whose warm-up begins on `start`, at a site."""
        return self._progress.get(f"{source} {site}") or Progress(0, start)

    def held(self, source: str) -> Hold:
        """What an operator said of it for all sites."""
        return self._holds.get(source) or _NO_HOLD

    def today(self, now: int) -> date:
        return day_of(now, self.warmup.zone)

    def budget(self, source: str, site: str, start: date, now: int) -> int | None:
        """Of today: 0 before its first day; None: it is warm."""
        today = self.today(now)
        if today < start:
            return 0
        return self.progress(source, site, start).budget(self.warmup.schedule, self.held(source).day(today))

    def level(self, source: str, site: str, start: date, now: int) -> int:
        """Of its schedule, today."""
        return self.progress(source, site, start).level_on(self.held(source).day(self.today(now)))

    def hold(self, source: str, site: str, start: date, now: int, why: str) -> None:
        """An operator stops its growth at one site, or EVERY."""
        today = self.today(now)
        if site == EVERY:
            self._note_hold(source, self.held(source).hold(today, why))
        else:
            day = self.held(source).day(today)
            self._note_progress(source, site, self.progress(source, site, start).hold(day, why))

    def resume(self, source: str, site: str, start: date, now: int) -> None:
        """It grows again, from where it is; at EVERY site those, too, that were held or stopped by themselves."""
        today = self.today(now)
        if site == EVERY and source in self._holds:
            self._note_hold(source, self.held(source).resume(today))
        sites = [site] if site != EVERY else [at for of, _, at in map(_parted, self._progress) if of == source]
        for one in sites:
            day = self.held(source).day(today)
            self._note_progress(source, one, self.progress(source, one, start).resume(day))

    def _note_progress(self, source: str, site: str, progress: Progress) -> None:
        self._progress[f"{source} {site}"] = progress
        self._tell("warmup", f"{source} {site}", {**asdict(progress), "day": progress.day.isoformat()})

    def _note_hold(self, source: str, hold: Hold) -> None:
        self._holds[source] = hold
        since = hold.since.isoformat() if hold.since else None
        self._tell("hold", source, {**asdict(hold), "since": since})

    def complained(self, source: str, site: str, start: date, now: int) -> None:
        """About mail that left by this new source, today or on a day before: most come within a day of their mail."""
        self._day(source, site, now).complaints += 1
        self._judge(source, site, start, now)

    # -- after an attempt

    def learn(self, what: Attempted, outcome: Outcome, category: str, now: int) -> Rule | None:
        """What came of it; `category`: what the reply means. The rule that acted, if one did."""
        track = self._tracks.get((what.source, what.site)) or self._track(what.source, what.site, what.bounds, now)
        if not outcome.internal:
            track.reply = outcome.reply
        if outcome.delivered:
            track.pace.good(what.bounds, now)
            if what.start is not None:
                self._count(what, now, bad=False)
            return None
        sign = sign_of(outcome, category)
        if what.start is not None and not outcome.internal:
            self._count(what, now, bad=sign is Sign.TROUBLE or category in _BAD)
        rule = self.rules.find(outcome, what.site)
        if rule is None or (rule.action is Action.SUSPEND_STREAM and not what.stream):
            if sign is Sign.TROUBLE:
                # A host that never answered is no news for others: lists have dead domains by the ten thousand.
                self._cut(what, track, now, in_short(outcome), tell=not outcome.internal or track.pace.proven(now))
            return None
        self._follow(rule, what, track, outcome, now)
        return rule

    def _follow(self, rule: Rule, what: Attempted, track: Track, outcome: Outcome, now: int) -> None:
        if rule.action is Action.SLOW:
            self._cut(what, track, now, in_short(outcome), rule)
            return
        who = f"stream/{what.stream}" if rule.action is Action.SUSPEND_STREAM else what.source
        name = f"{who} {what.site}"
        if self._aside(name, now) is not None:  # what was under way when it began says nothing new
            return
        if name not in self._asides and len(self._asides) >= MOST_ASIDE:
            self._cut(what, track, now, in_short(outcome))
            return
        self._asides[name] = Aside(
            now + rule.span, str(outcome.reply)[:SHOWN], rule.place, rule.action is Action.OTHER_SOURCE
        )
        self._tell("aside", name, asdict(self._asides[name]))
        self._cut(what, track, now, in_short(outcome))  # when it comes back, it comes back gently

    def _cut(
        self, what: Attempted, track: Track, now: int, why: str, rule: Rule | None = None, *, tell: bool = True
    ) -> None:
        pace, bounds, sent = track.pace, what.bounds, what.sent
        if rule is None:
            cut = pace.trouble(bounds, sent, now, why)
        else:
            cut = pace.trouble(bounds, sent, now, why, rule.to, rule.span)
        name = f"{what.source} {what.site}"
        full = len(self._cuts) >= MOST_CUTS and name not in self._cuts
        if cut is not None and tell and not full and len(self.news) < MOST_CUTS:
            self._tell("pace", name, asdict(cut))

    def _count(self, what: Attempted, now: int, *, bad: bool) -> None:
        """A reply to a new source; a bad day stops its growth."""
        assert what.start is not None
        day = self._day(what.source, what.site, now)
        day.replies += 1
        day.bad += bad
        self._judge(what.source, what.site, what.start, now)

    def _day(self, source: str, site: str, now: int) -> Day:
        """Of this source at this site, today."""
        today = day_of(now, self.warmup.zone)
        day = self._days.get((source, site))
        if day is None or day.day != today:
            if day is None and len(self._days) >= MOST_TRACKS:
                self._forget_small_days()
            day = self._days[source, site] = Day(today)
        return day

    def _forget_small_days(self) -> None:
        """A tenth at once, those of the fewest replies: lists have sites of one recipient by the ten thousand."""
        for key in nsmallest(max(1, MOST_TRACKS // 10), self._days, key=lambda key: self._days[key].weight):
            del self._days[key]

    def _judge(self, source: str, site: str, start: date, now: int) -> None:
        """Does the day so far stop its growth?"""
        if why := self._days[source, site].turned():
            on = self.held(source).day(day_of(now, self.warmup.zone))
            progress = self.progress(source, site, start)
            if progress.budget(self.warmup.schedule, on) is not None:
                self._note_progress(source, site, progress.stall(on, why))

    # -- notes

    def order(self, order: Order) -> None:
        """An operator's, from now on."""
        name = f"{order.site} {order.pool}"
        self._orders[name] = order
        self._tell("order", name, order.note())

    def end(self, site: str, pool: str, now: int) -> list[Json]:
        """An operator ends what is ordered for a site, and lets go what rules have put aside there. What that was."""
        ended = [row for row in self.standing(now) if row["site"] == site and pool in (row.get("pool"), EVERY)]
        for row in ended:
            board, name = row["kind"], f"{row['pool' if row['kind'] == 'order' else 'who']}"
            name = f"{site} {name}" if board == "order" else f"{name} {site}"
            (self._orders if board == "order" else self._asides).pop(name, None)
            self.news.append(News(board, name, None))
            self._heard.pop(board, None)
            self.opened.add(site)
        return ended

    def _tell(self, board: str, name: str, note: Json) -> None:
        if board != "pace":  # where others' notes are kept apart from what is done here
            self._heard.pop(board, None)
        self.news.append(News(board, name, {**note, "by_worker": self._name}))

    def heard(self, board: str, notes: Mapping[str, Json], now: int) -> None:
        """All that stands on a board. Of a note that is ours, or as it was, nothing is new: one that did not change is to be
        the same object, so that thousands cost little."""
        ours = {one.name: one.note for one in self.news if one.board == board}  # not told yet
        before, read = self._heard.pop(board, None), notes
        notes = {name: note for name, note in {**notes, **ours}.items() if note is not None}
        if ours or before is None or len(before) != len(notes) or any(before.get(n) is not notes[n] for n in notes):
            self._take(board, notes, before or {}, now)
        if not ours:
            self._heard[board] = read
        for name in [name for name, note in notes.items() if over(board, note, now)]:
            self.news.append(News(board, name, None))

    def _take(self, board: str, notes: Mapping[str, Json], before: Mapping[str, Json], now: int) -> None:
        match board:
            case "aside":
                self.opened |= {name.rpartition(" ")[2] for name in self._asides if name not in notes}
                self._asides = {name: Aside(**_plain(note)) for name, note in notes.items()}
            case "order":
                self.opened |= {name.partition(" ")[0] for name in self._orders if name not in notes}
                self._orders = {name: Order.read(_plain(note)) for name, note in notes.items()}
            case "warmup":
                self._progress = {name: Progress(**_dated(note, "day")) for name, note in notes.items()}
            case "hold":
                self._holds = {name: Hold(**_dated(note, "since")) for name, note in notes.items()}
            case "pace":
                for name, note in notes.items():
                    if before.get(name) is not note:
                        self._heard_cut(name, note, now)

    def _heard_cut(self, name: str, note: Json, now: int) -> None:
        cut = Cut(**_plain(note))
        before, self._cuts[name] = self._cuts.get(name), cut
        if note["by_worker"] == self._name or before == cut:
            return
        source, _, site = name.partition(" ")
        track = self._tracks.get((source, site))
        if track is not None:
            track.pace.heard(track.bounds, cut, now)

    def forget(self, now: int) -> None:
        """What says nothing any more; now and then."""
        self._tracks = {key: track for key, track in self._tracks.items() if not track.pace.forgettable(now)}
        self._cuts = {name: cut for name, cut in self._cuts.items() if not over("pace", {"at": cut.at}, now)}
        today = day_of(now, self.warmup.zone)
        self._days = {key: day for key, day in self._days.items() if day.day == today}
        self._forget_warm(today)

    def _forget_warm(self, today: date) -> None:
        """Notes of what is warm by now, as it is without a note."""
        waiting = {
            one.name for one in self.news if one.board == "warmup"
        }  # while State is down they are told later, once
        for name, progress in self._progress.items():
            on = self.held(_parted(name)[0]).day(today)
            if not progress.held and name not in waiting and progress.budget(self.warmup.schedule, on) is None:
                self.news.append(News("warmup", name, None))

    # -- for people

    def shown(self, now: int) -> list[Json]:
        """Every source and site that mail went to lately, or that something holds; rates in messages a second, None: free."""
        rows = [self._row(source, site, track, now) for (source, site), track in self._tracks.items()]
        for name, aside in self._asides.items():
            source, _, site = _parted(name)
            if aside.until > now and not source.startswith("stream/") and (source, site) not in self._tracks:
                idle = {"site": site, "source": source, "pool": "", "pace": None, "ceiling": None, "since": None}
                rows.append({**idle, "last_reply": None, **_paused(aside)})
        return rows

    def _row(self, source: str, site: str, track: Track, now: int) -> Json:
        view = track.pace.view(track.bounds, now)
        aside = self.away(source, site, now)
        ordered = min((per_second(order.rate) for order in self.orders(site, track.pool, now)), default=inf)
        row = {
            "site": site,
            "source": source,
            "pool": track.pool,
            "pace": _number(view.rate),
            "ceiling": _number(min(view.ceiling, ordered)),
            "since": view.since or None,
            "last_reply": str(track.reply)[:SHOWN] if track.reply is not None else None,
        }
        if aside is not None:
            return row | _paused(aside)
        return row | {"direction": view.direction, "until": None, "why": view.why}

    def sites_of(self, source: str) -> list[str]:
        """Where mail of it went lately, or where its warm-up is another than its days make it; of very many these, and those
        that most mail went to today."""
        noted = dict.fromkeys(site for of, _, site in map(_parted, self._progress) if of == source)
        others = [site for of, site in self._tracks if of == source and site not in noted]
        most = nlargest(MOST_SITES, others, key=lambda site: self._replies(source, site))
        return sorted([*noted, *most][:MOST_SITES])

    def _replies(self, source: str, site: str) -> int:
        day = self._days.get((source, site))
        return day.replies if day is not None else 0

    def gauges(self, now: int) -> dict[str, int]:
        """How many sources and streams stay away from a site, and how many orders of operators stand."""
        aside = sum(one.until > now for one in self._asides.values())
        return {"paces_aside": aside, "pace_orders": sum(one.until > now for one in self._orders.values())}

    def standing(self, now: int) -> list[Json]:
        """What is put aside and what is ordered, for people."""
        rows: list[Json] = []
        for name, aside in self._asides.items():
            if aside.until > now:
                who, _, site = name.partition(" ")
                rows.append({"kind": "aside", "who": who, "site": site, **asdict(aside)})
        rows += [{"kind": "order", **o.note(), "rate": o.rate.text} for o in self._orders.values() if o.until > now]
        return rows


def over(board: str, note: Json, now: int) -> bool:
    """Does this note say nothing any more?"""
    match board:
        case "aside" | "order":
            return bool(note["until"] <= now)
        case "pace":
            return bool(now - note["at"] > 3_600_000)
    return False


def merged(rows: Iterable[Json]) -> list[Json]:
    """What several workers say of each source and site as one: paces add up, up to the ceiling."""
    found: dict[tuple[str, str], Json] = {}
    for row in rows:
        key = row["source"], row["site"]
        known = found.get(key)
        if known is None:
            found[key] = dict(row)
            continue
        free = known["pace"] is None or row["pace"] is None
        total = None if free else known["pace"] + row["pace"]
        worse = max(known, row, key=lambda one: _RANKS[one["direction"]])
        latest = known if (known["since"] or 0) >= (row["since"] or 0) else row
        found[key] = {
            **worse,
            "pace": total if total is None or known["ceiling"] is None else min(total, known["ceiling"]),
            "since": latest["since"],
            "last_reply": known["last_reply"] or row["last_reply"],
        }
    return list(found.values())


_RANKS = {"free": 0, "starting": 1, "recovering": 2, "down": 3, "paused": 4}


def brief(rows: Iterable[Json]) -> dict[tuple[str, str], str]:
    """Of each site and pool that is slowed its slowest source, for a narrow column: "31 of 40/s up", "paused"."""
    found: dict[tuple[str, str], Json] = {}
    for row in rows:
        known = found.setdefault((row["site"], row["pool"]), row)
        if _RANKS[row["direction"]] > _RANKS[known["direction"]]:
            found[row["site"], row["pool"]] = row
    return {place: _brief(row) for place, row in found.items() if row["direction"] != "free"}


def _brief(row: Json) -> str:
    if row["direction"] == "paused":
        return "paused"
    return f"{said(row, '').partition(',')[0]} {'down' if row['direction'] == 'down' else 'up'}"


def ends(standing: Iterable[Json]) -> dict[tuple[str, str], int]:
    """When it is over what a rule has put aside, by site and why; its lanes look again sooner, as an operator may end it."""
    found: dict[tuple[str, str], int] = {}
    for one in standing:
        if one["kind"] == "aside":
            key = one["site"], f"{one['place']}: {one['why']}"
            found[key] = min(one["until"], found.get(key, one["until"]))
    return found


def said(row: Json, since: str) -> str:
    """A row in words: "31 of 40/s, recovering since 14:02 (421 4.7.28)"."""
    if row["direction"] == "paused":
        return f"paused: {row['why']}"
    rate = inf if row["pace"] is None else row["pace"]
    ceiling = inf if row["ceiling"] is None else row["ceiling"]
    return words(View(rate, ceiling, row["direction"], row["since"] or 0, row["why"]), since)


def _paused(aside: Aside) -> Json:
    return {"direction": "paused", "until": aside.until, "why": f"{aside.place}: {aside.why}"}


def _number(rate: float) -> float | None:
    return None if rate == inf else round(rate, 4)


def _plain(note: Json) -> Json:
    return {key: value for key, value in note.items() if key != "by_worker"}


def _dated(note: Json, key: str) -> Json:
    return {**_plain(note), key: date.fromisoformat(note[key]) if note[key] else None}


def _parted(name: str) -> tuple[str, str, str]:
    return name.partition(" ")
