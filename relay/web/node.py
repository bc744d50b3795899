"""Questions to the running node, from pages: what it does not answer is a state to show, not a fault of a page."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import structlog

from relay.web.settings import Control

log = structlog.get_logger()

Json = dict[str, Any]
SECONDS = 6.0  # above the supervisor's own limit of 5 s for a worker that does not answer


class Node:
    def __init__(self, control: Control) -> None:
        self._control = control

    def __repr__(self) -> str:
        return f"<Node by {self._control!r}>"

    async def ask(self, question: Json, seconds: float = SECONDS) -> Json | None:
        """None: no answer, or one that says that there is none."""
        answer = await self.order(question, seconds)
        return None if "error" in answer else answer

    async def order(self, question: Json, seconds: float = SECONDS) -> Json:
        """With `error`, for a person, where nothing was done."""
        try:
            async with asyncio.timeout(seconds):
                return await self._control(question)
        except (OSError, RuntimeError, ValueError, EOFError, TimeoutError) as error:
            log.warning("the node does not answer", error=str(error) or type(error).__name__)
            return {"error": "the node does not answer"}

    async def pages(self, question: Json) -> AsyncGenerator[Json]:
        """An answer page by page, each asked for when it is wanted. The last may have `error`."""
        cursor = ""
        while True:
            page = await self.order({**question, "cursor": cursor})
            yield page
            cursor = str(page.get("cursor") or "")
            if not cursor:
                return
