"""A running node as a command reaches it over the control socket, in place of `relay.control.request`."""

from pathlib import Path
from typing import Any

Json = dict[str, Any]


class FakeNode:
    """Notes what it is `asked`, and says `answer` or raises it; a test that needs more says it in `reply`. Whether it knows
    the `names` of selectors stands apart: of those it is asked about it has `unheard` of these."""

    def __init__(self, answer: Json | Exception | None = None) -> None:
        self.asked: list[Json] = []
        self.names: list[Json] = []
        self.unheard: list[str] = []
        self.answer: Any = {} if answer is None else answer

    def __call__(self, data_dir: Path, question: Json) -> Json:
        if question["do"] == "names":
            self.names.append(question["what"])
            return {"unheard": self.unheard}
        self.asked.append(question)
        return self.reply(question)

    def reply(self, question: Json) -> Json:
        if isinstance(self.answer, Exception):
            raise self.answer
        said: Json = self.answer
        return said
