"""What an address's spelling and its domain's DNS say of it: tags for the event and the form, and the words of a refusal. Pure.

| tag          | because                                                            | `refuse` answers |
|--------------|--------------------------------------------------------------------|------------------|
| typo         | the domain is a slip of one that many have (slips.py)               | 550 5.1.2        |
| no-domain    | DNS knows no such name                                             | 550 5.1.2        |
| no-host      | it has neither MX nor address                                      | 550 5.1.2        |
| null-mx      | it says that it takes no mail (RFC 7505)                           | 556 5.1.10       |
| no-mx        | it has an address but no MX: mail goes there (RFC 5321 5.1)          | -                |
| disposable   | its mailboxes last for minutes                                     | -                |
| role         | it is of a task, not of a person (roles.py)                        | -                |

5.1.1 is never said: apps purge on it, and nothing here knows the mailbox. What DNS did not answer in time is not held against
anybody.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from relay.outcome import Reply
from relay.policy.addresses.roles import is_role
from relay.policy.addresses.slips import Slips

OFF, TAG, REFUSE = "off", "tag", "refuse"


class Takes(Enum):
    """Does a domain take mail? The value is its tag."""

    UNKNOWN = ""  # or with MX
    BY_ADDRESS = "no-mx"
    NO_HOST = "no-host"
    NO_DOMAIN = "no-domain"
    NULL_MX = "null-mx"

    @property
    def never(self) -> bool:
        return self in (Takes.NO_HOST, Takes.NO_DOMAIN, Takes.NULL_MX)


@dataclass(frozen=True, slots=True)
class Modes:
    """[address-check] of recipients.toml."""

    default: str = TAG
    by_credential: Mapping[str, str] = field(default_factory=dict)
    known: frozenset[str] = frozenset()

    def of(self, credential: str) -> str:
        return self.by_credential.get(credential, self.default)


@dataclass(frozen=True, slots=True)
class Finding:
    """`meant`: the domain they may have meant, "" for none."""

    tags: tuple[str, ...] = ()
    meant: str = ""
    takes: Takes = Takes.UNKNOWN

    def __bool__(self) -> bool:
        return bool(self.tags)

    @property
    def facts(self) -> dict[str, Any]:
        """For the `accepted` event."""
        return {"tags": list(self.tags), **({"did_you_mean": self.meant} if self.meant else {})}


NOTHING = Finding()


@dataclass(frozen=True, slots=True)
class Checker:
    """`disposable`: domains whose mailboxes last for minutes; those below them are, too."""

    slips: Slips
    disposable: Collection[str] = frozenset()

    def find(self, local: str, domain: str, takes: Takes = Takes.UNKNOWN) -> Finding:
        """`domain` is the canonical one (a lower-case A-label, or an address literal)."""
        meant = self.slips.meant(domain)
        role, brief = is_role(local), _within(domain, self.disposable)
        if takes is Takes.UNKNOWN and not (meant or role or brief):
            return NOTHING
        named = (("typo", meant), (takes.value, takes.value), ("disposable", brief), ("role", role))
        return Finding(tuple(tag for tag, holds in named if holds), meant, takes)


def _within(domain: str, domains: Collection[str]) -> bool:
    while domain not in domains:
        _, dot, domain = domain.partition(".")
        if not dot:
            return False
    return True


def refusal(finding: Finding, domain: str) -> Reply | None:
    """What `refuse` answers, None: nothing speaks against it."""
    hint = f"; did you mean {finding.meant}?" if finding.meant else ""
    match finding.takes:
        case Takes.NULL_MX:
            return Reply(556, "5.1.10", f"{domain} accepts no mail (null MX){hint}")  # RFC 7505 4.2
        case Takes.NO_DOMAIN:
            return Reply(550, "5.1.2", f"No such domain: {domain}{hint}")
        case Takes.NO_HOST:
            return Reply(550, "5.1.2", f"{domain} has neither MX nor address{hint}")
    if finding.meant:
        return Reply(550, "5.1.2", f"{domain} looks mistyped{hint} Real domains go into known of recipients.toml")
    return None
