"""The signer's promise: every request is answered with good signatures, on the spot or from the threads."""

import asyncio
from base64 import b64decode
from collections.abc import Sequence

import pytest

from relay.header import Field, split
from relay.signing import dkim
from relay.signing.keyfile import RSA, PrivateKey
from relay.signing.keys import SigningKey
from relay.signing.multibuffer import MultiBuffer
from relay.signing.signer import Signer
from tests.support.signatures import NOW, both_keys, rsa_private, verdicts


def letter(number: int) -> bytes:
    return b"From: a@example.com\r\nSubject: %d\r\n\r\nHello %d.\r\n" % (number, number)


async def sign(signer: Signer, message: bytes, keys: tuple[SigningKey, ...]) -> bytes:
    fields, rest = split(message)
    return await signer.sign(fields, dkim.body_hash(message, rest + 2), keys, NOW)


async def test_each_key_gives_a_field() -> None:
    signer = Signer()
    head = await sign(signer, letter(1), both_keys())
    assert head.count(b"DKIM-Signature: ") == 2
    assert head.endswith(b"\r\n")
    assert verdicts(head + letter(1), both_keys(), 2) == [True, True]


async def test_without_keys_there_is_nothing_to_add() -> None:
    assert await sign(Signer(), letter(1), ()) == b""


async def test_a_single_request_is_signed_on_the_spot() -> None:
    signer = Signer()
    await sign(signer, letter(1), both_keys())
    assert repr(signer) == "<Signer 0 threads, 0 batches in hand, 1 signed inline, 0 in threads>"


@pytest.mark.parametrize("number", [2, 3, 25])
async def test_requests_of_one_turn_go_to_the_threads(number: int) -> None:
    signer = Signer()
    heads = await asyncio.gather(*[sign(signer, letter(i), both_keys()) for i in range(number)])
    for i, head in enumerate(heads):
        assert verdicts(head + letter(i), both_keys(), 2) == [True, True]
    assert repr(signer) == f"<Signer 2 threads, 0 batches in hand, 0 signed inline, {number} in threads>"
    signer.close()


async def test_a_request_behind_a_batch_goes_to_the_threads_too() -> None:
    """While threads are busy, signing inline would block the loop that must answer the batch."""
    signer = Signer()
    first = [asyncio.ensure_future(sign(signer, letter(i), both_keys())) for i in range(40)]
    await asyncio.sleep(0)  # they ask
    await asyncio.sleep(0)  # they are dealt out
    assert "2 batches in hand" in repr(signer)
    assert verdicts(await sign(signer, letter(99), both_keys()) + letter(99), both_keys(), 2) == [True, True]
    await asyncio.gather(*first)
    assert signer.handed_over == 41
    signer.close()


async def test_a_cancelled_caller_disturbs_nobody() -> None:
    signer = Signer()
    tasks = [asyncio.ensure_future(sign(signer, letter(i), both_keys())) for i in range(6)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[5].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, bytes) for result in done] == [False, True, True, True, True, False]
    signer.close()


class BrokenKey(SigningKey):
    """A key whose private part fails, as one on a token that was pulled out would."""

    def sign(self, digest: bytes) -> bytes:
        raise RuntimeError("token gone")


@pytest.mark.parametrize("number", [1, 4])
async def test_a_fault_of_a_key_reaches_its_caller_and_no_other(number: int) -> None:
    signer = Signer()
    broken = BrokenKey("example.com", "broken", RSA, rsa_private())
    good = [sign(signer, letter(i), both_keys()) for i in range(number - 1)]
    results = await asyncio.gather(sign(signer, letter(9), (broken,)), *good, return_exceptions=True)
    assert repr(results[0]) == "RuntimeError('token gone')"
    assert all(isinstance(result, bytes) for result in results[1:])
    assert isinstance(await sign(signer, letter(0), both_keys()), bytes)
    signer.close()


