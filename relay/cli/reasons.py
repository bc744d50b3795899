"""Who says what a message is, and where that stands in policies/: for people. Decided it is elsewhere (relay/fate.py)."""

from typing import NamedTuple

from relay.config.origin import Places
from relay.fate import Carriage, Fate, Files
from relay.message import MailClass
from relay.policy.decide import Decision
from relay.policy.letter import Letter
from relay.policy.weigh import Weighed


class Reason(NamedTuple):
    """`place` is "policies/streams.toml:38", "" where no file says it."""

    place: str
    words: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (short(self.place), self.words) if part)


def short(place: str) -> str:
    """As screens show it: every file here is one of policies/."""
    return place.removeprefix("policies/")


def of_stream(found: Fate, letter: Letter, files: Files, places: Places) -> Reason:
    weighed = _weighed(found)
    decision = weighed.decision
    if decision.named:
        own = any(f.name == "x-postlane-stream" and f.value for f in letter.fields)
        how = "named in X-Postlane-Stream" if own else f"named by the app: {found.credential}+{decision.stream}"
        return Reason(places.of_stream(decision.stream), how)
    if decision.rule is None:
        return Reason(places.of_stream(decision.stream), "no rule fits, so it is named as the credential")
    why = files.law.streams.why(letter, found.credential, decision.author_domain)
    return Reason(decision.rule, ", ".join(f"{_condition(key)} {_quoted(key, text)}" for key, text in why))


def _condition(key: str) -> str:
    return key.replace("header.", "header ").replace("_", " ")


def _quoted(key: str, text: str) -> str:
    return text if key in ("credential", "size") else f'"{text}"'


def of_class(found: Fate, places: Places) -> Reason:
    """Who said it: what says the class in the end, or the one whose word was checked."""
    decision = _weighed(found).decision
    app = places.of("credentials.toml", "credential", found.credential, "class")
    if decision.mail_class is None:
        return Reason(app)
    if _stream_says(decision):
        return Reason(places.of_stream(decision.stream, "class"), "the stream says so")
    return Reason(app, f"credential {found.credential} says so")


def of_contradiction(found: Fate, places: Places) -> Reason:
    """What says what is done where the evidence contradicts the claim."""
    stream = _weighed(found).decision.stream
    own = places.of_stream(stream, "on_contradiction")
    return Reason(own or places.of("streams.toml", "default", "on_contradiction"))


def _stream_says(decision: Decision) -> bool:
    """See decide(): a stream that nobody chose, named as the credential, leaves the class to that."""
    chosen = decision.named or decision.rule is not None
    return chosen and decision.said is not None and decision.said.mail_class is not None


def of_brand(found: Fate, files: Files, places: Places) -> Reason:
    decision = _weighed(found).decision
    if decision.said is not None and decision.said.brand:
        return Reason(places.of_stream(decision.said.name, "brand"), f"stream {decision.said.name}")
    app = files.credentials.get(found.credential)
    if app is not None and app.brand:
        return Reason(places.of("credentials.toml", "credential", app.name, "brand"), f"credential {found.credential}")
    if not decision.brand:
        return Reason("", f"no brand has domain {decision.author_domain}")
    domain = decision.author_domain
    while domain not in files.law.brands[decision.brand].domains:
        domain = domain.partition(".")[2]
    return Reason(places.of_domain(decision.brand, domain), f"domain {domain}")


def of_carriage(carriage: Carriage, mail_class: MailClass, places: Places) -> Reason:
    if carriage.route is not None:
        return Reason(carriage.route.rule)
    return Reason(places.of("routes.toml", "default", mail_class.label))


def of_refusal(found: Fate, places: Places) -> Reason:
    """Where to look, when `credentials.toml` is what stands in the way."""
    app = ("credential", found.credential)
    key = {"from-domain": "domains", "sender-domain": "domains", "stream": "streams", "credential": "disabled"}
    reason = found.refusal.reason if found.refusal is not None else ""
    if reason not in key:
        return Reason("")
    return Reason(places.of("credentials.toml", *app, key[reason]) or places.of("credentials.toml", *app))


def _weighed(found: Fate) -> Weighed:
    assert found.weighed is not None  # nobody asks for reasons of what was refused unread
    return found.weighed
