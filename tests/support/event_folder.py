"""A folder of events as a node leaves them, for what reads it."""

from pathlib import Path
from typing import Any

import orjson

from relay.event import iso
from relay.feedback.eventarchive import to_parquet
from relay.feedback.eventlog import hour_of

HOUR = 3_600_000
DAY = 24 * HOUR
NOON = 1_795_262_400_000  # 2026-11-21T12:00:00Z
MAIL = {
    "credential": "crm", "brand": "arava", "stream": "news", "class": "marketing", "campaign": "w47", "site": "google",
    "pool": "marketing", "source": "198.51.100.20", "domain": "gmail.com", "sender": "news@arava.example",
}  # fmt: skip


class EventFolder:
    """Events are written into the file of their hour: JSON Lines until `archive`."""

    def __init__(self, folder: Path, node: str = "relay-1") -> None:
        self.folder = folder
        self._node = node
        self._made = 0
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, kind: str, at: int, count: int = 1, **facts: Any) -> None:
        lines = []
        for _ in range(count):
            self._made += 1
            who = {"id": f"m{self._made}", "recipient": f"p{self._made}@{facts.get('domain', 'gmail.com')}"}
            common = {
                "v": 1,
                "time": iso(at),
                "type": kind,
                "event_id": f"{self._node}-{self._made}",
                "node": self._node,
            }
            lines.append(orjson.dumps({**common, **MAIL, **who, **facts}) + b"\n")
        with (self.folder / self.file_of(at)).open("ab") as file:
            file.writelines(lines)

    def file_of(self, at: int) -> str:
        return f"{hour_of(at)}.0.jsonl"

    def archive(self, now: int = NOON + 365 * DAY) -> None:
        to_parquet(self.folder, now)


def said(code: int, text: str) -> dict[str, Any]:
    return {"code": code, "enhanced": "", "text": text}
