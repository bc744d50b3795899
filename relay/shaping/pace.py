"""How fast a site takes our mail, learnt from its replies: one pace for each source and site. Pure; `now` is in ms.

The scheme is TCP's (RFC 5681): a site says neither how fast it can nor how fast it will, so each sender tries, and steps
back at the first sign of trouble.

- Slow start: from `start`, each good reply makes the pace larger, so that it doubles in START_DOUBLES while mail waits.
- A cut, to half or to what a rule says, at a 421, a 4.7.x, a refused connection or silence. Once a round: replies to mail
  that left before the cut, and all within HOLD, are the same signal, however many they are.
- Recovery: in a straight line to where the last trouble began, within RECOVERY from a standstill; above that by doubling, but
  slowly (RECOVERY_DOUBLES), since what is up there is not known. After QUIET without trouble the past is the past.
- It grows only while mail waits for it: a pace that nobody used says nothing of what the site would take (RFC 7661).

A site that few messages go to never meets its pace: the first BURST go at once. Transactional mail is never held: it
counts, and the rest waits for longer.

Each worker keeps the paces of what it sends itself. Two workers at one site are two TCP connections on one line: each
gets its own replies and they settle at fair shares, without a question to State for each message; State has the exact
limits. What a worker does tell the others is a cut (Cut), and they take it as one of their own: together they send less by
the same factor, whatever the share of each, and one that starts anew knows of it.
"""

from dataclasses import dataclass
from enum import Enum
from math import inf, log
from typing import NamedTuple

from relay.identity import Rate
from relay.outcome import Outcome, Scope

BURST = 20  # messages: a day's mail to nearly all sites; the first refusals of a large one come within as few
GRAIN = 100  # ms at least that a lane waits: it is asked ten times a second, and then for a tenth of a second's mail
START_DOUBLES = 5_000  # ms: some replies of each pace are in before the next; 10 to 100 a second in 17 s
HOLD = 15_000  # ms: providers count by the minute, and four cuts in one, to a sixteenth, are enough for anything
HALF = 0.5  # RFC 5681 3.1
RECOVERY = 600_000  # ms: from half to full in five minutes, a provider's usual window several times over
RECOVERY_DOUBLES = 180_000  # ms
QUIET = 3_600_000  # ms
IDLE = 600_000  # ms after which a pace that met no trouble is forgotten: it would begin with a slow start again anyway
MEASURED = 10_000  # ms over which it is measured how fast mail really went
LN2 = log(2)  # of a pace each reply adds to: its growth in a second is the pace times what a reply adds
LONGEST = 3_600  # seconds: a rate over more is a budget; to spread a day's over its hours is nobody's wish


class Bounds(NamedTuple):
    """What the admin allows, in messages a second. `ceiling` inf: nothing is said; `start` inf: no slow start."""

    start: float
    floor: float
    ceiling: float = inf


def per_second(rate: Rate | None) -> float:
    """What a pace may be at most under a limit."""
    return inf if rate is None or rate.calendar or rate.window > LONGEST else rate.count / rate.window


@dataclass(frozen=True, slots=True)
class Cut:
    """A pace was cut at `at` by the factor `to`, to `rate`, and does not grow before `until`; `why`: the reply in short."""

    at: int
    to: float
    rate: float
    until: int
    why: str


@dataclass(frozen=True, slots=True)
class View:
    """A pace for people. rate, ceiling   messages a second, inf: free
    direction   free | starting | recovering | down (just cut, not growing yet)      since   ms of the last cut, 0: none"""

    rate: float
    ceiling: float
    direction: str
    since: int
    why: str


