"""A worker's side of the apps' API: whose token it is, which brand it may speak for, and what becomes of each call.

A question is {"do": "api", "call": ..., "credential", "proof", and what the call needs}; the answer {"status": 200, "body"} or
{"status", "code", "detail", "errors"}, as HTTP has it. `call`s are those of relay/web/api/operations.py. What is known of
people is changed by the desk (people.py) alone: it records the event.

A credential speaks for the brand it names, else for those that its From domains belong to. Of other brands it sees and changes
nothing; of what holds for every brand it sees that it holds.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

from relay.checking import WAIT_TO_REFUSE, Checking
from relay.control import Json
from relay.edge import commands
from relay.edge.credentials import Directory
from relay.identity import Brand, Credential, speaks_for
from relay.message import RcptTo
from relay.outcome import Reply
from relay.person import IMPORTED, MANUAL, PENDING, UNSUBSCRIBED
from relay.policy.addresses.check import Finding, refusal

# What an app may take off again: what a person, an import or it itself asked for. What follows from a complaint or a mailbox that
# is no more keeps mail from harming all who send here.
_APPS_OWN = frozenset({MANUAL, UNSUBSCRIBED, IMPORTED})


_EARLIEST = date(1990, 1, 1)


class Desk(Protocol):
    """people.People"""

    async def answer(self, question: Json) -> Json: ...


class _Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, code: str, detail: str, errors: tuple[tuple[str, str], ...] = ()) -> None:
        self.told = {"status": status, "code": code, "detail": detail}
        if errors:
            self.told["errors"] = [{"pointer": pointer, "detail": what} for pointer, what in errors]


@dataclass(frozen=True, slots=True)
class _Call:
    """One question of one app, for one recipient; `recipient` is "" where it names none."""

    credential: str
    brand: str
    recipient: str
    question: Json

    @property
    def body(self) -> Json:
        body: Json = self.question.get("body") or {}
        return body


class Apps:
    """`apply` says what is in force."""

    def __init__(self, checking: Checking, people: Desk, clock: Callable[[], int]) -> None:
        self._checking, self._people, self._clock = checking, people, clock
        self._directory = Directory(())
        self._brands: Mapping[str, Brand] = {}
        self._calls: dict[str, Callable[[_Call], Awaitable[Json]]] = {
            "show": self._show,
            "consent": self._consent,
            "withdraw": self._withdraw,
            "prefer": self._prefer,
            "forget-preferences": self._forget_preferences,
            "suppress": self._suppress,
            "unsuppress": self._unsuppress,
            "engaged": self._engaged,
        }

    def __repr__(self) -> str:
        return f"<Apps of {self._directory!r}>"

    def apply(self, directory: Directory, brands: Mapping[str, Brand]) -> None:
        """Put in force."""
        self._directory, self._brands = directory, brands

    async def answer(self, question: Json) -> Json:
        """Never raises for what is asked."""
        caller = self._directory.caller(str(question["credential"]), str(question["proof"]), self._clock())
        if caller is None:
            return {"status": 401, "code": "no-token", "detail": "nobody's token"}
        try:
            if question["call"] == "validate":
                body = await self.validate(question["body"]["address"])
            else:
                body = await self._calls[question["call"]](self._call(caller, question))
        except _Refused as refused:
            return refused.told
        return {"status": 200, "body": body}

    # -- whose, and of whom

    def _call(self, caller: Credential, question: Json) -> _Call:
        recipient = str(question.get("recipient") or "")
        if "recipient" in question:
            recipient = _address(recipient)
        return _Call(caller.name, self._brand(caller, question.get("brand")), recipient, question)

    def _brand(self, caller: Credential, named: str | None) -> str:
        """The brand of the call; raises _Refused."""
        its = self.brands_of(caller)
        if not its:
            detail = f"{caller.name} belongs to no brand; name one as its brand in credentials.toml"
            raise _Refused(403, "no-brand", detail)
        if named is None and len(its) == 1:
            return its[0]
        if named is None:
            raise _Refused(400, "which-brand", f"Say ?brand=, one of {', '.join(its)}", (("brand", "needed"),))
        if named not in its:
            raise _Refused(403, "brand", f"{caller.name} speaks for {', '.join(its)} alone")
        return named

    def brands_of(self, caller: Credential) -> list[str]:
        """The brands that a credential speaks for."""
        return speaks_for(caller, self._brands)

    async def _asked(self, call: _Call, what: str, **more: Any) -> Json:
        question = {
            "do": "people",
            "what": what,
            "by": call.credential,
            "via": "api",
            "recipient": call.recipient,
            **more,
        }
        answer = await self._people.answer(question)
        if "error" in answer:
            again = bool(answer.get("again"))
            code = (503, "not-now") if again else (422, "refused")
            raise _Refused(*code, "What is known of people cannot be reached now" if again else str(answer["error"]))
        return answer

    # -- calls

    async def validate(self, address: str) -> Json:
        """Always answers."""
        address = address.strip()
        parsed = parse(address)
        if isinstance(parsed, Reply):
            better = self._better(address)
            return _checked(address, "bad", ["syntax"], better, parsed.text)
        takes = await self._checking.takes(parsed.domain, WAIT_TO_REFUSE)
        finding = self._checking.find(address, parsed.domain, takes)
        meant = f"{address.rpartition('@')[0]}@{finding.meant}" if finding.meant else None
        why = refusal(finding, parsed.domain)
        return _checked(address, _verdict(finding), list(finding.tags), meant, why.text if why else None)

    def _better(self, address: str) -> str | None:
        """What may have been meant by something that is no address."""
        repaired = repaired_form(address)
        local, _, domain = repaired.rpartition("@")
        meant = self._checking.meant(domain.lower())
        better = f"{local}@{meant}" if meant else repaired
        return better if better != address and isinstance(parse(better), RcptTo) else None

    async def _show(self, call: _Call) -> Json:
        return shown(call.brand, await self._asked(call, "show"))

    async def _consent(self, call: _Call) -> Json:
        marketing, topics = call.body.get("marketing"), call.body.get("topics") or {}
        if marketing is None and not topics:
            raise _Refused(422, "body", "Say marketing, topics, or both", (("", "nothing is said"),))
        self._all_known(call, topics, "/topics")
        known, agreed = await self._show(call), [f"topic:{topic}" for topic, wanted in topics.items() if wanted]
        agreed += ["marketing"] if marketing else []
        if detail := _stays_stopped(known, agreed):
            raise _Refused(409, "still-stopped", detail)
        changes = [self._wished(call, self._chosen(known["preferences"], topics))] if topics else []
        changes += [_agreed(call, stop) for stop in agreed]
        if marketing is False:
            changes.append(_withdrawn(call))
        await self._together(call, changes)
        return await self._show(call)

    async def _withdraw(self, call: _Call) -> Json:
        await self._together(call, [_withdrawn(call)])
        return await self._show(call)

    async def _prefer(self, call: _Call) -> Json:
        self._all_known(call, call.body.get("topics_off", ()), "/topics_off")
        await self._together(call, [self._wished(call, call.body)])
        return await self._show(call)

    async def _forget_preferences(self, call: _Call) -> Json:
        await self._together(call, [self._wished(call, {})])
        return await self._show(call)

    async def _together(self, call: _Call, changes: Sequence[Json]) -> None:
        """All or nothing."""
        await self._asked(call, "together", changes=changes)

    def _chosen(self, before: Json, topics: Mapping[str, bool]) -> Json:
        """Preferences with these topics on or off."""
        off = set(before["topics_off"]) | {topic for topic, wanted in topics.items() if not wanted}
        paused = before["paused_until"]
        if paused is not None and _ms(paused) <= self._clock():
            paused = None
        return {**before, "topics_off": sorted(off - {one for one in topics if topics[one]}), "paused_until": paused}

    def _wished(self, call: _Call, wanted: Json) -> Json:
        """A change, for the desk. Raises _Refused."""
        at_most = wanted.get("at_most", "each")
        return {
            "what": "wish",
            "brand": call.brand,
            "topics_off": wanted.get("topics_off", []),
            "at_most": "" if at_most == "each" else at_most,
            "paused_until": self._moment(wanted.get("paused_until"), "/paused_until"),
        }

    async def _suppress(self, call: _Call) -> Json:
        kind, _, name = call.body.get("stop", "").partition(":")
        if kind == "topic":
            self._all_known(call, (name,), "/stop")
        entry = {
            "recipient": call.recipient,
            "brand": call.brand,
            "stop": call.body.get("stop", "marketing"),
            "reason": call.body.get("reason", MANUAL),
            "until": self._moment(call.body.get("until"), "/until"),
            "note": call.body.get("note", ""),
            "source": "api",
        }
        await self._asked(call, "block", entries=[entry])
        return await self._show(call)

    async def _unsuppress(self, call: _Call) -> Json:
        stop, reason = call.question.get("stop"), call.question.get("reason")
        known = await self._show(call)
        fitting = [
            one
            for one in known["suppressions"]
            if not one["every_brand"] and stop in (None, one["stop"]) and reason in (None, one["reason"])
        ]
        kept = [one for one in fitting if one["reason"] not in _APPS_OWN]
        if kept and len(kept) == len(fitting):
            reasons = ", ".join(sorted({one["reason"] for one in kept}))
            raise _Refused(409, "operators-only", f"Only operators take this off: {reasons} (postlane suppress remove)")
        for one in fitting:
            if one not in kept:
                where = {"stop": one["stop"], "brand": call.brand, "reason": one["reason"]}
                await self._asked(call, "unblock", where=where, reason="asked for by the app")
        return await self._show(call)

    async def _engaged(self, call: _Call) -> Json:
        latest = datetime.fromtimestamp(self._clock() / 1000, UTC).date() + timedelta(
            days=1
        )  # it may be tomorrow where they are
        entries, faults = [], []
        for number, one in enumerate(call.body["engaged"]):
            day = date.fromisoformat(one["on"])
            try:
                address = _address(one["recipient"])
            except _Refused as refused:
                faults.append((f"/engaged/{number}/recipient", str(refused.told["detail"])))
                continue
            if not _EARLIEST <= day <= latest:
                faults.append(
                    (f"/engaged/{number}/on", "is in the future" if day > latest else "is before there were apps")
                )
            entries.append({"recipient": address, "brand": call.brand, "day": (day - date(1970, 1, 1)).days})
        if faults:
            detail = f"{faults[0][0]} {faults[0][1]}; nothing was taken"
            raise _Refused(422, "body", detail, tuple(faults[:20]))
        answer = await self._asked(call, "engaged", entries=entries)
        return {"taken": len(entries), "changed": int(answer["changed"])}

    def _all_known(self, call: _Call, topics: Iterable[str], pointer: str) -> None:
        """Raises _Refused for a topic that the brand does not have: who turned it off would get it all the same."""
        brand = self._brands.get(call.brand)
        known = brand.face.topics if brand is not None else {}
        for topic in topics:
            if topic not in known:
                there = f"there are {', '.join(sorted(known))}" if known else "it has none"
                detail = f"Brand {call.brand} has no topic {topic}; {there}"
                raise _Refused(422, "topic", detail, ((pointer, f"no topic {topic}"),))

    def _moment(self, stamp: str | None, pointer: str) -> int | None:
        """ms; None for none. Raises _Refused for what is over."""
        if stamp is None:
            return None
        moment = _ms(stamp)
        if moment <= self._clock():
            raise _Refused(422, "body", f"{pointer} is over already", ((pointer, "is over already"),))
        return moment


def _ms(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp).timestamp() * 1000)


# -- addresses


def parse(address: str) -> RcptTo | Reply:
    """As RCPT TO would take it. Pure."""
    malformed = Reply(553, "5.1.3", "malformed address")
    if commands.has_controls(address):
        return malformed
    parsed = commands.rcpt(f"TO:<{address}>", utf8=True)
    if isinstance(parsed, RcptTo) and parsed.address != address:  # it left its brackets
        return malformed
    return parsed


def _address(address: str) -> str:
    """Raises _Refused."""
    parsed = parse(address)
    if isinstance(parsed, Reply):
        raise _Refused(422, "address", f"No address that mail can go to: {parsed.text}", (("address", parsed.text),))
    return parsed.address


def repaired_form(address: str) -> str:
    """Without what slips into addresses beside letters: blanks, commas for dots, dots twice or at an end. Pure."""
    local, _, domain = address.replace(" ", "").rpartition("@")
    labels = [label for label in domain.replace(",", ".").split(".") if label]
    return f"{local.strip('.')}@{'.'.join(labels)}"


def _verdict(finding: Finding) -> str:
    if finding.takes.never:
        return "bad"
    return "doubtful" if finding.meant or {"disposable", "no-mx"} & set(finding.tags) else "good"


def _checked(address: str, verdict: str, tags: list[str], meant: str | None, detail: str | None) -> Json:
    return {"address": address, "verdict": verdict, "tags": tags, "did_you_mean": meant, "detail": detail}


# -- what is known


def shown(brand: str, known: Json) -> Json:
    """What the desk tells of a recipient, as far as it is this brand's business. Pure."""
    blocks = [one for one in known["blocks"] if one["brand"] in (None, brand) and not one["over"]]
    blocks = [one for one in blocks if not one["stop"].startswith(PENDING)]  # they stop nothing, and may be wrong
    wish = known["preferences"].get(brand) or {"topics_off": [], "at_most": "each", "paused_until": None}
    engaged = known["engaged"].get(brand) or {"last_engaged": None, "unanswered": 0, "tier": ""}
    return {
        "recipient": known["recipient"],
        "brand": brand,
        "marketing": not any(one["stop"] in ("all", "marketing") for one in blocks),
        "suppressions": [_suppression(one) for one in blocks],
        "preferences": wish,
        "engagement": engaged,
    }


