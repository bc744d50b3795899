"""Claims that the evidence contradicts: counted by stream and by template, and standing only after several messages. Pure.

A contradiction is mail that says it is transactional or service and reads as marketing; or that says it is marketing and
reads as transactional, which is told and never acted on: an app could buy its way into the better pool. Transactional and
service are neighbours, which the evidence cannot tell apart well enough to contradict anybody.

What counts is messages, whatever the number of their recipients, and of those only what the evidence is sure of. One
stands where at least five lately and two thirds of all lately were such; it ends when no half of them is. Of a template
(skeleton) these are its own messages. Of a stream as a whole they must be of as many different templates: where one
template makes a stream's trouble, the trouble is that template's, and the next one gets its five messages too.

Each worker counts for itself and begins afresh when it is started. The caller asks `news` about once a second, and tells
people of it.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.message import MailClass
from relay.policy.evidence.classify import Evidence

SURE = 0.8  # confidence; of the development mail that is service, a tenth is called marketing with as much
ENOUGH = 4.5  # messages lately: five of them within half a day, more where they come slowly
BEGINS, ENDS = 2 / 3, 1 / 2  # share of those judged lately
FADED = 2.0  # messages lately: below this nothing is left to stand on
LATELY = 4 * 86_400_000  # ms in which a count fades to half: one message a day adds up to the five
SPAN, SPAN_OF_STREAM = 24.0, 100.0  # messages that are remembered at most: after a cure 17 (70) good ones end it
MAX_STREAMS = 1_000  # (credential, stream); policies name fewer
MAX_TEMPLATES = 20_000  # of all streams together: some 6 MB
LEAST_TEMPLATES = 20  # of a stream, however many streams there are
IN_THE_WAY = 8  # templates that are looked at to find one to forget
NAMED = 5  # templates that a trouble names
LOOK_AGAIN = 60_000  # ms between two looks at what ends by time alone, which is a matter of days


def contradicts(claimed: MailClass, judged: MailClass) -> bool:
    """Does mail of class `judged` contradict who claims that it is `claimed`?"""
    if claimed is MailClass.MARKETING:
        return judged is MailClass.TRANSACTIONAL
    return judged is MailClass.MARKETING


def surely_contradicts(claimed: MailClass, evidence: Evidence) -> bool:
    """So surely that it counts."""
    return evidence.confidence >= SURE and contradicts(claimed, evidence.mail_class)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What contradicts the claims of one stream: `contrary` of `judged` messages lately, of `templates` (some by name in
    `skeletons`); `whole`: of the stream as a whole."""

    credential: str
    stream: str
    claimed: MailClass
    judged_as: MailClass
    contrary: int
    judged: int
    templates: int
    skeletons: tuple[str, ...]
    whole: bool

    @property
    def what(self) -> dict[str, str | None]:
        """Whom it concerns; the skeleton where it is a single one."""
        alone = self.skeletons[0] if self.templates == 1 and not self.whole else None
        return {"credential": self.credential, "stream": self.stream, "skeleton": alone}


def trouble_of(facts: Mapping[str, Any]) -> Trouble:
    """One that a worker told of as JSON (asdict)."""
    classes = {name: MailClass(facts[name]) for name in ("claimed", "judged_as")}
    return Trouble(**{**facts, **classes, "skeletons": tuple(facts["skeletons"])})


@dataclass(slots=True)
class _Count:
    """Messages judged lately, and those that were surely contrary; both fade with time and with each other."""

    judged: float = 0.0
    contrary: float = 0.0
    at: int = 0
    standing: bool = False

    def fade(self, now: int) -> float:
        """Until `now`; the share that is left."""
        if now <= self.at:
            return 1.0
        kept: float = 0.5 ** ((now - self.at) / LATELY)
        self.judged *= kept
        self.contrary *= kept
        self.at = now
        return kept

    def add(self, messages: int, contrary: bool, span: float) -> float:
        """One that was judged, on behalf of `messages`; the share of the older ones that is left."""
        self.judged += messages
        self.contrary += contrary
        if self.judged <= span:
            return 1.0
        kept = span / self.judged
        self.judged = span
        self.contrary *= kept
        return kept

    def settle(self, enough: float) -> None:
        """Does it begin, or end? `enough`: what must reach ENOUGH for it to begin."""
        if self.standing:
            self.standing = self.contrary >= max(FADED, ENDS * self.judged)
        else:
            self.standing = enough >= ENOUGH and self.contrary >= BEGINS * self.judged


@dataclass(slots=True)
class _Stream:
    """One stream of one credential. `fresh`: contrary templates lately, each counted once; `standing`: the templates that
    are contradicted; `told`: the trouble as people were last told of it."""

    claimed: MailClass
    whole: _Count = field(default_factory=_Count)
    fresh: float = 0.0
    templates: "OrderedDict[str, _Count]" = field(default_factory=OrderedDict)
    standing: dict[str, _Count] = field(default_factory=dict)
    told: Trouble | None = None

    @property
    def troubled(self) -> bool:
        return self.whole.standing or bool(self.standing)

    def count(self, skeleton: str, contrary: bool, messages: int, now: int, room: int) -> bool:
        """Does a contradiction of this template, or of the stream, stand after this message?"""
        template = self.templates.get(skeleton)
        if template is None:
            template = self.templates[skeleton] = _Count(at=now)
            self.trim(room)
        else:
            self.templates.move_to_end(skeleton)
            template.fade(now)
        first = contrary and not template.contrary
        template.add(1, contrary, SPAN)
        self._settle(skeleton, template)
        kept = self.whole.fade(now) * self.whole.add(messages, contrary, SPAN_OF_STREAM)
        self.fresh = self.fresh * kept + first
        self.whole.settle(self.fresh)
        return self.whole.standing or template.standing

    def fade(self, now: int) -> None:
        """What ended by time alone."""
        self.fresh *= self.whole.fade(now)
        self.whole.settle(self.fresh)
        for skeleton, template in list(self.standing.items()):
            template.fade(now)
            self._settle(skeleton, template)

    def trim(self, room: int) -> None:
        """The templates that were not seen for longest go; those that stand are passed over, as long as few are in the way."""
        while len(self.templates) > room:
            oldest = next(iter(self.templates))
            for _ in range(IN_THE_WAY):
                if not self.templates[oldest].standing:
                    break
                self.templates.move_to_end(oldest)
                oldest = next(iter(self.templates))
            del self.templates[oldest]
            self.standing.pop(oldest, None)

    def _settle(self, skeleton: str, template: _Count) -> None:
        template.settle(template.contrary)
        if template.standing:
            self.standing[skeleton] = template
        else:
            self.standing.pop(skeleton, None)


