"""What the supervisor says of webhooks, which are the web process's business: dead ones as alerts, figures as metrics."""

from collections.abc import Mapping
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from relay.alert import Alert, when
from relay.control import Json, NodeDown

WEBHOOK = "webhook"
ANSWER = 5.0  # s the web process has to tell


class Asked(Protocol):
    """The web process, as the supervisor knows it."""

    async def ask(self, question: Json, timeout: float = ...) -> Json: ...


async def webhooks(web: Asked) -> Json:
    """Its answer; {} where there is none."""
    try:
        answer = await web.ask({"do": "webhooks", "what": "list"}, ANSWER)
    except NodeDown:
        return {}
    return {} if "error" in answer else answer


async def dead(web: Asked) -> list[Alert] | None:
    """An alert of each webhook that takes nothing for an hour; None: the web process does not say."""
    answer = await webhooks(web)
    return [_dead(row) for row in answer["rows"] if row["dead"]] if answer else None


def _dead(row: Mapping[str, Any]) -> Alert:
    name, last, since = row["credential"], row["last"], when(row["failing"], ZoneInfo("UTC"))
    why = f" ({last['answer']})" if last and last["answer"] else ""
    return Alert(
        WEBHOOK,
        f"the webhook of {name} has taken nothing since {since} UTC{why}: {row['waiting']:,} events wait",
        advice=f"postlane webhooks log {name} shows what was answered; what is not taken within three days is given up, "
        f"and told again by postlane webhooks resend {name} --since 3d",
        severity="warning",
        what={"credential": name},
    )


def gauges(answer: Json, now: int) -> Json:
    """For metrics."""
    rows = answer.get("rows", [])

    def each(value: Any) -> list[Json]:
        return [{"credential": row["credential"], "value": value(row)} for row in rows]

    return {
        "webhook_waiting": each(lambda row: row["waiting"]),
        "webhook_oldest_seconds": each(lambda row: max(0, now - row["oldest"]) / 1000 if row["oldest"] else 0),
        "webhook_failing": each(lambda row: int(row["failing"] is not None)),
    }
