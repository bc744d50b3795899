"""What both stories, accept() and attempt(), need of the worker: the stages behind their doors, clock, ids, records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.capping import Capping
from relay.consent import Known
from relay.copies import Copies
from relay.engaging import Engaging
from relay.event import Recorder
from relay.header import Field
from relay.identity import Rate
from relay.message import Change, Delivery, Message
from relay.pacing import Pacer
from relay.policy.suspension import Suspensions
from relay.signing.keys import SigningKey
from relay.trace import Tracer

KeysFor = Callable[[str], Sequence[SigningKey]]  # From domain -> its active keys


class Spool(Protocol):
    async def put(self, change: Change) -> None: ...
    async def settle(self, change: Change) -> None: ...
    async def content(self, message: Message) -> bytes: ...


class Signer(Protocol):
    async def sign(
        self, fields: Sequence[Field], content_hash: bytes, keys: Sequence[SigningKey], now: int
    ) -> bytes: ...


class Quotas(Protocol):
    async def take(self, name: str, rate: Rate, count: int, timezone: str, *, urgent: bool) -> int: ...


@dataclass(slots=True, kw_only=True)
class House:
    """keys_for   From domain -> its active DKIM keys    site_of   recipient and its domain -> site
    offer      hands what was just committed to the schedule
    suspensions   what operators have stopped          known   what people want, and must not be sent
    capping       how much of it they get
    engaging      how lately they cared for it
    copies        which messages are one

    return_path   of one recipient: message id, index, brand -> the address, "" where the app's own stays

    The wiring replaces the first two and the last at a reload.
    """

    hostname: str
    clock: Callable[[], int]
    next_id: Callable[[], str]
    keys_for: KeysFor
    site_of: Callable[[str, str], str]
    signer: Signer
    tracer: Tracer
    quotas: Quotas
    pacer: Pacer
    suspensions: Suspensions
    known: Known
    engaging: Engaging
    capping: Capping
    copies: Copies
    spool: Spool
    offer: Callable[[Sequence[Delivery]], None]
    recorder: Recorder
    return_path: Callable[[str, int, str], str]
