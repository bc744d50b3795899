"""The spool's promises: what was put is there after reopening, whole; it leaves with its last recipient."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from relay.message import Change, Delivery, LaneKey, MailClass
from relay.person import AT_MOST
from relay.spool import queries
from relay.spool.store import Selector, Spool, SpoolBusy, SpoolError
from relay.wildcard import any_of
from tests.support.letters import letter

LANE = (MailClass.TRANSACTIONAL, "google", "order", 0)
LATER = 1_763_800_000_000


def unexpected(error: BaseException) -> None:
    pytest.fail(repr(error))


@pytest.fixture
async def open_spool(tmp_path: Path) -> AsyncIterator[Callable[[], "asyncio.Future[Spool]"]]:
    opened: list[Spool] = []

    async def open_one() -> Spool:
        spool = Spool(tmp_path / "spool" / "0.db", clock=lambda: LATER, on_fatal=unexpected)
        await spool.open()
        opened.append(spool)
        return spool

    yield lambda: asyncio.ensure_future(open_one())
    for spool in opened:
        await spool.close()


OpenSpool = Callable[[], "asyncio.Future[Spool]"]


async def everything(spool: Spool) -> list[Delivery]:
    return (await spool.page(Selector(), None, 10_000)).deliveries


async def test_what_was_put_is_there_after_reopening(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    message, deliveries = letter(
        recipients=3, quota=True, source="192.0.2.1", warned=True, last_reply="450 4.2.0 later"
    )
    await spool.put(Change(put=[(message, deliveries)], events=[b'{"n":1}', b'{"n":2}']))
    await spool.close()

    spool = await open_spool()
    found = await spool.due(LANE, LATER, 10, ())
    assert message.row == 1
    assert message.many
    assert found == [replace(d, message=replace(message, content=None)) for d in deliveries]
    assert found[0].message is found[2].message
    assert await spool.content(found[0].message) == message.content
    assert await spool.outbox(1000) == (1, b'{"n":1}\n{"n":2}\n')


async def test_rows_grow_over_reopening(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    first, second = letter(1), letter(2)
    await spool.put(Change(put=[first]))
    await spool.close()
    spool = await open_spool()
    await spool.put(Change(put=[second]))
    assert [first[0].row, second[0].row] == [1, 2]


async def test_row_is_set_before_put_waits(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    message, deliveries = letter()
    task = asyncio.create_task(spool.put(Change(put=[(message, deliveries)])))
    await asyncio.sleep(0)
    assert message.row == 1
    await task


async def test_message_leaves_with_its_last_recipient(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    message, deliveries = letter(recipients=2)
    await spool.put(Change(put=[(message, deliveries)]))
    await spool.settle(Change(finished=[deliveries[0]]))
    assert await spool.content(message) == message.content
    await spool.settle(Change(finished=[deliveries[1]]))
    with pytest.raises(LookupError):
        await spool.content(message)
    assert await everything(spool) == []


async def test_message_of_one_recipient_leaves_with_it(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    stays, goes = letter(1), letter(2)
    await spool.put(Change(put=[stays, goes]))
    await spool.settle(Change(finished=goes[1], events=[b"{}"]))
    assert [d.message.id for d in await everything(spool)] == [stays[0].id]
    with pytest.raises(LookupError):
        await spool.content(goes[0])


async def test_a_change_is_one_transaction_of_all_its_parts(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    failed, report = letter(1), letter(2)
    await spool.put(Change(put=[failed]))
    await spool.settle(Change(put=[report], finished=failed[1], events=[b'{"type":"bounced"}']))
    assert [d.message.id for d in await everything(spool)] == [report[0].id]
    assert await spool.outbox(1000) == (1, b'{"type":"bounced"}\n')


async def test_again_changes_what_an_attempt_changes(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    message, (delivery,) = letter()
    await spool.put(Change(put=[(message, [delivery])]))
    delivery.attempts, delivery.next_attempt, delivery.source = 2, LATER, "192.0.2.7"
    delivery.last_reply, delivery.quota, delivery.warned = '450 4.2.0 "later" \N{HEBREW LETTER ALEF}', True, True
    await spool.settle(Change(again=[delivery]))
    assert await spool.due(LANE, LATER - 1, 10, ()) == []
    assert await spool.due(LANE, LATER, 10, ()) == [replace(delivery, message=replace(message, content=None))]


@pytest.mark.parametrize("at_most", AT_MOST)
async def test_what_its_recipient_wished_is_kept(open_spool: OpenSpool, at_most: str) -> None:
    spool = await open_spool()
    put, changed = letter(1, at_most=at_most, counted=True), letter(2)
    await spool.put(Change(put=[put, changed]))
    changed[1][0].at_most = at_most
    await spool.settle(Change(again=changed[1]))
    assert [(d.at_most, d.counted, d.quota) for d in await everything(spool)] == [
        (at_most, True, False),
        (at_most, False, False),
    ]


@pytest.mark.parametrize("owed", [(False, False), (True, False), (False, True), (True, True)])
async def test_which_permits_a_delivery_takes_is_kept(open_spool: OpenSpool, owed: tuple[bool, bool]) -> None:
    spool = await open_spool()
    put, changed = letter(1, quota=owed[0], paced=owed[1]), letter(2)
    await spool.put(Change(put=[put, changed]))
    changed[1][0].quota, changed[1][0].paced = owed
    await spool.settle(Change(again=changed[1]))
    assert [(d.quota, d.paced) for d in await everything(spool)] == [owed, owed]


async def test_the_later_of_two_changes_in_one_batch_counts(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    message, (delivery,) = letter()
    await spool.put(Change(put=[(message, [delivery])]))
    delivery.attempts = 1
    first = asyncio.create_task(spool.settle(Change(again=[delivery])))
    await asyncio.sleep(0)
    delivery.attempts = 2
    await asyncio.gather(first, spool.settle(Change(again=[delivery])))
    assert [d.attempts for d in await everything(spool)] == [2]


async def test_due_is_earliest_first_without_known_and_held(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    letters = [letter(n, next_attempt=1000 - n) for n in range(5)] + [letter(5, held=True, next_attempt=0)]
    await spool.put(Change(put=letters))
    known = {letters[4][1][0].key}
    assert [d.next_attempt for d in await spool.due(LANE, 999, 2, known)] == [997, 998]
    assert [d.next_attempt for d in await spool.due(LANE, 1000, 10, known)] == [997, 998, 999, 1000]
    for other in (
        (MailClass.MARKETING, "google", "order", 0),
        (MailClass.TRANSACTIONAL, "yahoo", "order", 0),
        (MailClass.TRANSACTIONAL, "google", "news", 0),
        (MailClass.TRANSACTIONAL, "google", "order", 1),
    ):
        assert await spool.due(other, LATER, 10, ()) == []


async def test_due_passes_over_any_number_of_known(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    message, deliveries = letter(recipients=1300)
    await spool.put(Change(put=[(message, deliveries)]))
    found = await spool.due(LANE, LATER, 20, {d.key for d in deliveries[:1290]})
    assert [d.index for d in found] == list(range(1290, 1300))


async def test_held_mail_is_found_again_when_released(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    message, (delivery,) = letter()
    await spool.put(Change(put=[(message, [delivery])]))
    delivery.held = True
    await spool.settle(Change(again=[delivery]))
    assert await spool.due(LANE, LATER, 10, ()) == []
    assert await spool.lanes(LANE[0], None, 10) == []
    delivery.held = False
    await spool.settle(Change(again=[delivery]))
    assert len(await spool.due(LANE, LATER, 10, ())) == 1


async def test_lanes_with_their_earliest(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    transactional, marketing = MailClass.TRANSACTIONAL, MailClass.MARKETING
    await spool.put(
        Change(
            put=[
                letter(1, next_attempt=7),
                letter(2, next_attempt=5),
                letter(3, site="yahoo", next_attempt=9),
                letter(4, site="gmx", mail_class=marketing, next_attempt=1),
                letter(5, site="hidden", held=True),
                letter(6, site="", next_attempt=3),
                letter(7, stream="news", next_attempt=LATER),
                letter(8, priority=-2, next_attempt=2),
                letter(9, site="yahoo", stream="a", priority=9, next_attempt=6),
            ]
        )
    )
    everything = [
        ((transactional, "yahoo", "a", 9), 6),
        ((transactional, "", "order", 0), 3),
        ((transactional, "google", "news", 0), LATER),
        ((transactional, "google", "order", 0), 5),
        ((transactional, "yahoo", "order", 0), 9),
        ((transactional, "google", "order", -2), 2),
    ]
    assert await spool.lanes(transactional, None, 10) == everything
    assert await spool.lanes(transactional, None, 2) == everything[:2]
    for place, (lane, _) in enumerate(everything, 1):
        assert await spool.lanes(transactional, lane, 1) == everything[place : place + 1]
    assert await spool.lanes(transactional, (transactional, "h", "", 0), 10) == everything[4:]
    assert await spool.lanes(MailClass.SERVICE, None, 10) == []
    assert await spool.lanes(marketing, None, 10) == [((marketing, "gmx", "order", 0), 1)]


async def test_counts(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    nothing = {"waiting": 0, "held": 0, "guarded": 0, "suspended": {}}
    assert await spool.counts() == {**nothing, "oldest": None, "lanes": {}, "due": {}}
    await spool.put(
        Change(
            put=[
                letter(1, 2, accepted_at=3, next_attempt=LATER + 1),
                letter(2, site="yahoo", next_attempt=9),
                letter(3, held=1),
            ]
        )
    )
    await spool.put(
        Change(put=[letter(4, priority=3, next_attempt=7), letter(5, stream="news", next_attempt=LATER + 1)])
    )
    order, news, yahoo = (
        (MailClass.TRANSACTIONAL, *rest) for rest in (("google", "order"), ("google", "news"), ("yahoo", "order"))
    )
    lanes = {order: 3, news: 1, yahoo: 1}
    due = {order: (1, 7), news: (0, LATER + 1), yahoo: (1, 9)}
    some = {**nothing, "waiting": 5, "held": 1}
    assert await spool.counts() == {**some, "oldest": 3, "lanes": lanes, "due": due}


async def test_what_holds_a_delivery_is_kept_with_it(open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.spool.queries.SCAN", 3)
    spool = await open_spool()
    first, second = 1_800_000_000_000_000, 1_800_000_000_000_001
    put = [letter(1, 4, held=first), letter(2, held=1), letter(3, 2, held=second), letter(4)]
    await spool.put(Change(put=put))
    assert await spool.holding() == {first: 4, second: 2}
    assert (await spool.counts())["suspended"] == {first: 4, second: 2}
    assert (await spool.counts())["held"] == 7
    found = (await spool.page(Selector(suspended=second), None, 10)).deliveries
    assert [(d.key, d.held) for d in found] == [((3, 0), second), ((3, 1), second)]
    assert len((await spool.page(Selector(held=True), None, 10)).deliveries) == 7
    for delivery in put[0][1]:
        delivery.held = 0
    await spool.settle(Change(again=put[0][1]))
    assert await spool.holding() == {second: 2}


async def test_a_delivery_remembers_the_pool_it_was_moved_to(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    message, (delivery,) = letter()
    await spool.put(Change(put=[(message, [delivery])]))
    delivery.pool = "cold"
    await spool.settle(Change(again=[delivery]))
    assert [d.pool for d in await spool.due(LANE, LATER, 10, ())] == ["cold"]


async def test_a_search_for_what_is_held_looks_at_nothing_else(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    await spool.put(Change(put=[letter(1, held=5)]))

    def plan(db: apsw.Connection) -> str:
        among = f"SELECT message FROM recipient WHERE {Selector(suspended=5).among}"  # noqa: S608 - our own words
        rows = [
            row
            for sql in (among, queries._HOLDING)
            for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", {"suspended": 5})
        ]
        return " ".join(str(row[3]) for row in rows)

    said = await spool._read(plan)
    assert "recipient_suspended" in said
    assert "SCAN recipient" not in said.replace("USING COVERING INDEX recipient_suspended", "")


async def test_counts_name_the_longest_lanes_alone(open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.spool.queries.LANES_NAMED", 2)
    spool = await open_spool()
    marketing = {"mail_class": MailClass.MARKETING}
    put = [letter(number, number, site=f"s{number}") for number in range(1, 5)]
    put += [letter(10, 5, site="other", stream="other", **marketing), letter(11, 2, site="gmx", **marketing)]
    await spool.put(Change(put=put))
    assert await spool.counts() == {
        "waiting": 17,
        "held": 0,
        "guarded": 0,
        "suspended": {},
        "oldest": put[0][0].accepted_at,
        "lanes": {
            (MailClass.TRANSACTIONAL, "s4", "order"): 4,
            (MailClass.TRANSACTIONAL, "other", "other"): 6,
            (MailClass.MARKETING, "other", "other"): 7,
        },
        "due": {
            (MailClass.TRANSACTIONAL, "s4", "order"): (4, put[0][0].accepted_at),
            (MailClass.TRANSACTIONAL, "other", "other"): (6, put[0][0].accepted_at),
            (MailClass.MARKETING, "other", "other"): (7, put[0][0].accepted_at),
        },
    }


SELECTED = [
    (Selector(), {1, 2, 3, 4}),
    (Selector(id="01kaj2m8q4x70002"), {2}),
    (Selector(id="nothing"), set()),
    (Selector(recipient=any_of("dana0@GMAIL.com")), {1, 3, 4}),
    (Selector(recipient=any_of("*@gmail.*")), {1, 3, 4}),
    (Selector(domain=any_of("Firma.Example")), {2}),
    (Selector(domain=any_of("*.EXAMPLE")), {2}),
    (Selector(domain=any_of(["firma.*", "g*.com"])), {1, 2, 3, 4}),
    (Selector(site=any_of("yahoo")), {2}),
    (Selector(credential=any_of("crm")), {2}),
    (Selector(credential=any_of("*")), {1, 2, 3, 4}),
    (Selector(brand=any_of("marom")), {3}),
    (Selector(stream=any_of("news")), {3}),
    (Selector(stream=any_of(["new?", "[no]ews", "order\\"])), set()),
    (Selector(campaign=any_of("weekend-47")), {1, 2}),
    (Selector(campaign=any_of("*")), {1, 2, 3}),
    (Selector(campaign=any_of("ÉTÉ [2026]*")), {3}),
    (Selector(classes=frozenset({MailClass.TRANSACTIONAL})), {1, 2, 4}),
    (Selector(classes=frozenset({MailClass.MARKETING})), {3}),
    (Selector(classes=frozenset(MailClass)), {1, 2, 3, 4}),
    (Selector(classes=frozenset()), set()),
    (Selector(held=True), {4}),
    (Selector(held=False), {1, 2, 3}),
    (Selector(held=True, stream=any_of("news")), set()),
    (Selector(older_than=1000), {1, 3}),
    (Selector(older_than=1000, brand=any_of("arava")), {1}),
]


@pytest.mark.parametrize(("selector", "expected"), SELECTED, ids=lambda value: repr(value) if value else "none")
async def test_page_selects(open_spool: OpenSpool, selector: Selector, expected: set[int]) -> None:
    spool = await open_spool()
    old, young = LATER - 1000, LATER - 999
    other: dict[str, Any] = {
        "recipient": "x@firma.example",
        "domain": "firma.example",
        "site": "yahoo",
        "credential": "crm",
    }
    put = [
        letter(1, accepted_at=old),
        letter(2, accepted_at=young, **other),
        letter(
            3, accepted_at=old, brand="marom", stream="news", mail_class=MailClass.MARKETING, campaign="Été [2026] ?"
        ),
        letter(4, accepted_at=young, held=True, campaign=None),
    ]
    await spool.put(Change(put=put))
    page = await spool.page(selector, None, 10)
    assert {int(d.message.id[-1]) for d in page.deliveries} == expected
    assert page.after is None


async def test_pages_follow_each_other_over_any_number_of_rows(
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.spool.queries.SCAN", 7)
    spool = await open_spool()
    await spool.put(Change(put=[letter(n, recipients=10, site="odd" if n % 2 else "even") for n in range(6)]))
    found: list[tuple[int, int]] = []
    after: tuple[int, int] | None = (0, -1)
    while after is not None:
        page, after = await spool.page(Selector(site=any_of("odd")), after, 4)
        assert len(page) <= 4
        found += [d.key for d in page]
    assert found == [(row, index) for row in (2, 4, 6) for index in range(10)]


async def test_a_page_looks_at_a_bounded_part_of_the_queue(
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether anything fits or not, and the less at a time the longer the patterns are."""
    monkeypatch.setattr("relay.spool.queries.SCAN", 10)
    monkeypatch.setattr("relay.spool.store.LOOKS", 3)
    spool = await open_spool()
    await spool.put(Change(put=[letter(1, recipients=100)]))
    few = Selector(recipient=any_of("nobody"))
    many = Selector(recipient=any_of([f"nobody-{number:03d}@somewhere.example" for number in range(100)]))
    assert (few.look, many.look) == (10, 1)
    assert await spool.page(few, None, 500) == ([], (1, 29))
    assert await spool.page(few, (1, 89), 500) == ([], None)
    assert await spool.page(many, None, 500) == ([], (1, 2))