class Pace:
    """One source at one site. `bounds` come with each question: a reload changes them."""

    __slots__ = (
        "_before",
        "_counted",
        "_counting",
        "_cut_at",
        "_cut_until",
        "_from",
        "_peak",
        "_pressed",
        "_said",
        "_taken",
        "_tokens",
        "_tokens_at",
        "rate",
        "used",
        "why",
    )

    def __init__(self, bounds: Bounds, now: int) -> None:
        self.rate = min(bounds.start, bounds.ceiling)
        self.used = now  # last asked
        self.why = ""
        self._tokens, self._tokens_at = float(BURST), now
        self._pressed = -MEASURED - 1  # last told to wait
        self._cut_at, self._cut_until, self._from, self._peak, self._taken = 0, 0, 0.0, 0.0, False
        self._said = HALF, HOLD
        self._counting, self._counted, self._before = now, 0, 0.0

    def __repr__(self) -> str:
        return f"<Pace {self.rate:.3g}/s{f' cut: {self.why}' if self._cut_at else ''}>"

    # -- asking

    def ask(self, bounds: Bounds, now: int, *, urgent: bool = False) -> int:
        """0: one message may go, and is counted; else when (ms) to ask again. `urgent`: it goes."""
        self.used = now
        if self._cut_at and now - self._cut_at > QUIET:
            self._recovered(bounds)
        if self.rate >= bounds.ceiling or self.rate == inf:
            self._count(now)
            return 0
        self._fill(bounds, now)
        if self._tokens < 1 and not urgent:
            self._pressed = now
            return now + max(GRAIN, int((1 - self._tokens) * 1000 / self.rate) + 1)
        self._count(now)
        self._tokens = max(self._tokens - 1, -self._burst)
        return 0

    def give_back(self) -> None:
        """What was asked for does not go now, for another reason."""
        self._tokens += 1
        self._counted -= 1

    def _fill(self, bounds: Bounds, now: int) -> None:
        earned = max(0, now - self._tokens_at) * min(self.rate, bounds.ceiling) / 1000
        self._tokens, self._tokens_at = min(self._burst, self._tokens + earned), now

    @property
    def _burst(self) -> float:
        """What may go at once: a second's mail, and the first messages to a site that has not complained."""
        return max(1.0, self.rate) if self._cut_at else max(float(BURST), self.rate)

    def _count(self, now: int) -> None:
        passed = now - self._counting
        if passed >= MEASURED:
            self._before = self._counted * 1000 / passed
            self._counting, self._counted = now, 0
        self._counted += 1

    def _measured(self, now: int) -> float:
        """Messages a second that really went lately; of few the most that a second can have had."""
        return max(self._before, self._counted * 1000 / max(1000, now - self._counting), 1.0)

    # -- learning

    def good(self, bounds: Bounds, now: int) -> None:
        """The site took a message."""
        self._taken = True
        if self.rate >= bounds.ceiling or now < self._cut_until or now - self._pressed > MEASURED:
            return
        if not self._cut_at:
            more = LN2 * 1000 / START_DOUBLES
        elif self.rate < self._peak:
            full = self._peak if bounds.start == inf else max(self._peak, min(bounds.start, bounds.ceiling))
            more = full * 1000 / RECOVERY / self.rate
        else:
            more = LN2 * 1000 / RECOVERY_DOUBLES
        self._fill(bounds, now)
        self.rate = min(bounds.ceiling, self.rate + min(more, self.rate))
        if self.rate >= bounds.ceiling:
            self._recovered(bounds)

    def proven(self, now: int) -> bool:
        """Did the site take mail since the last cut, or does mail wait for it?"""
        return self._taken or now - self._pressed <= MEASURED

    def _recovered(self, bounds: Bounds) -> None:
        self._cut_at, self._cut_until, self._peak, self.why = 0, 0, 0.0, ""
        self.rate = max(self.rate, min(bounds.start, bounds.ceiling))

    def trouble(self, bounds: Bounds, sent: int, now: int, why: str, to: float = HALF, hold: int = HOLD) -> Cut | None:
        """A sign of trouble at a message that was let go at `sent`. The cut; None: it is the sign of one made already."""
        if self._cut_at and (sent <= self._cut_at or now < self._cut_at + HOLD):
            return self._deepen(bounds, now, why, to, hold)
        return self._cut(bounds, now, now, why, to, hold)

    def heard(self, bounds: Bounds, cut: Cut, now: int) -> None:
        """Another worker's cut; each is told once."""
        if now - cut.at > QUIET:
            return
        if self._cut_at and cut.at < self._cut_at + HOLD:
            self._deepen(bounds, now, cut.why, cut.to, cut.until - cut.at)
        else:
            self._cut(bounds, cut.at, now, cut.why, cut.to, cut.until - cut.at)
            self._cut_until = cut.until

    def begin_cut(self, bounds: Bounds, cut: Cut, now: int) -> None:
        """A pace that is new here, of a site where another met trouble."""
        if now - cut.at <= QUIET:
            self.rate = min(self.rate, max(bounds.floor, cut.rate))
            self._from = self._peak = self.rate / cut.to
            self._cut_at, self._cut_until, self.why = cut.at, cut.until, cut.why
            self._said = cut.to, cut.until - cut.at
            self._tokens = 1.0

    def _cut(self, bounds: Bounds, at: int, now: int, why: str, to: float, hold: int) -> Cut:
        self._fill(bounds, now)
        pressed = now - self._pressed <= MEASURED
        base = min(self.rate if pressed else self._measured(now), self.rate, bounds.ceiling)
        # Nothing was taken since the last cut: a site that is down says nothing of the pace that it takes.
        self._peak = max(base, self._peak) if self._cut_at and not self._taken else base
        self._taken, self._from = False, base
        self.rate = max(min(bounds.floor, base), base * to)
        self._cut_at, self._cut_until, self._said, self.why = at, now + hold, (to, hold), why
        self._tokens = min(0.0, self._tokens)
        return Cut(at, to, self.rate, self._cut_until, why)

    def _deepen(self, bounds: Bounds, now: int, why: str, to: float, hold: int) -> Cut | None:
        """The same trouble, said in stronger words: a rule asks for more, or for longer."""
        said_to, said_hold = self._said
        if to >= said_to and hold <= said_hold:
            return None
        self._said = min(to, said_to), max(hold, said_hold)
        self.rate = min(self.rate, max(min(bounds.floor, self._from), self._from * to))
        self._cut_until, self.why = max(now + hold, self._cut_until), why
        return Cut(self._cut_at, to, self.rate, self._cut_until, why)

    # -- for people

    def view(self, bounds: Bounds, now: int) -> View:
        waited = now - self._pressed <= MEASURED
        if self.rate >= bounds.ceiling or not (self._cut_at or waited):
            return View(inf, bounds.ceiling, "free", 0, "")
        if not self._cut_at:
            return View(self.rate, bounds.ceiling, "starting", 0, "")
        direction = "down" if now < self._cut_until else "recovering"
        return View(self.rate, bounds.ceiling, direction, self._cut_at, self.why)

    @property
    def worth(self) -> tuple[bool, int]:
        """By what is lost with it: one that was cut knows more than one that was not."""
        return bool(self._cut_at), self.used

    def forgettable(self, now: int) -> bool:
        """Does it say no more than one that begins anew?"""
        return now - self.used > (QUIET if self._cut_at else IDLE)


