"""Deliveries as the schedule sees them, and a spool of them that lives in a dictionary."""

import asyncio
from collections.abc import Container

from relay.message import Delivery, MailClass, Message
from relay.schedule.lanes import LaneKey
from relay.schedule.ready import Key

NOW = 1_763_726_400_000  # 2025-11-21T12:00:00Z
MARKETING, SERVICE, TRANSACTIONAL = MailClass.MARKETING, MailClass.SERVICE, MailClass.TRANSACTIONAL


def message(row: int, mail_class: MailClass = MARKETING, size: int = 100, content: bytes | None = None) -> Message:
    return Message(
        id=f"{row:016d}",
        accepted_at=NOW,
        credential="crm",
        brand="",
        stream="news",
        mail_class=mail_class,
        author="news@a.example",
        message_id=f"<{row}@a.example>",
        subject="News",
        size=len(content) if content is not None else size,
        row=row,
        content=content,
    )


def delivery(about: Message, site: str = "b.example", at: int = NOW, index: int = 0) -> Delivery:
    return Delivery(
        message=about,
        index=index,
        recipient=f"r{index}@{site}",
        domain=site,
        site=site,
        sender="news@a.example",
        mail_from="news@a.example",
        head=b"",
        next_attempt=at,
    )


def queued(
    row: int, site: str = "b.example", mail_class: MailClass = MARKETING, at: int = NOW, size: int = 100
) -> Delivery:
    return delivery(message(row, mail_class, size), site, at)


class Rows:
    """What a spool holds: of each delivery its lane and when it is due. Reads answer as the real one does."""

    def __init__(self) -> None:
        self.rows: dict[Key, tuple[LaneKey, int]] = {}

    def __repr__(self) -> str:
        return f"<Rows: {len(self.rows)}>"

    def put(self, *deliveries: Delivery) -> None:
        for one in deliveries:
            self.rows[one.key] = one.lane, one.next_attempt

    def read(self, lane: LaneKey, until: int, limit: int, known: Container[Key]) -> list[Delivery]:
        due = sorted(
            (at, key) for key, (where, at) in self.rows.items() if where == lane and at <= until and key not in known
        )
        mail_class, site = lane
        return [delivery(message(row, mail_class), site, at, index) for at, (row, index) in due[:limit]]

    def read_lanes(self, mail_class: MailClass, after: str | None, limit: int) -> list[tuple[str, int]]:
        first: dict[str, int] = {}
        for (one, site), at in self.rows.values():
            if one is mail_class and (after is None or site > after):
                first[site] = min(at, first.get(site, at))
        return sorted(first.items())[:limit]


class FakeSpool(Rows):
    """The same behind coroutines. While `broken` every read fails."""

    def __init__(self) -> None:
        super().__init__()
        self.healthy = True
        self.broken = False
        self._failures = 0
        self._failed = asyncio.Condition()

    async def due(self, lane: LaneKey, now: int, limit: int, known: Container[Key]) -> list[Delivery]:
        await self._turn()
        return self.read(lane, now, limit, known)

    async def lanes(self, mail_class: MailClass, after: str | None, limit: int) -> list[tuple[str, int]]:
        await self._turn()
        return self.read_lanes(mail_class, after, limit)

    async def failures(self, number: int) -> None:
        """Returns when so many reads have failed."""
        async with self._failed:
            await self._failed.wait_for(lambda: self._failures >= number)

    async def _turn(self) -> None:
        await asyncio.sleep(0)
        if self.broken:
            async with self._failed:
                self._failures += 1
                self._failed.notify_all()
            raise OSError("the disk is gone")
