"""Deliveries as the schedule sees them, and a spool of them that lives in a dictionary."""

import asyncio
from collections.abc import Container

from relay.message import Delivery, LaneKey, MailClass, Message
from relay.schedule.flight import Key

NOW = 1_763_726_400_000  # 2025-11-21T12:00:00Z
MARKETING, SERVICE, TRANSACTIONAL = MailClass.MARKETING, MailClass.SERVICE, MailClass.TRANSACTIONAL


def lane_of(
    site: str = "b.example", mail_class: MailClass = MARKETING, stream: str = "news", priority: int = 0
) -> LaneKey:
    return mail_class, site, stream, priority


def message(
    row: int,
    mail_class: MailClass = MARKETING,
    size: int = 100,
    content: bytes | None = None,
    stream: str = "news",
    priority: int = 0,
) -> Message:
    return Message(
        id=f"{row:016d}",
        accepted_at=NOW,
        credential="crm",
        brand="",
        stream=stream,
        mail_class=mail_class,
        author="news@a.example",
        message_id=f"<{row}@a.example>",
        subject="News",
        size=len(content) if content is not None else size,
        priority=priority,
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
    row: int,
    site: str = "b.example",
    mail_class: MailClass = MARKETING,
    at: int = NOW,
    size: int = 100,
    stream: str = "news",
    priority: int = 0,
) -> Delivery:
    return delivery(message(row, mail_class, size, stream=stream, priority=priority), site, at)


def in_order(key: LaneKey) -> tuple[int, str, str]:
    """Where a lane stands among those of its class."""
    _, site, stream, priority = key
    return -priority, site, stream


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
        mail_class, site, stream, priority = lane
        return [
            delivery(message(row, mail_class, stream=stream, priority=priority), site, at, index)
            for at, (row, index) in due[:limit]
        ]

    def read_lanes(self, mail_class: MailClass, after: LaneKey | None, limit: int) -> list[tuple[LaneKey, int]]:
        first: dict[LaneKey, int] = {}
        for one, at in self.rows.values():
            if one[0] is mail_class and (after is None or in_order(one) > in_order(after)):
                first[one] = min(at, first.get(one, at))
        return sorted(first.items(), key=lambda item: in_order(item[0]))[:limit]


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

    async def lanes(self, mail_class: MailClass, after: LaneKey | None, limit: int) -> list[tuple[LaneKey, int]]:
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
