"""What it costs to know of millions of people: room, and the time of a look-up, against ten thousand of them.

    python -m bench.people [--count 2000000] [--folder DIR] [--redis redis://127.0.0.1:6379/0]

Each person has one block and his sealed address, as after an import. Half of those who are asked for are known. Times are of this
process's CPU, loop and State's thread together, and of the clock; a question is of one message to one recipient, asked by as many
messages at a time as stand at the head of a line. Redis has to be empty: what it holds is measured by what it says it uses.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import apsw
import orjson
import uvloop

from relay.consent import Known
from relay.person import ADDRESS, IMPORTED, Block
from relay.recipient import Keys
from relay.state.interface import State
from relay.state.redis import RedisState
from relay.state.sqlite import SqliteState

FEW = 10_000
AT_ONCE = (1, 16, 64)
ROUNDS = 400
KEYS = Keys([b"bench" * 8])


def address(number: int) -> str:
    return f"recipient.{number}@domain-{number % 5_000}.example"


def facts(number: int) -> dict[str, str]:
    block = Block("marketing", "arava", IMPORTED, "old.csv", 1_795_267_531_104 + number)
    return {block.name: block.dump(), ADDRESS: KEYS.sealed_text(address(number))}


def _rows(count: int) -> Iterator[tuple[bytes, str]]:
    for number in range(count):
        yield KEYS.key(address(number)), orjson.dumps(facts(number)).decode()


def fill(file: Path, count: int) -> None:
    """As State writes them, but in few transactions, and sorted, as a list that grew over years is not: the file is vacuumed
    at the end in neither case."""
    db = apsw.Connection(str(file))
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA cache_size = -400000")
    with db:
        db.executemany("INSERT OR REPLACE INTO known VALUES (?, ?)", _rows(count))
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


async def ask(state: State, count: int, at_once: int) -> tuple[float, float, float]:
    """Microseconds of CPU a message, and of the clock a question: the median and the 99th of 100."""
    known, spans = Known(state, KEYS), list[float]()
    draw = random.Random(7)

    async def one() -> None:
        (await known.of([address(draw.randrange(2 * count))]))

    async def timed() -> None:
        begun = time.perf_counter()
        await one()
        spans.append(time.perf_counter() - begun)

    await asyncio.gather(*(one() for _ in range(200)))
    cpu = time.process_time()
    for _ in range(ROUNDS):
        await asyncio.gather(*(timed() for _ in range(at_once)))
    cpu = time.process_time() - cpu
    centiles = statistics.quantiles(spans, n=100)
    return cpu / ROUNDS / at_once * 1e6, centiles[49] * 1e6, centiles[98] * 1e6


@asynccontextmanager
async def opened(state: State) -> AsyncIterator[State]:
    await state.open()
    try:
        yield state
    finally:
        await state.close()


async def on_sqlite(folder: Path, count: int) -> None:
    for number in sorted({FEW, count}):
        file = folder / f"{number}.db"
        async with opened(SqliteState(file)):
            pass
        empty, begun = file.stat().st_size, time.monotonic()
        fill(file, number)
        octets = (file.stat().st_size - empty) / number
        print(f"SQLite, {number:,} people: {octets:.0f} octets each, filled in {time.monotonic() - begun:.0f} s")
        async with opened(SqliteState(file)) as state:
            await _told(state, number)
            await _walked(state, number)


async def _told(state: State, count: int) -> None:
    for at_once in AT_ONCE:
        cpu, median, high = await ask(state, count, at_once)
        print(
            f"  {at_once:>3} at a time: {cpu:6.1f} us CPU a message; answered in {median:,.0f} us, 99 of 100 in {high:,.0f}"
        )


async def _walked(state: State, count: int) -> None:
    """As `suppress list` and the counting of a bulk undo do."""
    begun, seen, cursor = time.monotonic(), 0, ""
    while seen < min(count, 100_000):
        page, cursor = await state.everyone(cursor, 1_000)
        seen += len(page)
        if not cursor:
            break
    print(f"  a walk: {seen / (time.monotonic() - begun):,.0f} people/s")


async def on_redis(url: str, count: int) -> None:
    from redis.asyncio import Redis  # noqa: PLC0415 (where it is asked for)

    client = Redis(host=urlsplit(url).hostname or "127.0.0.1", port=urlsplit(url).port or 6379)
    try:
        before = (await client.info("memory"))["used_memory"]
        async with opened(RedisState(url, quiet=0)) as state:
            for number in sorted({FEW, count}):
                for first in range(0, number, 2_000):
                    await asyncio.gather(
                        *(state.tell(KEYS.key(address(n)), facts(n)) for n in range(first, min(number, first + 2_000)))
                    )
                octets = ((await client.info("memory"))["used_memory"] - before) / number
                print(f"Redis, {number:,} people: {octets:.0f} octets each")
                await _told(state, number)
                await _walked(state, number)
    finally:
        await client.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.people", description=__doc__)
    parser.add_argument("--count", type=int, default=2_000_000)
    parser.add_argument("--folder", type=Path, help="for the files (default: one that is removed)")
    parser.add_argument("--redis", metavar="URL", help="an empty one")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="people-") as scratch:
        uvloop.run(on_sqlite(said.folder or Path(scratch), said.count))
    if said.redis:
        uvloop.run(on_redis(said.redis, said.count))


if __name__ == "__main__":
    main()
