"""Group commit, and what happens when the disk is slow, full or broken."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from relay.message import Change, MailClass
from relay.spool import committer
from relay.spool.shard import Fault, fault_of
from relay.spool.store import Selector, Spool, SpoolError, SpoolFull
from tests.support.disk import FaultyDisk, faulty_disk
from tests.support.letters import letter

LANE = (MailClass.TRANSACTIONAL, "google", "order", 0)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FaultyDisk]:
    with faulty_disk(f"faulty-{tmp_path.name}") as made:
        yield made


@pytest.fixture
def fatal() -> list[BaseException]:
    return []


@pytest.fixture
async def spool(tmp_path: Path, disk: FaultyDisk, fatal: list[BaseException]) -> AsyncIterator[Spool]:
    made = Spool(tmp_path / "0.db", clock=int, on_fatal=fatal.append, vfs=disk.name, housekeeping=0.01)
    await made.open()
    yield made
    await made.close()


async def stored(spool: Spool) -> set[str]:
    return {d.message.id for d in (await spool.page(Selector(), None, 10_000)).deliveries}


async def pragma(spool: Spool, name: str, value: int | None = None) -> Any:
    """Through the spool's own thread and connection: nobody else may touch the file."""
    return await spool._read(lambda db: db.pragma(name) if value is None else db.pragma(name, value))


async def limit_pages(spool: Spool, more: int) -> None:
    """As if the disk had room for `more` pages only."""
    pages = await pragma(spool, "page_count")
    await pragma(spool, "max_page_count", pages + more)


async def until_healthy(spool: Spool) -> None:
    async with asyncio.timeout(20):
        while not spool.healthy:  # noqa: ASYNC110 - the property is all the spool offers, as the edge sees it
            await asyncio.sleep(0.01)


async def test_many_puts_share_few_fsyncs_on_a_slow_disk(spool: Spool, disk: FaultyDisk) -> None:
    disk.delay = 0.02
    before = disk.syncs
    puts = [letter(n) for n in range(200)]
    await asyncio.gather(*(spool.put(Change(put=[one], events=[b"{}"])) for one in puts))
    assert disk.syncs - before <= 4
    assert len(await stored(spool)) == 200
    sequence, lines = await spool.outbox(1 << 20) or (0, b"")
    assert sequence <= 4
    assert lines == b"{}\n" * 200


async def test_what_a_busy_loop_brings_turn_by_turn_shares_an_fsync(
    spool: Spool, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool._committer._gathered, "longest", 60.0)  # however slow this machine is
    before = disk.syncs
    puts = []
    for number in range(20):
        puts.append(asyncio.create_task(spool.put(Change(put=[letter(number)]))))
        await asyncio.sleep(0)
    await asyncio.gather(*puts)  # and it ends as soon as a turn brings nothing, not after a minute
    assert disk.syncs - before <= 3  # for twenty


async def test_a_loop_that_always_brings_more_is_not_waited_for(
    spool: Spool, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool._committer._gathered, "longest", 0.0)
    done: list[asyncio.Task[None]] = []
    async with asyncio.timeout(20):
        while not any(put.done() for put in done):
            done.append(asyncio.create_task(spool.put(Change(put=[letter(len(done))]))))
            await asyncio.sleep(0)
    await asyncio.gather(*done)


async def test_outcomes_ride_with_new_mail(spool: Spool, disk: FaultyDisk) -> None:
    first, second = letter(1), letter(2)
    await spool.put(Change(put=[first]))
    before = disk.syncs
    settle = asyncio.create_task(spool.settle(Change(finished=first[1])))
    await asyncio.sleep(0)
    await asyncio.gather(settle, spool.put(Change(put=[second])))
    assert disk.syncs - before == 1
    assert await stored(spool) == {second[0].id}


async def test_an_outcome_alone_is_saved_too(spool: Spool, disk: FaultyDisk) -> None:
    made = letter()
    await spool.put(Change(put=[made]))
    before = disk.syncs
    await spool.settle(Change(finished=made[1]))
    assert disk.syncs - before == 1