def _stays_stopped(known: Json, agreed: Collection[str]) -> str:
    """Why what he agreed to (marketing, topic:NAME) may not be sent all the same, in words; "": it may. Pure."""
    stops = {*agreed, "all"} if "marketing" in agreed else set(agreed)
    fitting = [one for one in known["suppressions"] if one["stop"] in stops]
    others = [one for one in fitting if one["every_brand"] or one["stop"] == "all" or one["reason"] != UNSUBSCRIBED]
    if not others:
        return ""
    own = all(one["reason"] in _APPS_OWN and not one["every_brand"] for one in others)
    who = "Take that suppression off first" if own else "Only operators can take that off"
    what = sorted({f"{one['stop']} by {one['reason']}" for one in others})
    return f"Stays stopped: {', '.join(what)}. {who}"


# -- changes, for the desk


def _agreed(call: _Call, stop: str) -> Json:
    """He is not unsubscribed from it any more."""
    where = {"stop": stop, "brand": call.brand, "reason": UNSUBSCRIBED}
    return {"what": "unblock", "where": where, "reason": f"agreed to {stop}"}


def _withdrawn(call: _Call) -> Json:
    what = {"stop": "marketing", "brand": call.brand, "reason": UNSUBSCRIBED, "source": "api"}
    return {"what": "block", **what}


def _suppression(block: Json) -> Json:
    """Notes on what holds for every brand are between operators."""
    every = block["brand"] is None
    return {
        "stop": block["stop"],
        "every_brand": every,
        "reason": block["reason"],
        "since": block["since"],
        "until": block["expires"],
        "note": "" if every else block["note"],
    }
