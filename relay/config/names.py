"""Names in a command that no file in force knows. Most are slips, and some are of mail that waits since before a file changed: so
whoever types one is told, and the command does what it says. Pure."""

from collections.abc import Mapping, Sequence

from relay.config.policies import Policies
from relay.config.problems import no_such
from relay.wildcard import any_of

_FILES = {"stream": "streams.toml", "credential": "credentials.toml", "brand": "brands.toml", "topic": "brands.toml"}
_OWN = ("dsn",)  # the stream of our reports


def unheard(what: Mapping[str, str | Sequence[str]], policies: Policies) -> list[str]:
    """A sentence for each value of stream, credential, brand, topic and site that nothing in force fits, with what was likely
    meant; `what` as of a command's selectors, of which all others are let be. A site may be any domain, so only what looks
    like a provider's name is asked for among those. Raises PatternError."""
    return [
        no_such(kind, value, known, _FILES.get(kind, "shaping.toml, nor a domain"))
        for kind, known in _known(policies).items()
        for value in _values(what.get(kind, ()))
        if not (kind == "site" and _host(value)) and not _fits(value, known)
    ]


def _known(policies: Policies) -> Mapping[str, Sequence[str]]:
    brands, apps = policies.brands, tuple(policies.credentials)
    return {
        "stream": (*policies.streams.named, *apps, *_OWN),
        "credential": apps,
        "brand": tuple(brands),
        "topic": tuple(dict.fromkeys(topic for brand in brands.values() for topic in brand.face.topics)),
        "site": policies.shaping.sites.providers,
    }


def _values(given: str | Sequence[str]) -> Sequence[str]:
    return (given,) if isinstance(given, str) else given


def _host(value: str) -> bool:
    """A domain, a literal or host:port; `capture` is a site, too."""
    return any(sign in value for sign in ".:[") or value == "capture"


def _fits(value: str, known: Sequence[str]) -> bool:
    wanted = any_of(value)
    return not value or any(name in wanted for name in known)
