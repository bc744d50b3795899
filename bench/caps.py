"""What frequency caps cost: CPU a message with consent, on SQLite and Redis, and octets a person with four sends.

    python -m bench.caps                      cost of 20,000 messages, octets of a million people
    python -m bench.caps --people 10000000    as many as is promised for; 1 GB of memory for Redis, some minutes

A message is what live mail asks of State: consent and a place at accept, the same again at its attempt, and its end, with as
many messages at once as a busy worker has; that the message itself is made is not counted. CPU is
that of this process, all threads; of redis-server besides.
"""

import argparse
import asyncio
import itertools
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import uvloop
from redis import Redis

from bench.processes import free_port
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
from relay.state.sqlite import MAPPED, SqliteState

AT_ONCE = 64
MARKETING = frozenset({MailClass.MARKETING})
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


def delivery(number: int) -> Delivery:
    now = clock()
    message = Message(
        f"{number:016d}", now, "crm", "shop", "offers", MailClass.MARKETING, "s@shop.example", "<1@shop.example>", "", 9
    )
    to = f"r{number}@example.com"
    return Delivery(message, 0, to, "example.com", "example.com", "s@shop.example", "s@shop.example", b"")


async def one(mail: Delivery, house: House) -> None:
    message, now = mail.message, clock()
    found = await at_accept(message, [mail.recipient], [None], None, now, house)
    mail.counted = found.placed
    house.capping.saved([mail])
    assert await at_attempt(mail, None, now, house) is None


async def cost(state: State, messages: int, others: int = 0) -> float:
    """Microseconds of CPU a message; to others than the first `others` people."""
    await state.open()
    keys = Keys([b"s" * 32])
    capping = Capping(state, Caps([CAP], {"shop": "UTC"}), keys, clock)
    house = House(Known(state, keys), capping, Engaging(state, keys, Tiers(), clock))
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
    await state.close()
    return spent / messages * 1e6


