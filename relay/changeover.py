"""From one version to another in all processes or in none (DESIGN, invariant 9): prepare, decide, commit.

    prepare   every process that runs reads the new version and keeps it ready; one that cannot, or dies of it, ends
              it here, and all go on as they were
    agree     in a cluster, the other nodes do the same, and it is decided for all of them or for none (relay/cluster.py)
    decide    the new version is recorded as in force: whatever starts from now on, starts with it
    commit    every process puts it in force; one that fails to is started anew

So there is no moment from which two processes could stay on different versions, whoever dies when.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import structlog

from relay.control import NodeDown

log = structlog.get_logger()

Json = dict[str, Any]


Agree = Callable[
    [], Awaitable[list[str]]
]  # why the other nodes do not take it, or nobody knows whether they do; empty: they do


async def alone() -> list[str]:
    """Nobody else has to agree."""
    return []


class Member(Protocol):
    """A process that takes part."""

    name: str

    @property
    def up(self) -> bool: ...

    async def settled(self) -> None:
        """Returns once it is not just being started: it is up, or will begin with what is in force then."""
        ...

    async def ask(self, question: Json) -> Json:
        """Raises NodeDown."""
        ...

    def renew(self) -> None:
        """End it, gently if that works; it is started again with what is in force."""
        ...


async def change_over(
    members: Sequence[Member],
    question: Json,
    wanted: dict[str, str],
    decide: Callable[[], None],
    agree: Agree = alone,
) -> list[str]:
    """Why it was not done, for a person; empty: it is in force everywhere.

    `wanted` is what a member answers that has it; `question` tells it where that is. What `decide` raises ends it, too.
    """
    refusals = await _prepare(members, question, wanted) or await agree()
    if refusals:
        return refusals
    decide()
    await asyncio.gather(*(_commit(member, question, wanted) for member in members))
    return []


async def _prepare(members: Sequence[Member], question: Json, wanted: dict[str, str]) -> list[str]:
    """A member that is down has no say: it runs no version, and starts with what is then in force."""

    async def one(member: Member) -> str:
        await member.settled()
        if not member.up:
            return ""
        try:
            answer = await member.ask({"do": "prepare", **question})
        except NodeDown as error:
            return f"{member.name}: {error}"
        return "" if _has(answer, wanted) else f"{member.name}: {answer.get('error', 'it read another version')}"

    return [said for said in await asyncio.gather(*map(one, members)) if said]


async def _commit(member: Member, question: Json, wanted: dict[str, str]) -> None:
    await member.settled()
    if not member.up:
        return
    try:
        answer = await member.ask({"do": "commit", **question})
    except NodeDown as error:
        answer = {"error": str(error)}
    if not _has(answer, wanted) and member.up:
        log.error("a process did not take what is in force, and is started anew", name=member.name, answer=answer)
        member.renew()


def _has(answer: Json, wanted: dict[str, str]) -> bool:
    return all(answer.get(key) == value for key, value in wanted.items())
