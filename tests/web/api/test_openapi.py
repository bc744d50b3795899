"""The description of /api/v1 is true: whatever it allows is asked, and every answer is one that it names."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from relay.web.api.openapi import description
from relay.web.api.operations import OPERATIONS, PREFIX
from tests.support.apps import Node, token_of
from tests.support.clocks import Clock

EXAMPLES = 12  # of each call and kind: the whole file takes some seconds
CHECKED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
# Tokens are ours to send: what becomes of wrong ones test_site.py looks at.
SCHEMA = schemathesis.openapi.from_dict({**description(), "security": []})


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return description()


def test_every_call_is_described_and_no_other(document: dict[str, Any]) -> None:
    described = {(method.upper(), path) for path, calls in document["paths"].items() for method in calls}
    assert described == {(one.method, one.path) for one in OPERATIONS}
    assert document["servers"] == [{"url": PREFIX}]
    assert document["openapi"] == "3.1.0"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = set(document["components"]["schemas"])
    used = set(references(document))
    assert used == names, "and nothing stands there for nobody"


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value.removeprefix("#/components/schemas/")
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


class Caller:
    """A node and its API in a loop of their own, since hypothesis runs no coroutines."""

    def __init__(self, tmp_path: Path) -> None:
        self.runner = asyncio.Runner()
        self.node = self.runner.run(self._open(tmp_path))

    async def _open(self, tmp_path: Path) -> Node:
        node = Node(tmp_path, Clock())
        await node.state.open()
        return node

    def call(self, case: schemathesis.Case[Any], token: str | None) -> httpx.Response:
        self.node.seconds += 60  # how much may be asked is tested elsewhere
        prepared = requests.Request(**case.as_transport_kwargs(base_url="http://localhost/api/v1")).prepare()
        headers = {name: value for name, value in prepared.headers.items() if name.lower() != "authorization"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        request = httpx.Request(
            prepared.method or "", prepared.url or "", headers=cast(Any, headers), content=cast(Any, prepared.body)
        )
        return self.runner.run(self._send(request))

    async def _send(self, request: httpx.Request) -> httpx.Response:
        transport = httpx.ASGITransport(self.node.site, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.send(request)

    def close(self) -> None:
        self.runner.run(self.node.state.close())
        self.runner.close()


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    caller = Caller(tmp_path_factory.mktemp("api"))
    yield caller
    caller.close()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.does)
def test_whatever_is_asked_the_answer_is_one_that_is_described(
    caller: Caller, operation: Any, mode: GenerationMode
) -> None:
    cases = SCHEMA[operation.path][operation.method].as_strategy(generation_mode=mode)
    tokens = st.sampled_from([token_of("shop"), token_of("shop"), token_of("club"), token_of("stranger"), None])

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases, tokens)
    def ask(case: schemathesis.Case[Any], token: str | None) -> None:
        case.validate_response(caller.call(case, token), checks=CHECKED)

    ask()


def test_nothing_is_told_without_a_token(caller: Caller) -> None:
    """But the description, which is of the program and not of its people."""
    for operation in OPERATIONS:
        path = operation.path.replace("{address}", "ada%40shop.example")
        answer = caller.runner.run(caller.node.call(operation.method, path, {} if operation.body else None, token=None))
        assert answer.status_code == 401
    answer = caller.runner.run(caller.node.call("GET", "/openapi.json", token=None))
    assert answer.json() == description()
