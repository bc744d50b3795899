"""The door of listeners with `role = "bounces"`: mail that comes back to us, from anybody, for addresses of our own alone.

    b-TOKEN@, u-TOKEN@   return paths and addresses by which recipients unsubscribe (relay/return_path.py)
    feedback_addresses   of bounces.toml: where providers send complaints, and the mails by which they ask whether we want them
    postmaster@, abuse@  are forwarded to [alerts] mail, whatever they say; where that names nobody they come again

It is read at once, and what it says of which delivery (feedback/matching.py) goes to the worker that sent it, as a note on that
worker's board in State: so it reaches another worker, another node, or one that is down and comes back. Where nobody can say who
sent it the note hangs on a board of all (UNPLACED). Only then the answer is 250. All else is counted and dropped: nobody gets an
answer to a mail that is itself one (RFC 3834 2).
"""

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence

import orjson
import structlog

from relay.clue import clue
from relay.edge.credentials import Login
from relay.edge.limits import IPNetwork
from relay.edge.submission import Submission, TurnedAway
from relay.feedback.aftermath import condemns
from relay.feedback.matching import KINDS, NOBODY, Report, farewells, label, reports
from relay.feedback.parts import MAX_OCTETS
from relay.feedback.returned import Kind, Mail, read_mail
from relay.house import House
from relay.identity import Credential
from relay.ids import maker_of
from relay.message import RcptTo
from relay.notice import put_alert
from relay.outcome import Reply
from relay.return_path import LEAVING, About, ReturnPaths
from relay.spool.errors import SpoolError
from relay.state.interface import State, StateError

log = structlog.get_logger()

# Who hands in returned mail: nobody we know. Of reports as they are written lines are longer than RFC 5321 has them.
ANYBODY = Credential("", None, frozenset(), long_lines="allow")
NOBODY_HERE = TurnedAway(Reply(550, "5.1.1", "No such address here"), "address")
FORWARDED_AN_HOUR = 60  # a person reads no more, and strangers can cause them
# Of one, and of its header: to sign the worst of that size takes the loop some 10 ms.
FORWARDED_OCTETS, FORWARDED_HEADER = 500_000, 64_000
# Octets: the usual report takes 0.3 ms, the worst of them 10; a thread for each would double that.
READ_AT_ONCE = 12_000
NAMED_AT_ONCE = 40  # "recipient" in it: some 20 are told of, each of whom takes up to 0.5 ms
HOUR = 3_600_000
SECOND = 1_000
MOST_UNPLACED = 500  # reports that wait for who sent their message: all workers read them each second
GONE = TurnedAway(
    Reply(550, "5.1.1", "This address is no longer valid; please use the link in the message to unsubscribe"), "address"
)
TOO_BIG = Reply(552, "5.3.4", "Mail to people here may have 500 KB, and 64 KB of header")
LATER = Reply(451, "4.3.0", "It cannot be kept now; try again later")
UNREAD = Reply(451, "4.3.5", "Nobody reads mail for people here yet; try again later")
TAKEN = Reply(250, "2.0.0", "OK")


_DELIVERED_TO = re.compile(rb"^Delivered-To:[ \t]*(\S{1,320})", re.I | re.M)


def board(maker: str) -> str:
    """Of what is said of mail whose ids have this maker."""
    return f"returns/{maker}"


UNPLACED = board("")


