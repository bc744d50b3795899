"""The description of /api/v1 (OpenAPI 3.1), made of the table of calls and the models that check them."""

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from relay import __version__
from relay.web.api import models, problems
from relay.web.api.operations import BRAND, OPERATIONS, PREFIX, Operation, Parameter

Json = dict[str, Any]

_JSON = "application/json"
_ABOUT = """Recipients, consent and addresses, for apps. Every call carries the token of a credential and sees that credential's \
brands alone. What is changed here is an event, like what a person changes on the preference page."""
_REFUSALS = {
    "400": "it cannot be read: not JSON, or a parameter that is none",
    "401": "no token, or one that is nobody's",
    "403": "not for this credential: its brand",
    "404": "there is no such call",
    "413": "the body is longer than a call may be",
    "415": "the body is not application/json",
    "422": "what was sent makes no sense; errors says where",
    "429": "too many calls; Retry-After says when",
    "503": "the node, or what it knows of people, cannot be reached now; come again",
}


@cache
def description() -> Json:
    """The whole document; nobody changes it."""
    bodies = {operation.body for operation in OPERATIONS if operation.body is not None}
    named: set[type[BaseModel]] = {*bodies, *(operation.answer for operation in OPERATIONS), models.Problem}
    _, schemas = models_json_schema(
        [(one, "validation") for one in sorted(named, key=lambda one: one.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Postlane", "version": __version__, "description": _ABOUT},
        "servers": [{"url": PREFIX}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation) -> Json:
    told: Json = {
        "operationId": operation.does,
        "summary": operation.summary,
        "parameters": [
            *([_ADDRESS] if operation.of_one else []),
            *map(_parameter, (*([BRAND] if operation.of_brand else []), *operation.parameters)),
        ],
        "responses": {"200": _content("done", operation.answer, _JSON), **_refusals(operation)},
    }
    if operation.body is not None:
        told["requestBody"] = {"required": True, "content": {_JSON: {"schema": _reference(operation.body)}}}
    return told


def _refusals(operation: Operation) -> Json:
    meant = {
        code: words for code, words in _REFUSALS.items() if operation.body is not None or code not in ("413", "415")
    }
    if operation.conflict:
        meant["409"] = operation.conflict
    return {code: _content(words, models.Problem, problems.MEDIA_TYPE) for code, words in sorted(meant.items())}


def _content(words: str, model: type[BaseModel], media_type: str) -> Json:
    return {"description": words, "content": {media_type: {"schema": _reference(model)}}}


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _parameter(one: Parameter) -> Json:
    schema = {"type": "string", "pattern": one.pattern}
    return {"name": one.name, "in": "query", "required": False, "description": one.description, "schema": schema}


_ADDRESS: Json = {
    "name": "address",
    "in": "path",
    "required": True,
    "description": "the recipient, percent-encoded",
    "schema": {"type": "string", "format": "email", "minLength": 3, "maxLength": 320},
}