async def test_the_loop_lets_the_thread_come_up_for_air_while_something_is_unanswered(
    spool: Spool, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaths: list[float] = []
    monkeypatch.setattr(committer, "time", SimpleNamespace(monotonic=time.monotonic, sleep=breaths.append))
    disk.delay = 0.3
    await spool.put(Change(put=[letter()]))
    assert breaths[:3] == [committer.BREATH, 2 * committer.BREATH, 4 * committer.BREATH]
    assert max(breaths) == committer.LONGEST_BREATH
    assert spool._committer._breathing is None, "and no longer"


async def test_a_batch_is_bounded(spool: Spool, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "MAX_OPERATIONS", 10)
    before = disk.syncs
    await asyncio.gather(*(spool.put(Change(put=[letter(n)])) for n in range(100)))
    assert 10 <= disk.syncs - before <= 11
    assert len(await stored(spool)) == 100


async def test_large_messages_end_a_batch(spool: Spool, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "MAX_BYTES", 100_000)
    before = disk.syncs
    await asyncio.gather(*(spool.put(Change(put=[letter(n, content=b"x" * 60_000)])) for n in range(10)))
    assert disk.syncs - before >= 5
    assert len(await stored(spool)) == 10


async def test_more_recipients_than_one_statement_takes(spool: Spool) -> None:
    message, deliveries = letter(recipients=1000)
    await spool.put(Change(put=[(message, deliveries), letter(2)]))
    assert (await spool.counts())["waiting"] == 1001
    await spool.settle(Change(finished=deliveries))
    assert (await spool.counts())["waiting"] == 1


async def test_a_full_disk_refuses_new_mail_and_keeps_what_was_acknowledged(spool: Spool) -> None:
    await spool.put(Change(put=[letter(1)]))
    await limit_pages(spool, 4)
    with pytest.raises(SpoolFull):
        await spool.put(Change(put=[letter(2, content=b"x" * 1_000_000)], events=[b'{"lost":true}']))
    assert not spool.healthy
    with pytest.raises(SpoolFull):
        await spool.put(Change(put=[letter(3)]))
    assert await stored(spool) == {letter(1)[0].id}
    assert await spool.outbox(1000) is None


async def test_accepting_resumes_by_itself(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "RETRY", 0.01)
    await limit_pages(spool, 4)
    with pytest.raises(SpoolFull):
        await spool.put(Change(put=[letter(1, content=b"x" * 1_000_000)]))
    await pragma(spool, "max_page_count", 1_000_000)
    await until_healthy(spool)
    await spool.put(Change(put=[letter(2)]))
    assert await stored(spool) == {letter(2)[0].id}


async def test_a_full_disk_keeps_outcomes_until_there_is_room(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "RETRY", 0.01)
    made, report = letter(1), letter(2, content=b"x" * 1_000_000)
    await spool.put(Change(put=[made]))
    await limit_pages(spool, 4)
    settle = asyncio.create_task(spool.settle(Change(put=[report], finished=made[1], events=[b'{"bounced":1}'])))
    with pytest.raises(SpoolFull):
        await spool.put(Change(put=[letter(3, content=b"x" * 1_000_000)]))
    assert await stored(spool) == {made[0].id}
    assert not settle.done()
    await pragma(spool, "max_page_count", 1_000_000)
    await settle
    assert await stored(spool) == {report[0].id}
    assert await spool.outbox(1000) == (1, b'{"bounced":1}\n')
    await until_healthy(spool)


async def test_outcomes_that_fit_are_saved_while_new_mail_is_refused(spool: Spool) -> None:
    made = letter(1)
    await spool.put(Change(put=[made]))
    await limit_pages(spool, 4)
    settle = asyncio.create_task(spool.settle(Change(finished=made[1])))
    await asyncio.sleep(0)
    big = [spool.put(Change(put=[letter(n, content=b"x" * 1_000_000)])) for n in (2, 3)]
    refused = await asyncio.gather(*big, return_exceptions=True)
    await settle
    assert [type(error) for error in refused] == [SpoolFull, SpoolFull]
    assert await stored(spool) == set()


async def test_an_outcome_that_can_never_be_stored_does_not_hold_up_the_others(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "RETRY", 0.01)
    made = letter(1)
    await spool.put(Change(put=[made]))
    await limit_pages(spool, 4)
    with pytest.raises(SpoolFull):
        await spool.put(Change(put=[letter(2, content=b"x" * 1_000_000)]))
    never = asyncio.create_task(spool.settle(Change(put=[letter(3, site="\ud800")])))
    settle = asyncio.create_task(spool.settle(Change(finished=made[1])))
    await pragma(spool, "max_page_count", 1_000_000)
    await settle
    with pytest.raises(SpoolError, match="cannot be stored"):
        await never
    await until_healthy(spool)


async def test_close_says_which_outcomes_it_could_not_save(spool: Spool) -> None:
    await limit_pages(spool, 4)
    settle = asyncio.create_task(spool.settle(Change(put=[letter(2, content=b"x" * 1_000_000)])))
    await asyncio.sleep(0)
    await spool.close()
    with pytest.raises(SpoolError, match="no room"):
        await settle


async def test_a_failed_fsync_ends_it_and_acknowledges_nothing(
    spool: Spool, disk: FaultyDisk, fatal: list[BaseException], tmp_path: Path
) -> None:
    await spool.put(Change(put=[letter(1)]))
    disk.fail = lambda: True
    answers = await asyncio.gather(
        spool.put(Change(put=[letter(2)])),
        spool.settle(Change(events=[b"{}"])),
        spool.lanes(LANE[0], None, 1),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers[:2]] == [SpoolError, SpoolError]
    assert not spool.healthy
    assert [type(error) for error in fatal] == [apsw.IOError]
    with pytest.raises(SpoolError):
        await spool.put(Change(put=[letter(3)]))
    await spool.close()

    disk.fail = lambda: False
    again = Spool(tmp_path / "0.db", clock=int, on_fatal=fatal.append)
    await again.open()
    found = await stored(again)
    await again.close()
    assert letter(1)[0].id in found
    assert letter(3)[0].id not in found


def size_on_disk(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("0.db*"))


async def test_the_file_is_small_again_after_a_backlog_has_drained(spool: Spool, tmp_path: Path) -> None:
    letters = [letter(n, content=b"x" * 1_000_000) for n in range(100)]
    await asyncio.gather(*(spool.put(Change(put=[one])) for one in letters))
    await spool.put(Change(put=[letter(200)]))
    assert size_on_disk(tmp_path) > 100_000_000
    for _, deliveries in letters:
        await spool.settle(Change(finished=deliveries))
    async with asyncio.timeout(60):
        while size_on_disk(tmp_path) > 34_000_000:  # noqa: ASYNC110 - a file tells nobody: 16 MB at most live, a WAL of 16
            await asyncio.sleep(0.02)
    assert await stored(spool) == {letter(200)[0].id}


def io_error(extended: int) -> apsw.IOError:
    error = apsw.IOError()
    error.extendedresult = extended  # type: ignore[attr-defined]
    return error


FAULTS = [
    (apsw.FullError(), 0, Fault.FULL),
    (io_error(apsw.SQLITE_IOERR_WRITE), 122, Fault.FULL),  # EDQUOT
    (io_error(apsw.SQLITE_IOERR_WRITE), 5, Fault.FATAL),  # EIO
    (io_error(apsw.SQLITE_IOERR_FSYNC), 0, Fault.FATAL),
    (apsw.CorruptError(), 0, Fault.FATAL),
    (apsw.ReadOnlyError(), 0, Fault.FATAL),
    (apsw.ConstraintError(), 0, Fault.OURS),
    (apsw.TooBigError(), 0, Fault.OURS),
    (OverflowError(), 0, Fault.OURS),
    (RuntimeError(), 0, Fault.FATAL),
]


@pytest.mark.parametrize(("error", "system_errno", "fault"), FAULTS, ids=lambda value: repr(value)[:40])
def test_what_errors_mean(error: BaseException, system_errno: int, fault: Fault) -> None:
    assert fault_of(error, system_errno) is fault
