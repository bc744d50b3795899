"""A worker's side of the check of addresses: rules in force, what DNS says, and what this node delivers to.

RCPT TO waits for DNS where the answer is not known yet, for a bounded time: what comes too late is not held against the address.
What was delivered is counted in memory and written to data_dir/domains/ now and then; each worker reads all of them, so that a
node that restarts knows what it knew.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import structlog
from disposable_email_domains import blocklist

from relay.egress.mx import Answer, Found, literal
from relay.egress.resolver import Resolver
from relay.message import RcptTo
from relay.outcome import Reply
from relay.policy.addresses.check import OFF, REFUSE, Checker, Finding, Modes, Takes, refusal
from relay.policy.addresses.slips import Slips
from relay.policy.addresses.traffic import Traffic, together

log = structlog.get_logger()

WAIT_TO_TAG = 0.25  # s: what is only said in an event may be missing from it
# Domains a second that a worker asks DNS about only to tag them, after a pause as many as five seconds' at once: those of people
# who sign up. A campaign's million are asked when they are delivered to; to ask twice would take from what delivers.
ASK_TO_TAG = 20.0
WAIT_TO_REFUSE = 2.0  # s: most name servers answer within a fifth of one, and who asks a form waits for it
WRITE_EVERY = 600.0  # s between writings of what was delivered to, and readings of what others wrote
FOLDER = "domains"


class Checking:
    """`number`: the worker's first shard, which names its file. `resolver` None: DNS is not asked, as nothing here goes by MX.
    `clock`: seconds."""

    def __init__(self, data_dir: Path, number: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asks, self._asks_at = 5 * ASK_TO_TAG, clock()
        self._folder = data_dir / FOLDER
        self._file = self._folder / f"{number}.json"
        self.traffic = Traffic(_read(self._file))
        self._modes = Modes()
        self._resolver: Resolver | None = None
        self._checker = Checker(Slips(), blocklist)

    def __repr__(self) -> str:
        return f"<Checking {self._checker.slips!r} {self.traffic!r}>"

    def apply(self, modes: Modes, resolver: Resolver | None) -> None:
        """Put in force; nothing here waits."""
        learn = modes.known != self._modes.known
        self._modes, self._resolver = modes, resolver
        if learn:
            self._checker = Checker(Slips(self._all(), modes.known), blocklist)

    # -- asked

    def at_rcpt(self, credential: str, recipient: RcptTo, patience: float) -> Reply | Awaitable[Reply | None] | None:
        """A refusal, or None where the address is taken; to be awaited where DNS has to be asked, for at most `patience`
        seconds. What was found is put into `recipient.found`."""
        mode = self._modes.of(credential)
        if mode == OFF:
            return None
        takes = self.known(recipient.domain)
        wait = min(patience, WAIT_TO_REFUSE if mode == REFUSE else WAIT_TO_TAG)
        if takes is None and wait > 0 and (mode == REFUSE or self._may_ask()):
            return self._when_known(mode, recipient, wait)
        return self._noted(mode, recipient, takes or Takes.UNKNOWN)

    def _may_ask(self) -> bool:
        """Once more, only to tag?"""
        now = self._clock()
        self._asks = min(5 * ASK_TO_TAG, self._asks + (now - self._asks_at) * ASK_TO_TAG)
        self._asks_at = now
        if self._asks < 1:
            return False
        self._asks -= 1
        return True

    async def _when_known(self, mode: str, recipient: RcptTo, seconds: float) -> Reply | None:
        return self._noted(mode, recipient, await self.takes(recipient.domain, seconds))

    def _noted(self, mode: str, recipient: RcptTo, takes: Takes) -> Reply | None:
        finding = self.find(recipient.address, recipient.domain, takes)
        if not finding:
            return None
        recipient.found = finding.facts
        return refusal(finding, recipient.domain) if mode == REFUSE else None

    def find(self, address: str, domain: str, takes: Takes) -> Finding:
        """`domain` is the canonical one of the address."""
        return self._checker.find(address.rpartition("@")[0], domain, takes)

    def meant(self, domain: str) -> str:
        """The domain that this is a slip of, "" for none."""
        return self._checker.slips.meant(domain)

    async def takes(self, domain: str, seconds: float) -> Takes:
        """Does the domain take mail, as far as DNS says so in time?"""
        if self._resolver is None or literal(domain):
            return Takes.UNKNOWN
        try:
            async with asyncio.timeout(seconds):
                answer = await self._resolver.mx(domain)
                if answer.found is not Found.NOTHING:
                    return _by_mx(answer)
                found = await asyncio.gather(*(self._resolver.look_up(domain, kind) for kind in ("A", "AAAA")))
        except TimeoutError:
            return Takes.UNKNOWN
        return _by_address(found)

    def known(self, domain: str) -> Takes | None:
        """The same, where it is known without asking."""
        if self._resolver is None:
            return Takes.UNKNOWN
        answer = self._resolver.known_mx(domain)
        if answer is None:
            return Takes.UNKNOWN if literal(domain) else None
        if answer.records and answer.records[0][1]:  # nearly always
            return Takes.UNKNOWN
        return None if answer.found is Found.NOTHING else _by_mx(answer)

    # -- learning

    async def run(self) -> None:
        while True:
            await self.learn()
            await asyncio.sleep(WRITE_EVERY)
            await self.write()

    async def learn(self) -> None:
        """What all workers of this node have delivered to, as they wrote it last."""
        self._checker = Checker(await asyncio.to_thread(lambda: Slips(self._all(), self._modes.known)), blocklist)

    async def write(self) -> None:
        """A full disk only keeps it from being remembered."""
        octets = orjson.dumps(self.traffic.counts)
        try:
            await asyncio.to_thread(self._write, octets)
        except OSError as error:
            log.warning("what was delivered to is not written down", error=str(error))

    def _write(self, octets: bytes) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        aside = self._file.with_suffix(".new")
        aside.write_bytes(octets)
        aside.replace(self._file)

    def _all(self) -> dict[str, int]:
        others = [path for path in self._folder.glob("*.json") if path != self._file] if self._folder.is_dir() else []
        return together([self.traffic.counts, *map(_read, others)])


def _by_mx(answer: Answer) -> Takes:
    match answer.found:
        case Found.NO_NAME:
            return Takes.NO_DOMAIN
        case Found.RECORDS if not any(host for _, host in answer.records):
            return Takes.NULL_MX
    return Takes.UNKNOWN


def _by_address(found: list[Answer]) -> Takes:
    if any(answer.found is Found.RECORDS for answer in found):
        return Takes.BY_ADDRESS
    return Takes.UNKNOWN if any(answer.found is Found.FAILED for answer in found) else Takes.NO_HOST


def _read(path: Path) -> dict[str, int]:
    """What cannot be read is begun anew: it is only what slips are told by."""
    try:
        counts = orjson.loads(path.read_bytes())
        return {str(domain): int(count) for domain, count in counts.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        log.warning("what was delivered to cannot be read", file=str(path), error=str(error))
        return {}