async def test_reads_see_the_writes_before_them(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    put = asyncio.create_task(spool.put(Change(put=[letter()])))
    await asyncio.sleep(0)
    assert len(await spool.due(LANE, LATER, 10, ())) == 1
    await put


async def test_outbox_is_handed_out_in_order_and_forgotten_when_exported(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    assert await spool.outbox(100) is None
    assert await spool.export_mark() == ("", 0)
    for n in range(3):
        await spool.put(Change(events=[b'{"n":%d}' % n]))
    assert await spool.outbox(1) == (1, b'{"n":0}\n')
    assert await spool.outbox(9) == (2, b'{"n":0}\n{"n":1}\n')
    await spool.exported(2, "some.open.jsonl", 16)
    assert await spool.outbox(100) == (3, b'{"n":2}\n')
    assert await spool.export_mark() == ("some.open.jsonl", 16)
    await spool.put(Change(events=[b'{"n":3}']))
    await spool.exported(3, "some.open.jsonl", 24)
    assert await spool.outbox(100) == (4, b'{"n":3}\n')


async def test_a_value_that_cannot_be_stored_fails_its_own_put_alone(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    good, bad = letter(1), letter(2, site="\ud800")
    results = await asyncio.gather(spool.put(Change(put=[good])), spool.put(Change(put=[bad])), return_exceptions=True)
    assert results[0] is None
    assert isinstance(results[1], SpoolError)
    assert [d.message.id for d in await everything(spool)] == [good[0].id]
    assert spool.healthy


async def test_a_put_without_content_is_our_own_fault(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    with pytest.raises(ValueError, match="no content"):
        await spool.put(Change(put=[letter(content=None)]))


async def test_cancelled_put_is_saved_all_the_same(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    put = asyncio.create_task(spool.put(Change(put=[letter()])))
    await asyncio.sleep(0)
    put.cancel()
    assert len(await everything(spool)) == 1


async def test_a_second_process_is_refused(open_spool: OpenSpool, tmp_path: Path) -> None:
    await open_spool()
    code = f"""
        import asyncio
        from pathlib import Path
        from relay.spool.store import Spool, SpoolBusy
        spool = Spool(Path({str(tmp_path / "spool" / "0.db")!r}), clock=int, on_fatal=print)
        try:
            asyncio.run(spool.open())
        except SpoolBusy as error:
            print(error)
    """
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", textwrap.dedent(code), stdout=subprocess.PIPE)
    said, _ = await child.communicate()
    assert b"is open in another process" in said


async def test_the_same_shard_twice_is_refused_and_free_after_close(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    with pytest.raises(SpoolBusy):
        await open_spool()
    await spool.close()
    assert await (await open_spool()).export_mark() == ("", 0)


async def test_after_close_everything_is_refused(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    await spool.close()
    with pytest.raises(SpoolError):
        await spool.put(Change(put=[letter()]))
    with pytest.raises(SpoolError):
        await spool.lanes(LANE[0], None, 1)
    await spool.close()


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.db").write_bytes(b"not a database, but long enough to have a header" * 100)
    spool = Spool(tmp_path / "0.db", clock=int, on_fatal=unexpected)
    with pytest.raises(SpoolError, match="cannot be opened"):
        await spool.open()
    assert not spool.healthy


CHILD = """
    import asyncio, sys
    from pathlib import Path
    from relay.message import Change
    from relay.spool.store import Spool
    from tests.support.letters import letter

    async def main():
        spool = Spool(Path(sys.argv[1]), clock=int, on_fatal=print)
        await spool.open()
        async def keep_putting(worker):
            for n in range(worker, 1_000_000, 8):
                made = letter(n, id=f"{sys.argv[2]}{n:015d}", content=b"x" * 20_000)
                await spool.put(Change(put=[made], events=[b"{}"]))
                if n % 3 == 0:
                    await spool.settle(Change(finished=made[1]))
                else:
                    print(made[0].id, flush=True)
        await asyncio.gather(*(keep_putting(worker) for worker in range(8)))
    asyncio.run(main())
"""


def run_and_kill(path: Path, life: int, enough: int) -> set[str]:
    """Ids that were acknowledged before the process was killed, at least `enough`."""
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(path), str(life)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(enough)]
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.readlines()
    return {line.strip() for line in lines if line.endswith("\n")}


async def test_what_was_acknowledged_survives_kill_9(open_spool: OpenSpool, tmp_path: Path) -> None:
    path = tmp_path / "spool" / "0.db"
    acknowledged: set[str] = set()
    for life, enough in enumerate((1, 40, 150)):
        acknowledged |= run_and_kill(path, life, enough)
    spool = await open_spool()
    found = await everything(spool)
    assert {d.message.id for d in found} >= acknowledged
    for delivery in found:
        assert await spool.content(delivery.message) == b"x" * 20_000
    await spool.close()
    db = apsw.Connection(str(path))
    assert db.pragma("integrity_check") == "ok"
    db.close()


async def test_of_each_lane_the_row_that_has_been_due_the_longest(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    put = [
        letter(1, 2, site="a", next_attempt=100),
        letter(2, site="a", next_attempt=99),
        letter(3, site="b", next_attempt=200),
        letter(4, site="c", next_attempt=199, held=5),
        letter(5, site="d", next_attempt=199),
        letter(6, site="e", next_attempt=1, mail_class=MailClass.MARKETING),
    ]
    await spool.put(Change(put=put))
    await spool.put(Change(put=[letter(7, site="a", stream="news", priority=2, next_attempt=50)]))

    def lane(site: str, stream: str = "order", priority: int = 0) -> LaneKey:
        return MailClass.TRANSACTIONAL, site, stream, priority

    news, a, d = (lane("a", "news", 2), 50, (7, 0)), (lane("a"), 99, (2, 0)), (lane("d"), 199, (5, 0))
    assert await spool.overdue(MailClass.TRANSACTIONAL, None, 200, 10) == ([news, a, d], None)
    assert await spool.overdue(MailClass.TRANSACTIONAL, None, 200, 3) == ([news, a], lane("b"))
    assert await spool.overdue(MailClass.TRANSACTIONAL, lane("a", "news", 2), 200, 1) == ([a], lane("a"))
    assert await spool.overdue(MailClass.TRANSACTIONAL, lane("b"), 200, 2) == ([d], None)
    assert await spool.overdue(MailClass.TRANSACTIONAL, lane("d"), 200, 2) == ([], None)
    assert await spool.overdue(MailClass.SERVICE, None, 200, 2) == ([], None)
    assert await spool.overdue(MailClass.MARKETING, None, 1, 2) == ([], None)


async def test_what_was_sent_is_known_by_id_and_by_message_id_with_all_that_a_report_of_it_needs(
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.spool.store.GENERATION", 2)
    spool = await open_spool()
    letters = [letter(number, recipients=2, message_id=f"<{number}@arava.example>") for number in range(1, 5)]
    for message, deliveries in letters:
        for delivery in deliveries:
            delivery.arrived = LATER
        message.author = "news@arava.example"
        await spool.settle(Change(sent=[(one, "192.0.2.3", "outlook") for one in deliveries]))
    await spool.close()
    spool = await open_spool()
    again = replace(letters[0][1][1], message=replace(letters[0][0], id="01kaj2m8q4x79999"))
    await spool.settle(Change(sent=[(again, "", "")]))

    message, deliveries = letters[2]
    found = await spool.sent(message.id, 1)
    assert found is not None
    one, heard = found
    assert heard == 0
    reported: tuple[str, ...] = (
        "id",
        "accepted_at",
        "credential",
        "brand",
        "stream",
        "mail_class",
        "author",
        "message_id",
        "subject",
    )
    reported += ("campaign", "metadata", "ret", "envid", "dsn", "many")
    assert {name: getattr(one.message, name) for name in reported} == {
        name: getattr(message, name) for name in reported
    }
    named = ("index", "recipient", "domain", "sender", "notify", "orcpt", "arrived")
    assert {name: getattr(one, name) for name in named} == {name: getattr(deliveries[1], name) for name in named}
    assert (one.site, one.source, one.ours) == ("outlook", "192.0.2.3", True)

    assert await spool.sent_as(("3@arava.example", "dana1@GMAIL.com")) == (message.id, 1)
    assert await spool.sent_as(("1@arava.example", "dana1@gmail.com")) == (again.message.id, 1), "of several the last"
    assert await spool.sent_as(("1@arava.example", "dana0@gmail.com")) == (letters[0][0].id, 0)
    for stranger in (
        ("9@arava.example", "dana1@gmail.com"),
        ("3@arava.example", "noa@gmail.com"),
        ("", "dana1@gmail.com"),
    ):
        assert await spool.sent_as(stranger) is None


async def test_without_a_message_id_it_is_known_by_its_id_alone(open_spool: OpenSpool) -> None:
    spool = await open_spool()
    assert await spool.sent_as(("3@arava.example", "dana1@gmail.com")) is None
    message, deliveries = letter(1, message_id="", author="orders@arava.example")
    await spool.settle(Change(sent=[(deliveries[0], "", "google")]))
    assert await spool.sent_as(("", "Dana0@gmail.com")) is None
    found = await spool.sent(message.id, 0)
    assert found is not None
    assert found[0].message.author == "orders@arava.example"