class Returns:
    """An edge's Door. `domains`: where return paths may be; `postmasters`: who reads what is for postmaster@ and abuse@ there,
    and at `hostname`; `feedback`: feedback_addresses, in lower case, whole or the local part at those domains. The wiring
    replaces `paths`, `domains`, `postmasters` and `feedback` at a reload; the house has its own."""

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
        self.feedback: Collection[str] = frozenset()
        self.rejected = rejected
        self._house = house
        # A report of a thousand recipients takes 85 ms: beside the loop, and one at a time, whoever hands in how many.
        self._reading = asyncio.Semaphore(1)
        self._forwarded: deque[int] = deque(maxlen=FORWARDED_AN_HOUR)
        self.counters: Counter[str] = Counter()  # what came, by what it is (matching.label), and what became of it
        self._state = state
        self._unplaced, self._counted_at = 0, 0  # notes on UNPLACED, and when (ms) they were counted

    def __repr__(self) -> str:
        return f"<Returns {dict(self.counters)}>"

    def login(self, user: str, password: str, on_this_machine: bool) -> Login | None:
        return None

    def by_network(self, peer_ip: str, trust: Sequence[IPNetwork], local: str) -> Credential | None:
        return ANYBODY

    def check(self, credential: Credential, recipient: RcptTo, patience: float) -> TurnedAway | None:
        if self._about(recipient) or self._leaver(recipient) or self._is_for_people(recipient):
            return None
        self.counters["refused"] += 1
        leaves = recipient.domain in self.domains and recipient.address[: len(LEAVING)].lower() == LEAVING
        return GONE if leaves else NOBODY_HERE

    def _is_for_people(self, recipient: RcptTo) -> bool:
        return self._is_for_postmasters(recipient) or self._is_feedback(recipient)

    def _is_for_postmasters(self, recipient: RcptTo) -> bool:
        """RFC 5321 4.5.1, RFC 2142 2 and 4."""
        return self._local_at_ours(recipient) in ("postmaster", "abuse")

    def _is_feedback(self, recipient: RcptTo) -> bool:
        whole = f"{recipient.address.rpartition('@')[0].lower()}@{recipient.domain}"
        return whole in self.feedback or self._local_at_ours(recipient) in self.feedback

    def _local_at_ours(self, recipient: RcptTo) -> str:
        """The local part in lower case; "" at domains that are not ours."""
        ours = recipient.domain in self.domains or recipient.domain == self._house.hostname
        return recipient.address.rpartition("@")[0].lower() if ours else ""

    def _about(self, recipient: RcptTo) -> About | None:
        if recipient.domain not in self.domains:
            return None
        return self.paths.open(recipient.address.rpartition("@")[0], self._state.now())

    def _leaver(self, recipient: RcptTo) -> About | None:
        if recipient.domain not in self.domains:
            return None
        return self.paths.leaver(recipient.address.rpartition("@")[0], self._state.now())

    async def accept(self, submission: Submission) -> Reply:
        """Never raises for what strangers write."""
        mail = await self._read(submission.content)
        recipients = submission.envelope.recipients
        about = [one for one in map(self._about, recipients) if one is not None]
        leavers = [one for one in map(self._leaver, recipients) if one is not None]
        found = reports(mail, about, self._traced(mail), self._named(mail)) + farewells(
            mail, submission.envelope.sender, leavers
        )
        self.counters[label(mail)] += 1
        if mail.kind in (Kind.BOUNCE, Kind.COMPLAINT) and label(mail) == mail.kind.value and not found:
            self.counters["unmatched"] += 1
        try:
            if (
                self._reader(mail, recipients)
                and (answer := await self._forward(submission, heard=bool(found))) is not TAKEN
            ):
                return answer
            for report in found:
                await self._tell(report)
        except (StateError, SpoolError) as error:
            self.counters["put_off"] += 1
            log.warning("returned mail is put off", error=str(error))
            return LATER
        return TAKEN

    async def _read(self, content: bytes) -> Mail:
        if len(content) <= READ_AT_ONCE and content.lower().count(b"recipient") <= NAMED_AT_ONCE:
            return read_mail(content)
        async with self._reading:
            return await asyncio.to_thread(read_mail, content)

    def _reader(self, mail: Mail, recipients: Sequence[RcptTo]) -> bool:
        """Is a person to read it? What came to a feedback address and is no report is a provider's question, or a format that
        nobody here knows."""
        if any(map(self._is_for_postmasters, recipients)):
            return True
        return mail.kind is Kind.OTHER and any(map(self._is_feedback, recipients))

    async def _tell(self, report: Report) -> None:
        if report.about != NOBODY:
            await self._state.pin(board(maker_of(report.about[0])), name_of(report), dumped(report))
            return
        now = self._state.now()
        if now - self._counted_at >= SECOND:
            self._unplaced, self._counted_at = len(await self._state.pinned(UNPLACED)), now
        if self._unplaced >= 2 * MOST_UNPLACED:  # workers take off what is more than MOST_UNPLACED as soon as they look
            self.counters["crowded"] += 1
            return
        self._unplaced += 1
        await self._state.pin(UNPLACED, name_of(report), dumped(report._replace(at=now)))

    def _named(self, mail: Mail) -> About | None:
        """By the return path that it tells of what came back."""
        local, _, domain = mail.return_path.rpartition("@")
        return self.paths.open(local, self._state.now()) if domain.lower() in self.domains else None

    def _traced(self, mail: Mail) -> About | None:
        return self._house.tracer.open(mail.trace.strip())

    async def _forward(self, submission: Submission, *, heard: bool) -> Reply:
        """As it is, to those who run this node, from nobody, marked by whom it was taken for: what they send back here ends here
        (RFC 5321 6.3). `heard`: it is also a report, which is not lost where nobody reads it. Raises SpoolError where it cannot
        be saved."""
        now, recipients = submission.received_at, submission.envelope.recipients
        taken_for = next(one.address for one in recipients if self._is_for_people(one)).lower()
        if not self.postmasters:
            self.counters["unread"] += 1
            if self.counters["unread"] == 1:  # strangers cause it, so once
                log.warning("mail for postmaster or abuse, and [alerts] mail names nobody", peer=submission.peer.ip)
            return TAKEN if heard else UNREAD
        if taken_for in delivered_to(submission.content):
            self.counters["loop"] += 1
            return TAKEN
        if _too_big(submission.content):
            self.counters["too_big"] += 1
            return TOO_BIG
        if len(self._forwarded) == FORWARDED_AN_HOUR and now - self._forwarded[0] < HOUR:
            self.counters["too_many"] += 1
            return LATER
        self._forwarded.append(now)
        content = f"Delivered-To: {taken_for}\r\n".encode() + submission.content
        await put_alert(content, "mail for postmaster", self._house.next_id(), self.postmasters, self._house)
        self.counters["forwarded"] += 1
        return TAKEN


