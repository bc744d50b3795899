"""Problem details for HTTP (RFC 9457): what is wrong, and what to do. Pure.

`type` stays about:blank, so `title` is the status's own phrase (RFC 9457 4.2.1); which of our problems it is says `code`, an
extension member.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import orjson
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Trouble(Exception):
    """An answer that is a problem. `errors`: (JSON Pointer or parameter, what is wrong)."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.errors, self.headers = errors, headers

    def body(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            told["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in self.errors]
        return told

    def response(self) -> Response:
        return Response(orjson.dumps(self.body()), self.status, dict(self.headers), MEDIA_TYPE)


def no_token() -> Trouble:
    """RFC 6750 3: the challenge names the scheme; what was wrong with a token is not told."""
    detail = "Send Authorization: Bearer TOKEN, with a token of a credential; postlane credentials token NAME makes one"
    return Trouble(401, "no-token", detail, headers={"WWW-Authenticate": 'Bearer realm="postlane"'})


def too_many(seconds: int) -> Trouble:
    detail = f"More calls than one credential may make; come again in {seconds} s"
    return Trouble(429, "too-many", detail, headers={"Retry-After": str(seconds)})


def not_now(detail: str) -> Trouble:
    return Trouble(503, "not-now", detail, headers={"Retry-After": "5"})
