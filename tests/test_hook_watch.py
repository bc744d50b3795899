"""Dead webhooks as alerts, figures of all as metrics."""

from typing import Any

from relay.control import Json, NodeDown
from relay.hook_watch import dead, gauges, webhooks
from tests.support.clocks import START

GOOD: dict[str, Any] = {"credential": "crm", "failing": None, "waiting": 0, "oldest": None, "last": None, "dead": False}
DEAD: dict[str, Any] = {
    "credential": "shop",
    "failing": START,
    "waiting": 1_200,
    "oldest": START,
    "last": {"answer": "shop.example answered 500"},
    "dead": True,
}


class FakeWeb:
    """Answers so; None: it is not there."""

    def __init__(self, answer: Json | None) -> None:
        self.answer = answer

    async def ask(self, question: Json, timeout: float = 60.0) -> Json:
        assert question == {"do": "webhooks", "what": "list"}
        if self.answer is None:
            raise NodeDown("gone")
        return self.answer


async def test_one_that_takes_nothing_is_an_alert() -> None:
    alerts = await dead(FakeWeb({"rows": [GOOD, DEAD], "counts": []}))
    assert alerts is not None
    (alert,) = alerts
    assert alert.summary == (
        "the webhook of shop has taken nothing since Fri 21 Nov 12:00 UTC (shop.example answered 500): 1,200 events wait"
    )
    assert (alert.name, alert.severity, alert.what) == ("webhook", "warning", {"credential": "shop"})
    assert await dead(FakeWeb({"rows": [GOOD], "counts": []})) == []


async def test_a_web_process_that_does_not_answer_says_nothing() -> None:
    for answer in (None, {"error": "it is starting"}):
        assert await webhooks(FakeWeb(answer)) == {}
        assert await dead(FakeWeb(answer)) is None


def test_figures() -> None:
    found = gauges({"rows": [GOOD, DEAD]}, START + 1_500)
    assert found["webhook_waiting"] == [{"credential": "crm", "value": 0}, {"credential": "shop", "value": 1_200}]
    assert [one["value"] for one in found["webhook_oldest_seconds"]] == [0, 1.5]
    assert [one["value"] for one in found["webhook_failing"]] == [0, 1]
    assert gauges({}, START) == {"webhook_waiting": [], "webhook_oldest_seconds": [], "webhook_failing": []}
