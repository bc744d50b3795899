"""RCPT TO and DNS: what is known at once, what is waited for and for how long, and what workers learn from each other."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from relay.checking import ASK_TO_TAG, WAIT_TO_TAG, Checking
from relay.egress.mx import Answer, Found
from relay.message import RcptTo
from relay.outcome import Reply
from relay.policy.addresses.check import Modes, Takes

MX = Answer(Found.RECORDS, ((10, "mx.shop.example"),))
NULL = Answer(Found.RECORDS, ((0, ""),))
NOTHING, NO_NAME, FAILED = Answer(Found.NOTHING), Answer(Found.NO_NAME), Answer(Found.FAILED)
ADDRESS = Answer(Found.RECORDS, ((0, "192.0.2.1"),))
MODES = Modes("tag", {"shop": "refuse", "old": "off"})


class Dns:
    """Answers by name and type; None: never. `cached`: what need not be asked."""

    def __init__(self, answers: dict[tuple[str, str], Answer | None], cached: dict[str, Answer] | None = None) -> None:
        self.answers, self.cached = answers, cached or {}

    async def mx(self, domain: str) -> Answer:
        return await self.look_up(domain, "MX")

    async def look_up(self, name: str, kind: str) -> Answer:
        answer = self.answers[name, kind]
        if answer is None:
            await asyncio.Event().wait()
        assert answer is not None
        return answer

    def known_mx(self, domain: str) -> Answer | None:
        return self.cached.get(domain)


def checking(tmp_path: Path, dns: Any = None, modes: Modes = MODES, number: int = 0) -> Checking:
    found = Checking(tmp_path, number)
    found.apply(modes, dns)
    return found


async def answer(asked: Reply | Awaitable[Reply | None] | None) -> Reply | None:
    return await asked if isinstance(asked, Awaitable) else asked


async def test_what_needs_no_dns_is_answered_at_once(tmp_path: Path) -> None:
    desk = checking(tmp_path)
    recipient = RcptTo("info@gmaill.com", "gmaill.com")
    assert desk.at_rcpt("erp", recipient, 10) is None
    assert recipient.found == {"tags": ["typo", "role"], "did_you_mean": "gmail.com"}
    refused = desk.at_rcpt("shop", recipient, 10)
    assert isinstance(refused, Reply)
    assert str(refused).startswith("550 5.1.2 gmaill.com looks mistyped; did you mean gmail.com?")
    good = RcptTo("ada@shop.example", "shop.example")
    assert desk.at_rcpt("shop", good, 10) is None
    assert good.found is None


def test_off_looks_at_nothing(tmp_path: Path) -> None:
    recipient = RcptTo("info@gmaill.com", "gmaill.com")
    assert checking(tmp_path).at_rcpt("old", recipient, 10) is None
    assert recipient.found is None


@pytest.mark.parametrize(
    ("dns", "tags", "refused"),
    [
        ({"MX": MX}, None, ""),
        ({"MX": NULL}, ["null-mx"], "556 5.1.10"),
        ({"MX": NO_NAME}, ["no-domain"], "550 5.1.2"),
        ({"MX": FAILED}, None, ""),
        ({"MX": NOTHING, "A": ADDRESS, "AAAA": NOTHING}, ["no-mx"], ""),
        ({"MX": NOTHING, "A": NOTHING, "AAAA": NOTHING}, ["no-host"], "550 5.1.2"),
        ({"MX": NOTHING, "A": NOTHING, "AAAA": FAILED}, None, ""),
    ],
)
async def test_what_dns_says(tmp_path: Path, dns: dict[str, Answer], tags: list[str] | None, refused: str) -> None:
    desk = checking(tmp_path, Dns({("a.example", kind): one for kind, one in dns.items()}))
    recipient = RcptTo("ada@a.example", "a.example")
    reply = await answer(desk.at_rcpt("shop", recipient, 10))
    assert str(reply or "").startswith(refused)
    assert bool(reply) == bool(refused)
    assert recipient.found == (None if tags is None else {"tags": tags})


async def test_what_is_cached_is_not_waited_for(tmp_path: Path) -> None:
    desk = checking(tmp_path, Dns({}, {"a.example": NULL, "b.example": MX, "c.example": NOTHING}))
    assert isinstance(desk.at_rcpt("shop", RcptTo("ada@a.example", "a.example"), 10), Reply)
    assert desk.at_rcpt("shop", RcptTo("ada@b.example", "b.example"), 10) is None
    assert desk.known("c.example") is None  # its address has to be asked for
    assert desk.known("[192.0.2.1]") is Takes.UNKNOWN


async def test_slow_dns_is_not_held_against_the_address(tmp_path: Path) -> None:
    desk = checking(tmp_path, Dns({("a.example", "MX"): None}))
    recipient = RcptTo("info@a.example", "a.example")
    loop = asyncio.get_running_loop()
    begun = loop.time()
    assert await answer(desk.at_rcpt("erp", recipient, 10)) is None
    assert WAIT_TO_TAG <= loop.time() - begun + 0.01 < 2
    assert recipient.found == {"tags": ["role"]}
    assert desk.at_rcpt("shop", recipient, 0) is None  # no patience left: nothing to wait for


async def test_a_campaign_does_not_ask_for_each_of_its_domains(tmp_path: Path) -> None:
    seconds = 0.0
    desk = Checking(tmp_path, 0, lambda: seconds)
    desk.apply(MODES, Dns({(f"{n}.example", "MX"): NO_NAME for n in range(200)}))  # type: ignore[arg-type]
    recipients = [RcptTo(f"ada@{n}.example", f"{n}.example") for n in range(200)]
    for recipient in recipients[:150]:
        await answer(desk.at_rcpt("erp", recipient, 10))
    assert sum(recipient.found is not None for recipient in recipients) == 5 * ASK_TO_TAG
    seconds = 1.0
    for recipient in recipients[150:]:
        await answer(desk.at_rcpt("erp", recipient, 10))
    assert sum(recipient.found is not None for recipient in recipients) == 6 * ASK_TO_TAG
    assert await answer(desk.at_rcpt("shop", recipients[120], 10)), "who refuses asks for each"


async def test_a_literal_has_no_dns(tmp_path: Path) -> None:
    assert await checking(tmp_path, Dns({})).takes("[192.0.2.1]", 1) is Takes.UNKNOWN


async def test_workers_learn_from_each_other_and_over_restarts(tmp_path: Path) -> None:
    one, other = checking(tmp_path), checking(tmp_path, number=1)
    for _ in range(1000):
        one.traffic.add("kibbutz-arava.example")
    assert other.find("a@kibutz-arava.example", "kibutz-arava.example", Takes.UNKNOWN).meant == ""
    await one.write()
    await other.learn()
    assert other.find("a@kibutz-arava.example", "kibutz-arava.example", Takes.UNKNOWN).meant == "kibbutz-arava.example"
    again = checking(tmp_path)
    await again.learn()
    assert again.find("a@kibutz-arava.example", "kibutz-arava.example", Takes.UNKNOWN).meant == "kibbutz-arava.example"
    assert "domains" in repr(again)


async def test_a_reload_brings_what_admins_know(tmp_path: Path) -> None:
    desk = checking(tmp_path)
    assert desk.find("a@gmaill.com", "gmaill.com", Takes.UNKNOWN).meant == "gmail.com"
    desk.apply(Modes(known=frozenset({"gmaill.com"})), None)
    assert desk.find("a@gmaill.com", "gmaill.com", Takes.UNKNOWN).meant == ""


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a.example": "x"}', b"\xff"])
def test_what_cannot_be_read_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "domains").mkdir()
    (tmp_path / "domains" / "0.json").write_bytes(content)
    assert Checking(tmp_path, 0).traffic.counts == {}


async def test_a_disk_that_takes_nothing_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "domains").write_bytes(b"no folder")
    desk = checking(tmp_path)
    desk.traffic.add("a.example")
    await desk.write()
    assert desk.traffic.counts == {"a.example": 1}


async def test_it_learns_and_writes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.checking.WRITE_EVERY", 0.01)
    desk = checking(tmp_path)
    desk.traffic.add("a.example")
    running = asyncio.create_task(desk.run())
    async with asyncio.timeout(20):
        while not (tmp_path / "domains" / "0.json").exists():  # noqa: ASYNC110 there is no event to wait for
            await asyncio.sleep(0.01)
    running.cancel()
    assert Checking(tmp_path, 0).traffic.counts == {"a.example": 1}
