"""What the edge hands over, and the door it hands it to: the only thing a session knows of the rest of Postlane."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from relay.edge.credentials import Login
from relay.edge.limits import IPNetwork
from relay.identity import Credential
from relay.message import Envelope, Peer, RcptTo
from relay.outcome import Reply


@dataclass(slots=True)
class Submission:
    """One message as an app handed it in.

    content      CRLF line ends only, no dot-stuffing; "" is possible
    stream       of the user name `name+stream`, "" if none
    received_at  when its last octet was here
    """

    envelope: Envelope
    content: bytes
    credential: Credential
    stream: str
    peer: Peer
    received_at: int


class TurnedAway(NamedTuple):
    """One recipient, and the slug of the reason in the event."""

    reply: Reply
    reason: str


class Door(Protocol):
    """The worker's side. `login` and `by_network` are plain calls: a salted sha256 and a look-up take microseconds."""

    def login(self, user: str, password: str, on_this_machine: bool) -> Login | None: ...

    def by_network(self, peer_ip: str, trust: Sequence[IPNetwork], local: str) -> Credential | None:
        """Who a peer is by its address alone: a credential that lists it, else `local` where it is in `trust`."""
        ...

    def check(
        self, credential: Credential, recipient: RcptTo, patience: float
    ) -> TurnedAway | Awaitable[TurnedAway | None] | None:
        """Why this address is refused (recipients.toml, [address-check]; on_suppressed); None: it is not. Awaitable where DNS or
        State has to be asked for it, which takes `patience` seconds at most."""
        ...

    async def accept(self, submission: Submission) -> Reply:
        """Takes responsibility for the message (2xx) or says why not. Is not cancelled when the peer goes away."""
        ...

    def rejected(self, facts: dict[str, object]) -> None:
        """A refusal of ours, for the event log.

        Facts: peer, command, reply {code, enhanced, text}, reason, and credential, sender, recipient where known.
        """
        ...
