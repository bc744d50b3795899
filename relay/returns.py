"""The door of listeners with `role = "bounces"`: mail that comes back to us, from anybody, for addresses of our own alone.

It is read at once, and what it says of which delivery (feedback/matching.py) goes to the worker that sent it, as a note on that
worker's board in State: so it reaches another worker, another node, or one that is down and comes back. Only then the answer is
250. All else is counted and dropped: nobody gets an answer to a mail that is itself one (RFC 3834 2).
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence

import orjson
import structlog

from relay.edge.credentials import Login
from relay.edge.limits import IPNetwork
from relay.edge.submission import Submission
from relay.feedback.matching import About, Report, reports
from relay.feedback.returned import Kind, Mail, read_mail
from relay.identity import Credential
from relay.ids import maker_of
from relay.message import RcptTo
from relay.outcome import Reply
from relay.return_path import ReturnPaths
from relay.state.interface import State, StateError
from relay.trace import Tracer

log = structlog.get_logger()

ANYBODY = Credential("", None, frozenset())  # who hands in returned mail: nobody we know
NOBODY_HERE = Reply(550, "5.1.1", "No such address here")
LATER = Reply(451, "4.3.0", "It cannot be kept now; try again later")
TAKEN = Reply(250, "2.0.0", "OK")


def board(maker: str) -> str:
    """Of what is said of mail whose ids have this maker."""
    return f"returns/{maker}"


class Returns:
    """An edge's Door. `domains`: where return paths may be; `paths`, `tracers` and `domains` are replaced at a reload."""

    def __init__(
        self,
        state: State,
        paths: ReturnPaths,
        tracers: Sequence[Tracer],
        domains: Collection[str],
        rejected: Callable[[dict[str, object]], None],
    ) -> None:
        self.paths, self.tracers, self.domains = paths, tracers, domains
        self.rejected = rejected
        self.counters: Counter[str] = Counter()  # what came, by what it is; "unmatched": of those that name no delivery
        self._state = state

    def __repr__(self) -> str:
        return f"<Returns {dict(self.counters)}>"

    def login(self, user: str, password: str, on_this_machine: bool) -> Login | None:
        return None

    def by_network(self, peer_ip: str, trust: Sequence[IPNetwork], local: str) -> Credential | None:
        return ANYBODY

    def check(self, credential: Credential, recipient: RcptTo, patience: float) -> Reply | None:
        return None if self._about(recipient) is not None else NOBODY_HERE

    def _about(self, recipient: RcptTo) -> About | None:
        if recipient.domain not in self.domains:
            return None
        return self.paths.open(recipient.address.rpartition("@")[0], self._state.now())

    async def accept(self, submission: Submission) -> Reply:
        """Never raises for what strangers write."""
        mail = read_mail(submission.content)
        about = [self._about(one) for one in submission.envelope.recipients]
        found = reports(mail, [one for one in about if one is not None], self._traced(mail))
        self.counters[mail.kind.value] += 1
        if mail.kind in (Kind.BOUNCE, Kind.COMPLAINT) and not found:
            self.counters["unmatched"] += 1
        try:
            for report in found:
                await self._state.pin(board(maker_of(report.about[0])), name_of(report), dumped(report))
        except StateError as error:
            log.warning("returned mail is put off", error=str(error))
            return LATER
        return TAKEN

    def _traced(self, mail: Mail) -> About | None:
        return next(filter(None, (tracer.open(mail.trace.strip()) for tracer in self.tracers)), None)


def name_of(report: Report) -> str:
    """The same for all that say the same: whoever hands it in a thousand times leaves one note."""
    identifier, index = report.about
    return f"{identifier}/{index}/{report.kind}"


def dumped(report: Report) -> str:
    return orjson.dumps([*report.about, report.kind, report.facts]).decode()


def loaded(note: str) -> Report:
    """Raises ValueError, TypeError for what is no report."""
    identifier, index, kind, facts = orjson.loads(note)
    return Report((str(identifier), int(index)), str(kind), dict(facts))