class Told:
    """The contradictions that a running node says stand, in the place of its ledgers: to ask them changes nothing."""

    def __init__(self, troubles: Sequence[Trouble]) -> None:
        self._troubles = troubles

    def __repr__(self) -> str:
        return f"<Told troubles={len(self._troubles)}>"

    def troubled(self, credential: str, stream: str) -> bool:
        return True

    def count(
        self, credential: str, stream: str, claimed: MailClass, evidence: Evidence, messages: int, now: int
    ) -> bool:
        """As Ledger.count(): does one stand, and is this message of it?"""
        return surely_contradicts(claimed, evidence) and any(
            (one.credential, one.stream, one.claimed) == (credential, stream, claimed)
            and (one.whole or evidence.skeleton in one.skeletons)
            for one in self._troubles
        )


class Ledger:
    """What one worker counted of all credentials' streams."""

    def __init__(self, streams: int = MAX_STREAMS, templates: int = MAX_TEMPLATES) -> None:
        self._room, self._templates = streams, templates
        self._streams: OrderedDict[tuple[str, str], _Stream] = OrderedDict()
        self._looked = 0
        self._gone: list[Trouble] = []  # people were told of them, and are to be told of the end

    def __repr__(self) -> str:
        templates = sum(len(one.templates) for one in self._streams.values())
        troubled = sum(one.troubled for one in self._streams.values())
        return f"<Ledger streams={len(self._streams)} templates={templates} troubled={troubled}>"

    def troubled(self, credential: str, stream: str) -> bool:
        """Does any contradiction stand there? Then each message of it is to be judged."""
        one = self._streams.get((credential, stream))
        return one is not None and one.troubled

    def count(
        self, credential: str, stream: str, claimed: MailClass, evidence: Evidence, messages: int, now: int
    ) -> bool:
        """Count one message that was judged, on behalf of `messages`, itself included, that nothing else is known of; `now`
        in ms. True: a contradiction stands, and this message is of it."""
        key = credential, stream
        one = self._streams.get(key)
        if one is None or one.claimed is not claimed:  # who claims another class has met the contradiction
            self._drop(key)
            one = self._streams[key] = _Stream(claimed, _Count(at=now))
            while len(self._streams) > self._room:
                self._drop(next(iter(self._streams)))
        else:
            self._streams.move_to_end(key)
        contrary = surely_contradicts(claimed, evidence)
        return one.count(evidence.skeleton, contrary, messages, now, self._share()) and contrary

    def news(self, now: int, trusted: Callable[[str], bool]) -> Iterator[tuple[str, Trouble]]:
        """("firing" or "resolved", trouble) of what began and ended since it was asked last: at most one fires of each stream.
        What ends is told as it began. `trusted`: does nobody ask the evidence about this stream any more?"""
        for key in [key for key, one in self._streams.items() if one.troubled and trusted(key[1])]:
            self._drop(key)
        gone, self._gone = self._gone, []
        yield from (("resolved", trouble) for trouble in gone)
        if now - self._looked >= LOOK_AGAIN:
            self._look(now)
        for key, one in self._streams.items():
            told = one.told
            if one.troubled and told is None:
                one.told = _trouble(*key, one)
                yield "firing", one.told
            elif told is not None and not one.troubled:
                one.told = None
                yield "resolved", told

    def troubles(self, trusted: Callable[[str], bool]) -> Iterator[Trouble]:
        """All that stand, as they are now."""
        return (_trouble(*key, one) for key, one in self._streams.items() if one.troubled and not trusted(key[1]))

    def _look(self, now: int) -> None:
        self._looked = now
        share = self._share()
        for one in self._streams.values():
            one.trim(share)
            if one.troubled:
                one.fade(now)

    def _share(self) -> int:
        """Templates a stream may keep: one app's many do not drive out another's few."""
        return max(LEAST_TEMPLATES, self._templates // max(1, len(self._streams)))

    def _drop(self, key: tuple[str, str]) -> None:
        one = self._streams.pop(key, None)
        if one is not None and one.told is not None:
            self._gone.append(one.told)


def _trouble(credential: str, stream: str, one: _Stream) -> Trouble:
    of = [one.whole] if one.whole.standing else list(one.standing.values())
    return Trouble(
        credential,
        stream,
        one.claimed,
        MailClass.TRANSACTIONAL if one.claimed is MailClass.MARKETING else MailClass.MARKETING,
        round(sum(count.contrary for count in of)),
        round(sum(count.judged for count in of)),
        len(one.standing),
        tuple(one.standing)[:NAMED],
        one.whole.standing,
    )
