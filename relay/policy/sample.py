"""Which mail of those who say its class is judged: all that is new or in doubt, one in sixteen of what is steady. Pure.

To extract a message's text, name its template and judge it takes a tenth of all that is done with it. So mail is sorted
by its outline first, which costs 3 us: who sends it, its stream and claim, the words of its subject without what is filled
in, the fields of a mailing, its kind and about its size. Where the last dozen of an outline all agreed with the claim,
the next are only counted, and what is known of them is what the last one judged was. One that does not agree puts its
outline back to the beginning. What contradicts a claim has therefore always been judged itself: nothing is done to a
message for what another one was. The price: a new template behind a known subject is noticed within some thirty messages
rather than at once.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from relay.message import MailClass
from relay.policy.contradiction import contradicts
from relay.policy.evidence.classify import Evidence
from relay.policy.letter import Letter

FIRST = 12  # messages in a row that must agree
# 0 to 30 messages are passed over between two that are judged, 15 in the mean; unevenly, so that no app's own rhythm
# (every tenth an offer) hides behind it.
STEP, CYCLE = 7, 31
MAX_OUTLINES = 10_000  # remembered by one worker, the latest: some 6 MB
MAX_FIELDS = 200  # header fields looked at
MAX_SUBJECT, MAX_TO = 200, 200  # characters and octets looked at
KIND = 30  # octets of a Content-Type field: `multipart/alternative`, and nothing of a boundary

_MAILING = {"list-unsubscribe": 1, "list-id": 2, "precedence": 4, "feedback-id": 8, "list-unsubscribe-post": 16}
_PUNCTUATION = ".,:;!?-()[]<>\"'"
_BLANKS = str.maketrans(dict.fromkeys(_PUNCTUATION + "@", " "))

Outline = tuple[str, str, MailClass, str, bytes, int, int]


class Judge(Protocol):
    """What a message is by its own evidence; `now` in ms. `unseen`: recipients of messages like it that were passed over."""

    def __call__(self, letter: Letter, credential: str, now: int, unseen: int) -> Evidence: ...


class Look(NamedTuple):
    """What a message is, and for how many `messages` that speaks: itself and those passed over before it; 0: it was passed
    over itself, and this is remembered of others."""

    evidence: Evidence
    messages: int


@dataclass(slots=True)
class _Known:
    """One outline. `agreed`, `alike`: messages in a row that agreed with the claim, that had this `skeleton`; `left`: how
    many are passed over now; `passed`: how many were since the last one judged, with so many `recipients`."""

    evidence: Evidence | None = None
    skeleton: str = ""
    agreed: int = 0
    alike: int = 0
    left: int = 0
    passed: int = 0
    recipients: int = 0

    def learn(self, claimed: MailClass, evidence: Evidence) -> None:
        self.left = self.passed = self.recipients = 0
        if contradicts(claimed, evidence.mail_class):
            self.agreed = self.alike = 0
            return
        self.agreed += 1
        self.alike = self.alike + 1 if evidence.skeleton == self.skeleton else 1
        self.skeleton = evidence.skeleton
        # Without the reasons, which are another message's own, and without a template's name where there are several.
        known_by = self.skeleton if self.alike >= FIRST else ""
        self.evidence = Evidence(evidence.mail_class, evidence.confidence, known_by)
        if self.agreed >= FIRST:
            self.left = self.agreed * STEP % CYCLE

    def pass_over(self, recipients: int) -> Evidence | None:
        """What is known of one more; None: it is to be judged."""
        if not self.left or self.evidence is None:
            return None
        self.left -= 1
        self.passed += 1
        self.recipients += recipients
        return self.evidence


class Sample:
    """Between weigh() and the judge of a worker."""

    def __init__(self, judge: Judge, room: int = MAX_OUTLINES) -> None:
        self._judge = judge
        self._room = room
        self._known: OrderedDict[Outline, _Known] = OrderedDict()

    def __repr__(self) -> str:
        steady = sum(one.agreed >= FIRST for one in self._known.values())
        return f"<Sample outlines={len(self._known)} steady={steady}>"

    def look(
        self, letter: Letter, credential: str, stream: str, claimed: MailClass, now: int, *, in_full: bool
    ) -> Look:
        """`in_full`: judge this one, whatever is known; `now` in ms. Never raises for what a message holds."""
        outline = outline_of(letter, credential, stream, claimed)
        known = self._known.get(outline)
        if known is None:
            known = self._known[outline] = _Known()
            if len(self._known) > self._room:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(outline)
            if not in_full and (remembered := known.pass_over(len(letter.domains))) is not None:
                return Look(remembered, 0)
        evidence = self._judge(letter, credential, now, known.recipients)
        messages = known.passed + 1
        known.learn(claimed, evidence)
        return Look(evidence, messages)


def outline_of(letter: Letter, credential: str, stream: str, claimed: MailClass) -> Outline:
    """What can be told without a look at the text. Two templates may share one; a copy of a template seldom has another."""
    marks, kind, to = 0, b"", b""
    for name, raw in letter.fields[:MAX_FIELDS]:
        if name in _MAILING:
            marks |= _MAILING[name]
        elif name == "content-type":
            kind = raw[:KIND]
        elif name == "to":
            to = raw[:MAX_TO]
    names = to.decode("latin-1").translate(_BLANKS).split()
    words = letter.subject[:MAX_SUBJECT].split()
    kept = " ".join([bare for word in words if (bare := word.strip(_PUNCTUATION)).isalpha() and bare not in names])
    return credential, stream, claimed, kept, kind, marks, len(letter.content).bit_length()
