"""The journal: on disk before it is answered, handed on in order, whatever happens between."""

import asyncio
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from relay.web.public import journal as module
from relay.web.public.journal import MOST, Entry, Journal, JournalFull


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*"))


class Taker:
    """Takes what is handed on; `gate` keeps it waiting."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.batches = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, entries: Sequence[Entry]) -> None:
        await self.gate.wait()
        self.batches += 1
        self.taken += [entry["n"] for entry in entries]


def opened(folder: Path, at_once: int = 1) -> Journal:
    made = Journal(folder, at_once)
    made.open()
    return made


async def stopped(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_is_appended_is_handed_on_in_order_and_gone_then(tmp_path: Path) -> None:
    journal, taker = opened(tmp_path), Taker()
    running = asyncio.create_task(journal.run(taker))
    told = [await journal.append({"n": number}) for number in range(5)]
    await asyncio.gather(*told)
    assert taker.taken == [0, 1, 2, 3, 4]
    assert (journal.waiting, files(tmp_path)) == (0, [])
    await stopped(running)
    assert repr(journal).endswith("waiting=0>")


async def test_what_arrives_together_shares_an_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    really = module._append

    def counted(path: Path, content: bytes) -> None:
        writes.append(content)
        really(path, content)

    monkeypatch.setattr(module, "_append", counted)
    journal, taker = opened(tmp_path), Taker()
    await asyncio.gather(*(journal.append({"n": number}) for number in range(100)))
    assert len(writes) <= 2
    running = asyncio.create_task(journal.run(taker))
    async with asyncio.timeout(10):
        await (await journal.append({"n": 100}))
    assert taker.taken == list(range(101))
    await stopped(running)


async def test_what_was_not_handed_on_is_there_after_a_crash_and_half_a_line_is_not(tmp_path: Path) -> None:
    await opened(tmp_path).append({"n": 1})
    (file,) = files(tmp_path)
    with file.open("ab") as out:
        out.write(b'no json\n{"n": 2}\n{"n": 3')
    (tmp_path / "000000000007.jsonl").write_bytes(b'{"n": 7}\n')
    (tmp_path / "notes.jsonl").write_bytes(b'{"n": 9}\n')
    journal, taker = opened(tmp_path), Taker()
    assert journal.waiting == 3
    running = asyncio.create_task(journal.run(taker))
    await (await journal.append({"n": 8}))
    assert taker.taken == [1, 2, 7, 8]
    await stopped(running)


async def test_nothing_is_removed_while_it_is_in_no_other_hands(tmp_path: Path) -> None:
    journal, taker = opened(tmp_path), Taker()
    taker.gate.clear()
    running = asyncio.create_task(journal.run(taker))
    told = await journal.append({"n": 1})
    await asyncio.sleep(0)
    await stopped(running)
    assert not told.done()
    again = Taker()
    after = opened(tmp_path)
    running = asyncio.create_task(after.run(again))
    await (await after.append({"n": 2}))
    assert again.taken == [1, 2]
    await stopped(running)


async def test_files_are_bounded_and_several_may_be_in_hand(tmp_path: Path) -> None:
    journal, taker = opened(tmp_path, at_once=3), Taker()
    taker.gate.clear()
    running = asyncio.create_task(journal.run(taker))
    told = await asyncio.gather(*(journal.append({"n": number}) for number in range(3 * MOST)))
    assert len(files(tmp_path)) >= 3
    taker.gate.set()
    await asyncio.gather(*told)
    assert sorted(taker.taken) == list(range(3 * MOST))
    await stopped(running)


@pytest.mark.parametrize("when", ["write", "fsync"])
async def test_what_the_disk_does_not_take_is_not_promised_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    journal, taker = opened(tmp_path), Taker()
    await journal.append({"n": 1})
    with monkeypatch.context() as patch:
        patch.setattr(os, when, full)
        with pytest.raises(JournalFull, match="No space left"):
            await journal.append({"n": 2})
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, content: 3)
        with pytest.raises(JournalFull):
            await journal.append({"n": 3})
    running = asyncio.create_task(journal.run(taker))
    await (await journal.append({"n": 4}))
    assert taker.taken == [1, 4]
    await stopped(running)


async def test_what_is_put_aside_stays_and_a_full_disk_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path)
    await journal.put_aside({"n": 1})
    monkeypatch.setattr(module, "_append", lambda path, content: _full())
    await journal.put_aside({"n": 2})
    assert opened(tmp_path).waiting == 0, "nobody takes it"
    assert files(tmp_path)[0].read_bytes() == b'{"n":1}\n'


def _full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_who_gives_up_waiting_does_not_keep_it_from_being_written(tmp_path: Path) -> None:
    journal, taker = opened(tmp_path), Taker()
    waiting = asyncio.create_task(journal.append({"n": 1}))
    await asyncio.sleep(0)
    await stopped(waiting)  # type: ignore[arg-type]
    running = asyncio.create_task(journal.run(taker))
    await (await journal.append({"n": 2}))
    assert taker.taken == [1, 2]
    await stopped(running)
