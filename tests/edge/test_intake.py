"""Message data within its bounds: nothing is kept that is too big, and every octet reserved is given back."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from relay.edge import replies
from relay.edge.commands import Chunk
from relay.edge.intake import ChunkIntake, DataIntake
from relay.edge.limits import ByteBudget


def fed(intake: DataIntake, *parts: bytes) -> bytearray:
    buffer = bytearray()
    for part in parts:
        buffer += part
        intake.take(buffer)
    return buffer


def test_a_message_of_just_the_limit_passes_and_dots_do_not_count() -> None:
    content = b".\r\n" * 10
    stuffed = b"..\r\n" * 10 + b".\r\n"
    exact, small = DataIntake(len(content), ByteBudget(1000)), DataIntake(len(content) - 1, ByteBudget(1000))
    fed(exact, stuffed[:17], stuffed[17:])
    fed(small, stuffed)
    assert (exact.whole, exact.failure, exact.content) == (True, None, content)
    assert (small.whole, small.failure, small.content) == (True, replies.TOO_BIG, b"")


def test_too_much_is_thrown_away_while_it_comes() -> None:
    budget = ByteBudget(10_000)
    intake = DataIntake(1000, budget)
    buffer = fed(intake, *[b"x" * 500 for _ in range(4)])
    assert intake.failure == replies.TOO_BIG
    assert budget.used == 0
    assert len(buffer) < 8
    assert not intake.hopeless
    buffer += b"\r\n.\r\nQUIT\r\n"
    assert intake.take(buffer)
    assert buffer == b"QUIT\r\n"


def test_a_peer_without_end_is_hopeless() -> None:
    intake = DataIntake(1000, ByteBudget(10_000))
    fed(intake, *[b"x" * 500 for _ in range(20)])
    assert intake.hopeless


def test_the_budget_is_shared_and_given_back() -> None:
    budget = ByteBudget(1000)
    first, second = DataIntake(5000, budget), DataIntake(5000, budget)
    fed(first, b"x" * 700)
    fed(second, b"x" * 400)
    assert first.failure is None
    assert second.failure == replies.NO_ROOM
    assert budget.used == 700
    first.release()
    second.release()
    assert budget.used == 0


def test_a_chunk_over_the_limit_is_read_to_its_end() -> None:
    intake = ChunkIntake(1000, ByteBudget(10_000))
    intake.expect(Chunk(3000, True))
    buffer = bytearray(b"x" * 2999)
    assert not intake.take(buffer)
    buffer += b"xNOOP\r\n"
    assert intake.take(buffer)
    assert buffer == b"NOOP\r\n"
    assert (intake.whole, intake.failure, intake.content) == (True, replies.TOO_BIG, b"")


@given(st.binary(max_size=300), st.lists(st.integers(min_value=0, max_value=300), max_size=5), st.integers(1, 50))
def test_chunks_join_to_the_message_however_they_are_cut_and_arrive(content: bytes, cuts: list[int], step: int) -> None:
    budget = ByteBudget(1000)
    intake = ChunkIntake(1000, budget)
    places = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
    for number, (start, end) in enumerate(pairwise(places)):
        intake.expect(Chunk(end - start, number == len(places) - 2))
        buffer = bytearray()
        done = intake.take(buffer)
        for at in range(start, end, step):
            assert not done
            buffer += content[at : min(at + step, end)]
            done = intake.take(buffer)
        assert done
        assert not buffer
    assert intake.whole
    assert intake.content == content
    assert budget.used == len(content)
