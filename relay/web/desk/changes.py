"""What operators change from the desk: suppressions are taken off, one or many; what a site said in a bad hour is confirmed or
dropped; a suspension is ended. Each says why and is on record by name."""

from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relay.web.desk.people import SPANS, block_in, filters_of, where_of
from relay.web.login.forms import sent
from relay.web.login.gate import visitor_of
from relay.web.login.service import Login
from relay.web.node import Node
from relay.web.public.forms import Fields, first
from relay.web.rendering import Pages

Json = dict[str, Any]
LONGEST = 500  # characters of a reason


# What a form asks for: what the node is asked, the field of its answer, the word for it, and the command that does the same.
_MANY = {
    "confirm": ("confirm", "changed", "confirmed", "suppress confirm"),
    "drop": ("clear", "removed", "dropped", "suppress drop"),
    "undo": ("clear", "removed", "removed", "suppress remove"),
}


class Changes:
    def __init__(self, node: Node, pages: Pages, login: Login) -> None:
        self._node, self._pages, self._login = node, pages, login

    def __repr__(self) -> str:
        return f"<Changes by {self._node!r}>"

    async def undo(self, request: Request) -> Response:
        """Mail goes again to a recipient, as far as one block stopped it."""
        fields = await self._allowed(request)
        sealed = first(fields, "r")
        address = self._login.open(sealed[:1000])
        if not address:
            raise HTTPException(403)
        reason = _reason(fields)
        if not reason:
            return self._failed(request, "Say why: it is kept with the change.")
        by = self._by(request, reason)
        where = block_in(lambda name: first(fields, name)[:200])
        answer = await self._node.order({"do": "people", "what": "unblock", "recipient": address, "where": where, **by})
        if "error" in answer:
            return self._failed(request, str(answer["error"]))
        await self._on_record(
            by, "suppress remove", {"recipient": address, **where}, {"removed": len(answer["removed"])}
        )
        return RedirectResponse(f"/recipient?r={quote(sealed)}&done=undone", status_code=303)

    async def many(self, request: Request) -> Response:
        """All that fit: what was pending is confirmed or dropped, what stops mail is taken off."""
        fields = await self._allowed(request)
        do, reason = first(fields, "do"), _reason(fields)
        filters = filters_of({name: first(fields, name) for name in fields})
        if do not in _MANY or not filters or (do != "undo") != ("pending" in filters) or filters.get("since") in SPANS:
            raise HTTPException(400)
        if not reason:
            return self._failed(request, "Say why: it is kept with the change.")
        what, field, word, action = _MANY[do]
        by, where = self._by(request, reason), where_of(filters, 0)
        done, trouble = 0, ""
        async for page in self._node.pages({"do": "people", "what": what, "where": where, **by}):
            done, trouble = done + int(page.get(field, 0)), str(page.get("error", ""))
        if not trouble and set(filters) <= {"pending", "site"} and do != "undo":  # the alert ends with all of a site
            settled = {"do": "health", "what": "settle", "site": filters.get("site", ""), "word": word}
            trouble = str((await self._node.order(settled)).get("error", ""))
        if done or not trouble:
            await self._on_record(by, action, where, {word: done})
        if trouble:
            return self._failed(request, f"{trouble}. {done:,} were {word} before." if done else trouble, some=done > 0)
        return RedirectResponse(f"/suppressed?done={word}&n={done}", status_code=303)

    async def resume(self, request: Request) -> Response:
        """One suspension ends; the node records it."""
        fields = await self._allowed(request)
        reason, wanted = _reason(fields), first(fields, "id")
        if not reason:
            return self._failed(request, "Say why: it is kept with the change.")
        stats = await self._node.ask({"do": "stats"}) or {}
        one = next((one for one in stats.get("suspensions", ()) if str(one["id"]) == wanted), None)
        if one is None:
            return self._failed(request, "This suspension is not in force any more.")
        question = {"do": "resume", "what": one["what"], **self._by(request, reason)}
        planned = await self._node.order({**question, "dry_run": True})
        if "error" in planned:
            return self._failed(request, str(planned["error"]))
        if others := [other["said"] for other in planned["ended"] if other["id"] != one["id"]]:
            return self._failed(request, f"This would also resume {'; '.join(others)}. Use the command: {one['undo']}")
        answer = await self._node.order(question)
        if "error" in answer:
            return self._failed(request, str(answer["error"]))
        return RedirectResponse("/today?done=resumed", status_code=303)

    async def _allowed(self, request: Request) -> Fields:
        fields = await sent(request, self._login)
        if not visitor_of(request).may_change:
            raise HTTPException(403)
        return fields

    def _by(self, request: Request, reason: str) -> Json:
        return {"by": visitor_of(request).name, "via": "web", "reason": reason}

    async def _on_record(self, by: Json, action: str, what: Json, done: Json) -> None:
        await self._node.order(
            {"do": "record", "kind": "audit", "facts": {**by, "action": action, "what": what, **done}}
        )

    def _failed(self, request: Request, why: str, *, some: bool = False) -> Response:
        return self._pages.page("desk/failed.html", visitor_of(request), status=409, why=why, some=some)


def _reason(fields: Fields) -> str:
    return " ".join(first(fields, "why").split())[:LONGEST]