def _too_big(content: bytes) -> bool:
    header = content.find(b"\r\n\r\n", 0, FORWARDED_HEADER)
    return len(content) > (FORWARDED_OCTETS if header >= 0 else FORWARDED_HEADER)


def delivered_to(content: bytes) -> set[str]:
    """The addresses, in lower case, for which those took it through whose hands it went (as Postfix and we write it)."""
    header = content[:MAX_OCTETS].partition(b"\r\n\r\n")[0]
    return {found.decode(errors="replace").lower() for found in _DELIVERED_TO.findall(header)}


CLEAR = "/clear"  # at the end of the name of a bounce that says for good that nobody is there


def name_of(report: Report) -> str:
    """The same for all that say the same: whoever hands it in a thousand times leaves one note, or two, since a bounce that says
    little must not be in the place of a clear one."""
    identifier, index = report.about
    said = f"{report.kind}{CLEAR if report.kind == 'bounced-late' and condemns(report.facts) else ''}"
    if report.about == NOBODY:
        return f"{clue(*report.sought):x}/{said}"
    return f"{identifier}/{index}/{said}"


def dumped(report: Report) -> str:
    found = [*report.about, report.kind, report.facts]
    return orjson.dumps([*found, *report.sought, report.at] if any(report.sought) else found).decode()


def loaded(note: str) -> Report:
    """Raises ValueError, TypeError for what is no report."""
    identifier, index, kind, facts, *rest = orjson.loads(note)
    if kind not in KINDS:
        raise ValueError(f"{kind} is nothing that is known here")
    message_id, address, at = rest or ("", "", 0)
    return Report((str(identifier), int(index)), kind, dict(facts), (str(message_id), str(address)), int(at))
