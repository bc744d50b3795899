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
    `sent`: what it remembers to have sent; `unsent`: what it is to remember no more; `untold`: what webhooks are yet to be told;
    `sent_to`: the other nodes that are asked about a person, and `others`: what they answer, part by part."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._file = folder / "state.db"
        self.said: list[tuple[str, Facts]] = []
        self.queued: list[Json] = []
        self.cancelled: list[Json] = []
        self.unsent: list[list[Any]] = []
        self.sent: list[Json] = []
        self.untold: list[Json] = []
        self.sent_to: Json = {"id": "", "node": "relay-1", "asked": [], "later": []}
        self.others: list[Json] = []

    def reply(self, question: Json) -> Json:
        match question["do"]:
            case "people":
                answer: Json = orjson.loads(orjson.dumps(asyncio.run(self._ask(question))))
                return answer
            case "record":
                self.said.append((question["kind"], question["facts"]))
            case "queue.page":
                return {"items": self.queued, "cursor": None}
            case "queue.sent":
                return {"items": self.sent, "cursor": None}
            case "webhooks":
                return {"items": self.untold, "changed": len(self.untold), "cursor": None}
            case "errands":
                if question["what"] == "take":
                    return self.others.pop(0) if self.others else {}
                return self.sent_to
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
