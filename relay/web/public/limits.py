"""How often one token may be used: by the token and not by the address, which many share and a flood has thousands of. Pure."""

from collections import OrderedDict
from typing import TypeVar

from relay.tokens import Ticket

A_MINUTE = 60  # pages and changes of one recipient: a person who hurries makes ten
MINUTE = 60_000
KNOWN = 20_000  # tickets remembered, the oldest forgotten first

_Who = tuple[str, str]
_T = TypeVar("_T")


class PerTicket:
    """Counts by brand and recipient: all the links in his mail are one. Times are ms."""

    def __init__(self) -> None:
        self._used: OrderedDict[_Who, tuple[int, int]] = OrderedDict()  # minute, times
        self._done: OrderedDict[_Who, tuple[int, frozenset[str]]] = (
            OrderedDict()
        )  # until when one-click is known, of which calls

    def __repr__(self) -> str:
        return f"<PerTicket of {len(self._used)} recipients>"

    def allows(self, ticket: Ticket, now: int) -> bool:
        """Once more?"""
        who, this = _who(ticket), now // MINUTE
        minute, times = self._used.pop(who, (this, 0))
        times = times + 1 if minute == this else 1
        _keep(self._used, who, (this, times))
        return times <= A_MINUTE

    def done_lately(self, ticket: Ticket, now: int) -> bool:
        """Was one-click asked for within a minute, and nothing since? It is in the journal then, and need not be there again; but
        for another app's URL, which is to be told as well."""
        until, calls = self._done.get(_who(ticket), (0, frozenset()))
        return until > now and ticket.calls in calls

    def done(self, ticket: Ticket, now: int) -> None:
        until, calls = self._done.pop(_who(ticket), (0, frozenset()))
        known = calls if until > now else frozenset()
        _keep(self._done, _who(ticket), (now + MINUTE, known | {ticket.calls}))

    def changed(self, ticket: Ticket) -> None:
        """He chose something else on his page: the next one-click is a new one."""
        self._done.pop(_who(ticket), None)


def _who(ticket: Ticket) -> _Who:
    return ticket.brand, ticket.recipient


def _keep(table: "OrderedDict[_Who, _T]", who: _Who, value: _T) -> None:
    table[who] = value
    if len(table) > KNOWN:
        table.popitem(last=False)
