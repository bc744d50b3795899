"""Faults of the sending side, end to end over State: sheets of both workers, one judge, one alert that begins and ends."""

from typing import Any

import pytest

from relay.blaming import FAULTS
from relay.caring import LEASE
from relay.policy.faults import DAY
from relay.policy.tallies import QUARTER
from relay.tally import Kind
from tests.test_caring import Worker, one, workers

__all__ = ["one", "workers"]  # fixtures

AUTH: dict[str, Any] = {"fault": "auth-failure", "said": "550 5.7.26", "domain": "marom.example"}
HELPDESK: dict[str, Any] = {"stream": "helpdesk", "urgent": True}


def told(worker: Worker) -> list[tuple[str, str]]:
    return [(one["name"], one["state"]) for one in worker.events("alert")]


async def test_twelve_refusals_of_transactional_mail_are_told_until_mail_goes_through(
    workers: tuple[Worker, Worker],
) -> None:
    one, other = workers
    await one.hear(Kind.DELIVERED, 500, stream="order", urgent=True)
    for worker in workers:
        await worker.hear(Kind.FAULT, 6, **HELPDESK, **AUTH)
    await one.look()
    (event,) = one.events("alert")
    advice = event.pop("advice")
    assert event == {
        "state": "firing",
        "name": "auth-failure",
        "severity": "critical",
        "what": {"stream": "helpdesk"},
        "summary": "stream helpdesk: 100 % of 12 messages refused with 550 5.7.26",
        "problems": [],
    }
    assert advice.startswith("postlane keys dns marom.example prints the DKIM records")
    assert "postlane report bounces --category auth-failure --stream helpdesk --samples" in advice
    await other.look()
    for worker in workers:
        await worker.look(3)
        assert worker.alerts == [event["summary"]], "all workers know, and it is told once"
        assert not worker.slowed
        assert worker.events("suspended") == []
    assert told(other) == []

    one.clock.now += LEASE  # the judge is gone; the one that follows goes on from there
    await other.look()
    assert told(other) == []
    other.clock.now += QUARTER
    await other.hear(Kind.DELIVERED, 4, **HELPDESK)
    await other.look()
    assert len(other.alerts) == 1
    await other.hear(Kind.DELIVERED, 1, **HELPDESK)
    await other.look()
    assert told(other) == [("auth-failure", "resolved")]
    assert other.alerts == []
    await other.hear(Kind.FAULT, 4, **HELPDESK, **AUTH)
    await other.look()
    assert len(told(other)) == 1, "what was before is over"
    other.clock.now += DAY + QUARTER
    await other.look()
    assert await other.state.pinned(FAULTS) == {}


async def test_what_becomes_critical_is_told_again_once(one: Worker) -> None:
    await one.hear(Kind.DELIVERED, 90)
    await one.hear(Kind.FAULT, 10, **AUTH)
    await one.look()
    one.clock.now += QUARTER
    await one.hear(Kind.FAULT, 20, **AUTH)
    await one.look()
    assert [alert.severity for alert in one.caring.standing()] == ["critical"]
    assert one.alerts == ["stream news: 100 % of 20 messages refused with 550 5.7.26"]
    await one.hear(Kind.FAULT, 20, **AUTH)
    await one.look(3)
    assert [event["severity"] for event in one.events("alert")] == ["warning", "critical"]
    assert told(one) == [("auth-failure", "firing")] * 2


@pytest.mark.parametrize(
    ("fault", "said", "words"),
    [
        ("auth-failure", "535 5.7.8", "relay_user"),
        ("bad-sender", "553 5.1.8", "do marom.example and the domain of the return path exist"),
        ("protocol-error", "503 5.5.1", "please report it"),
    ],
)
async def test_each_fault_has_a_cure_of_its_own(one: Worker, fault: str, said: str, words: str) -> None:
    await one.hear(Kind.DELIVERED, 90)
    await one.hear(Kind.PUT_OFF, 10, fault=fault, said=said, domain="marom.example")
    await one.look()
    (event,) = one.events("alert")
    assert (event["name"], event["severity"]) == (fault, "warning")
    assert event["summary"] == f"stream news: 10 % of 100 messages refused with {said}"
    assert words in event["advice"]
    assert repr(one.caring._blaming) == f"<Blaming {fault} news>"
