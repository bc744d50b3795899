"""What is required of each host that takes a domain's mail. Pure; the one place that says what outranks what.

| what says so, in this order | what the connection must have |
|---|---|
| the message: REQUIRETLS (RFC 8689) | a signed MX or a policy names the host, which proves who it is and offers REQUIRETLS |
| the message: `TLS-Required: No` (RFC 8689) | what `tls` says: the recipient's policies are not asked |
| DANE: usable TLSA records (RFC 7672 2.2) | TLS, and a certificate that matches them |
| DANE: the look-up failed | nothing goes there: an attacker may be why |
| DANE: records that cannot be used | TLS, no certificate looked at |
| MTA-STS, enforce (RFC 8461 5) | the policy allows the host; TLS; a certificate of a known authority for its name |
| MTA-STS, testing | the same is tried and reported; then what `tls` says |
| `tls` of shaping.toml | off, opportunistic, required: TLS, no certificate looked at; verify: as MTA-STS |

The word of a recipient's domain is not weakened by `tls`, nor DANE's by MTA-STS; the stronger of them holds where both
can. A connection is kept under `Security.label`, which is equal only for equal demands on equal hosts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from hashlib import sha256
from types import MappingProxyType

from relay.egress.failure import ours
from relay.egress.security import dane
from relay.egress.security.dane import Anchors, Status
from relay.egress.security.sts import Policy
from relay.egress.security.tlsrpt import Applied, Failure
from relay.outcome import Outcome, Scope


class Need(Enum):
    """What one connection must have; the order is from weak to strong."""

    CLEAR = "off"  # STARTTLS is not even tried
    TRY = "opportunistic"
    ENCRYPT = "required"  # TLS with whomever
    VERIFY = "verify"  # a certificate of a known authority, for the host's name
    DANE = "dane"  # a certificate that matches TLSA records


LEVELS = {need.value: need for need in (Need.TRY, Need.VERIFY, Need.ENCRYPT, Need.CLEAR)}  # `tls` of shaping.toml


class Wish(Enum):
    """What a message says of TLS; the value is relay.message.Message.tls."""

    NONE = ""
    REQUIRED = "required"
    WAIVED = "waived"


_STRENGTH = {need: strength for strength, need in enumerate(Need)}
_PROVEN = frozenset({Need.VERIFY, Need.DANE})
# Opportunistic: after a failed handshake in clear (RFC 7435)
_LADDER = {need: (need,) for need in Need} | {Need.TRY: (Need.TRY, Need.CLEAR)}


@dataclass(frozen=True, slots=True)
class Demand:
    """Of one host.

    ladder      what is tried, the next where the one before failed; the last is what a connection has at least
    why         whose word it is, for people              anchors  for DANE
    requiretls  the host must offer REQUIRETLS            applied  what a TLS report says sessions were held to
    breach      of a policy in testing, known beforehand: to be reported, and no reason not to send
    """

    ladder: tuple[Need, ...]
    why: str = ""
    anchors: Anchors = dane.NONE
    requiretls: bool = False
    applied: Applied | None = None
    breach: Failure | None = None

    @property
    def least(self) -> Need:
        return self.ladder[-1]

    @property
    def optional(self) -> bool:
        """May mail go in clear?"""
        return self.least in (Need.CLEAR, Need.TRY)


def plain(need: Need) -> Demand:
    return Demand(_LADDER[need])


@dataclass(frozen=True, slots=True)
class Skipped:
    """A host that gets nothing. `applied` None: no report tells of it. `final`: not later either (REQUIRETLS)."""

    why: str
    failure: Failure
    applied: Applied | None
    final: bool = False


@dataclass(frozen=True, slots=True)
class Security:
    """Of a domain's hosts: demands by name, and for all others, if any; `skipped` get no mail.

    label  what connections are kept under: equal labels, equal demands
    """

    label: str
    by_host: Mapping[str, Demand] = field(default_factory=dict)
    others: Demand | None = None
    skipped: Mapping[str, Skipped] = field(default_factory=dict)

    def of(self, host: str) -> Demand | None:
        return self.by_host.get(host, self.others)


def uniform(need: Need, *, requiretls: bool = False, why: str = "") -> Security:
    """The same of whatever host: of a relay, of the capture server."""
    demand = replace(plain(need), requiretls=requiretls, why=why)
    return Security(need.value + ("+requiretls" if requiretls else ""), others=demand)


def stronger(needs: Sequence[tuple[Need, str]]) -> tuple[Need, str]:
    """The strongest need, and the first who has it."""
    return max(needs, key=lambda each: _STRENGTH[each[0]])


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out about a domain: does DNSSEC vouch for its MX, what does DNS say of each host's certificates, and
    the policy of MTA-STS."""

    signed: bool = False
    anchors: Mapping[str, Anchors] = field(default_factory=dict)
    policy: Policy | None = None


