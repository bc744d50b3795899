"""/api/v1 over HTTP: tokens, bounds, and problems that say what to do."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relay.web.api.limits import AT_ONCE as CALLS
from relay.web.api.limits import WRONG_AT_ONCE
from relay.web.api.site import MAX_BODY, OF_ONE
from tests.support.apps import Node, token_of
from tests.support.clocks import Clock

ADA = "/recipients/ada%40shop.example"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(tmp_path, Clock())
    await node.state.open()
    yield node
    await node.state.close()


def problem(answer: httpx.Response) -> dict[str, Any]:
    """As RFC 9457 has it."""
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["status"] == answer.status_code
    assert told["type"] == "about:blank"
    assert told["title"]
    assert told["detail"]
    return told


async def test_a_recipients_way(node: Node) -> None:
    answer = await node.call("PUT", f"{ADA}/suppression", {"stop": "marketing", "note": "by phone"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == (await node.call("GET", ADA)).json()
    assert answer.json()["recipient"] == "ada@shop.example"
    assert (await node.call("DELETE", f"{ADA}/suppression?stop=marketing&reason=manual")).json()["suppressions"] == []
    assert (await node.call("PUT", f"{ADA}/preferences", {"at_most": "1/week"})).json()["preferences"][
        "at_most"
    ] == "1/week"
    assert (await node.call("PUT", f"{ADA}/consent", {"marketing": False})).json()["marketing"] is False
    assert (await node.call("DELETE", f"{ADA}/preferences")).json()["preferences"]["at_most"] == "each"
    assert (await node.call("DELETE", f"{ADA}/consent")).json()["marketing"] is False
    engaged = {"engaged": [{"recipient": "ada@shop.example", "on": "2025-11-20"}]}
    assert (await node.call("POST", "/engagement", engaged)).json() == {"taken": 1, "changed": 1}
    known = {"last_engaged": "2025-11-20", "unanswered": 0, "tier": "engaged"}
    assert (await node.call("GET", ADA)).json()["engagement"] == known


async def test_a_form_asks(node: Node) -> None:
    answer = await node.call("POST", "/validate", {"address": "ada@gmaill.com"})
    assert answer.json()["did_you_mean"] == "ada@gmail.com"


async def test_a_brand_is_chosen(node: Node) -> None:
    club = token_of("club")
    assert problem(await node.call("GET", ADA, token=club))["code"] == "which-brand"
    assert (await node.call("GET", f"{ADA}?brand=marom", token=club)).json()["brand"] == "marom"


@pytest.mark.parametrize(
    "address", ["a%2Fb%40shop.example", "%22a%20b%22%40shop.example", "j%C3%B6rg%40b%C3%BCcher.example"]
)
async def test_addresses_in_a_path(node: Node, address: str) -> None:
    answer = await node.call("GET", f"/recipients/{address}")
    assert answer.json()["recipient"] == httpx.URL(f"http://x/{address}").path[1:]


@pytest.mark.parametrize(
    "token", [None, "", "shop", "shop.short", token_of("shop") + "a", token_of("nobody"), token_of("gone")]
)
async def test_without_a_token(node: Node, token: str | None) -> None:
    answer = await node.call("GET", ADA, token=token)
    assert problem(answer)["code"] == "no-token"
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "credentials token" in answer.json()["detail"]


async def test_the_node_never_sees_a_token(node: Node) -> None:
    await node.call("GET", ADA)
    (question,) = node.asked
    assert token_of("shop").partition(".")[2] not in str(question)


async def test_the_word_bearer_in_any_case(node: Node) -> None:
    answer = await node.call("GET", ADA, token=None, headers={"authorization": f"bearer  {token_of('shop')}"})
    assert answer.status_code == 200


class TestWhatCannotBeRead:
    @pytest.mark.parametrize(
        ("body", "status", "code", "pointer"),
        [
            (b"{", 400, "json", None),
            (b"\xff", 400, "json", None),
            (b"[]", 422, "body", ""),
            (b"{}", 422, "body", "/address"),
            (b'{"address": 5}', 422, "body", "/address"),
            (b'{"address": "a@b.example", "brand": "x"}', 422, "body", "/brand"),
            (b'{"address": "' + b"a" * 1001 + b'"}', 422, "body", "/address"),
        ],
    )
    async def test_a_body(self, node: Node, body: bytes, status: int, code: str, pointer: str | None) -> None:
        answer = await node.call("POST", "/validate", content=body, headers={"content-type": "application/json"})
        told = problem(answer)
        assert (told["status"], told["code"]) == (status, code)
        assert [one["pointer"] for one in told.get("errors", [])] == ([] if pointer is None else [pointer])
        assert node.asked == []

    async def test_where_it_is_wrong(self, node: Node) -> None:
        engaged = [{"recipient": "ada@shop.example", "on": "2025-11-20"}, {"recipient": "x", "on": "yesterday"}]
        told = problem(await node.call("POST", "/engagement", {"engaged": engaged}))
        assert [one["pointer"] for one in told["errors"]] == ["/engaged/1/recipient", "/engaged/1/on"]

    async def test_too_long(self, node: Node) -> None:
        answer = await node.call(
            "POST", "/validate", content=b" " * (MAX_BODY + 1), headers={"content-type": "application/json"}
        )
        assert problem(answer)["code"] == "too-long"
        assert answer.status_code == 413

    @pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
    async def test_another_kind(self, node: Node, kind: str) -> None:
        answer = await node.call("POST", "/validate", content=b"{}", headers={"content-type": kind})
        assert (answer.status_code, problem(answer)["code"]) == (415, "media-type")

    @pytest.mark.parametrize("query", ["brand=A%20B", "brand=a&brand=b", "brnd=arava", "stop=marketing"])
    async def test_parameters(self, node: Node, query: str) -> None:
        answer = await node.call("GET", f"{ADA}?{query}")
        assert (answer.status_code, problem(answer)["code"]) == (400, "parameter")

    async def test_an_app_that_stops_in_the_middle(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("relay.web.api.site.BODY_SECONDS", 0.01)

        async def slowly() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

        told = await _half_a_body(node, slowly())
        assert told == 400


async def _half_a_body(node: Node, parts: AsyncIterator[bytes]) -> int:
    """ASGI by hand: httpx's own transport reads a body as a whole first."""
    headers = [
        (b"host", b"x"),
        (b"content-type", b"application/json"),
        (b"authorization", f"Bearer {token_of('shop')}".encode()),
    ]
    scope = {
        "type": "http", "method": "POST", "path": "/api/v1/validate", "root_path": "", "query_string": b"", "headers": headers,
        "http_version": "1.1", "scheme": "http", "server": ("x", 80), "client": ("x", 1),
    }  # fmt: skip
    said: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": await anext(parts), "more_body": True}

    async def send(message: Any) -> None:
        said.append(message)

    await node.site(scope, receive, send)
    status: int = said[0]["status"]
    return status


