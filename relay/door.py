"""The door between edge and accept(): who may come in, and the record of who was turned away."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

import structlog

from relay.accept import Acceptance, accept
from relay.checking import Checking
from relay.consent import at_rcpt
from relay.convoy import Convoy
from relay.edge.credentials import Directory, Login
from relay.edge.submission import Submission, TurnedAway
from relay.event import Facts, reply_facts
from relay.header import MAX_HEADER, MAX_LINES, is_overlong
from relay.house import KeysFor
from relay.identity import Credential
from relay.message import Change, RcptTo
from relay.outcome import Reply
from relay.policy.decide import Law, Refusal
from relay.spool.errors import SpoolError
from relay.tally import unsubscribed
from relay.tokens import Tokens
from relay.trace import Tracer

log = structlog.get_logger()

# `rejected` events a worker writes in a second: strangers can cause them, so they are bounded; the rest is only counted.
# A postmaster learns nothing from the 51st copy in a second.
MAX_REJECTED_A_SECOND = 50
OVERLONG = Refusal(
    Reply(552, "5.3.4", f"The header has more than {MAX_HEADER >> 10} KB or {MAX_LINES} lines"), "header"
)


def known(name: str, credential: Credential | None) -> Credential | Refusal:
    """`credential` is what the policies have under that name. Pure."""
    if credential is None or credential.disabled:
        return Refusal(Reply(550, "5.7.1", f"{name} may not send any more"), "credential")
    return credential


@dataclass(slots=True)
class _Allowance:
    second: int = 0
    used: int = 0

    def take(self, now: int) -> bool:
        second = now // 1000
        if second != self.second:
            self.second, self.used = second, 0
        self.used += 1
        return self.used <= MAX_REJECTED_A_SECOND


class Door:
    """What the edge's sessions call. `apply` swaps credentials, policies, keys and the tracer at a reload."""

    def __init__(self, house: Acceptance, checking: Checking | None = None) -> None:
        """`checking` None: addresses are not looked at."""
        self._house = house
        self._checking = checking
        self._convoy = Convoy()
        self._directory = Directory(())
        self._allowance = _Allowance()
        self._recording: set[asyncio.Task[None]] = set()
        self.counters = {"accepted": 0, "refused": 0, "unrecorded": 0, "failed": 0}

    def __repr__(self) -> str:
        return f"<Door accepted={self.counters['accepted']} refused={self.counters['refused']}>"

    def apply(
        self,
        directory: Directory,
        law: Law,
        keys_for: KeysFor,
        site_of: Callable[[str, str], str],
        tracer: Tracer,
        tokens: Tokens,
    ) -> None:
        self._directory = directory
        self._house.law, self._house.keys_for = law, keys_for
        self._house.site_of, self._house.tracer, self._house.tokens = site_of, tracer, tokens

    def login(self, user: str, password: str, on_this_machine: bool) -> Login | None:
        """Who this is; None if the name or the password is wrong. Synchronous: one SHA-256, no I/O."""
        return self._directory.login(user, password, self._house.clock(), on_this_machine)

    def by_network(self, peer_ip: str, trust: Sequence[IPv4Network | IPv6Network], local: str) -> Credential | None:
        """The identity of a peer that did not log in: a credential that lists its network, else the listener's own."""
        return self._directory.by_network(peer_ip, trust, local)

    def check(
        self, credential: Credential, recipient: RcptTo, patience: float
    ) -> TurnedAway | Awaitable[TurnedAway | None] | None:
        """Why this address is refused: Checking.at_rcpt, and where the credential wants it, what is known of the person."""
        found = None
        if self._checking is not None:
            found = self._checking.at_rcpt(credential.name, recipient, patience)
        if isinstance(found, Reply):
            return TurnedAway(found, "address-check")
        if found is None and credential.on_suppressed != "refuse":
            return None
        return self._when_known(credential, recipient, found)

    async def _when_known(
        self, credential: Credential, recipient: RcptTo, asked: Awaitable[Reply | None] | None
    ) -> TurnedAway | None:
        refused = await asked if asked is not None else None
        if refused is not None:
            return TurnedAway(refused, "address-check")
        if credential.on_suppressed != "refuse":
            return None
        refused = await at_rcpt(recipient.address, credential, self._house.clock(), self._house)
        return TurnedAway(refused, "suppressed") if refused is not None else None

    async def accept(self, submission: Submission) -> Reply:
        """accept() with the one guarantee that a session needs: an answer, whatever happens."""
        await self._convoy.join()
        # A session keeps whom it knew; a reload may have changed or disabled him since.
        current = known(submission.credential.name, self._directory.get(submission.credential.name))
        if isinstance(current, Refusal):
            return current.reply
        submission.credential = current
        try:
            answer = OVERLONG if is_overlong(submission.content) else await accept(submission, self._house)
        except Exception:
            log.exception("accept failed", credential=submission.credential.name, size=len(submission.content))
            self.counters["failed"] += 1
            return Reply(451, "4.3.0", "A fault on our side; try again later")
        if isinstance(answer, Refusal):
            self.counters["refused"] += 1
            self.rejected(_facts(submission, answer))
            return answer.reply
        self.counters["accepted" if answer.ok else "failed"] += 1
        return answer

    def rejected(self, facts: Facts) -> None:
        """Record a refusal, soon; bounded, so that strangers cannot fill the event log. The edge counts its own."""
        if not self._allowance.take(self._house.clock()):
            self.counters["unrecorded"] += 1
            return
        self.record("rejected", facts)

    def record(self, kind: str, facts: Facts) -> None:
        """Write an event that belongs to no message; it is on disk within some ms."""
        change = Change(events=[self._house.recorder.record(kind, facts)])
        task = asyncio.create_task(self._put(change))
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    async def record_all(self, records: Iterable[tuple[str, Facts]]) -> None:
        """The same of several at once; they are on disk when it returns, or counted as unrecorded."""
        change = Change()
        for kind, facts in records:
            change.events.append(self._house.recorder.record(kind, facts))
            if kind == "unsubscribed" and facts.get("stream") and "id" not in facts:  # by whose mail, is counted there
                told = unsubscribed(facts["stream"], facts["brand"] or "", self._house.clock())
                change.told_of.append((self._house.next_id(), told))
        if change.events:
            await self._put(change)

    async def _put(self, change: Change) -> None:
        """By put, not settle: while the disk is full settle keeps what it is given, and strangers could fill memory."""
        try:
            await self._house.spool.put(change)
        except SpoolError:
            self.counters["unrecorded"] += 1


def _facts(submission: Submission, refusal: Refusal) -> Facts:
    return {
        "credential": submission.credential.name,
        "peer": submission.peer.ip,
        "command": "DATA",
        "sender": submission.envelope.sender,
        "recipient": submission.envelope.recipients[0].address,
        "reply": reply_facts(refusal.reply),
        "reason": refusal.reason,
        **({"detail": refusal.detail} if refusal.detail else {}),
        **refusal.about,
    }
