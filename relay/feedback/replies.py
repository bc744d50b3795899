"""What a failed reply means: one of 23 categories, and whether trying again could help. Pure.

Suppression, back-off and the words we write to senders follow the category, never the bare code (DESIGN, invariant 7):
providers answer 550 5.7.1 to an unknown user, a poor reputation and a missing DKIM signature alike. What the admin says
(rulings.py) comes before all; then the order is

1. providers.CODES: what the provider that answered means by the code, then codes.FIRM: enhanced status codes that mean
   one thing wherever they are seen (RFC 3463, 5248, 7293, 7372, 7505, 8617, 8689);
2. providers.NAMES: names of errors that only one provider uses;
3. wording.PHRASES: the clearest words, those that blame us first, so that a block on our own IP never condemns an address;
4. codes.WEAK: enhanced codes under which servers say all sorts of things, and those that would condemn an address;
5. codes.BASIC: the three digits together with the command they answer (RFC 5321 4.3.2): 552 to RCPT TO is a full mailbox
   and temporary (as RFC 1123 5.3.2 already had to say), after the final dot it is the size and permanent.

A bare 550 is `other`: it may mean anything (RFC 5321 4.2.3: "not found, no access, or rejected for policy reasons").
Before RCPT TO nothing can be said of a recipient: what is said of an unknown user at MAIL FROM is said of the sender.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from relay.feedback.codes import BASIC, COMMANDS, FIRM, SUBJECTS, WEAK
from relay.feedback.providers import CODES, NAMES, provider_of
from relay.feedback.rulings import NO_RULINGS, Rulings
from relay.feedback.taxonomy import MEANINGS, Category, Reach
from relay.feedback.wording import OTHER_SCRIPTS, PHRASES, TEXT_LIMIT, VAGUE_PHRASES, Phrases, listed, words_of
from relay.outcome import Reply

WORDS = Phrases((*NAMES, *PHRASES, *VAGUE_PHRASES))
_FIRST_VAGUE = len(WORDS.ranked) - sum(len(listed(text, ";")) for _, text in VAGUE_PHRASES)

# "5.1.1" in a reply that has none in its proper place (qmail writes "(#5.1.1)"); never the middle of an IP address.
_BURIED = re.compile(r"(?<![\w.])[245]\.(\d{1,3}\.\d{1,3})(?![\w.]*\d)")
_ENHANCED = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a failed reply means.

    permanent  the same message to the same recipient will not be taken later
    rule       what decided, in a few words: 'code 5.1.1', 'words "user unknown"'
    """

    category: Category
    permanent: bool
    rule: str


def diagnose(
    reply: Reply, command: str, provider: str = "", site: str = "", rulings: Rulings = NO_RULINGS
) -> Diagnosis:
    """The meaning of a failed reply to `command` (as Outcome.command, or "" where it is not known).

    `provider` is a name of providers.CODES, or "": then the reply's own words may tell it; `site`, whose it is for the
    admin's `rulings`. Permanent means that the code and the enhanced code both say so, and that it is neither a full mailbox told
    at RCPT TO nor what passes by its nature.
    """
    text = reply.text[:TEXT_LIMIT].casefold()
    ruling = rulings.find(reply, command, site)
    if ruling is not None:
        return Diagnosis(ruling.category, _permanent(ruling.category, reply, command), ruling.place)
    detail = _detail(reply, text)
    category, rule = _decide(reply.code, detail, text, command, provider)
    if command == "MAIL" and MEANINGS[category].reach is Reach.RECIPIENT and category is not Category.QUOTA:
        category = Category.BAD_SENDER
    return Diagnosis(category, _permanent(category, reply, command), rule)


def _permanent(category: Category, reply: Reply, command: str) -> bool:
    lenient = category is Category.QUOTA and reply.code == 552 and command == "RCPT"
    passes = lenient or MEANINGS[category].passes
    return reply.permanent and not reply.enhanced.startswith("4") and not passes


def classify(reply: Reply, command: str, provider: str = "") -> tuple[Category, bool]:
    """diagnose() without the rule."""
    found = diagnose(reply, command, provider)
    return found.category, found.permanent


def _detail(reply: Reply, text: str) -> str:
    """ "1.1" of 5.1.1; "" if the reply has no enhanced code."""
    found = _ENHANCED.fullmatch(reply.enhanced) or _BURIED.search(text)
    return found[1] if found else ""


def _decide(code: int, detail: str, text: str, command: str, provider: str) -> tuple[Category, str]:
    provider = provider or provider_of("", text)
    told = CODES.get(provider, {}).get(detail)
    if told is not None:
        return told, f"code x.{detail} of {provider}"
    told = FIRM.get(detail)
    if told is not None:
        return told, f"code x.{detail}"
    rank = rank_of(text)
    if rank < _FIRST_VAGUE:
        return _by_words(rank)
    if not text.isascii():
        for category, term in OTHER_SCRIPTS:
            if term in text:
                return category, f'words "{term}"'
    told = WEAK.get(detail)
    if told is not None:
        return told, f"code x.{detail}"
    if rank < len(WORDS.ranked):
        return WORDS.ranked[rank][0], f'vague words "{WORDS.ranked[rank][1]}"'
    return _by_code(code, detail, command)


@lru_cache(maxsize=64)
def rank_of(text: str) -> int:
    """Remembered, since a report of many recipients says the same of each, and a site to each of its mail."""
    return WORDS.find(words_of(text))


def _by_words(rank: int) -> tuple[Category, str]:
    category, phrase = WORDS.ranked[rank]
    return category, f'words "{phrase}"'


def _by_code(code: int, detail: str, command: str) -> tuple[Category, str]:
    """What is left when the words say nothing."""
    subject = detail.partition(".")[0]
    told = SUBJECTS.get(subject)
    if told is not None:
        return told, f"codes x.{subject}.*"
    told = BASIC.get((code, command)) if command else None
    if told is not None:
        return told, f"{code} to {command}"
    told = COMMANDS.get(command)
    if told is not None:
        return told, f"failed at {command}"
    told = BASIC.get((code, ""))
    if told is not None:
        return told, f"code {code}"
    return Category.OTHER, "nothing known"
