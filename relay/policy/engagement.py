"""How lately a person cared for a brand's mail, and what follows for its marketing: a tier, which routes.toml may give a pool of
its own, and the end of it all (sunset). Pure; `now` in ms, days are numbered since the epoch (UTC).

Silence means something only while somebody listens. A brand is fed while apps tell whom its mail moved (postlane engagement
import, /api/v1/engagement), and so:

    a brand that nobody ever told of    has no tiers, and nobody is sunset
    silence                             counts up to the day the brand was last fed: tiers stay as they were on it
    sunset                              only while it was fed lately (`fed_within`), and mail counts as unanswered only then
    a person nobody ever told of        is what `unknown` says, and is never sunset

So an import that fails, or is forgotten, makes nobody cold and ends no mail.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.message import MailClass, Message
from relay.person import Engaged, Person
from relay.policy.relevance import Withheld

ENGAGED, LAPSING, COLD = "engaged", "lapsing", "cold"
TIERS = (ENGAGED, LAPSING, COLD)
DAY = 86_400_000  # ms


@dataclass(frozen=True, slots=True)
class Sunset:
    """No more marketing once `after` mails in a row were not answered and the last answer was `unanswered_for` days ago."""

    after: int
    unanswered_for: int


@dataclass(frozen=True, slots=True)
class Tiers:
    """[engagement] of recipients.toml. Days since the last engagement: up to `engaged`, up to `lapsing`, else cold. `unknown`:
    the tier of people nobody told of. `fed_within`: days for which a brand counts as fed."""

    engaged: int = 90
    lapsing: int = 180
    unknown: str = ENGAGED
    fed_within: int = 35  # a monthly import, and some days
    sunset: Sunset | None = None


@dataclass(frozen=True, slots=True)
class Engagement:
    """`fed`: the day each brand was last fed; without those that never were."""

    tiers: Tiers = Tiers()
    fed: Mapping[str, int] = field(default_factory=dict)

    def tier(self, person: Person, message: Message) -> str:
        """For the recipient of `message`; "" where nobody can know, or it does not matter: only marketing has tiers."""
        if message.mail_class is not MailClass.MARKETING or message.brand not in self.fed:
            return ""
        return self.tier_of(person.engaged.get(message.brand), message.brand)

    def tier_of(self, engaged: Engaged | None, brand: str) -> str:
        """`engaged`: with this brand, None: nothing is known."""
        fed = self.fed.get(brand)
        if fed is None:
            return ""
        if engaged is None:
            return self.tiers.unknown
        if engaged.last is None:
            return COLD
        silent = fed - engaged.last
        return ENGAGED if silent <= self.tiers.engaged else LAPSING if silent <= self.tiers.lapsing else COLD

    def fresh(self, brand: str, now: int) -> bool:
        """Was it fed lately?"""
        fed = self.fed.get(brand)
        return fed is not None and now // DAY - fed <= self.tiers.fed_within

    def judge(self, person: Person, message: Message, now: int) -> Withheld | None:
        """Why marketing to this person has ended; None: it has not."""
        sunset = self.tiers.sunset
        if sunset is None or message.mail_class is not MailClass.MARKETING or message.spared:
            return None
        engaged = person.engaged.get(message.brand)
        if engaged is None or engaged.unanswered < sunset.after or not self.fresh(message.brand, now):
            return None
        silent = self.fed[message.brand] - engaged.since
        if silent < sunset.unanswered_for:
            return None
        last = "never engaged" if engaged.last is None else f"last engaged {silent} days ago"
        return Withheld("sunset", f"{last}, {engaged.unanswered} unanswered since")
