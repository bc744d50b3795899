"""Hand-made stand-ins for what the two stories need of a worker: a spool that remembers, quotas and a courier that do as told."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import orjson

from relay.accept import Acceptance
from relay.attempt import Attempting
from relay.capping import Capping
from relay.consent import Known
from relay.copies import Copies
from relay.edge.submission import Submission
from relay.egress.courier import Permit, Way
from relay.egress.mx import Rules, site_of
from relay.egress.pools import Pool, Source
from relay.egress.security.unmet import Unmet
from relay.egress.settings import Relay
from relay.engaging import Engaging
from relay.event import Recorder
from relay.feedback.aftermath import Aftermath
from relay.feedback.rulings import NO_RULINGS
from relay.guarding import Guarding
from relay.identity import Brand, Credential, Rate
from relay.ids import Ids
from relay.lately import Lately
from relay.message import Change, Delivery, Envelope, MailClass, Message, Peer, RcptTo
from relay.outcome import Outcome
from relay.pacing import Pacer
from relay.pause import Later
from relay.person import ADDRESS, Block, Engaged, Wish
from relay.policy.caps import Caps
from relay.policy.checks import Checks
from relay.policy.contradiction import Ledger
from relay.policy.copies import Hashes
from relay.policy.decide import Law
from relay.policy.engagement import Tiers
from relay.policy.evidence.classify import Evidence
from relay.policy.flags import Flags
from relay.policy.health import Slowed
from relay.policy.letter import Letter
from relay.policy.routes import Routes
from relay.policy.sample import Sample
from relay.policy.streams import Streams
from relay.policy.suspension import Suspensions
from relay.policy.weigh import Memory
from relay.recipient import Keys
from relay.room import Ask, Room, Settled, Standing
from relay.schedule.retry import RetryPolicy
from relay.shaping.shape import Shape, Shapes
from relay.shaping.shaper import Shaper
from relay.signing.signer import Signer
from relay.spool.errors import SpoolFull
from relay.state import places
from relay.state.interface import StateError
from relay.state.marks import TAKE, after, taken
from relay.state.marks import Change as Mark
from relay.tokens import Tokens
from relay.trace import Tracer
from tests.support.signatures import both_keys

NOW = 1_795_267_531_104
LETTER = b"From: Shop <shop@a.example>\r\nTo: dana@b.example\r\nSubject: Order 77\r\n\r\nThank you.\r\n"
SHOP = Credential("shop", MailClass.TRANSACTIONAL, frozenset({"a.example"}), streams=("order",))


class FakeSpool:
    """Keeps every change; `full` makes put fail as a full disk does."""

    def __init__(self) -> None:
        self.puts: list[Change] = []
        self.settled: list[Change] = []
        self.full = False

    async def put(self, change: Change) -> None:
        if self.full:
            raise SpoolFull("no room")
        self.puts.append(change)

    async def settle(self, change: Change) -> None:
        self.settled.append(change)

    async def content(self, message: Message) -> bytes:
        return LETTER

    def events(self) -> list[dict[str, Any]]:
        return [orjson.loads(event) for change in (*self.puts, *self.settled) for event in change.events]


class FakeMarks:
    """What State would say of marks, which here never end; `down`: it cannot."""

    def __init__(self) -> None:
        self.stand: dict[bytes, bytes] = {}
        self.down = False
        self.now = NOW
        self.state: Any = self

    async def mark(self, ttl_ms: int, changes: Sequence[Mark]) -> list[bytes]:
        if self.down:
            raise StateError("down")
        stood = []
        for one in changes:
            stands = self.stand.get(one.key, b"")
            if one.what == TAKE:
                self.stand[one.key], stands = taken(one, stands, self.now)
            else:
                self.stand[one.key] = after(one, stands)
            stood.append(stands)
        return stood


class FakeQuotas:
    """`wait`: what the next takes answer, in ms; 0 grants; `waits`: those of single names, before it. `urgent`: how the last
    one asked; `reserved`: what it left; `back`: what was given back; `departed`: what was used."""

    def __init__(self) -> None:
        self.wait = 0
        self.waits: dict[str, int] = {}
        self.taken: list[tuple[str, int, str]] = []
        self.back: list[tuple[str, int]] = []
        self.departed: list[str] = []
        self.urgent = False
        self.reserved: dict[str, int] = {}

    def receipt(self, rate: Rate) -> None: ...

    def give_back(self, name: str, rate: Rate, count: int, receipt: None) -> None:
        self.back.append((name, count))

    def depart(self, name: str, rate: Rate) -> None:
        self.departed.append(name)

    async def take(self, name: str, rate: Rate, count: int, timezone: str, *, urgent: bool, reserved: int = 0) -> int:
        self.urgent = urgent
        self.reserved[name] = reserved
        self.taken.append((name, count, timezone))
        return self.waits.get(name, self.wait)


class FakeState:
    def __init__(self, people: "FakePeople") -> None:
        self._people = people

    async def told(self, keys: Sequence[bytes], *, left: bool = False) -> list[dict[str, str]]:
        if self._people.down:
            raise StateError("gone")
        return [self._people.facts.get(key, {}) for key in keys]

    async def consult(self, asks: Sequence[Ask]) -> list[tuple[dict[str, str], Room]]:
        assert self._people.places is not None
        facts = await self.told([wish.person for wish in asks])
        return list(zip(facts, await self._people.places.reserve(asks), strict=True))


class FakePeople(Known):
    """What State would tell of people; `down`: it cannot. `places`: what it has of their mail."""

    def __init__(self) -> None:
        self.facts: dict[bytes, dict[str, str]] = {}
        self.down = False
        self.places: FakePlaces | None = None
        here: Any = FakeState(self)
        super().__init__(here, Keys([b"s" * 32]))

    def _question(self, keys: Any, asks: Any) -> Any:
        self._down_until = 0.0  # its being down has no memory
        return super()._question(keys, asks)

    def block(self, address: str, stop: str = "all", reason: str = "manual", brand: str = "", **more: Any) -> None:
        block = Block(stop, brand, reason, **{"source": "cli", "since": NOW - 1000, **more})
        self._note(address)[block.name] = block.dump()

    def wish(self, address: str, brand: str, wish: Wish) -> None:
        self._note(address)[f"w:{brand}"] = wish.dump()

    def engaged(self, address: str, brand: str, engaged: Engaged) -> None:
        self._note(address).update({f"e:{brand}": engaged.dump(), f"u:{brand}": engaged.dump_unanswered()})

    def _note(self, address: str) -> dict[str, str]:
        return self.facts.setdefault(self.keys.key(address), {ADDRESS: self.keys.sealed_text(address)})


class FakePlaces:
    """What State does for caps, in memory: the pure functions on each person. `down`: it cannot be reached."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.people: dict[bytes, places.Person] = {}
        self.confirmed: list[tuple[bytes, str]] = []
        self.swept: list[bytes] = []
        self.down = False
        self._clock = clock

    def _check(self) -> None:
        if self.down:
            raise StateError("gone")

    async def reserve(self, asks: Sequence[Ask]) -> list[Room]:
        self._check()
        return [self._reserve(wish) for wish in asks]

    def _reserve(self, wish: Ask) -> Room:
        person = self.people.setdefault(wish.person, places.Person())
        places.expire(person, self._clock())
        room, place = places.ask(person, wish, self._clock())
        person.places.pop(wish.token, None)
        if place is not None:
            person.places[wish.token] = place
        return room

    async def confirm(self, tokens: Sequence[tuple[bytes, str]], lease: int) -> None:
        self._check()
        self.confirmed += tokens

    async def settle(self, settled: Sequence[Settled], keep: int) -> None:
        self._check()
        for key, token, at in settled:
            person = self.people.setdefault(key, places.Person())
            place = person.places.pop(token, None)
            if place is not None and at and place.kind:
                person.sends.append((at, place.mark))

    async def standing(self, keys: Sequence[bytes]) -> list[Standing]:
        self._check()
        people = [self.people.get(key, places.Person()) for key in keys]
        return [
            Standing(tuple(one.sends), tuple(place.mark for place in one.places.values() if place.kind))
            for one in people
        ]

    def now(self) -> int:
        return self._clock()

    async def sweep(self, after: bytes, keep: int) -> bytes:
        self._check()
        self.swept.append(after)
        return after + b"."