class TestOtherPaths:
    @pytest.mark.parametrize(
        "path", ["/", "/nothing", "/recipients/ada%40shop.example/history", "/recipients/a/b/c", "/validate/"]
    )
    async def test_there_is_none(self, node: Node, path: str) -> None:
        assert problem(await node.call("GET", path))["code"] == "no-such-call"

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [("GET", "/validate", "POST"), ("POST", ADA, "GET, HEAD"), ("PATCH", f"{ADA}/consent", "DELETE, PUT")],
    )
    async def test_another_method(self, node: Node, method: str, path: str, allowed: str) -> None:
        answer = await node.call(method, path)
        assert answer.status_code == 405
        assert problem(answer)["code"] == "method"
        assert sorted(answer.headers["allow"].split(", ")) == sorted(allowed.split(", "))

    async def test_elsewhere_on_its_own_address(self, node: Node) -> None:
        transport = httpx.ASGITransport(node.site)
        async with httpx.AsyncClient(transport=transport, base_url="http://relay.test") as client:
            assert problem(await client.get("/metrics"))["code"] == "no-such-call"


class TestHowMuch:
    async def test_of_one_credential(self, node: Node) -> None:
        assert (await node.call("GET", ADA)).status_code == 200  # from here on its token is known
        answers = [await node.call("POST", "/validate", {"address": "x"}) for _ in range(int(CALLS) + 1)]
        assert {one.status_code for one in answers[:-1]} == {200}
        assert answers[-1].status_code == 429
        assert problem(answers[-1])["code"] == "too-many"
        assert answers[-1].headers["retry-after"] == "1"
        assert (await node.call("GET", ADA, token=token_of("erp"))).status_code == 200
        node.seconds += 1
        assert (await node.call("GET", ADA)).status_code == 200

    async def test_of_strangers_who_use_up_nobodys_calls(self, node: Node) -> None:
        assert (await node.call("GET", ADA)).status_code == 200
        wrong = f"shop.{'b' * 32}"
        answers = [await node.call("GET", ADA, token=wrong) for _ in range(int(WRONG_AT_ONCE) + 1)]
        assert {one.status_code for one in answers[:-1]} == {401}
        assert answers[-1].status_code == 429
        asked = len(node.asked)
        assert (await node.call("GET", ADA)).status_code == 200, "a token that was right is not one of them"
        assert len(node.asked) == asked + 1

    async def test_one_that_waits_for_much_keeps_no_other_waiting(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers, gate = node.apps.answer, asyncio.Event()

        async def slowly(question: dict[str, Any]) -> dict[str, Any]:
            if question["call"] == "validate":
                await gate.wait()
            return await answers(question)

        monkeypatch.setattr(node.apps, "answer", slowly)
        waiting = [asyncio.create_task(node.call("POST", "/validate", {"address": "x"})) for _ in range(OF_ONE)]
        while len(node.asked) < OF_ONE:  # noqa: ASYNC110 it needs some turns of the loop, of which none tells
            await asyncio.sleep(0)
        assert (await node.call("GET", ADA)).status_code == 429
        assert (await node.call("GET", ADA, token=token_of("erp"))).status_code == 200
        gate.set()
        assert {(await one).status_code for one in waiting} == {200}
        assert (await node.call("GET", ADA)).status_code == 200

    async def test_more_than_the_node_answers_at_once(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("relay.web.api.site.AT_ONCE", 0)
        answer = await node.call("GET", ADA)
        assert (answer.status_code, problem(answer)["code"]) == (503, "not-now")


async def test_a_node_that_is_down(node: Node) -> None:
    node.down = True
    answer = await node.call("GET", ADA)
    assert (answer.status_code, problem(answer)["code"]) == (503, "not-now")
    assert answer.headers["retry-after"]


async def test_a_node_that_cannot(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_worker(question: dict[str, Any]) -> dict[str, Any]:
        return {"error": "no worker is running"}

    monkeypatch.setattr(node.apps, "answer", no_worker)
    assert (await node.call("GET", ADA)).status_code == 503


async def test_a_fault_of_ours_is_told_as_one(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(question: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("secret")

    monkeypatch.setattr(node.apps, "answer", broken)
    answer = await node.call("GET", ADA)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert problem(answer)["code"] == "fault"
