"""The desk where what is known of people changes: commands, web pages and apps all come here, to any worker of any node.

A question is {"do": "people", "what": ..., "by": who, "via": cli | web | api | page | one-click | ..., "reason": ...}; the answer
an object, with `error` where nothing was done.

    show      recipient; all (true: also what caps count of him, and failures that do)    -> what is known of him
    block     entries: [{recipient or key, stop, brand, reason, source, until, note, site, stream, since, span, told, and of
              MAIL}]                                                                      -> {"changed", "same"}
    unblock   recipient, where ({}: all)                                                  -> {"removed": [...]}
    wish      recipient or key, brand, topics_off, at_most, paused_until                  -> {"before", "after"}
    together  recipient or key, changes: [block (one entry), unblock and wish, as they stand here]: all in one, or none
                                                                                          -> {"changed"}
    engaged   entries: [{recipient, brand, day}]; day since the epoch (UTC), None: he never did    -> {"changed"}
    brands                                                                                -> {"brands"}: all there are
    forget    recipient, stop: what is not sent from then on ("": nothing; not said: as the files say)    -> {"kept": blocks}
    list      where, cursor, limit, count (true: no rows)                                 -> {"rows", "found", "people", "cursor"}
    clear     the same: takes off what `list` lists                                       -> {"removed", "cursor"}
    doubt     the same: it waits for a second word from then on, and stops nothing        -> {"changed", "cursor"}
    confirm   the same: what waits stops mail from then on                                -> {"changed", "cursor"}
    got       entries: [{recipient or key, brand, class, at}]: mail that arrived, which State may have lost    -> {}
    restored  what State lost of people was told again, as far as it can be               -> {}

Of an entry, what MAIL (relay/event.py) names is of the message that led to it, for its event; `told`: what it stops, as an event
said already. `where`: stop, brand, reason, source, site, stream, of each one or a list; pending: whether it waits for a second
word; since and until, between which it began; over: true, also those that ended.

Whoever changes something on a brand's page, unsubscribes by it or complains of its mail, has engaged with the brand that day; to
look at a page is no such thing, since scanners open every link. What an app or an operator tells feeds the brand
(relay/policy/engagement.py).

Each change is told to State and then recorded as an event, of which webhooks and reports hear; what was so already is neither.
With `silent` it is told alone: events of it are there. Who left by a message is counted by the worker that sent it, which knows
when and to which site (relay/hindsight.py). Times are ms. Nothing here waits for a person: who asks first counts and asks him.

The module is long because each of these questions reads one person, tells State and records the same way: parted, the halves
would share all that is below their `_` names.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson
import structlog

from relay.control import Json
from relay.domain import a_label
from relay.engaging import Engaging
from relay.event import MAIL, Facts, iso
from relay.feedback.matching import Report
from relay.ids import maker_of, time_of
from relay.person import (
    ADDRESS,
    AT_MOST,
    COMPLAINT,
    ERASED,
    MANUAL,
    NOBODY_THERE,
    PENDING,
    UNSUBSCRIBED,
    Block,
    Engaged,
    Person,
    Wish,
    person_of,
)
from relay.policy.badhour import said_of_everybody
from relay.policy.engagement import DAY, Engagement
from relay.recipient import KEY_OCTETS, Keys, SealError
from relay.return_path import MAX_AGE
from relay.returns import board, dumped, name_of
from relay.room import Send, mark_of
from relay.state.interface import State, StateError

log = structlog.get_logger()

MAX_ENTRIES = 500  # of one question
LAST = 253_370_764_800_000  # ms: 9999-01-01, behind which datetime may not go in some zone
PAGE = 1_000  # people looked at for one answer: State's lock is held for some 5 ms
_STOP = re.compile(r"all|marketing|(?:topic|stream):[^|\s]+")
_OURS = ("feedback", "health")  # ways by which Postlane itself asks: it alone leaves things pending
POSTLANE = "postlane"  # who asks so
NO_MAIL: Mapping[str, Any] = MappingProxyType({})
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_HIS_OWN = ("one-click", "page", "mailto")  # ways: a person, by a link in his own mail
_TYPED = ("cli", "web", "api")  # whose words may hold a slip; a link in an old mail may name a brand that is gone
SELECTORS = ("stop", "brand", "reason", "source", "site", "stream")
"""Of a list of suppressions."""

Records = Iterable[tuple[str, Facts]]


class BadQuestion(ValueError):
    """With words for who asked."""


NO_ANSWER: Json = {}
_Who = tuple[str, bytes]  # an address, "" where there is none any more, and its key


class _Step(NamedTuple):
    """What a change of one person comes to: what State is to be told of him, and everybody else. No facts: it is so already."""

    facts: Mapping[str, str | None]
    records: Sequence[tuple[str, Facts]] = ()
    answer: Json = NO_ANSWER


NOTHING = _Step({})
_Does = Callable[[_Who, Person, Json], _Step]


class People:
    """`record` writes events and returns when they are on disk; `site_of`: recipient and domain -> site; `used`: how much of what
    one may get, `sends`: by what mail (relay/capping.py). The wiring replaces `keys`, `site_of`, `brands` and `stop_forgotten` at
    a reload.
    A method for each question, and the few by which all of them read and record."""

    def __init__(
        self,
        state: State,
        keys: Keys,
        record: Callable[[Records], Awaitable[None]],
        site_of: Callable[[str, str], str],
        brands: Iterable[str],
        engaging: Engaging,
    ) -> None:
        self.keys, self.site_of, self.brands = keys, site_of, frozenset(brands)
        self.stop_forgotten = "marketing"
        self._engaging = engaging
        self._state = state
        self._record = record
        self.used: Callable[[str], Awaitable[list[Json]]] | None = None
        self.sends: Callable[[str], Awaitable[list[Json]]] | None = None

    def __repr__(self) -> str:
        return f"<People of {self._state!r}>"

    async def answer(self, question: Json) -> Json:
        """Never raises for what is asked."""
        does = {
            "show": self._show, "block": self._block, "unblock": self._unblock,
            "wish": self._wish, "together": self._together, "engaged": self._engaged, "forget": self._forget,
            "list": self._list, "clear": self._clear, "brands": self._brands,
            "got": self._got, "restored": self._restored, "doubt": self._doubt, "confirm": self._confirm,
        }.get(str(question.get("what")))  # fmt: skip
        if does is None:
            return {"error": f"nobody here knows how to {question.get('what')}"}
        try:
            return await does(question)
        except BadQuestion as error:
            return {"error": str(error)}
        except (ValueError, TypeError, KeyError) as error:  # words that should be numbers; facts of a newer Postlane
            log.error("a question about people cannot be answered", what=question.get("what"), error=repr(error))
            return {"error": f"it cannot be read: {error!r}"}
        except StateError as error:
            return {"error": f"State cannot be reached: {error}", "again": True}

    # -- looking

    async def _show(self, question: Json) -> Json:
        address = address_of(question)
        key = self.keys.key(address)
        (facts,) = await self._state.told([key], left=True)
        found: Json = {"recipient": address, "key": key.hex()}
        found |= shown(person_of(facts), self._state.now(), self._engaging.table)
        if self.used is not None:
            found["caps"] = await self.used(address)
        if question.get("all"):
            found["failures"] = failures_of(facts)
            found["counted"] = await self.sends(address) if self.sends is not None else []
        return found

    async def _brands(self, _: Json) -> Json:
        return {"brands": sorted(self.brands)}

    async def _list(self, question: Json) -> Json:
        """Rows come as they are found; a page may have none and yet not be the last."""
        rows, found = list[Json](), 0
        people, cursor = await self._page(question)
        for key, person, blocks in people:
            found += len(blocks)
            if not question.get("count"):
                about = {"recipient": self._address(person, key), "key": key.hex()}
                rows += [about | shown_block(one) for one in blocks]
        return {"rows": rows, "found": found, "people": len(people), "cursor": cursor}

    async def _page(self, question: Json) -> tuple[list[tuple[bytes, Person, list[Block]]], str]:
        """People of whom a block is meant, with those blocks; the cursor of the next page."""
        where, limit = dict(question.get("where") or {}), min(int(question.get("limit") or PAGE), PAGE)
        try:
            page, cursor = await self._state.everyone(str(question.get("cursor") or ""), limit)
        except ValueError:  # it may come from the address of a page, which anybody can write
            raise BadQuestion("this cursor is not one of ours; begin without one") from None
        now, people = self._state.now(), []
        for key, facts in page:
            try:
                person = person_of(facts)
            except ValueError as error:
                log.error(
                    "what is known of somebody cannot be read; a newer Postlane's?", key=key.hex(), error=str(error)
                )
                continue
            blocks = in_order(block for block in person.blocks if fits(block, where, now))
            if blocks:
                people.append((key, person, blocks))
        return people, cursor

    def _address(self, person: Person, key: bytes) -> str | None:
        """None where it is not kept any more."""
        try:
            return self.keys.open_text(person.sealed, key) if person.sealed else None
        except SealError:
            return None

    async def _known(self, addresses: Sequence[str]) -> list[tuple[bytes, Person]]:
        keys = [self.keys.key(address) for address in addresses]
        return [
            (key, person_of(facts)) for key, facts in zip(keys, await self._state.told(keys, left=True), strict=True)
        ]

    # -- changes

    async def _block(self, question: Json) -> Json:
        entries, now = _entries(question), self._state.now()
        wanted = [(self._who(entry), self._made(entry, question, now)) for entry in entries]
        found = await self._state.told([key for (_, key), _ in wanted], left=True)
        changes: list[Awaitable[None]] = []
        records: list[tuple[str, Facts]] = []
        for entry, (who, block), known in zip(entries, wanted, found, strict=True):
            step = self._stopped(who, person_of(known), block, entry, question)
            if step.facts:
                changes.append(self._state.tell(who[1], step.facts))
                records += step.records
        await asyncio.gather(*changes)
        await self._told(records, question)
        return {"changed": len(changes), "same": len(entries) - len(changes)}

    async def _unblock(self, question: Json) -> Json:
        return await self._alone(question, self._lifted)

    async def _wish(self, question: Json) -> Json:
        return await self._alone(question, self._wished)

    async def _alone(self, question: Json, does: _Does) -> Json:
        who = self._who(question)
        step = does(who, person_of((await self._state.told([who[1]], left=True))[0]), question)
        if step.facts:
            await self._state.tell(who[1], step.facts)
            await self._told(step.records, question)
        return step.answer

    async def _together(self, question: Json) -> Json:
        """Each as if those before it were done: all are, or none."""
        who, does = self._who(question), {"block": self._begun, "unblock": self._lifted, "wish": self._wished}
        (known,) = await self._state.told([who[1]], left=True)
        facts, records = dict[str, str | None](), list[tuple[str, Facts]]()
        for change in question["changes"]:
            step = does[change["what"]](who, person_of(known), {**question, **change})
            known = {name: text for name, text in {**known, **step.facts}.items() if text is not None}
            facts |= step.facts
            records += step.records
        if facts:
            await self._state.tell(who[1], facts)
            await self._told(records, question)
        return {"changed": len(records)}

    async def _told(self, records: Sequence[tuple[str, Facts]], question: Json) -> None:
        """In State: now for everybody else."""
        if not question.get("silent"):
            await self._record(records)
            await self._count(facts for kind, facts in records if kind == "unsubscribed" and "id" in facts)

    async def _count(self, left: Iterable[Facts]) -> None:
        """Of messages that are not remembered any more nothing counts."""
        notes = []
        for facts in left:
            made = time_of(facts["id"])
            if made is not None and made > self._state.now() - MAX_AGE:
                told = {name: facts.get(name) or "" for name in ("stream", "brand", "credential", "campaign", "site")}
                report = Report((facts["id"], int(facts["rcpt"])), "left", told)
                notes.append((board(maker_of(facts["id"])), name_of(report), dumped(report)))
        await asyncio.gather(*(self._state.pin(*note) for note in notes))

    def _who(self, entry: Json) -> _Who:
        """An address and its key; of whom asked to be forgotten there is the key alone."""
        if entry.get("recipient") or not entry.get("key"):
            address = address_of(entry)
            return address, self.keys.key(address)
        return "", _key_of(entry)

    def _made(self, entry: Json, question: Json, now: int) -> Block:
        stop, brand = str(entry.get("stop") or "all"), str(entry.get("brand") or "")
        reason = str(entry.get("reason") or MANUAL)
        _checked(stop.removeprefix(PENDING) if question.get("via") in _OURS else stop, reason)
        if question.get("via") in _TYPED:
            _named(brand, self.brands)
        address = str(entry.get("recipient") or "")
        return Block(
            stop=stop,
            brand=brand,
            reason=reason,
            source=str(entry.get("source") or question.get("via") or ""),
            since=_moment(entry.get("since")) or now,
            until=_moment(entry.get("until")),
            note=str(entry.get("note") or ""),
            site=str(entry.get("site") or (self.site_of(address, domain_of(address)) if address else "")),
            stream=str(entry.get("stream") or ""),
            span=_moment(entry.get("span")),
        )

    # What a change of one person is, from what is known of him.

    def _begun(self, who: _Who, person: Person, question: Json) -> _Step:
        return self._stopped(who, person, self._made(question, question, self._state.now()), question, question)

    def _stopped(self, who: _Who, person: Person, block: Block, entry: Json, question: Json) -> _Step:
        (address, key), now = who, self._state.now()
        if any(_same(one, block, now) for one in person.blocks):
            return NOTHING
        facts: dict[str, str | None] = {block.name: block.dump()}
        if not question.get("silent"):
            facts |= self._by_himself(person, block.brand, _his_own(block.reason, question))
        if address and not person.sealed and not person.erased:
            facts[ADDRESS] = self.keys.sealed_text(address)
        if not block.pending:
            facts |= {one.name: None for one in person.blocks if one.pending and block.reason in NOBODY_THERE}
            mail = {name: entry[name] for name in MAIL if name in entry}
            return _Step(facts, [_blocked(address, key, block, question, mail)])
        if entry.get("told") != block.stop[len(PENDING) :]:
            return _Step(facts)
        # It was told by a worker that had not heard yet that its site is doubted.
        why = {**question, "by": POSTLANE, "reason": said_of_everybody(block.site)}
        return _Step(facts, [_unblocked(address, key, replace(block, stop=entry["told"]), why)])

    def _lifted(self, who: _Who, person: Person, question: Json) -> _Step:
        (address, key), now = who, self._state.now()
        if "where" not in question:
            raise BadQuestion("say which blocks: where, or {} for all")
        where = dict(question["where"])
        gone = in_order(block for block in person.blocks if fits(block, {**where, "over": True}, now))
        if not gone:
            return NOTHING._replace(answer={"removed": []})
        came_back = self._by_himself(person, str(where.get("brand") or ""), _his_own("", question))
        facts = (came_back or self._without(person, gone)) | {block.name: None for block in gone}
        records = [_unblocked(address, key, block, question) for block in gone if not block.pending]
        return _Step(facts, records, {"removed": [shown_block(one) for one in gone]})

    def _wished(self, who: _Who, person: Person, question: Json) -> _Step:
        (address, key), brand, now = who, str(question.get("brand") or ""), self._state.now()
        at_most, paused = str(question.get("at_most") or ""), question.get("paused_until")
        if at_most not in AT_MOST:
            raise BadQuestion(f'"{at_most}" is no frequency: {", ".join(AT_MOST[1:])}, or empty for each mail')
        before = person.wishes.get(brand, Wish())
        off = frozenset(map(str, question.get("topics_off") or ()))
        after = Wish(off, at_most, _moment(paused or None), now, str(question.get("via") or ""))
        answer = {"before": said(before), "after": said(after)}
        if said(before) == said(after):
            return NOTHING._replace(answer=answer)
        facts: dict[str, str | None] = {f"w:{brand}": after.dump() if said(after) != said(Wish()) else None}
        if address and not person.erased:
            facts[ADDRESS] = self.keys.sealed_text(address)
        if not question.get("silent"):
            facts |= self._by_himself(person, brand, _his_own("", question))
        about = {"brand": brand or None, **_whose(address, key), "via": after.source}
        return _Step(facts, [("preferences-changed", {**about, **answer})], answer)

    async def _clear(self, question: Json) -> Json:
        people, cursor = await self._page(question)
        await asyncio.gather(*(self._state.tell(key, self._without(person, gone)) for key, person, gone in people))
        records = [
            _unblocked(self._address(person, key) or "", key, block, question)
            for key, person, gone in people
            for block in gone
            if not block.pending
        ]
        await self._record(records)
        return {"removed": sum(len(gone) for *_, gone in people), "cursor": cursor}

    async def _doubt(self, question: Json) -> Json:
        """It stops nothing meanwhile; if nobody says more of it, it is gone in time."""
        question = {**question, "where": {**(question.get("where") or {}), "pending": False}}
        return await self._turn(question, Block.doubted)

    async def _confirm(self, question: Json) -> Json:
        question = {**question, "where": {**(question.get("where") or {}), "pending": True}}
        return await self._turn(question, Block.confirmed)

    async def _turn(self, question: Json, turned: Callable[[Block, int], Block]) -> Json:
        people, cursor = await self._page(question)
        now, records, changes = self._state.now(), list[tuple[str, Facts]](), list[Awaitable[None]]()
        for key, person, blocks in people:
            address, told = self._address(person, key) or "", dict[str, str | None]()
            for block in blocks:
                after = turned(block, now)
                told |= {block.name: None, after.name: after.dump()}
                records.append(
                    _unblocked(address, key, block, question)
                    if after.pending
                    else _blocked(address, key, after, question)
                )
            changes.append(self._state.tell(key, told))
        await asyncio.gather(*changes)
        await self._record(records)
        return {"changed": len(records), "cursor": cursor}

    async def _forget(self, question: Json) -> Json:
        """What stops mail to him stays, by his key alone, without the words that people wrote about him."""
        address, stop = address_of(question), str(question.get("stop", self.stop_forgotten))
        ((key, _),) = await self._known([address])
        (facts,) = await self._state.told([key], left=True)
        kept = [replace(block, note="", site="", stream="") for block in person_of(facts).blocks]
        if stop:
            kept.append(Block(stop, "", ERASED, str(question.get("via") or ""), self._state.now()))
        told: dict[str, str | None] = dict.fromkeys(facts)
        await self._state.tell(key, told | {block.name: block.dump() for block in kept})
        return {"key": key.hex(), "kept": [shown_block(block) for block in in_order(kept)]}

    def _without(self, person: Person, gone: Sequence[Block]) -> dict[str, str | None]:
        """Of whom nothing else is known, nothing is kept."""
        facts: dict[str, str | None] = {block.name: None for block in gone}
        if len(gone) == len(person.blocks) and not person.wishes and not person.engaged:
            facts[ADDRESS] = None
        return facts

    async def _got(self, question: Json) -> Json:
        """Mail that arrived, from events: what caps count."""
        sends: dict[bytes, list[Send]] = {}
        for entry in _entries(question):
            mark = mark_of(str(entry.get("brand", "")), str(entry.get("class", "")))
            sends.setdefault(self._who(entry)[1], []).append((int(entry.get("at", 0)) // 1000, mark))
        await self._state.recall(list(sends.items()))
        return {}

    async def _restored(self, _: Json) -> Json:
        await self._state.brought_back()
        return {}

    async def _engaged(self, question: Json) -> Json:
        """Only ever later: an old list tells nothing new. Of who asked to be forgotten nothing is kept."""
        entries, today = _entries(question), self._state.now() // DAY
        told = [(address_of(entry), *_engagement(entry, self.brands, today)) for entry in entries]
        found = await self._known([address for address, _, _ in told])
        changes: dict[bytes, dict[str, str | None]] = {}
        for (_, brand, day), (key, person) in zip(told, found, strict=True):
            name, before = f"e:{brand}", person.engaged.get(brand)
            if person.erased:
                continue
            if key in changes and name in changes[key]:
                before = Engaged.load(changes[key][name] or "[]")
            if before is None or (day is not None and (before.last is None or day > before.last)):
                changes.setdefault(key, {})[name] = Engaged(day, today if day is None else 0).dump()
        await asyncio.gather(*(self._state.tell(key, facts) for key, facts in changes.items()))
        await self._engaging.feed({brand for _, brand, _ in told})
        return {"changed": sum(map(len, changes.values()))}

    def _by_himself(self, person: Person, brand: str, his_own: bool) -> dict[str, str | None]:
        """What he does by his own mail tells that he read it."""
        today, before = self._state.now() // DAY, person.engaged.get(brand)
        if not his_own or not brand or person.erased or (before is not None and (before.last or 0) >= today):
            return {}
        return {f"e:{brand}": Engaged(today).dump()}


def _his_own(reason: str, question: Json) -> bool:
    """Did he ask for it himself, now? A list that is imported tells what others were asked for, whenever that was."""
    via = question.get("via")
    return via in _HIS_OWN or (via == "feedback" and reason in (COMPLAINT, UNSUBSCRIBED))


# -- in words and JSON


def shown_block(block: Block) -> Json:
    """As commands show it."""
    return {
        "stop": block.stop,
        "brand": block.brand or None,
        "reason": block.reason,
        "source": block.source,
        "since": iso(block.since),
        "expires": iso(block.until) if block.until is not None else None,
        "note": block.note,
        "site": block.site,
        "stream": block.stream,
    }


def in_order(blocks: Iterable[Block]) -> list[Block]:
    return sorted(blocks, key=lambda block: (block.since, block.name))


def shown(person: Person, now: int, engagement: Engagement) -> Json:
    """All of it, as JSON; blocks that are over are marked. A tier of "": nobody tells of this brand."""
    return {
        "blocks": [shown_block(block) | {"over": block.over(now)} for block in in_order(person.blocks)],
        "preferences": {brand: said(wish) for brand, wish in sorted(person.wishes.items())},
        "engaged": {
            brand: {
                "last_engaged": day_of(one.last),
                "unanswered": one.unanswered,
                "tier": engagement.tier_of(one, brand),
            }
            for brand, one in sorted(person.engaged.items())
        },
        "address_kept": bool(person.sealed),
    }


def failures_of(facts: Mapping[str, str]) -> Json:
    """Days on which mail to him failed, of which one alone does not suppress (relay/learning.py), by what failed."""
    told = {name[2:]: orjson.loads(text) for name, text in facts.items() if name.startswith("f:")}
    return {reason: [iso(at)[:10] for _, at in days] for reason, days in sorted(told.items())}


def day_of(number: int | None) -> str | None:
    """2026-11-22"""
    return iso(number * DAY)[:10] if number is not None else None


def said(wish: Wish) -> Json:
    paused = iso(wish.paused_until) if wish.paused_until is not None else None
    return {"topics_off": sorted(wish.topics_off), "at_most": wish.at_most or "each", "paused_until": paused}


def fits(block: Block, where: Mapping[str, Any], now: int) -> bool:
    """Is it meant? A brand of "": those of every brand."""
    if block.over(now) and not where.get("over"):
        return False
    if where.get("pending", block.pending) != block.pending:
        return False
    if any(not _is_one(getattr(block, name), where[name]) for name in SELECTORS if where.get(name) is not None):
        return False
    since, until = where.get("since"), where.get("until")
    return (since is None or block.since >= since) and (until is None or block.since < until)


def _is_one(value: str, wanted: str | Sequence[str]) -> bool:
    return value == wanted if isinstance(wanted, str) else value in wanted


def _same(there: Block, wanted: Block, now: int) -> bool:
    """Nothing new: it stops as long as the other would."""
    if there.name != wanted.name or there.over(now):
        return False
    longer = there.until is None or (wanted.until is not None and wanted.until <= there.until)
    return longer and wanted.note in ("", there.note)


def _blocked(
    address: str, key: bytes, block: Block, question: Json, mail: Mapping[str, Any] = NO_MAIL
) -> tuple[str, Facts]:
    """`mail`: by which message it came to it."""
    kind, _, name = block.stop.partition(":")
    by, brand = str(question.get("by") or ""), block.brand or None
    if block.reason == UNSUBSCRIBED:
        facts = {
            **mail,
            "brand": brand,
            "stream": name if kind == "stream" else block.stream or None,
            "topic": name if kind == "topic" else None,
            "stop": block.stop,
            **_whose(address, key),
            "site": block.site or None,
            "via": block.source,
        }
        return "unsubscribed", facts | ({"by": by} if by else {})
    expires = iso(block.until) if block.until is not None else None
    by = by or (POSTLANE if question.get("via") in _OURS else "")
    facts = {**mail, **_whose(address, key), "stop": block.stop, "brand": brand, "reason": block.reason}
    facts |= {"expires": expires, "source": block.source, "note": block.note, "site": block.site, "by": by}
    return "suppressed", facts


def _unblocked(address: str, key: bytes, block: Block, question: Json) -> tuple[str, Facts]:
    facts = {**_whose(address, key), "stop": block.stop, "brand": block.brand or None, "was": block.reason}
    return "unsuppressed", facts | {"reason": str(question.get("reason") or ""), "by": str(question.get("by") or "")}


def _whose(address: str, key: bytes) -> Facts:
    """Of whom there is no address any more, by his key."""
    if not address:
        return {"recipient": None, "domain": None, "key": key.hex()}
    return {"recipient": address, "domain": domain_of(address)}


def domain_of(address: str) -> str:
    domain = address.rpartition("@")[2]
    return a_label(domain) or domain.lower()


def address_of(question: Json) -> str:
    """Raises BadQuestion."""
    address = str(question.get("recipient") or "").strip()
    local, at, domain = address.rpartition("@")
    if not (local and at and domain) or len(address) > 320 or any(ord(sign) < 32 for sign in address):
        raise BadQuestion(f'"{address[:100]}" is no address')
    return address


def wrong_with(entry: Json, brands: Collection[str]) -> str:
    """Why the desk would refuse a block that somebody typed; "" where it takes it. So a long list is looked through before."""
    try:
        if entry.get("recipient") or not entry.get("key"):
            address_of(entry)
        else:
            _key_of(entry)
        _checked(str(entry.get("stop") or "all"), str(entry.get("reason") or MANUAL))
        _named(str(entry.get("brand") or ""), brands)
    except BadQuestion as error:
        return str(error)
    return ""


def _key_of(entry: Json) -> bytes:
    """Raises BadQuestion."""
    try:
        key = bytes.fromhex(str(entry["key"]))
    except ValueError:
        key = b""
    if len(key) != KEY_OCTETS:
        raise BadQuestion(f'"{str(entry["key"])[:100]}" is no key of a person: {2 * KEY_OCTETS} hexadecimal digits')
    return key


def _checked(stop: str, reason: str) -> None:
    """Raises BadQuestion."""
    if _STOP.fullmatch(stop) is None:
        raise BadQuestion(f'"{stop}" stops nothing: all, marketing, topic:NAME or stream:NAME')
    if _SLUG.fullmatch(reason) is None:
        raise BadQuestion(f'"{reason}" is no reason: small letters, digits and hyphens, such as manual')


def _named(brand: str, brands: Collection[str]) -> None:
    """Raises BadQuestion."""
    if brand and brand not in brands:
        raise BadQuestion(f'no brand "{brand}" in brands.toml; there are {", ".join(sorted(brands)) or "none"}')


def _engagement(entry: Json, brands: Collection[str], today: int) -> tuple[str, int | None]:
    """Brand and day. Raises BadQuestion."""
    brand, day = str(entry.get("brand") or ""), entry.get("day")
    if brand not in brands:
        raise BadQuestion(f'no brand is called "{brand}"')
    if day is not None and not (isinstance(day, int) and 0 <= day <= today + 1):  # it is tomorrow already somewhere
        raise BadQuestion(f"{day} is no day up to today")
    return brand, day


def _moment(ms: object) -> int | None:
    """Raises BadQuestion for what is no time that an event could tell."""
    if ms is None:
        return None
    if not isinstance(ms, int) or not 0 <= ms < LAST:
        raise BadQuestion(f"{str(ms)[:40]} is no time in ms")
    return ms


def _entries(question: Json) -> list[Json]:
    entries = question.get("entries") or []
    if len(entries) > MAX_ENTRIES:
        raise BadQuestion(f"{len(entries)} entries are more than the {MAX_ENTRIES} of one question")
    return list(entries)
