"""A running node for commands about people: the real desk over a real State file, answered in place of the control socket."""

import asyncio
from pathlib import Path
from typing import Any

import orjson

from relay.engaging import Engaging
from relay.event import Facts
from relay.people import People, Records
from relay.policy.engagement import Tiers
from relay.recipient import Keys
from relay.state.sqlite import SqliteState
from tests.support.fake_node import FakeNode

Json = dict[str, Any]


class DeskNode(FakeNode):
    """`said`: the events it recorded; `queued`: what waits, as `queue.page` tells it; `cancelled`: what was cancelled;
    `unsent`: what it is to remember no more."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._file = folder / "state.db"
        self.said: list[tuple[str, Facts]] = []
        self.queued: list[Json] = []
        self.cancelled: list[Json] = []
        self.unsent: list[list[Any]] = []

    def reply(self, question: Json) -> Json:
        match question["do"]:
            case "people":
                answer: Json = orjson.loads(orjson.dumps(asyncio.run(self._ask(question))))
                return answer
            case "record":
                self.said.append((question["kind"], question["facts"]))
            case "queue.page":
                return {"items": self.queued, "cursor": None}
            case "queue.unsend":
                self.unsent += question["sent"]
                return {"cursor": None}
            case "queue.change":
                self.cancelled.append(question["selector"])
                return {"changed": 1, "in_flight": 0, "cursor": None}
        return {}

    async def _ask(self, question: Json) -> Json:
        state = SqliteState(self._file)
        await state.open()
        try:
            keys = Keys([b"s" * 32])
            engaging = Engaging(state, keys, Tiers(), state.now)
            desk = People(state, keys, self._record, lambda _, domain: domain, ["arava", "marom"], engaging)
            return await desk.answer(question)
        finally:
            await state.close()

    async def _record(self, records: Records) -> None:
        self.said += records

    def events(self, kind: str) -> list[Facts]:
        return [facts for one, facts in self.said if one == kind]
