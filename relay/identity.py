"""Who may hand in mail and as whom: credentials, brands and their limits, as plain values compiled from policies/.

Only relay/config reads the files; everything here is immutable, so a reload replaces whole objects.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network

from relay.message import MailClass


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in `window` seconds, sliding; or in each calendar day, week or month of `timezone`.

    `text` is what the admin wrote ("20000/hour", "4/7d"), for messages to people.
    calendar is "" for sliding windows, else "day", "week" (from Monday) or "month"; `window` is then the longest such period.
    place: where it stands, for people ("policies/shaping.toml:20", "shipped"); "" where nobody needs it.
    """

    count: int
    window: int
    calendar: str
    text: str
    place: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.text} ({self.place})" if self.place else self.text


@dataclass(frozen=True, slots=True)
class Password:
    """The hash of one generated password: sha256(salt + password), compared in constant time.

    160 random bits need no slow hash. `until` (ms since epoch, 0: no end) limits the older one while two are valid.
    """

    salt: bytes
    digest: bytes
    until: int = 0


def proof_of(token: str) -> str:
    """What the process that is called hands on instead of a token: it shows that the caller had it, and calls nothing itself."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where an app is told of its events. `events`: the types it wants, none: all; `secret_file`: "" for one of our making."""

    url: str
    events: frozenset[str] = frozenset()
    secret_file: str = ""
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class HookSecret:
    """What posts to a webhook are signed with; `until` (ms since epoch, 0: no end) while another takes its place."""

    key: bytes = field(repr=False)
    until: int = 0


@dataclass(frozen=True, slots=True)
class Credential:
    """One app's identity. `mail_class` None stands for `auto`: the evidence decides.

    domains   lower-case A-labels an app may write in From and Sender; {"*"}: any (the sandbox's identity)
    streams   what X-Postlane-Stream or the user name `name+stream` may name
    tokens    of its calls to /api/v1: hashes of their proofs (proof_of), as passwords are hashed
    open      any password will do (capture mode, on loopback only)
    """

    name: str
    mail_class: MailClass | None
    domains: frozenset[str]
    brand: str = ""
    streams: tuple[str, ...] = ()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    quota: Rate | None = None
    over_quota: str = "pace"  # pace | refuse
    on_suppressed: str = "withhold"  # withhold | refuse
    dsn: str = "headers"  # full | headers | none
    line_endings: str = "refuse"  # refuse | fix
    long_lines: str = "refuse"  # refuse | allow
    owner: str = ""
    passwords: tuple[Password, ...] = ()
    tokens: tuple[Password, ...] = ()
    webhook: Webhook | None = None
    disabled: bool = False
    open: bool = False


Texts = Mapping[str, str]  # by language


@dataclass(frozen=True, slots=True)
class Face:
    """How a brand shows itself to recipients.

    names    as they read it                        topics  by name, each as they read it, in the order of the file
    logo     a file, relative to policies/, or ""   colors  of `accent`, `background`, `text`: #rrggbb
    texts    its own words in place of ours, by key (relay/web/public/texts)
    """

    names: Texts = field(default_factory=dict)
    topics: Mapping[str, Texts] = field(default_factory=dict)
    logo: str = ""
    colors: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, Texts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Brand:
    """Who speaks. `unsigned` says what happens to mail of a From domain without a key: "refuse" or "send"."""

    name: str
    title: str = ""
    domains: frozenset[str] = frozenset()
    timezone: str = "UTC"
    public_url: str = ""
    return_path_domain: str = ""
    unsigned: str = "refuse"
    face: Face = Face()


def speaks_for(credential: Credential, brands: Mapping[str, Brand]) -> list[str]:
    """The brands whose people are a credential's business: the one it names, else those that its From domains belong to."""
    if credential.brand:
        return [credential.brand]
    every = "*" in credential.domains
    return sorted(name for name, brand in brands.items() if every or brand.domains & credential.domains)