async def test_close_answers_what_was_asked_and_refuses_more() -> None:
    signer = Signer()
    dealt_out = [asyncio.ensure_future(sign(signer, letter(i), both_keys())) for i in range(4)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting = [asyncio.ensure_future(sign(signer, letter(i), both_keys())) for i in range(4)]
    await asyncio.sleep(0)
    signer.close()
    signer.close()  # twice does no harm
    assert all(await asyncio.gather(*dealt_out, *waiting))
    assert repr(signer).startswith("<Signer closed")
    with pytest.raises(RuntimeError, match="closed"):
        await sign(signer, letter(1), both_keys())


def test_a_loop_that_is_gone_ends_no_thread() -> None:
    signer = Signer()

    async def ask_and_leave() -> None:
        tasks = [asyncio.ensure_future(sign(signer, letter(i), both_keys())) for i in range(30)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()

    asyncio.run(ask_and_leave())
    signer.close()
    assert repr(signer).startswith("<Signer closed")


async def test_the_signature_covers_the_fields_it_was_given() -> None:
    """What is put in front of the message (Date, Message-ID) is signed with the rest."""
    content = letter(1)
    fields, rest = split(content)
    added = Field("date", b"Date: Sat, 21 Nov 2026 12:00:00 +0000\r\n")
    head = await Signer().sign([added, *fields], dkim.body_hash(content, rest + 2), both_keys(), NOW)
    assert verdicts(head + added.raw + content, both_keys(), 2) == [True, True]
    assert verdicts(head + content, both_keys(), 2) == [False, False]
    assert b64decode(head.rsplit(b" b=", 1)[1].replace(b"\r\n", b""))


class CountedMultiBuffer(MultiBuffer):
    """MultiBuffer of OpenSSL's, for machines without any: they count what they are given. `good`: until one is not."""

    def __init__(self, good: int = 99) -> None:
        self.calls: list[int] = []
        self.good = good

    def takes(self, private: PrivateKey) -> bool:
        return private is rsa_private()

    def sign(self, wanted: Sequence[tuple[PrivateKey, bytes]]) -> list[bytes] | None:
        self.calls.append(len(wanted))
        if len(self.calls) > self.good:
            return None
        return [SigningKey("example.com", "2026b", RSA, private).sign(digest) for private, digest in wanted]


def busy(multibuffer: MultiBuffer) -> Signer:
    """Of a machine whose processors are all busy: nothing goes to threads."""
    return Signer(spare=lambda: False, multibuffer=multibuffer)


@pytest.mark.parametrize(
    ("number", "calls"), [(1, []), (2, []), (3, [3]), (8, [8]), (10, [8]), (11, [8, 3]), (25, [8, 8, 8])]
)
async def test_what_comes_together_is_signed_side_by_side(number: int, calls: list[int]) -> None:
    """What is left over and too little for it is signed alone; keys of other kinds are too."""
    multibuffer = CountedMultiBuffer()
    signer = busy(multibuffer)
    heads = await asyncio.gather(*[sign(signer, letter(i), both_keys()) for i in range(number)])
    for i, head in enumerate(heads):
        assert verdicts(head + letter(i), both_keys(), 2) == [True, True]
    assert multibuffer.calls == calls
    assert repr(signer).endswith(f"{number} signed inline, 0 in threads>")


async def test_the_threads_use_it_too() -> None:
    multibuffer = CountedMultiBuffer()
    signer = Signer(multibuffer=multibuffer)
    heads = await asyncio.gather(*[sign(signer, letter(i), both_keys()) for i in range(16)])
    assert [verdicts(head + letter(i), both_keys(), 2) for i, head in enumerate(heads)] == [[True, True]] * 16
    assert multibuffer.calls == [8, 8]
    signer.close()


async def test_what_comes_out_wrong_is_signed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    multibuffer = CountedMultiBuffer(good=1)
    signer = busy(multibuffer)
    heads = await asyncio.gather(*[sign(signer, letter(i), both_keys()) for i in range(16)])
    assert [verdicts(head + letter(i), both_keys(), 2) for i, head in enumerate(heads)] == [[True, True]] * 16
    assert "one by one" in capsys.readouterr().out


class TornMultiBuffer(CountedMultiBuffer):
    def takes(self, private: PrivateKey) -> bool:
        raise RuntimeError("torn")


async def test_a_fault_of_the_library_costs_no_signature() -> None:
    signer = busy(TornMultiBuffer())
    heads = await asyncio.gather(*[sign(signer, letter(i), both_keys()) for i in range(4)])
    assert all(verdicts(head + letter(i), both_keys(), 2) == [True, True] for i, head in enumerate(heads))
