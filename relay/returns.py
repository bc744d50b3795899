"""The door of listeners with `role = "bounces"`: mail that comes back to us, from anybody, for addresses of our own alone.

It is read at once, and what it says of which delivery (feedback/matching.py) goes to the worker that sent it, as a note on that
worker's board in State: so it reaches another worker, another node, or one that is down and comes back. Only then the answer is
250. All else is counted and dropped: nobody gets an answer to a mail that is itself one (RFC 3834 2).
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence

import orjson
import structlog

from relay.edge.credentials import Login
from relay.edge.limits import IPNetwork
from relay.edge.submission import Submission, TurnedAway
from relay.feedback.matching import KINDS, About, Report, reports
from relay.feedback.returned import Kind, Mail, read_mail
from relay.house import House
from relay.identity import Credential
from relay.ids import maker_of
from relay.message import RcptTo
from relay.notice import put_alert
from relay.outcome import Reply
from relay.return_path import ReturnPaths
from relay.spool.errors import SpoolError
from relay.state.interface import State, StateError

log = structlog.get_logger()

ANYBODY = Credential("", None, frozenset())  # who hands in returned mail: nobody we know
NOBODY_HERE = TurnedAway(Reply(550, "5.1.1", "No such address here"), "address")
FORWARDED_AN_HOUR = 60  # a person reads no more, and strangers can cause them
HOUR = 3_600_000
LATER = Reply(451, "4.3.0", "It cannot be kept now; try again later")
TAKEN = Reply(250, "2.0.0", "OK")


def board(maker: str) -> str:
    """Of what is said of mail whose ids have this maker."""
    return f"returns/{maker}"


class Returns:
    """An edge's Door. `domains`: where return paths may be; `postmasters`: who reads what is for postmaster@ and abuse@ there,
    and at `hostname`. The wiring replaces `paths`, `domains` and `postmasters` at a reload; the house has its own."""

    def __init__(
        self,
        state: State,
        paths: ReturnPaths,
        house: House,
        domains: Collection[str],
        rejected: Callable[[dict[str, object]], None],
    ) -> None:
        self.paths, self.domains = paths, domains
        self.postmasters: Sequence[str] = ()
        self.rejected = rejected
        self._house = house
        # A report of a thousand recipients takes 85 ms: beside the loop, and one at a time, whoever hands in how many.
        self._reading = asyncio.Semaphore(1)
        self._forwarded: deque[int] = deque(maxlen=FORWARDED_AN_HOUR)
        self.counters: Counter[str] = Counter()  # what came, by what it is; "unmatched": of those that name no delivery
        self._state = state

    def __repr__(self) -> str:
        return f"<Returns {dict(self.counters)}>"

    def login(self, user: str, password: str, on_this_machine: bool) -> Login | None:
        return None

    def by_network(self, peer_ip: str, trust: Sequence[IPNetwork], local: str) -> Credential | None:
        return ANYBODY

    def check(self, credential: Credential, recipient: RcptTo, patience: float) -> TurnedAway | None:
        return None if self._about(recipient) is not None or self._is_for_postmasters(recipient) else NOBODY_HERE

    def _is_for_postmasters(self, recipient: RcptTo) -> bool:
        """RFC 5321 4.5.1, RFC 2142 2 and 4."""
        local = recipient.address.rpartition("@")[0].lower()
        return local in ("postmaster", "abuse") and recipient.domain in (*self.domains, self._house.hostname)

    def _about(self, recipient: RcptTo) -> About | None:
        if recipient.domain not in self.domains:
            return None
        return self.paths.open(recipient.address.rpartition("@")[0], self._state.now())

    async def accept(self, submission: Submission) -> Reply:
        """Never raises for what strangers write."""
        async with self._reading:
            mail = await asyncio.to_thread(read_mail, submission.content)
        about = [self._about(one) for one in submission.envelope.recipients]
        found = reports(mail, [one for one in about if one is not None], self._traced(mail))
        self.counters[mail.kind.value] += 1
        if mail.kind in (Kind.BOUNCE, Kind.COMPLAINT) and not found:
            self.counters["unmatched"] += 1
        try:
            if any(map(self._is_for_postmasters, submission.envelope.recipients)):
                await self._forward(submission)
            for report in found:
                await self._state.pin(board(maker_of(report.about[0])), name_of(report), dumped(report))
        except (StateError, SpoolError) as error:
            log.warning("returned mail is put off", error=str(error))
            return LATER
        return TAKEN

    def _traced(self, mail: Mail) -> About | None:
        return self._house.tracer.open(mail.trace.strip())

    async def _forward(self, submission: Submission) -> None:
        """As it is, to those who run this node, from nobody: what goes round in a circle ends here (RFC 5321 6.3). Raises
        SpoolError where it cannot be saved, and where strangers write too often."""
        now = submission.received_at
        if not self.postmasters:
            self.counters["unread"] += 1
            if self.counters["unread"] == 1:  # strangers cause it, so once
                log.warning("mail for postmaster or abuse, and [alerts] mail names nobody", peer=submission.peer.ip)
            return
        if len(self._forwarded) == FORWARDED_AN_HOUR and now - self._forwarded[0] < HOUR:
            raise SpoolError(f"{FORWARDED_AN_HOUR} mails for postmaster or abuse in an hour are enough")
        self._forwarded.append(now)
        await put_alert(submission.content, "mail for postmaster", self._house.next_id(), self.postmasters, self._house)


def name_of(report: Report) -> str:
    """The same for all that say the same: whoever hands it in a thousand times leaves one note."""
    identifier, index = report.about
    return f"{identifier}/{index}/{report.kind}"


def dumped(report: Report) -> str:
    return orjson.dumps([*report.about, report.kind, report.facts]).decode()


def loaded(note: str) -> Report:
    """Raises ValueError, TypeError for what is no report."""
    identifier, index, kind, facts = orjson.loads(note)
    if kind not in KINDS:
        raise ValueError(f"{kind} is nothing that is known here")
    return Report((str(identifier), int(index)), kind, dict(facts))
