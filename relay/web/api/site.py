"""The apps' API as an ASGI application: who asks, how often, whether it can be read; all else the node decides.

Calls carry their token in a header, never in a cookie: no page elsewhere can make a browser send one.
"""

import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from math import ceil
from typing import Any
from urllib.parse import quote

import orjson
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from relay.control import Json, NodeDown
from relay.identity import proof_of
from relay.web.api.limits import Limits
from relay.web.api.openapi import description
from relay.web.api.operations import BRAND, OPERATIONS, PREFIX, Operation
from relay.web.api.problems import Trouble, no_token, not_now, too_many
from relay.web.body import Broken, TooLong, body_of

Ask = Callable[[Json], Awaitable[Json]]

MAX_BODY = 256 * 1024  # octets: 500 recipients with the longest addresses
BODY_SECONDS = 10.0  # for all of a body: an app sends at once what it has
AT_ONCE = 64  # questions to the node at once; more would only wait there
OF_ONE = 16  # of these, of one credential: a form that is asked about dead domains waits for DNS, and others must not
LONGEST_TOKEN = 200
_TOKEN = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]{0,62})\.[a-z2-7]{32}")


def create_api(ask: Ask, clock: Callable[[], float] = time.monotonic) -> Starlette:
    """Below /api/v1, wherever that is mounted. `ask` asks the node; raises NodeDown."""
    site = _Site(ask, clock)
    routes = [Route("/openapi.json", _description)]
    for path in dict.fromkeys(operation.path for operation in OPERATIONS):
        by_method = {operation.method: operation for operation in OPERATIONS if operation.path == path}
        pattern = path.replace("{address}", "{address:mailbox}")
        routes.append(Route(pattern, site.endpoint(by_method), methods=list(by_method)))
    handlers = {Trouble: _trouble, HTTPException: _not_found, Exception: _fault}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


def alone(api: Starlette) -> Starlette:
    """With nothing beside it, for an address of its own."""
    return Starlette(routes=[Mount(PREFIX, app=api)], exception_handlers={HTTPException: _not_found})


class _Mailbox(Convertor[str]):
    """An address in a path: only what stands before its @ may hold a slash."""

    regex = "(?:.*@)?[^/]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return quote(value)


register_url_convertor("mailbox", _Mailbox())


class _Site:
    def __init__(self, ask: Ask, clock: Callable[[], float]) -> None:
        self._ask, self._clock = ask, clock
        self._limits = Limits()
        self._asking: Counter[str] = Counter()  # questions to the node, by credential

    def __repr__(self) -> str:
        return f"<Site {self._limits!r} asking={self._asking.total()}>"

    def endpoint(self, by_method: dict[str, Operation]) -> Callable[[Request], Awaitable[Response]]:
        """Of all calls of one path."""

        async def answer(request: Request) -> Response:
            return await self._answer(by_method["GET" if request.method == "HEAD" else request.method], request)

        return answer

    async def _answer(self, operation: Operation, request: Request) -> Response:
        credential, proof = _caller(request)
        wait = self._limits.before(credential, proof, self._clock())
        if wait > 0:
            raise too_many(ceil(wait))
        question = _parameters(operation, request)
        if operation.body is not None:
            question["body"] = _validated(await _body(request), operation.body)
        found = await self._asked(
            {"do": "api", "call": operation.does, "credential": credential, "proof": proof, **question}
        )
        if found["status"] == 401:
            self._limits.wrong(proof, self._clock())
            raise no_token()
        self._limits.right(proof, self._clock())
        if found["status"] != 200:
            faults = [(one["pointer"], one["detail"]) for one in found.get("errors", ())]
            raise Trouble(found["status"], found["code"], found["detail"], faults)
        return Response(orjson.dumps(found["body"]), media_type="application/json")

    async def _asked(self, question: Json) -> Json:
        whose = question["credential"]
        if self._asking[whose] >= OF_ONE:
            raise too_many(1)
        if self._asking.total() >= AT_ONCE:
            raise not_now("More calls are under way than the node answers at once")
        self._asking[whose] += 1
        try:
            answer = await self._ask(question)
        except NodeDown:
            raise not_now("The node does not answer") from None
        finally:
            self._asking[whose] -= 1
            if not self._asking[whose]:
                del self._asking[whose]
        if "error" in answer:
            raise not_now("The node cannot answer this now")
        return answer


def _caller(request: Request) -> tuple[str, str]:
    """Whose token is said to be used, and its proof."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    match = _TOKEN.fullmatch(token.strip()) if len(token) <= LONGEST_TOKEN else None
    if scheme.lower() != "bearer" or match is None:
        raise no_token()
    return match["name"], proof_of(match[0])


def _parameters(operation: Operation, request: Request) -> Json:
    """What path and query say, as the node is told it."""
    known = [*([BRAND] if operation.of_brand else []), *operation.parameters]
    told: Json = {"recipient": request.path_params["address"]} if operation.of_one else {}
    for one in known:
        values = request.query_params.getlist(one.name)
        if len(values) > 1 or (values and re.fullmatch(one.pattern, values[0]) is None):
            raise Trouble(400, "parameter", f"{one.name}: {one.description}", [(one.name, f"must fit {one.pattern}")])
        if values:
            told[one.name] = values[0]
    unknown = set(request.query_params) - {one.name for one in known}
    if unknown:
        name = min(unknown)
        raise Trouble(400, "parameter", f"There is no parameter {name[:50]} here", [(name[:50], "unknown parameter")])
    return told


async def _body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Trouble(415, "media-type", "Send the body as Content-Type: application/json")
    try:
        return await body_of(request, MAX_BODY, BODY_SECONDS)
    except TooLong:
        raise Trouble(413, "too-long", f"A body may have {MAX_BODY} octets; send less in more calls") from None
    except Broken:
        raise Trouble(400, "body", "The body did not arrive as a whole") from None


def _validated(body: bytes, model: type[BaseModel]) -> Any:
    try:
        return model.model_validate_json(body).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        if found[0]["type"] == "json_invalid":
            raise Trouble(400, "json", f"The body is not JSON: {found[0]['msg']}") from None
        faults = [(_pointer(one["loc"]), one["msg"]) for one in found[:20]]
        where = f"{faults[0][0]}: " if faults[0][0] else ""
        raise Trouble(422, "body", f"{where}{faults[0][1]}", faults) from None


def _pointer(loc: Sequence[int | str]) -> str:
    """RFC 6901"""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in loc)


async def _description(request: Request) -> Response:
    return Response(orjson.dumps(description()), media_type="application/json")


async def _trouble(request: Request, trouble: Exception) -> Response:
    assert isinstance(trouble, Trouble)
    return trouble.response()


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return Trouble(404, "no-such-call", f"There is no such call; {PREFIX}/openapi.json lists all").response()
    allowed = (error.headers or {}).get("Allow", "")
    return Trouble(error.status_code, "method", f"This path knows {allowed}", headers={"Allow": allowed}).response()


async def _fault(request: Request, error: Exception) -> Response:
    """Starlette logs it; the caller learns no more."""
    return Trouble(500, "fault", "A fault on our side; it is in the log").response()
