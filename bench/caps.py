"""What frequency caps cost: CPU a message with consent, on SQLite and Redis, octets a person with four sends, and look-ups among
few people and among many.

    python -m bench.caps                      cost of 20,000 messages, octets of a million people
    python -m bench.caps --people 10000000    as many as is promised for; 1 GB of memory for Redis, some minutes

A message is what live mail asks of State: consent and a place at accept, the same again at its attempt, and its end, with as
many messages at once as a busy worker has; that the message itself is made is not counted. A look-up is the first of these. CPU
is that of this process, all threads, and of the thread of redis-server that answers.
"""

import argparse
import asyncio
import contextlib
import ctypes
import mmap
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import uvloop
from redis import ConnectionError as RedisConnectionError
from redis import Redis

from bench.processes import free_port, wait_until
from relay.capping import Capping
from relay.consent import Known, at_accept, at_attempt
from relay.effects import Effect
from relay.engaging import Engaging
from relay.identity import Rate
from relay.message import Delivery, MailClass, Message
from relay.policy.caps import Cap, Caps
from relay.policy.engagement import Tiers
from relay.recipient import Keys
from relay.room import Send, mark_of
from relay.state import places, redis_places, sqlite_places
from relay.state.interface import State
from relay.state.redis import TAGS, RedisState
from relay.state.sqlite import SqliteState

AT_ONCE = 64
LIVE = 4  # recipients that one question is about: 3.4 are counted under 10 KB mail over 20 connections
MARKETING = frozenset({MailClass.MARKETING})
SECRET = b"s" * 32
CAP = Cap("shop", frozenset({"shop"}), MARKETING, MARKETING, (Rate(4, 7 * 86_400, "", "4/7d"),), "postpone")
BATCH = 20_000  # people written in one go
FEW, TURNS = 10_000, 20  # people of the smaller list, and looks at both
SOME = 1_000  # messages of one turn, each to somebody else: the smaller list is three times as long in the end


@dataclass
class House:
    known: Known
    capping: Capping
    engaging: Engaging


def clock() -> int:
    return time.time_ns() // 1_000_000


def address(number: int) -> str:
    return f"r{number}@example.com"


def delivery(number: int) -> Delivery:
    now = clock()
    message = Message(
        f"{number:016d}", now, "crm", "shop", "offers", MailClass.MARKETING, "s@shop.example", "<1@shop.example>", "", 9
    )
    return Delivery(message, 0, address(number), "example.com", "example.com", "s@shop.example", "s@shop.example", b"")


async def one(mail: Delivery, house: House) -> None:
    message, now = mail.message, clock()
    found = await at_accept(message, [mail.recipient], [None], None, now, house)
    mail.counted = found.placed
    house.capping.saved([mail])
    assert await at_attempt(mail, None, now, house) is None


async def cost(state: State, messages: int, others: int = 0) -> float:
    """Microseconds of CPU a message; to others than the first `others` people."""
    house = furnished(state)
    spent = 0.0
    for start in range(-5 * AT_ONCE, messages, AT_ONCE):  # the first ones warm up
        mails = [
            delivery(others + start + 10 * AT_ONCE + n) for n in range(AT_ONCE)
        ]  # whoever sends mail has made it: not counted
        ends = [
            Effect(f"{mail.message.id}/0", mail.recipient, "shop", MailClass.MARKETING, clock(), True) for mail in mails
        ]
        began = time.process_time()
        await asyncio.gather(*(one(mail, house) for mail in mails))
        await house.capping.settle(ends)
        if start >= 0:
            spent += time.process_time() - began
    return spent / messages * 1e6


async def opened_cost(state: State, messages: int) -> float:
    await state.open()
    try:
        return await cost(state, messages)
    finally:
        await state.close()


def furnished(state: State) -> House:
    """That has met nobody yet."""
    keys = Keys([SECRET])
    capping = Capping(state, Caps([CAP], {"shop": "UTC"}), keys, clock)
    return House(Known(state, keys), capping, Engaging(state, keys, Tiers(), clock))


def keys_of(numbers: Iterable[int]) -> list[bytes]:
    keys = Keys([SECRET])
    return [keys.key_of(address(number)) for number in numbers]


async def asked_for(
    state: State, numbers: Sequence[int], at_once: int = AT_ONCE, between: Callable[[], object] = lambda: None
) -> float:
    """Microseconds of CPU a recipient: consent, and a place where there is room, as mail asks for them at accept. What that took
    is given back, uncounted. `between`: what happens before each question."""
    house = furnished(state)
    spent = 0.0
    for start in range(0, len(numbers), at_once):
        mails = [delivery(number) for number in numbers[start : start + at_once]]
        between()
        began = time.process_time()
        await asyncio.gather(*(at_accept(one.message, [one.recipient], [None], None, clock(), house) for one in mails))
        spent += time.process_time() - began
        ends = [Effect(f"{one.message.id}/0", one.recipient, "shop", MailClass.MARKETING, 0, True) for one in mails]
        await house.capping.settle(ends)
    return spent / len(numbers) * 1e6


