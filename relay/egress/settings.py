"""What the wiring tells egress: plain values, each with its reason. Nothing here reads a file."""

from dataclasses import dataclass, field
from typing import NamedTuple

from relay.wildcard import Recipients


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for each step: KumoMTA's shipped values (PEERS), save where a comment says why not.

    A timer runs until the whole reply is there, so a peer that sends a byte a second gains nothing by it.
    """

    connect: float = 60
    banner: float = 60
    ehlo: float = 300
    starttls: float = 30  # there 5, which turns every slow handshake into mail in clear
    auth: float = 120
    mail: float = 300
    rcpt: float = 300
    data: float = 120  # there 30; RFC 5321 4.5.3.2.4 asks for two minutes
    final: float = 600  # RFC 5321 4.5.3.2.6: giving up on a slow scanner sends twice
    content: float = 3600  # a peer that takes the content in driblets: 25 MB in an hour are 7 KB/s
    quit: float = 5  # the mail is delivered; nobody waits for good-bye


@dataclass(frozen=True, slots=True)
class Relay:
    """The host that takes everything instead of the recipients' MX.

    With a user we log in, and then only over verified TLS, unless the relay is on loopback.
    """

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Capture:
    """The built-in server that takes the mail of everybody but `only_to`, which goes where mail goes."""

    server: Relay
    only_to: Recipients


class Share(NamedTuple):
    """The workers of this node, and which of them we are. Each opens its part of what a limit allows: otherwise a busy one
    keeps all connections, and the mail of the others to that site waits for as long as it is busy."""

    workers: int = 1
    number: int = 0

    def part(self, limit: int) -> int:
        """Parts add up to the limit, save that each is one at least."""
        share, left = divmod(limit, self.workers)
        return max(1, share + (self.number % self.workers < left))


ALL = Share()


@dataclass(frozen=True, slots=True)
class EgressSettings:
    """What holds for all mail of a node.

    hostname       EHLO name of sources that name none
    capture        ... and no route's next hop passes it by
    share          what part of the connections to a site this worker opens
    urgent_sources our addresses that transactional mail may leave from
    idle           seconds an unused connection is kept: long enough for a queue's next message, short enough not to
                   hold a peer's slot for nothing
    own_hostnames, own_addresses
                   ours, as an MX would name them: where *we* answer on `port`. Mail routed there is a loop
    trust_ad       the resolver's word on DNSSEC is believed: DANE
    transcripts    an outcome that is a failure tells what was said
    """

    hostname: str
    port: int = 25
    relay: Relay | None = None
    capture: Capture | None = None
    allow_private: bool = False
    share: Share = ALL
    urgent_sources: frozenset[str] = frozenset()
    idle: float = 5
    own_hostnames: frozenset[str] = frozenset()
    own_addresses: frozenset[str] = frozenset()
    timeouts: Timeouts = Timeouts()
    trust_ad: bool = False
    transcripts: bool = True
