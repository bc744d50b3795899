"""Bodies within bounds."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request

from relay.web.body import Broken, TooLong, body_of


def request(*parts: bytes, ends: bool = True) -> Request:
    """`ends`: False where the last part never comes."""

    async def messages() -> AsyncIterator[dict[str, Any]]:
        for part in parts:
            yield {"type": "http.request", "body": part, "more_body": True}
        if not ends:
            await asyncio.Event().wait()
        yield {"type": "http.request", "body": b"", "more_body": False}

    told = messages()

    async def receive() -> dict[str, Any]:
        return await anext(told)

    return Request({"type": "http", "headers": []}, receive)


async def test_a_body_comes_in_parts() -> None:
    assert await body_of(request(b"stop=", b"all"), 8, 10.0) == b"stop=all"


async def test_one_octet_too_many() -> None:
    with pytest.raises(TooLong):
        await body_of(request(b"stop=", b"all!", ends=False), 8, 10.0)


async def test_one_that_does_not_end() -> None:
    with pytest.raises(Broken):
        await body_of(request(b"stop=", ends=False), 8, 0.01)


async def test_one_whose_sender_goes() -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    with pytest.raises(Broken):
        await body_of(Request({"type": "http", "headers": []}, gone), 8, 10.0)
