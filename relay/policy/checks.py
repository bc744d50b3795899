"""Rules of the road: what law and mailbox providers ask of a message, as far as its brand wants it checked. Pure.

A brand names checks, each with a level: `warn` is recorded in the `accepted` event, `flag` is counted and alerted too,
`refuse` is answered 550. A check is asked of the classes that it concerns; brands without checks cost nothing. Text is
looked for in the windows of evidence/text.py, which nearly always show it, and what they do not show in all of the text:
no message is refused for an address that stands between two windows. One's own checks, `[check.NAME]`, see the windows alone.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from relay.message import MailClass
from relay.policy.evidence.lexicon import normal
from relay.policy.evidence.text import bounded
from relay.policy.evidence.whole import whole, words
from relay.policy.letter import Letter
from relay.policy.patterns import Matcher, Pattern, folded
from relay.policy.sender import display_name, domain_of, mailboxes

Level = Literal["warn", "flag", "refuse"]

_MARKETING = frozenset({MailClass.MARKETING})
_MAX_VALUE = 8_000  # octets of List-Unsubscribe: some carry all they know in the tokens of an https and a mailto URI


@dataclass(frozen=True, slots=True)
class Rule:
    """A check by its name: who asks for it (law or RFC, and section), of mail of which classes."""

    name: str
    source: str
    classes: frozenset[MailClass] = frozenset(MailClass)


BUILT_IN = {
    rule.name: rule
    for rule in (
        Rule("alignment", "RFC 7489 3.1.1"),
        Rule("sender-identified", "CAN-SPAM, 15 U.S.C. 7704(a)(1); Israel, Communications Law 1982, 30A(e)"),
        Rule("one-click-unsubscribe", "RFC 8058 3.1", _MARKETING),
        Rule("postal-address", "CAN-SPAM, 15 U.S.C. 7704(a)(5)(A)(iii)", _MARKETING),
        Rule("israel-30a", "Israel, Communications Law 1982, 30A(e)", _MARKETING),
    )
}


class Phrase(NamedTuple):
    """An address or a name as it is looked for, in octets: as normal() leaves it, and its bare words."""

    written: bytes
    bare: bytes


def phrase(text: str) -> Phrase | None:
    """None where `text` holds no word."""
    plain = normal(text.encode())
    bare = words(plain)
    if bare.isspace():
        return None
    # Hebrew and Arabic join a preposition to the front of a name.
    front = b"" if "\u0590" <= plain.decode()[0] <= "\u06ff" else b" "
    return Phrase(front + plain + b" ", front + bare.lstrip())


class Case:
    """One message before the checks of its brand. `signer_of`: From domain (A-label) -> the d= that signs for it, or "".
    `offers`: it gets a List-Unsubscribe of ours."""

    __slots__ = ("_whole", "author_domain", "letter", "mail_class", "offers", "signer_of")

    def __init__(
        self,
        letter: Letter,
        author_domain: str,
        mail_class: MailClass,
        signer_of: Callable[[str], str],
        *,
        offers: bool = False,
    ) -> None:
        self.letter = letter
        self.author_domain = author_domain
        self.mail_class = mail_class
        self.signer_of = signer_of
        self.offers = offers
        self._whole: bytes | None = None

    def field(self, name: str) -> bytes:
        """The beginning of the first field of this name (in lower case)."""
        return next((bounded(f, _MAX_VALUE) for f in self.letter.fields if f.name == name), b"")

    def shows(self, phrases: Sequence[Phrase]) -> bool:
        """Does one of them stand in the windows of the text as it is written?"""
        text = self.letter.text
        return any(one.written in text.rest or one.written in text.opening for one in phrases)

    def holds(self, phrases: Sequence[Phrase]) -> bool:
        """Does one of them stand anywhere in the text, whatever signs are between its words?"""
        if self._whole is None:
            self._whole = whole(self.letter.content, self.letter.fields, self.letter.rest)
        return any(one.bare in self._whole for one in phrases)


# Of messages: what they lack of what a check asks, in words; "" where nothing.
Test = Callable[[Case], str]


class Failed(NamedTuple):
    """A check that a message does not pass; `lacks` in words."""

    name: str
    level: Level
    lacks: str
    source: str


class Checks:
    """Those of one brand: each with its level and what tests it, in the order in which people read them."""

    def __init__(self, asked: Iterable[tuple[Rule, Level, Test]]) -> None:
        self.asked = tuple(asked)
        self._of = {one: [each for each in self.asked if one in each[0].classes] for one in MailClass}

    def __repr__(self) -> str:
        return f"<Checks {', '.join(f'{rule.name}={level}' for rule, level, _ in self.asked)}>"

    def failed(self, case: Case) -> tuple[Failed, ...]:
        """Those that the message does not pass. Never raises, whatever it holds."""
        return tuple(
            [
                Failed(rule.name, level, lacks, rule.source)
                for rule, level, test in self._of[case.mail_class]
                if (lacks := test(case))
            ]
        )


# --- built in


def built_in(name: str, names: Sequence[Phrase], addresses: Sequence[Phrase]) -> Test:
    """What tests the check `name` of BUILT_IN for a brand with these names and postal addresses, as phrase() gives them."""
    return {
        "alignment": _alignment,
        "sender-identified": lambda case: _identified(case, names),
        "one-click-unsubscribe": _one_click,
        "postal-address": lambda case: _address(case, addresses),
        "israel-30a": _advertisement,
    }[name]


def _alignment(case: Case) -> str:
    """RFC 7489 3.1.1, relaxed: d= is the From domain or one above it. It says nothing of From with authors in several
    domains (6.6.1), which receivers mostly refuse unless one signature stands for all."""
    domain = case.author_domain
    signer = case.signer_of(domain)
    if not signer:
        return f"no active DKIM key for {domain} or a domain above it"
    value = case.field("from")
    if b"," not in value:
        return ""
    foreign = (
        one for one in map(domain_of, mailboxes(value) or ()) if one != signer and not one.endswith(f".{signer}")
    )
    other = next(foreign, "")
    return f"From has an address in {other} too, and d={signer} signs" if other else ""


_HTTPS = re.compile(rb"<https://[^<>/]", re.IGNORECASE)


def _one_click(case: Case) -> str:
    """RFC 8058 3.1: one https URI in List-Unsubscribe, List-Unsubscribe-Post with one value; both are signed (signing/dkim.py).
    Google's and Yahoo's rules for bulk senders ask for it since 2024."""
    if case.offers:
        return ""
    missing = []
    # RFC 2369 2: blanks within the angle brackets are to be ignored.
    if not _HTTPS.search(case.field("list-unsubscribe").translate(None, b" \t")):
        missing.append("List-Unsubscribe with an https address")
    if case.field("list-unsubscribe-post").lower() != b"list-unsubscribe=one-click":
        missing.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click")
    return f"there is no {' and no '.join(missing)}" if missing else ""


# What may stand before the word: blanks, brackets, quotes, and marks of direction.
_OPENS = re.compile(
    "[\\s\\[\\](){}<>\"'*|«»‹›“”„‟‘’‚״׳【】\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]*פרסומת(?!\\w)"
)


def _advertisement(case: Case) -> str:
    """Section 30A(e)(1): an advertisement by e-mail says so at the beginning of its subject."""
    subject = case.letter.subject
    if not subject.isascii() and (_OPENS.match(subject) or _OPENS.match(folded(subject))):
        return ""
    return "the subject does not open with the Hebrew word for advertisement (pirsomet, פרסומת)"


def _address(case: Case, addresses: Sequence[Phrase]) -> str:
    if case.shows(addresses) or case.holds(addresses):
        return ""
    return "the brand's postal_address is not in the text"


def _identified(case: Case, names: Sequence[Phrase]) -> str:
    """From must not mislead on who writes (7704(a)(1)); what advertises says for whom, in From or in the text."""
    value = case.field("from")
    if b"=?" not in value and not display_name(value):  # to decode a name takes 15 us; who encodes one has one
        return "From has no name beside the address"
    if case.mail_class is not MailClass.MARKETING or case.shows(names):
        return ""
    name = words(normal(display_name(value).encode()))
    if any(one.bare in name for one in names) or case.holds(names):
        return ""
    return "the brand's name is neither in From nor in the text"


# --- one's own


@dataclass(frozen=True, slots=True)
class Own:
    """What a `[check.NAME]` looks at. headers: by name, in lower case; subject, body: of one pattern at least, or empty."""

    headers: Mapping[str, Sequence[Pattern]]
    subject: Sequence[Pattern] = ()
    body: Sequence[Pattern] = ()
    must: Literal["have", "lack"] = "have"


def own(said: Own) -> Test:
    """All that is looked at must fit, of several patterns one; where a message must lack that, it must not."""
    looks = [(f"the field {name}", Matcher(patterns), _values(name)) for name, patterns in said.headers.items()]
    if said.subject:
        looks.append(("the subject", Matcher(said.subject), _subject))
    if said.body:
        looks.append(("the text", Matcher(said.body), windows))
    all_of_it = " and ".join(what for what, _, _ in looks)

    def test(case: Case) -> str:
        unfit = next((what for what, matcher, texts in looks if not matcher.any_of(texts(case.letter))), "")
        if said.must == "have":
            return f"{unfit} is not as it must be" if unfit else ""
        return "" if unfit else f"{all_of_it} must not be as found"

    return test


def _values(name: str) -> Callable[[Letter], Sequence[str]]:
    return lambda letter: letter.values(name)


def _subject(letter: Letter) -> Sequence[str]:
    return (letter.subject,)


# A Matcher looks at 2,000 characters of a text; text.py keeps some 2,300 octets. What is said within OVERLAP stands in one.
WINDOW, OVERLAP = 1_900, 500


def windows(letter: Letter) -> Sequence[str]:
    """The normal text that evidence sees, beginning and end, in pieces that a Matcher looks at in whole."""
    text = (letter.text.opening.rstrip() + letter.text.rest).decode(errors="replace").strip()
    return [text[at : at + WINDOW] for at in range(0, max(1, len(text) - OVERLAP), WINDOW - OVERLAP)]