def people(number: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """Keys and four sends each, some at a time, in no order, as keys come."""
    chance, now, mark = random.Random(1), clock() // 1000, mark_of("shop", "marketing")
    for start in range(0, number, BATCH):
        page = []
        for _ in range(min(BATCH, number - start)):
            sends: list[Send] = sorted((now - chance.randrange(30 * 86_400), mark) for _ in range(4))
            page.append((chance.randbytes(16), places.pack(sends)))
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


class OnSqlite:
    """State's file, open. Microseconds of CPU a look-up, `AT_ONCE` people in one question."""

    def __init__(self, path: Path, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._state = SqliteState(path)
        runner.run(self._state.open())
        self._db = apsw.Connection(str(path))
        self._db.execute(f"PRAGMA mmap_size = {MAPPED}")

    def asked(self, keys: list[bytes]) -> float:
        """As the program does it: State is asked."""
        return self._runner.run(self._asked(keys))

    async def _asked(self, keys: list[bytes]) -> float:
        began = time.process_time()
        for start in range(0, len(keys), AT_ONCE):
            await self._state.standing(keys[start : start + AT_ONCE])
        return (time.process_time() - began) / len(keys) * 1e6

    def bare(self, keys: list[bytes]) -> float:
        """The part of that which looks: SELECT in a transaction, and what becomes of its answer."""
        now, began = clock(), time.process_time()
        with self._db:
            for start in range(0, len(keys), AT_ONCE):
                sqlite_places.standing(self._db, keys[start : start + AT_ONCE], now)
        return (time.process_time() - began) / len(keys) * 1e6

    def close(self) -> None:
        self._db.close()
        self._runner.run(self._state.close())


def redis_people(number: int, redis: Any) -> float:
    """Octets a person."""
    before = int(redis.info("memory")["used_memory"])
    for page in people(number):
        pipe = redis.pipeline(transaction=False)
        for key, sends in page:
            pipe.execute_command("HSET", redis_places.keys_of(key, TAGS)[0], key, sends)
        pipe.execute()
    return (int(redis.info("memory")["used_memory"]) - before) / number


def on_redis(redis: Any, keys: list[bytes]) -> float:
    """Microseconds of CPU a look-up, ours and the server's."""
    redis.execute_command("CONFIG", "RESETSTAT")
    began = time.process_time()
    for start in range(0, len(keys), AT_ONCE):
        pipe = redis.pipeline(transaction=False)
        for key in keys[start : start + AT_ONCE]:
            pipe.execute_command("HGET", redis_places.keys_of(key, TAGS)[0], key)
        pipe.execute()
    return (time.process_time() - began) / len(keys) * 1e6 + of_server(redis)


def of_server(redis: Any) -> float:
    """Microseconds that the server itself took for each look-up since it was last asked to forget that."""
    return float(redis.info("commandstats")["cmdstat_hget"]["usec_per_call"])


def in_turns(number: int, few: Callable[[list[bytes]], float], many: Callable[[list[bytes]], float]) -> str:
    """Look-ups among `FEW` people and among all, in turns, of others each time, so that both see the same machine."""
    keys = [key for page in itertools.islice(people(number), TURNS * FEW // BATCH) for key, _ in page]
    known = keys[:FEW]
    pairs = []
    for turn in range(TURNS):
        random.Random(turn).shuffle(known)
        pairs.append((few(known), many(keys[turn * FEW : (turn + 1) * FEW])))
    return compared("a look-up", number, pairs)


def compared(what: str, number: int, pairs: list[tuple[float, float]]) -> str:
    """Microseconds with few and with many people, a pair of each turn."""
    ratio = statistics.median(more / less for less, more in pairs)
    less, more = (statistics.median(side) for side in zip(*pairs, strict=True))
    return f"{what} {less:.2f} us among {FEW}, {more:.2f} us among {number}, {ratio:.2f} of it"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.caps", description="What frequency caps cost")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--people", type=int, default=1_000_000)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-caps-"))
    port = free_port()
    words = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen([*words, "--port", str(port)], stdout=subprocess.DEVNULL)
    servers = [server]
    redis = Redis(port=port)
    try:
        time.sleep(0.5)
        states: dict[str, State] = {
            "SQLite": SqliteState(folder / "state.db"),
            "Redis": RedisState(f"redis://127.0.0.1:{port}/0", quiet=0),
        }
        for name, state in states.items():
            spent = uvloop.run(cost(state, args.messages))
            print(f"{name}: {spent:.0f} us of CPU a message, consent and caps, {AT_ONCE} at once", flush=True)
        ticks = sum(map(int, Path(f"/proc/{server.pid}/stat").read_text().split()[13:15]))
        print(f"redis-server: {ticks / os.sysconf('SC_CLK_TCK') / args.messages * 1e6:.0f} us a message besides")
        more = free_port()
        servers.append(subprocess.Popen([*words, "--port", str(more)], stdout=subprocess.DEVNULL))
        (_, small), (octets, large) = (sqlite_people(number, folder) for number in (FEW, args.people))
        print(f"SQLite: {octets:.0f} octets each of {args.people} people", flush=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            few, many = OnSqlite(small, runner), OnSqlite(large, runner)
            print(f"SQLite, State is asked: {in_turns(args.people, few.asked, many.asked)}", flush=True)
            print(f"SQLite, of that the file: {in_turns(args.people, few.bare, many.bare)}", flush=True)
            few.close()
            many.close()
        pairs = []
        for turn in range(TURNS):
            costs = [uvloop.run(cost(SqliteState(path), SOME, turn * 2 * SOME)) for path in (small, large)]
            pairs.append((costs[0], costs[1]))
        print(f"SQLite, {compared('consent and caps of a message', args.people, pairs)}", flush=True)
        redis.flushall()
        redis_people(FEW, redis)
        other = Redis(port=more)
        octets = redis_people(args.people, other)
        turns = in_turns(args.people, lambda keys: on_redis(redis, keys), lambda keys: on_redis(other, keys))
        print(f"Redis: {octets:.0f} octets each of {args.people} people; {turns}", flush=True)
        print(f"of that the server's own: {of_server(redis):.2f} and {of_server(other):.2f} us", flush=True)
    finally:
        for one_server in servers:
            one_server.kill()
            one_server.wait()
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
