"""What becomes of a message under one state of the files, without its being sent: what `explain` and `plan` ask. No I/O.

Nothing is decided here: each step is the very function that live mail goes through (accept.py, attempt.py, door.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from relay.accept import signing_keys
from relay.config import Deployment, Policies, everybody
from relay.door import known
from relay.egress.pools import Pool
from relay.house import KeysFor
from relay.identity import Credential
from relay.in_force import law_of
from relay.message import MailClass, Message
from relay.policy import relevance
from relay.policy.caps import Caps
from relay.policy.decide import Law, Refusal
from relay.policy.letter import Letter
from relay.policy.relevance import Postponed, Withheld
from relay.policy.routes import Route, Routes, pool_of
from relay.policy.weigh import Judge, Memory, Weighed, weigh
from relay.shaping.sites import Sites
from relay.signing.keys import KeyRing, SigningKey


@dataclass(frozen=True, slots=True)
class Files:
    """One state of config/ and policies/, as far as it says what a message is, what carries it and how much one person gets.

    pools      each class's own      named     all, by name, for `routes`
    version    of the policies; "" where there are none
    """

    version: str
    law: Law
    credentials: Mapping[str, Credential]
    keys_for: KeysFor
    pools: Mapping[MailClass, Pool]
    named: Mapping[str, Pool]
    routes: Routes
    sites: Sites = field(default_factory=Sites)
    caps: Caps = field(default_factory=Caps)


def files_of(deployment: Deployment, policies: Policies, keys: KeyRing) -> Files:
    return Files(
        version=policies.version,
        law=law_of(deployment, policies, keys, deployment.node.hostname),
        credentials=everybody(deployment, policies),
        keys_for=keys.for_domain,
        pools={mail_class: deployment.pools[name] for mail_class, name in policies.routes.items()},
        named=deployment.pools,
        routes=policies.exceptions,
        sites=policies.shaping.sites,
        caps=policies.caps,
    )


@dataclass(frozen=True, slots=True)
class Fate:
    """`refusal`: why it is not taken; `weighed` is what was known of it by then."""

    credential: str
    weighed: Weighed | None = None
    keys: Sequence[SigningKey] = ()
    refusal: Refusal | None = None


def fate(
    letter: Letter, credential: str, stream: str, now: int, files: Files, judge: Judge, memory: Memory | None = None
) -> Fate:
    """`stream`: of the user name, "" if none; `now` in ms."""
    app = known(credential, files.credentials.get(credential))
    if isinstance(app, Refusal):
        return Fate(credential, refusal=app)
    weighed = weigh(letter, app, stream, now, files.law, judge, memory)
    if isinstance(weighed, Refusal):
        return Fate(credential, refusal=weighed)
    keys = signing_keys(weighed.decision, files.keys_for, files.law)
    if isinstance(keys, Refusal):
        return Fate(credential, weighed, refusal=keys)
    return Fate(credential, weighed, keys)


class Mark(NamedTuple):
    """A message in the eyes of routes."""

    mail_class: MailClass
    stream: str
    brand: str
    credential: str
    spared: bool


class Carriage(NamedTuple):
    """What carries a message to one recipient: a pool, by the MX or by the route's next hop; or nothing."""

    pool: Pool
    route: Route | None = None

    @property
    def discarded(self) -> bool:
        return self.route is not None and self.route.discard

    @property
    def name(self) -> str:
        """`marketing`, `marketing to archive.example:25`, `discarded`"""
        if self.discarded:
            return "discarded"
        hop = self.route.next_hop if self.route is not None else None
        return f"{self.pool.name} to {hop[0]}:{hop[1]}" if hop else self.pool.name


def hindrance(weighed: Weighed, credential: str, now: int, files: Files) -> Withheld | Postponed | None:
    """Why it would be withheld as stale, or would have to wait, handed in at `now` (ms); None: it goes."""
    decision = weighed.decision
    message = Message(
        id="",
        accepted_at=now,
        credential=credential,
        brand=decision.brand,
        stream=decision.stream,
        mail_class=weighed.mail_class,
        author=decision.author,
        message_id="",
        subject="",
        size=0,
        contradiction=weighed.contradiction,
        send_at=decision.send_at,
        valid_until=decision.valid_until,
    )
    stream = files.law.streams.named.get(decision.stream)
    return relevance.stale(message, stream, now) or relevance.postponed(message, stream, now)


def carrier(weighed: Weighed, credential: str, files: Files) -> Callable[[str], Carriage]:
    """A recipient's domain (A-label) -> what carries the message there."""
    spared = weighed.contradiction == "rerouted"
    mark = Mark(weighed.mail_class, weighed.decision.stream, weighed.decision.brand, credential, spared)

    def carriage(domain: str) -> Carriage:
        route = files.routes.find(mark, domain)
        return Carriage(pool_of(route, mark.mail_class, files.pools, files.named), route)

    return carriage
