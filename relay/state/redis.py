"""State in Redis, shared by all workers of all nodes: one server, or a cluster.

Each question is one call of relay/state/redis.lua, atomic, counted by the server's clock, with all its keys under one of
16 hash tags. Calendar slots are computed here, since Lua knows no time zones, and refused where they are over by then.

Redis may lose what it was told: all of it where it is started without its data, the last second where its disk or a
failover says so. Each process therefore remembers what it was granted itself. Every hash tag has an epoch, made once; a
new one means that the data is gone, and for QUIET nothing is granted while all who live tell what they have. In that time
callers get StateError: what is urgent goes on within its share, the rest waits (DESIGN, invariants 6 and 12).

A lost answer leaves open whether a permit was taken. Of quotas it counts as taken, by the server alone: too tight, never
too wide. Of leases the exact number is told before anything else is asked.
"""

import asyncio
import contextlib
import secrets
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from relay.identity import Rate
from relay.room import Ask, Room, Send, Settled, Standing
from relay.state import limits, redis_marks, redis_people, redis_places
from relay.state.interface import StateError
from relay.state.marks import Change
from relay.state.places import GRACE
from relay.state.redis_batches import Batches, Calls, Settle
from relay.state.redis_link import Call, RedisLink
from relay.state.redis_own import Grants, Holdings, Lease
from relay.state.server_clock import ServerClock

log = structlog.get_logger()

TAGS = 16  # hash tags that all keys are spread over: as many masters of a cluster share the work
HEARTBEAT = 2.0  # s between looks whether Redis is there and has kept its data
QUIET = 10_000  # ms after its data was lost: every process has looked four times by then
COUNTED = 30_000  # ms one that shares this State is counted after it was last heard
_LOST = "is new or lost its data: limits wait until all workers have told what they know"
TRIES = 4  # of a question that came with an epoch or a calendar slot which is over; one more is the rule