class Sign(Enum):
    """What an outcome says of the pace."""

    GOOD = "good"
    TROUBLE = "trouble"


_OF_RECIPIENT = (
    "4.1.",
    "5.1.",
    "4.2.",
    "5.2.",
)  # RFC 3463 3.2, 3.3: an address, a mailbox ("receives too much mail", Google)
_BUSY = frozenset({"4.3.2", "4.4.5"})  # RFC 3463: "system not accepting network messages", "mail system congestion"
_ABOUT_SESSION = frozenset({"DNS", "STARTTLS", "AUTH"})  # nothing that a slower pace would cure
_TOO_FAST = frozenset({"rate-limited", "reputation-block"})  # of feedback/taxonomy.py
_OTHERWISE = frozenset(
    {"greylisted", "auth-failure", "tls-failure", "bad-sender"}
)  # 4.7.x for another reason than pace


def sign_of(outcome: Outcome, category: str) -> Sign | None:
    """`category`: what the reply means (feedback/taxonomy.py), "" where that was not asked. None: it says nothing."""
    reply = outcome.reply
    if reply.ok:
        return Sign.GOOD
    if outcome.scope is Scope.SOURCE or outcome.command in _ABOUT_SESSION:
        return None
    if outcome.internal:  # a connection that is refused or lost, or silence; all else in our own words is about us
        lost = reply.enhanced.startswith("4.4.") and outcome.scope in (Scope.HOST, Scope.SITE)
        return Sign.TROUBLE if lost else None
    if category in _OTHERWISE or (reply.code != 421 and reply.enhanced.startswith(_OF_RECIPIENT)):
        return None
    slow = reply.code == 421 or reply.enhanced.startswith("4.7.") or reply.enhanced in _BUSY
    return Sign.TROUBLE if slow or category in _TOO_FAST else None


def in_short(outcome: Outcome) -> str:
    """The reply as a pace's reason: "421 4.7.28"; of our own words all of them."""
    reply = outcome.reply
    if outcome.internal:
        return reply.text
    return f"{reply.code} {reply.enhanced}" if reply.enhanced else f"{reply.code} {reply.text[:40]}".rstrip()


def rate_text(rate: float) -> str:
    """31/s, 0.5/s, 6/min"""
    if rate == inf:
        return "free"
    return f"{rate:.0f}/s" if rate >= 9.5 else f"{rate:.2g}/s" if rate >= 0.2 else f"{rate * 60:.2g}/min"


def words(view: View, since: str) -> str:
    """31 of 40/s, recovering since 14:02 (421 4.7.28); `since`: when it was cut, as people write it."""
    if view.direction == "free":
        return "free"
    of = f" of {rate_text(view.ceiling)}" if view.ceiling < inf else ""
    pace = rate_text(view.rate)
    pace = f"{pace.removesuffix('/s')}{of}" if of and pace.endswith("/s") and of.endswith("/s") else f"{pace}{of}"
    if view.direction == "starting":
        return f"{pace}, starting"
    what = "slower since" if view.direction == "down" else "recovering since"
    return f"{pace}, {what} {since} ({view.why})"
