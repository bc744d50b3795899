"""What the admin site needs to know, as plain values from the wiring."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from relay.web.captures import Captures
from relay.web.connect import SubmissionPort
from relay.web.reading import PublicKeys
from relay.web.stories import EventSource

Control = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class WebSettings:
    """What the pages need to know, as plain values.

    mode         live | capture
    only_to      in live mode, whose mail leaves while all other is captured; empty: everybody's
    timezone     whose days and hours reports and pages have
    ports        where apps connect
    hosts        names under which the site may be called, beside loopback's (lower case, no port)
    any_address  the site is bound to a wildcard: any address literal may stand in Host
    captures     the captured messages; None where nothing is captured
    api          the apps' API is here
    public_keys  our own DKIM keys' TXT records, for the verdicts on captured messages
    """

    node: str
    hostname: str
    mode: str
    events: EventSource
    clock: Callable[[], int]
    version: str = ""
    timezone: str = "UTC"
    only_to: tuple[str, ...] = ()
    ports: tuple[SubmissionPort, ...] = ()
    hosts: frozenset[str] = frozenset()
    any_address: bool = False
    api: bool = False
    captures: Captures | None = None
    public_keys: PublicKeys = field(default=lambda _selector, _domain: None)