def people(number: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """Keys and four sends each, some at a time, in no order, as keys come."""
    chance, now, mark = random.Random(1), clock() // 1000, mark_of("shop", "marketing")
    for start in range(0, number, BATCH):
        page = []
        for key in keys_of(range(start, min(start + BATCH, number))):
            sends: list[Send] = sorted((now - chance.randrange(30 * 86_400), mark) for _ in range(4))
            page.append((key, places.pack(sends)))
        yield page


async def begin(path: Path) -> None:
    """An empty file of State."""
    state = SqliteState(path)
    await state.open()
    await state.close()


def sqlite_people(number: int, folder: Path) -> tuple[float, Path]:
    """Octets a person, and State's file."""
    path = folder / f"people-{number}.db"
    uvloop.run(begin(path))
    db = apsw.Connection(str(path))
    db.execute("PRAGMA synchronous = OFF; PRAGMA cache_size = -400000")
    for page in people(number):
        with db:
            db.executemany("INSERT OR REPLACE INTO got VALUES (?, ?)", page)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return path.stat().st_size / number, path


def held_in_memory(path: Path) -> mmap.mmap:
    """Until it is closed."""
    with path.open("r+b") as file:
        held = mmap.mmap(file.fileno(), 0)
    first = ctypes.addressof(ctypes.c_char.from_buffer(held))
    if ctypes.CDLL(None).mlock(ctypes.c_void_p(first), ctypes.c_size_t(len(held))):
        print(f"{path.name} cannot be held in memory (ulimit -l): look-ups may wait for the disk", flush=True)
    return held


class OnSqlite:
    """State's file, open all the time as a worker has it, and held in memory: of a machine that has none to spare the disk would
    be measured. Microseconds of CPU; `AT_ONCE` people in one question."""

    def __init__(self, path: Path, runner: asyncio.Runner) -> None:
        self._held = held_in_memory(path)
        self._runner = runner
        self._state = SqliteState(path)
        runner.run(self._state.open())
        self._db = apsw.Connection(str(path))

    def mail(self, numbers: Sequence[int]) -> float:
        """A look-up as mail makes it: a recipient is asked for at accept."""
        return self._runner.run(asked_for(self._state, numbers))

    def live(self, numbers: Sequence[int]) -> float:
        """The same of as few at once as a busy worker's turn brings, beside another worker, who writes meanwhile."""
        return self._runner.run(asked_for(self._state, numbers, LIVE, self._write))

    def _write(self) -> None:
        self._db.execute("INSERT OR REPLACE INTO note VALUES ('bench', '', '')")

    def asked(self, numbers: Sequence[int]) -> float:
        """State alone is asked for what people got."""
        return self._runner.run(standing_of(self._state, numbers))

    def bare(self, numbers: Sequence[int]) -> float:
        """The part of that which looks: SELECT in a transaction, and what becomes of its answer."""
        keys, now, began = keys_of(numbers), clock(), time.process_time()
        with self._db:
            for start in range(0, len(keys), AT_ONCE):
                sqlite_places.standing(self._db, keys[start : start + AT_ONCE], now)
        return (time.process_time() - began) / len(keys) * 1e6

    def whole(self, messages: int, others: int) -> float:
        """All that a message asks, and what it leaves, of others than the first `others` people."""
        return self._runner.run(cost(self._state, messages, others))

    def close(self) -> None:
        self._db.close()
        self._runner.run(self._state.close())
        self._held.close()


async def standing_of(state: State, numbers: Sequence[int]) -> float:
    keys, began = keys_of(numbers), time.process_time()
    for start in range(0, len(keys), AT_ONCE):
        await state.standing(keys[start : start + AT_ONCE])
    return (time.process_time() - began) / len(keys) * 1e6


class Server:
    """A redis-server of our own, empty."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        words = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), "--port", str(self.port)]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        self.client: Any = Redis(port=self.port)
        wait_until(self._answers, 5, "redis-server does not answer")

    def _answers(self) -> bool:
        with contextlib.suppress(RedisConnectionError):
            return bool(self.client.ping())
        return False

    def state(self) -> RedisState:
        return RedisState(f"redis://127.0.0.1:{self.port}/0", quiet=0)

    def spent(self) -> float:
        """Microseconds of CPU of the thread that answers."""
        return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[0]) / 1000

    def stop(self) -> None:
        self.client.close()
        self._process.kill()
        self._process.wait()


def redis_people(number: int, redis: Any) -> float:
    """Octets a person."""
    before = int(redis.info("memory")["used_memory"])
    for page in people(number):
        pipe = redis.pipeline(transaction=False)
        for key, sends in page:
            pipe.execute_command("HSET", redis_places.keys_of(key, TAGS)[0], key, sends)
        pipe.execute()
    return (int(redis.info("memory")["used_memory"]) - before) / number


class OnRedis:
    """The same on a server. Microseconds of CPU, ours and its own."""

    def __init__(self, server: Server, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._server = server
        self._state = server.state()
        runner.run(self._state.open())

    def mail(self, numbers: Sequence[int]) -> float:
        before = self._server.spent()
        ours = self._runner.run(asked_for(self._state, numbers))
        return ours + (self._server.spent() - before) / len(numbers)

    def asked(self, numbers: Sequence[int]) -> float:
        before = self._server.spent()
        ours = self._runner.run(standing_of(self._state, numbers))
        return ours + (self._server.spent() - before) / len(numbers)

    def close(self) -> None:
        self._runner.run(self._state.close())


Looks = Callable[[Sequence[int]], float]  # microseconds of CPU for each of these people


def in_turns(what: str, number: int, few: Looks, many: Looks) -> str:
    """Look-ups among `FEW` people and among all, in turns, of others each time, so that both see the same machine."""
    pairs = []
    for turn in range(TURNS):
        chance = random.Random(turn)
        pairs.append((few(chance.sample(range(FEW), FEW)), many(chance.sample(range(number), FEW))))
    return compared(what, number, pairs)


def compared(what: str, number: int, pairs: list[tuple[float, float]]) -> str:
    """Microseconds with few and with many people, a pair of each turn."""
    ratio = statistics.median(more / less for less, more in pairs)
    less, more = (statistics.median(side) for side in zip(*pairs, strict=True))
    return f"{what} {less:.2f} us among {FEW}, {more:.2f} us among {number}, {ratio:.2f} of it"


def tell(line: str) -> None:
    print(line, flush=True)


def tell_costs(messages: int, folder: Path, server: Server) -> None:
    spent = uvloop.run(opened_cost(SqliteState(folder / "state.db"), messages))
    tell(f"SQLite: {spent:.0f} us of CPU a message, consent and caps, {AT_ONCE} at once")
    before = server.spent()
    spent = uvloop.run(opened_cost(server.state(), messages))
    besides = (server.spent() - before) / messages
    tell(f"Redis: {spent:.0f} us of CPU a message, consent and caps, and {besides:.0f} us of redis-server")


def tell_sqlite(number: int, folder: Path, runner: asyncio.Runner) -> None:
    (_, small), (octets, large) = (sqlite_people(one, folder) for one in (FEW, number))
    tell(f"SQLite: {octets:.0f} octets each of {number} people")
    few, many = OnSqlite(small, runner), OnSqlite(large, runner)
    tell(f"SQLite, {in_turns('a recipient asked for at accept', number, few.mail, many.mail)}")
    tell(f"SQLite, {in_turns(f'the same {LIVE} at once, beside another worker', number, few.live, many.live)}")
    tell(f"SQLite, {in_turns('what somebody got, asked of State', number, few.asked, many.asked)}")
    tell(f"SQLite, {in_turns('of that the file', number, few.bare, many.bare)}")
    begins = range(number, number + TURNS * 2 * SOME, 2 * SOME)
    pairs = [(few.whole(SOME, begin), many.whole(SOME, begin)) for begin in begins]
    tell(f"SQLite, {compared('consent and caps of a message', number, pairs)}")
    few.close()
    many.close()


def tell_redis(number: int, small: Server, large: Server, runner: asyncio.Runner) -> None:
    small.client.flushall()
    _, octets = redis_people(FEW, small.client), redis_people(number, large.client)
    tell(f"Redis: {octets:.0f} octets each of {number} people")
    few, many = OnRedis(small, runner), OnRedis(large, runner)
    tell(f"Redis, {in_turns('a recipient asked for at accept', number, few.mail, many.mail)}")
    tell(f"Redis, {in_turns('what somebody got, asked of State', number, few.asked, many.asked)}")
    few.close()
    many.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.caps", description="What frequency caps cost")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--people", type=int, default=1_000_000)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-caps-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        small = Server(folder)
        stack.callback(small.stop)
        large = Server(folder)
        stack.callback(large.stop)
        tell_costs(args.messages, folder, small)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            tell_sqlite(args.people, folder, runner)
            tell_redis(args.people, small, large, runner)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