RULES = Rules(25, False, frozenset(), frozenset())


class FakeCourier:
    """Answers with `outcome`; there is no way where `nowhere` says why. `sites`: of domains that are not their own. `by`: what
    a source address answers instead; `later`: or that it may open no connection."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.sent: list[tuple[Delivery, bytes, Source]] = []
        self.hops: list[tuple[str, int] | None] = []
        self.terms: list[Shape] = []
        self.sites: dict[str, str] = {}
        self.nowhere: Outcome | None = None
        self.by: dict[str, Outcome] = {}
        self.later: dict[str, Later] = {}
        self.families_there: frozenset[int] | None = None
        self.families_asked = 0

    async def way(self, delivery: Delivery, hop: tuple[str, int] | None) -> Way | Outcome:
        self.hops.append(hop)
        if self.nowhere is not None:
            return self.nowhere
        relay = Relay(*hop) if hop is not None else None
        site = site_of(relay) if relay is not None else self.sites.get(delivery.domain, delivery.domain)
        return Way(site, site, relay.host if relay is not None else "", relay, RULES)

    async def send(
        self, delivery: Delivery, content: bytes, source: Source, way: Way, terms: Shape, permit: Permit
    ) -> Outcome | Later:
        self.sent.append((delivery, content, source))
        if source.address in self.later:
            return self.later[source.address]
        if not self.outcome.internal:
            permit.depart()
        self.terms.append(terms)
        return replace(self.by.get(source.address, self.outcome), site=way.site)

    async def families(self, delivery: Delivery, way: Way) -> frozenset[int] | None:
        self.families_asked += 1
        return self.families_there


class Rig:
    """Both stories over the same fakes. `now` is the clock; `offered` what was handed to the schedule; `evidence` is what the
    judge answers, `asked` what he was asked."""

    def __init__(self, outcome: Outcome | None = None, give_up: int = 86_400_000) -> None:
        self.now = NOW
        self.spool = FakeSpool()
        self.quotas = FakeQuotas()
        self.courier = FakeCourier(outcome) if outcome else None
        self.offered: list[Delivery] = []
        self.went: list[Delivery] = []
        self.quota: Rate | None = None
        self.evidence = Evidence(MailClass.TRANSACTIONAL, 0.984, "5ce1e7000001")
        self.asked: list[tuple[str, int, int]] = []
        self.memory = Memory(Sample(self.judge), Ledger())
        self.rulings = NO_RULINGS
        self.return_paths: dict[str, str] = {}
        self.retry = {c: RetryPolicy((1000,), give_up, 600_000) for c in MailClass}
        self.brands = {"a": Brand("a", domains=frozenset({"a.example"}), timezone="Asia/Jerusalem")}
        self.streams = Streams()
        self.checks: dict[str, Checks] = {}
        self.flags = Flags()
        self.pages: dict[str, str] = {}
        self.routes = Routes()
        self.named: dict[str, Pool] = {}
        self.shapes = Shapes({"connections": 10, "messages_per_connection": 100})
        self.suspensions = Suspensions(lambda delivery: delivery.message.mail_class.label)
        self.suspensions.put([])
        self.people = FakePeople()
        nobody: Any = None
        self.engaging = Engaging(nobody, self.people.keys, Tiers(), self.clock)
        self.places = self.people.places = FakePlaces(self.clock)
        self.capping = Capping(cast(Any, self.places), Caps(), self.people.keys, self.clock)
        self.marks = FakeMarks()
        self.copies = Copies(self.marks.state, Hashes(b"s" * 32))
        self.guarding = Guarding(self.marks.state, self.copies.hashes)
        self.lately = Lately()
        self.unmet = Unmet()
        self.slow = Slowed()
        self.doubted: set[str] = set()  # sites
        self.delivered_to: list[str] = []
        self._ids = Ids("test", 0, self.clock)
        self._recorder = Recorder("test", self.clock, self._ids.next, "abc123")
        self._pacer = Pacer()
        self._signer = Signer(spare=lambda: False)

    def clock(self) -> int:
        return self.now

    def offer(self, deliveries: Sequence[Delivery]) -> None:
        self.offered += deliveries

    def return_path(self, message_id: str, index: int, brand: str) -> str:
        """Of brands in `return_paths`, readable."""
        domain = self.return_paths.get(brand)
        return f"b-{message_id}-{index}@{domain}" if domain else ""

    def leaving(self, message_id: str, index: int, brand: str) -> str:
        domain = self.return_paths.get(brand)
        return f"u-{message_id}-{index}@{domain}" if domain else ""

    def keys_for(self, domain: str) -> Any:
        return both_keys("a.example") if domain == "a.example" else ()

    def signer_of(self, domain: str) -> str:
        return "a.example" if domain == "a.example" else ""

    def acceptance(self) -> Acceptance:
        return Acceptance(
            hostname="relay.example",
            clock=self.clock,
            next_id=self._ids.next,
            law=Law(
                "abc123", "postmaster@relay.example", self.brands, self.streams, self.checks, self.signer_of, self.pages
            ),
            keys_for=self.keys_for,
            site_of=lambda _, domain: domain,
            judge=self.judge,
            memory=self.memory,
            flags=self.flags,
            guarding=self.guarding,
            tokens=Tokens([b"s" * 32]),
            signer=self._signer,
            tracer=Tracer(b"s" * 32),
            quotas=self.quotas,
            pacer=self._pacer,
            suspensions=self.suspensions,
            known=self.people,
            engaging=self.engaging,
            capping=self.capping,
            copies=self.copies,
            spool=self.spool,
            offer=self.offer,
            recorder=self._recorder,
            return_path=self.return_path,
            leaving=self.leaving,
        )

    def judge(self, letter: Letter, credential: str, now: int, unseen: int = 0) -> Evidence:
        self.asked.append((credential, len(letter.domains), now))
        return self.evidence

    def attempting(self) -> Attempting:
        assert self.courier is not None
        pools = {c: Pool(c.label, (Source("192.0.2.1", "t1.example"),)) for c in MailClass}
        return Attempting(
            hostname="relay.example",
            clock=self.clock,
            next_id=self._ids.next,
            pools=pools,
            named=self.named,
            routes=self.routes,
            retry=self.retry,
            rulings=self.rulings,
            aftermath=Aftermath(),
            doubts=self.doubted.__contains__,
            streams=self.streams.named,
            quota_of=lambda _: self.quota,
            timezone_of=lambda _: "UTC",
            keys_for=self.keys_for,
            site_of=lambda _, domain: domain,
            signer=self._signer,
            tracer=Tracer(b"s" * 32),
            quotas=self.quotas,
            pacer=self._pacer,
            suspensions=self.suspensions,
            known=self.people,
            engaging=self.engaging,
            capping=self.capping,
            copies=self.copies,
            spool=self.spool,
            courier=self.courier,
            going=self.went.append,
            shaper=Shaper(self.shapes, self.quotas, self.clock),
            offer=self.offer,
            recorder=self._recorder,
            return_path=self.return_path,
            tally=Counter(),
            lately=self.lately,
            slow=self.slow,
            delivered_to=self.delivered_to.append,
            unmet=self.unmet,
        )


def submission(
    content: bytes = LETTER, credential: Credential = SHOP, recipients: Sequence[str] = ("dana@b.example",)
) -> Submission:
    to = [RcptTo(address, address.rpartition("@")[2]) for address in recipients]
    return Submission(
        Envelope("shop@a.example", to),
        content,
        credential,
        "",
        Peer("192.0.2.7", 4711, "app", "ESMTPSA", "TLSv1.3"),
        NOW,
    )


def waiting_delivery(**changes: Any) -> Delivery:
    """A delivery of a message that was accepted a second ago."""
    message = Message(
        "0" * 16, NOW - 1000, "shop", "a", "order", MailClass.TRANSACTIONAL, "shop@a.example", "<1@a.example>", "Order", 90,
        row=1, content=LETTER,
    )  # fmt: skip
    facts: dict[str, Any] = {"notify": "", "quota": False, **changes}
    return Delivery(
        message,
        0,
        "dana@b.example",
        "b.example",
        "b.example",
        "shop@a.example",
        "shop@a.example",
        b"Received: us\r\n",
        **facts,
    )
