"""Alerts are told by mail and webhook: from what the workers say, and from what they cannot say themselves."""

from dataclasses import asdict

import orjson
import pytest

from relay import alerting
from relay.alert import Alert
from relay.alerting import HOOK_PAUSE, MAIL_PAUSE, Alerting, Listeners
from relay.control import Json, NodeDown
from relay.identity import HookSecret
from relay.webhook import signed
from tests.support.clocks import Clock
from tests.support.http_peer import HttpPeer

MAIL = Listeners(mail=("a@b.example",))
OURS = Alert("policies", "policies/ on disk has 1 error", ("a.toml:1: x",))
LOST = asdict(Alert("state", "limits cannot be looked up"))


class FakeWorker:
    """Tells `answer`; None: it is gone."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answer: Json | None = {"alerts": [], "healthy": True}

    async def ask(self, question: Json, timeout: float = 60.0) -> Json:
        assert question == {"do": "alerts"}
        if self.answer is None:
            raise NodeDown("gone")
        return self.answer


class Rig:
    """Two workers, nobody told yet. `written`: questions to a worker; `recorded`: events."""

    def __init__(self, listeners: Listeners = MAIL) -> None:
        self.clock = Clock()
        self.workers = [FakeWorker("worker-0"), FakeWorker("worker-1")]
        self.own: list[Alert] = []
        self.written: list[Json] = []
        self.recorded: list[tuple[str, str]] = []
        self.refuses = False
        self.listeners = listeners
        self.alerting = Alerting(
            "relay-1", self.workers, lambda: self.own, lambda: self.listeners, self.ask_any, self.record, self.clock
        )

    async def ask_any(self, question: Json) -> Json:
        if self.refuses:
            return {"error": "no worker is running"}
        self.written.append(question)
        return {"id": "01ab"}

    def record(self, state: str, alert: Alert) -> None:
        self.recorded.append((state, alert.name))

    async def look(self, after: int = MAIL_PAUSE) -> list[tuple[str, str]]:
        """What is mailed at a look that much later."""
        self.clock.now += after
        before = len(self.written)
        await self.alerting.look()
        return [(one["state"], one["alert"]["name"]) for mail in self.written[before:] for one in mail["changes"]]


async def test_what_stands_is_mailed_once_and_so_is_its_end() -> None:
    rig = Rig()
    assert await rig.look() == []
    rig.own = [OURS]
    for worker in rig.workers:
        worker.answer = {"alerts": [LOST], "healthy": True}
    assert await rig.look() == [("firing", "policies"), ("firing", "state")]
    assert rig.written[0]["to"] == ["a@b.example"]
    assert rig.written[0]["changes"][0]["alert"]["problems"] == ("a.toml:1: x",)
    assert await rig.look() == []
    rig.own = []
    assert await rig.look(1_000) == [("resolved", "policies")], "the pause since the last mail is over"
    rig.workers[0].answer = {"alerts": [], "healthy": True}
    assert await rig.look(MAIL_PAUSE) == [], "it stands for the other"
    assert "Alerting" in repr(rig.alerting)


async def test_a_mail_that_cannot_be_put_is_tried_again() -> None:
    rig = Rig()
    rig.own, rig.refuses = [OURS], True
    assert await rig.look() == []
    rig.refuses = False
    assert await rig.look(MAIL_PAUSE - 1) == []
    assert await rig.look(1) == [("firing", "policies")]


async def test_a_worker_that_does_not_answer_and_a_full_disk_are_found_here() -> None:
    rig = Rig()
    await rig.look()
    rig.workers[0].answer = None
    rig.workers[1].answer = {"alerts": [], "healthy": False}
    assert await rig.look(5_000) == [("firing", "spool")]
    assert rig.recorded == [("firing", "spool")]
    assert await rig.look(59_999) == []
    assert [alert.name for alert in rig.alerting.found] == ["worker", "spool"]
    assert await rig.look(MAIL_PAUSE) == [("firing", "worker")]
    rig.workers[0].answer = {"error": "the worker is still opening its spool"}
    assert await rig.look() == [], "that is no answer either"
    for worker in rig.workers:
        worker.answer = {"alerts": [], "healthy": True}
    assert await rig.look() == [("resolved", "spool"), ("resolved", "worker")]
    assert rig.recorded[1:] == [("firing", "worker"), ("resolved", "worker"), ("resolved", "spool")]
    assert rig.alerting.found == []


async def test_what_stands_is_not_over_because_its_worker_is_silent() -> None:
    rig = Rig()
    rig.workers[0].answer = {"alerts": [LOST], "healthy": False}
    assert await rig.look() == [("firing", "state"), ("firing", "spool")]
    for silence in (None, {"error": "the worker is still opening its spool"}):
        rig.workers[0].answer = silence
        assert await rig.look(5_000) == []
    assert rig.recorded == [("firing", "spool")]
    rig.workers[0].answer = {"alerts": [], "healthy": True}
    assert await rig.look() == [("resolved", "state"), ("resolved", "spool")]


async def test_what_others_find_is_told_and_stands_while_they_are_silent() -> None:
    rig = Rig()
    told: list[list[Alert] | None] = [[Alert("webhook", "dead", what={"credential": "shop"})], None, []]

    async def others() -> list[Alert] | None:
        return told.pop(0)

    rig.alerting.others = others
    assert await rig.look() == [("firing", "webhook")]
    assert await rig.look() == [], "nobody says that it is over"
    assert [one.name for one in rig.alerting.found] == ["webhook"]
    assert await rig.look() == [("resolved", "webhook")]
    assert rig.recorded == [("firing", "webhook"), ("resolved", "webhook")]


async def test_a_webhook_gets_events_that_it_can_verify() -> None:
    async with HttpPeer() as peer:
        rig = Rig(
            Listeners(webhook=f"http://127.0.0.1:{peer.port}/", secrets=(HookSecret(b"s" * 32),), allow_private=True)
        )
        rig.own = [OURS]
        await rig.look()
        rig.own = []
        await rig.look(HOOK_PAUSE - 1)
        assert len(peer.posted) == 1
        await rig.look(1)
    begun, ended = peer.posted
    fields = {name: begun.fields[name] for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    assert (
        signed(fields["webhook-id"], begun.content, [HookSecret(b"s" * 32)], int(fields["webhook-timestamp"]) * 1000)
        == fields
    )
    assert int(fields["webhook-timestamp"]) == (rig.clock.now - HOOK_PAUSE) // 1000
    assert fields["webhook-id"] != ended.fields["webhook-id"]
    assert [(e["state"], e["name"]) for e in orjson.loads(begun.content)["events"]] == [("firing", "policies")]
    assert [(e["state"], e["name"]) for e in orjson.loads(ended.content)["events"]] == [("resolved", "policies")]


async def test_a_webhook_that_fails_is_tried_again_later_and_later() -> None:
    async with HttpPeer(b"HTTP/1.1 503 Busy\r\n\r\n") as peer:
        rig = Rig(Listeners(webhook=f"http://127.0.0.1:{peer.port}/", allow_private=True))
        rig.own = [OURS]
        for wait in (0, HOOK_PAUSE, 2 * HOOK_PAUSE):
            await rig.look(max(0, wait - 1))
            await rig.look(1)
        assert len(peer.posted) == 3
        peer.answer = b"HTTP/1.1 200 OK\r\n\r\n"
        await rig.look(4 * HOOK_PAUSE)
        await rig.look(4 * HOOK_PAUSE)
        assert len(peer.posted) == 4


async def test_nobody_is_told_where_nobody_is_named() -> None:
    rig = Rig(Listeners())
    rig.own = [OURS]
    assert await rig.look() == []
    assert rig.written == []


async def test_it_goes_on_after_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerting, "LOOK", 0.001)
    rig, looks = Rig(), 0

    def listeners() -> Listeners:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise ValueError("a fault")
        if looks == 3:
            raise KeyboardInterrupt
        return MAIL

    rig.alerting.listeners = listeners
    with pytest.raises(KeyboardInterrupt):
        await rig.alerting.run()
    assert looks == 3