class RedisState:
    """The backend of relay.state.interface.State for several nodes. `member`: who shares it, a name of its own; up to its last
    slash the node's, which belongs to one `owner`. Where another has it, this one is as good as without Redis: two nodes of
    a name would take each other's leases for their own.

    `clock`: limits are counted by it instead of the server's clock. `quiet`: see QUIET.
    """

    def __init__(
        self,
        url: str,
        password_file: str = "",
        member: str = "",
        clock: Callable[[], int] | None = None,
        quiet: int = QUIET,
        owner: str = "",
        sentinel_password_file: str = "",
    ) -> None:
        self.sharers = 0
        self._member = member or secrets.token_hex(8)
        self._owner = owner or self._member
        self._clash = ""
        self._quiet = quiet
        self._given = clock
        self._clock = ServerClock()
        self._link = RedisLink(url, password_file, sentinel_password_file)
        self._batches = Batches(self._link, self._clock, self._corrections, self._corrected, self._failed)
        self._beating: asyncio.Task[None] | None = None
        self._learning = asyncio.Lock()
        self._epochs = [""] * TAGS
        self._quiet_until = 0.0  # by our monotonic clock
        self._grants = Grants()
        self._holdings = Holdings()
        self._peopled: set[int] = set()  # tags under which people were known
        self._lost: set[int] = set()  # those of them that said so last that it is gone
        self._boards: dict[str, dict[str, str]] = {}  # as last read or written here, by name
        self._correcting: set[Lease] = set()

    def __repr__(self) -> str:
        return repr(self._batches).replace("Batches", "RedisState", 1)

    # -- the interface

    @property
    def trouble(self) -> str:
        if self._clash or self._batches.trouble or time.monotonic() >= self._quiet_until:
            return self._clash or self._batches.trouble
        return f"{self._link.shown} {_LOST}"

    def now(self) -> int:
        return self._given() if self._given else self._clock.earliest(time.monotonic()) or _own_clock()

    def latest(self) -> int:
        return self._given() if self._given else self._clock.latest(time.monotonic()) or _own_clock()

    async def open(self) -> None:
        self._batches.start()
        try:
            await self._learn()
        except BaseException:
            await self._batches.stop()
            raise
        self._beating = asyncio.create_task(self._beat())

    async def close(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
            self._beating = None
            with contextlib.suppress(StateError):
                await self._ask([self._call((_MEMBERS,), "leave", self._member)])
        await self._batches.stop()

    async def take(self, key: str, rate: Rate, count: int, timezone: str = "UTC") -> int:
        zone = ZoneInfo(timezone)
        name = f"{key} {rate.calendar or rate.window}"
        there = 0  # the server's time, where it has just told that it is in another slot

        def calls() -> list[Call]:
            return [self._take(name, rate, count, zone, there or self.now())]

        def settle(answers: list[Any]) -> tuple[bytes, int]:
            nonlocal there
            kind, _, value = answers[0]
            if kind == b"granted":
                self._grants.add(name, rate, value, count, zone, self.now())
            elif kind == b"another slot":
                there = value
            return kind, value

        kind, value = await self._ask_in_time(calls, settle)
        return 0 if kind == b"granted" else value

    async def granted(self, key: str, rate: Rate, timezone: str = "UTC") -> int:
        name = f"{key} {rate.calendar or rate.window}"
        slot = limits.slot_of(rate, self.now(), ZoneInfo(timezone)) if rate.calendar else 0
        call = self._call((_granted(name),), "counted", 0 if rate.calendar else limits.slice_ms(rate), slot)
        count: int = await self._ask([call], lambda answers: answers[0][2])
        return count

    async def acquire(self, key: str, limit: int, holder: str, ttl_ms: int) -> bool:
        self._holdings.lives(holder, ttl_ms)

        def calls() -> list[Call]:
            words = (self._epochs[_tag(key)], self._quiet, limit, holder, ttl_ms)
            acquire = self._call((_lease(key), _epoch(_tag(key))), "acquire", *words)
            return [acquire] if key in self._holdings.noted[holder] else [self._note(holder, [key]), acquire]

        def settle(answers: list[Any]) -> tuple[bytes, int]:
            kind, _, value = answers[-1]
            if kind == b"granted":
                self._holdings.add(holder, key)
            return kind, value

        kind, _ = await self._ask_in_time(calls, settle, leases=[(holder, key)])
        return bool(kind == b"granted")

    async def renew(self, holder: str, ttl_ms: int) -> None:
        self._holdings.lives(holder, ttl_ms)

        def calls() -> list[Call]:
            held, noted = self._holdings.keys(holder), self._holdings.noted[holder]
            over = noted - held
            noted &= held
            calls = [self._call((_held_by(holder),), "forget", *over)] if over else []
            if held:
                calls += [self._note(holder, held), *(self._tell(holder, key) for key in held)]
            return calls

        if self._holdings.keys(holder) or self._holdings.noted[holder]:
            await self._ask(calls, first=True)
        else:
            self._batches.check()
        if self.trouble:
            raise StateError(self.trouble)

    async def release(self, key: str, holder: str) -> None:
        def settle(_: list[Any]) -> None:
            self._holdings.subtract(holder, key)

        await self._ask([self._call((_lease(key),), "release", holder)], settle, leases=[(holder, key)])

    async def drop(self, holder: str) -> None:
        """What its former life held is noted in Redis: nobody else may know."""
        noted = [self._call((_held_by(holder),), "noted")]
        keys: set[str] = await self._ask(noted, lambda answers: {key.decode() for key in answers[0][2]})
        keys |= self._holdings.keys(holder)
        drops = [self._call((_lease(key),), "drop", holder) for key in keys]
        await self._ask(drops, lambda _: self._holdings.drop(holder), leases=[(holder, key) for key in keys])

    async def pin(self, board: str, name: str, text: str) -> None:
        def settle(_: list[Any]) -> None:
            self._boards.setdefault(board, {})[name] = text

        await self._ask([self._call((_board(board),), "pin", name, text)], settle)

    async def unpin(self, board: str, name: str) -> bool:
        def settle(answers: list[Any]) -> tuple[bytes, int]:
            kind, _, removed = answers[0]
            if kind == b"done":
                self._boards.get(board, {}).pop(name, None)
            return kind, removed

        _, removed = await self._ask_in_time(lambda: [self._of_board(board, "unpin", name)], settle)
        return bool(removed)

    async def pinned(self, board: str) -> dict[str, str]:
        def settle(answers: list[Any]) -> tuple[bytes, Any]:
            kind, _, flat = answers[0]
            if kind == b"done":
                words = [word.decode() for word in flat]
                self._boards[board] = dict(zip(words[::2], words[1::2], strict=True))
            return kind, 0

        await self._ask_in_time(lambda: [self._of_board(board, "pinned")], settle)
        return dict(self._boards[board])

    # -- what people get

    async def reserve(self, asks: Sequence[Ask]) -> list[Room]:
        return [room for _, room in await self.consult(asks)]

    async def consult(self, asks: Sequence[Ask]) -> list[tuple[dict[str, str], Room]]:
        """One call for each of our tags that the people are under."""
        there = 0  # the server's time, where it has just told that it is in another slot
        groups = redis_places.by_tag(redis_places.tag_of(wish.person, TAGS) for wish in asks)
        found: list[tuple[dict[str, str], Room]] = [({}, ())] * len(asks)

        def calls() -> list[Call]:
            now = there or self.now()
            return [self._reserve(tag, [asks[n] for n in numbers], now) for tag, numbers in groups]

        def settle(answers: list[Any]) -> tuple[bytes, int]:
            nonlocal there
            for (tag, _), (kind, _, _, *known) in zip(groups, answers, strict=True):
                self._hear_of_people(tag, kind, known=bool(known and known[0]), left=False)
            not_yet = next((answer for answer in answers if answer[0] != b"done"), None)
            if not_yet is None:
                for (_, numbers), answer in zip(groups, answers, strict=True):
                    for number, (facts, flat) in zip(numbers, answer[2], strict=True):
                        found[number] = redis_people.facts_of(facts), redis_places.room_of(flat)
                return b"done", 0
            there = not_yet[1] if not_yet[0] == b"another slot" else 0
            return not_yet[0], 0

        kind, _ = await self._ask_in_time(calls, settle)
        if kind == b"lost":
            raise StateError(self.forgot)
        return found

    async def confirm(self, places: Sequence[tuple[bytes, str]], lease: int) -> None:
        await self._ask([
            self._call(redis_places.keys_of(person, TAGS)[1:], "confirm", token, lease, redis_places.KEPT)
            for person, token in places
        ])  # fmt: skip

    async def settle(self, settled: Sequence[Settled], keep: int) -> None:
        groups = redis_places.by_tag(redis_places.tag_of(one.person, TAGS) for one in settled)
        await self._ask([self._settle([settled[n] for n in numbers], keep) for _, numbers in groups])

    async def standing(self, people: Sequence[bytes]) -> list[Standing]:
        calls = [self._call(redis_places.keys_of(person, TAGS), "standing", person, GRACE) for person in people]
        found: list[Standing] = await self._ask(
            calls, lambda answers: [redis_places.standing_of(answer[2]) for answer in answers]
        )
        return found

    async def recall(self, sends: Sequence[tuple[bytes, Sequence[Send]]]) -> None:
        await self._ask([
            self._call(redis_places.keys_of(person, TAGS)[:1], "recall", *redis_places.recalling(person, known))
            for person, known in sends
        ])  # fmt: skip

    async def sweep(self, after: bytes, keep: int) -> bytes:
        buckets, reached = redis_places.page(after)
        await self._ask([self._call((key,), "sweep", keep) for key in redis_places.bucket_keys(buckets, TAGS)])
        return reached

    def _reserve(self, tag: int, wishes: Sequence[Ask], now: int) -> Call:
        keys: list[str | bytes] = []
        for wish in wishes:
            keys += (*redis_places.keys_of(wish.person, TAGS), redis_people.name_of(wish.person, TAGS))
        keys += (redis_people.word_of(tag), _epoch(tag))
        words = self._epochs[tag], self._quiet, GRACE, redis_places.KEPT, redis_places.asking(wishes, now)
        return self._call(tuple(keys), "reserve", *words)

    def _settle(self, settled: Sequence[Settled], keep: int) -> Call:
        keys = [key for one in settled for key in redis_places.keys_of(one.person, TAGS)]
        return self._call(tuple(keys), "settle", keep, redis_places.settling(settled))

    # -- what is known of people

    @property
    def forgot(self) -> str:
        return f"{self._link.shown} lost what it knew of people" if self._lost else ""

    async def tell(self, key: bytes, facts: Mapping[str, str | None]) -> None:
        tag = redis_places.tag_of(key, TAGS)
        names = (redis_people.name_of(key, TAGS), redis_people.word_of(tag))
        await self._ask([self._call(names, "learn", *redis_people.words_of(facts))], lambda _: self._peopled.add(tag))

    async def told(self, keys: Sequence[bytes], *, left: bool = False) -> list[dict[str, str]]:
        groups = redis_people.by_tag(keys, TAGS)
        found: dict[bytes, dict[str, str]] = {}

        def calls() -> list[Call]:
            return [self._about(tag, group, left) for tag, group in groups.items()]

        def settle(answers: list[Any]) -> tuple[bytes, Any]:
            for (kind, _, value, *known), (tag, group) in zip(answers, groups.items(), strict=True):
                self._hear_of_people(tag, kind, known=bool(known and known[0]), left=left)
                if kind != b"done":
                    return kind, value
                found.update(zip(group, map(redis_people.facts_of, value), strict=True))
            return b"done", 0

        kind, _ = await self._ask_in_time(calls, settle)
        if kind == b"lost":
            raise StateError(self.forgot)
        return [found[key] for key in keys]

    def _hear_of_people(self, tag: int, kind: bytes, *, known: bool, left: bool) -> None:
        if kind == b"lost":
            self._lost.add(tag)
        elif kind == b"done" and not left:
            self._lost.discard(tag)
        if known:
            self._peopled.add(tag)

    async def brought_back(self) -> None:
        calls = [self._call((redis_people.word_of(tag),), "word", "brought back") for tag in range(TAGS)]
        await self._ask(calls, lambda _: self._lost.clear())

    async def everyone(self, cursor: str, limit: int) -> tuple[list[tuple[bytes, dict[str, str]]], str]:
        """The cursor: a tag of the server that is looked through, and how far that is."""
        tag, _, at = (cursor or "0:0").partition(":")
        if not (_is_number(tag) and int(tag) < TAGS and _is_number(at) and int(at) < 1 << 64):
            # Redis takes no other, and what it does not take counts as its fault: all of State would be down for a while.
            raise ValueError("no cursor of ours")

        def settle(answers: list[Any]) -> tuple[str, list[bytes]]:
            at, names = answers[0][2]
            if at != b"0":
                return f"{tag}:{at.decode()}", names
            servers = [self._link.server_of(self._call((_epoch(one),), "roll")) for one in range(TAGS)]
            place = redis_people.next_place(int(tag), servers)
            return "" if place is None else f"{place}:0", names

        roll = self._call((_epoch(int(tag)),), "roll", at, limit, redis_people.PATTERN)
        following, names = await self._ask([roll], settle)
        keys = [redis_people.key_of(name) for name in names]
        page = zip(keys, await self.told(keys, left=True), strict=True) if keys else ()
        return [(key, facts) for key, facts in page if facts], following

    def _about(self, tag: int, keys: Sequence[bytes], left: bool) -> Call:
        names = [redis_people.name_of(key, TAGS) for key in keys]
        words = (self._epochs[tag], self._quiet, int(left))
        return self._call((*names, _epoch(tag), redis_people.word_of(tag)), "about", *words)

    # -- marks

    async def mark(self, ttl_ms: int, changes: Sequence[Change]) -> list[bytes]:
        """One call for each of our tags that the keys are under."""
        groups = redis_places.by_tag(redis_marks.tag_of(change.key, TAGS) for change in changes)

        def calls() -> list[Call]:
            now = self.now()
            made = [redis_marks.question(tag, ttl_ms, [changes[n] for n in numbers], now) for tag, numbers in groups]
            return [self._call(keys, "mark", *words) for keys, words in made]

        def settle(answers: list[Any]) -> list[bytes]:
            stood = [b""] * len(changes)
            for (_, numbers), answer in zip(groups, answers, strict=True):
                for number, value in zip(numbers, answer[2], strict=True):
                    stood[number] = value
            return stood

        found: list[bytes] = await self._ask(calls, settle)
        return found

    # -- questions

    def _call(self, keys: tuple[str | bytes, ...], what: str, *words: str | int | bytes) -> Call:
        return Call(keys, (what, self._given() if self._given else 0, *words))

    def _take(self, name: str, rate: Rate, count: int, zone: ZoneInfo, now: int) -> Call:
        tag = _tag(name)
        slice_ms, slot = 0 if rate.calendar else limits.slice_ms(rate), (0, 0, 0)
        if rate.calendar:
            number = limits.slot_of(rate, now, zone)
            slot = (number, limits.expiry(rate, number - 1, zone), limits.expiry(rate, number, zone))
        words = (self._epochs[tag], self._quiet, rate.count, count, rate.window * 1000, slice_ms, *slot)
        return self._call((_granted(name), _epoch(tag)), "take", *words)

    def _of_board(self, board: str, what: str, *words: str) -> Call:
        tag = _tag(board)
        return self._call((_board(board), _epoch(tag)), what, self._epochs[tag], self._quiet, *words)

    def _tell(self, holder: str, key: str) -> Call:
        """So many leases it has: as they were when the last batch was settled."""
        count = self._holdings.count(holder, key)
        if not count:
            return self._call((_lease(key),), "drop", holder)
        return self._call((_lease(key),), "tell", holder, count, self._holdings.ttl(holder))

    def _note(self, holder: str, keys: Iterable[str]) -> Call:
        self._holdings.noted[holder].update(keys)
        return self._call((_held_by(holder),), "note", self._holdings.ttl(holder), *keys)

    async def _ask(
        self,
        calls: Calls | list[Call],
        settle: Settle = lambda _: None,
        *,
        leases: Sequence[Lease] = (),
        first: bool = False,
        probe: bool = False,
    ) -> Any:
        if self._clash and not probe:
            raise StateError(self._clash)
        made = calls if callable(calls) else lambda: calls
        return await self._batches.ask(made, settle, leases=leases, first=first, probe=probe)

    async def _ask_in_time(self, calls: Calls, settle: Settle, leases: Sequence[Lease] = ()) -> tuple[bytes, int]:
        """Again, where the answer is that an epoch or a slot is over."""
        for _ in range(TRIES):
            kind, value = await self._ask(calls, settle, leases=leases)
            if kind == b"rebuilding":
                raise StateError(f"{self._link.shown} {_LOST}")
            if kind == b"epoch":
                await self._learn()
            elif kind != b"another slot":
                return kind, value
        raise StateError(f"{self._link.shown}: its clock or its data changes all the time")

    # -- what Redis may have wrong

    def _corrections(self) -> list[Call]:
        self._correcting = set(self._holdings.unsure)
        return [self._tell(holder, key) for holder, key in self._correcting]

    def _corrected(self) -> None:
        self._holdings.unsure -= self._correcting

    def _failed(self, leases: set[Lease]) -> None:
        self._holdings.unsure |= leases
        self._holdings.noted.clear()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            with contextlib.suppress(StateError):  # said where it came up
                await self._learn()

    async def _learn(self) -> None:
        """The epochs, and how many share this State. Where an epoch is new, tell first what we were granted before it."""
        async with self._learning:
            word = secrets.token_hex(4)
            calls = [self._call((_epoch(tag),), "epoch", word) for tag in range(TAGS)]
            calls.append(self._call((_node(self._member),), "claim", self._owner, COUNTED))
            calls.append(self._call((_MEMBERS,), "beat", self._member, COUNTED))
            answers = await self._ask(calls, lambda answers: [answer[2] for answer in answers], probe=True)
            *epochs, owner, self.sharers = answers
            self._see_owner(owner.decode())
            told = [epoch.decode() for epoch in epochs]
            new = [tag for tag in range(TAGS) if told[tag] != self._epochs[tag]]
            if any(self._epochs[tag] for tag in new):
                log.error(
                    "Redis lost its data: limits wait until all workers have told theirs", server=self._link.shown
                )
            self._be_quiet(told)
            for tag in new:
                await self._restore(tag, told[tag])
                self._epochs[tag] = told[tag]

    def _see_owner(self, owner: str) -> None:
        """Raises StateError where our name is another's."""
        name = self._member.rpartition("/")[0] or self._member
        clash = f'{self._link.shown}: another node is called "{name}"; name in [node] is unique in a cluster'
        if owner == self._owner:
            if self._clash:
                log.info("the node's name is its own again", server=self._link.shown, name=name)
            self._clash = ""
            return
        if not self._clash:
            log.error("another node has this one's name: limits are not shared with it", node=name)
        self._clash = clash
        raise StateError(clash)

    def _be_quiet(self, epochs: list[str]) -> None:
        """As the script does, for those who ask how we are."""
        rest = max(int(epoch.partition("-")[0]) for epoch in epochs) + self._quiet - self.now()
        self._quiet_until = time.monotonic() + rest / 1000 if 0 < rest <= self._quiet else 0.0

    async def _restore(self, tag: int, epoch: str) -> None:
        """What we know ourselves is told. What was known of people we do not: that it is gone everybody must know."""
        if tag in self._peopled:
            await self._ask([self._call((redis_people.word_of(tag),), "word", "lost")], probe=True)
        self._failed({lease for lease in self._holdings.all() if _tag(lease[1]) == tag})
        calls = [
            self._call(
                (_granted(name), _epoch(tag)),
                "restore",
                epoch,
                ttl,
                *(word for pair in counts.items() for word in pair),
            )
            for name, ttl, counts in self._grants.still(self.now())
            if _tag(name) == tag
        ]
        calls += [
            self._call((_board(board), _epoch(tag)), "repin", epoch, *(word for pair in notes.items() for word in pair))
            for board, notes in self._boards.items()
            if _tag(board) == tag and notes
        ]
        if calls:
            kinds = await self._ask(calls, lambda answers: {answer[0] for answer in answers}, probe=True)
            if kinds != {b"done"}:
                raise StateError(f"{self._link.shown} lost its data again")


# -- names of keys: what stands between braces decides where in a cluster a key lives

_MEMBERS = "postlane:members"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20  # digits of 64 bits


def _node(member: str) -> str:
    return f"postlane:node:{member.rpartition('/')[0] or member}"


def _tag(name: str) -> int:
    return zlib.crc32(name.encode()) % TAGS


def _epoch(tag: int) -> str:
    return f"postlane:{{{tag}}}:epoch"


def _granted(name: str) -> str:
    return f"postlane:{{{_tag(name)}}}:granted:{name}"


def _lease(key: str) -> str:
    return f"postlane:{{{_tag(key)}}}:lease:{key}"


def _board(board: str) -> str:
    return f"postlane:{{{_tag(board)}}}:board:{board}"


def _held_by(holder: str) -> str:
    return f"postlane:held:{holder}"


def _own_clock() -> int:
    """Until Redis was heard, nothing is granted by its clock."""
    return time.time_ns() // 1_000_000