def decide(domain: str, hosts: Sequence[str], level: Need, wish: Wish, facts: Facts) -> Security:
    """The table above, for each of `hosts`."""
    by_host: dict[str, Demand] = {}
    skipped: dict[str, Skipped] = {}
    for host in hosts:
        verdict = _of_host(domain, host, level, wish, facts)
        if isinstance(verdict, Demand):
            by_host[host] = verdict
        else:
            skipped[host] = verdict
    return Security(_label(by_host), MappingProxyType(by_host), None, MappingProxyType(skipped))


def _of_host(domain: str, host: str, level: Need, wish: Wish, facts: Facts) -> Demand | Skipped:
    # No report tells of it where nothing was asked of the recipient's policies, nor of sessions in which we did not try.
    told = wish is not Wish.WAIVED and level is not Need.CLEAR
    local = Demand(_LADDER[level], _of_level(level), applied=Applied("no-policy-found", domain) if told else None)
    if wish is Wish.WAIVED:
        return local
    anchors, policy = facts.anchors.get(host, dane.NONE), facts.policy
    active = policy if policy is not None and policy.active else None
    if anchors.status is Status.FAILED:
        failure = Failure("dnssec-invalid", host, reason=anchors.detail)
        return Skipped(f"the TLSA records of {host} cannot be had: {anchors.detail}", failure, _tlsa(anchors, host))
    if anchors.status is Status.USABLE:
        demand = Demand((Need.DANE,), f"the TLSA records of {anchors.base}", anchors, applied=_tlsa(anchors, host))
    else:
        judged = _by_policy(domain, host, local, active, enforce=wish is Wish.REQUIRED)
        if isinstance(judged, Skipped):
            return judged
        demand = judged
    if anchors.status is Status.UNUSABLE and demand.least not in _PROVEN:
        why = f"{anchors.base} has TLSA records, none of a kind that SMTP uses"
        demand = Demand(
            (*(n for n in demand.ladder if n is Need.VERIFY), Need.ENCRYPT), why, applied=_tlsa(anchors, host)
        )
    if wish is not Wish.REQUIRED:
        return demand
    return _required(domain, host, demand, facts.signed or active is not None)


def _by_policy(domain: str, host: str, local: Demand, policy: Policy | None, *, enforce: bool) -> Demand | Skipped:
    """What MTA-STS makes of `local`. `enforce`: in testing too, since the message asks for it."""
    if policy is None or (policy.mode == "testing" and not enforce and local.ladder == (Need.CLEAR,)):
        return local
    applied = Applied("sts", domain, policy.lines, policy.patterns)
    failure = None if policy.allows(host) else Failure("validation-failure", host, reason="mx-mismatch")
    if policy.mode == "enforce" or enforce:
        if failure is None:
            return Demand((Need.VERIFY,), f"the MTA-STS policy of {domain}", applied=applied)
        allowed = ", ".join(policy.patterns[:5])
        return Skipped(f"{host} is no host that the MTA-STS policy of {domain} allows ({allowed})", failure, applied)
    if Need.VERIFY in local.ladder or failure is not None:
        return replace(local, applied=applied, breach=failure)
    return replace(local, ladder=(Need.VERIFY, *local.ladder), applied=applied)


def _required(domain: str, host: str, demand: Demand, named: bool) -> Demand | Skipped:
    """REQUIRETLS (RFC 8689 4.2.1): the host is the domain's, beyond doubt, and proves who it is."""
    if not named:
        text = f"REQUIRETLS: neither DNSSEC nor MTA-STS says that {host} is a host of {domain}"
        return Skipped(text, Failure("validation-failure", host), None, True)  # no policy of the domain's was broken
    ladder = demand.ladder if demand.least in _PROVEN else (Need.VERIFY,)
    return replace(demand, ladder=ladder, requiretls=True, why="the message asks for REQUIRETLS")


def _of_level(level: Need) -> str:
    return "" if level is Need.TRY else f'tls = "{level.value}" of shaping.toml'


def _tlsa(anchors: Anchors, host: str) -> Applied:
    return Applied("tlsa", anchors.base or host, tuple(map(str, anchors.records)))


def _label(by_host: Mapping[str, Demand]) -> str:
    """A word where hosts make no difference; else also a digest of hosts and demands."""
    ladders = {demand.ladder for demand in by_host.values()}
    strongest = max((demand.ladder[0] for demand in by_host.values()), key=_STRENGTH.__getitem__, default=Need.TRY)
    if len(ladders) == 1 and strongest not in _PROVEN:
        return strongest.value
    told = [
        (host, [need.value for need in t.ladder], t.requiretls, t.anchors.base, t.anchors.names, [*map(str, t.anchors.records)])
        for host, t in sorted(by_host.items())
    ]  # fmt: skip
    return f"{strongest.value}-{sha256(repr(told).encode()).hexdigest()[:16]}"


def refusal(domain: str, security: Security) -> Outcome:
    """Why no host is left for a domain's mail: to be tried again, unless the message forbids all that there is."""
    why = "; ".join(each.why for each in list(security.skipped.values())[:3])
    if security.skipped and all(each.final for each in security.skipped.values()):
        return ours(550, "5.7.30", why, "STARTTLS", Scope.MESSAGE)
    return ours(451, "4.7.10", why or f"{domain} has no host", "STARTTLS", Scope.SITE)
