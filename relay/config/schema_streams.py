"""The schema of policies/streams.toml: what a message is, by ordered rules; first match wins."""

import re
from collections.abc import Callable, Iterator
from datetime import date
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema, create_model

from relay.config.fields import ALONE_OR_LIST, Name, PositiveDuration, Rate, Timezone, text_of
from relay.config.problems import Wrong
from relay.config.reader import Section, setting
from relay.config.schema_policies import ClassName
from relay.config.units import domain, shown, size
from relay.policy.patterns import BadPattern, Pattern, parse
from relay.policy.streams import Size, domain_text

_LARGEST = 1 << 40  # octets; more than any message has
_FIELD_NAME = re.compile(r"[!-9;-~]+", re.ASCII)  # RFC 5322 3.6.8
_HOURS = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)", re.ASCII)
# Without these a message is none, or another than the one its author wrote.
_NEEDED = ("from", "date", "message-id", "received", "dkim-signature", "mime-version", "content-type")
_NEEDED_TOO = ("content-transfer-encoding",)
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def pattern(value: object, read: Callable[[str], Pattern] = parse) -> Pattern:
    """Exact text, `*` as wildcard, or `re:` and an RE2 pattern."""
    if not isinstance(value, str):
        raise Wrong("type", f'{shown(value)} is not text, such as "exact", "begin*" or \'re:^[0-9]+$\'')
    try:
        return read(value)
    except BadPattern as error:
        raise Wrong("pattern", f"{shown(value)} {error}") from None


def subject_pattern(value: object) -> Pattern:
    """Plain text means these words anywhere."""
    return pattern(value, lambda text: parse(text, words=True))


def domain_pattern(value: object) -> Pattern:
    """A domain, or a wildcard or RE2 pattern of its A-label."""
    plain = isinstance(value, str) and "*" not in value and not value.startswith("re:")
    return pattern(domain(value) if plain else value, lambda text: parse(domain_text(text)))


def sender_pattern(value: object) -> Pattern:
    """An address of MAIL FROM, or its domain; `<>` is the null one."""
    return pattern(value) if isinstance(value, str) and ("@" in value or value == "<>") else domain_pattern(value)


def attachment(value: object) -> bool | list[Pattern]:
    """With one or without; or a wildcard pattern of its file name."""
    if isinstance(value, bool):
        return value
    return [pattern(one) for one in (value if isinstance(value, list) and value else [value])]


def size_range(value: object) -> Size:
    """`>100KB` over it, `<10KB` under it, `10KB-1MB` from the one to the other; 1 KB is 1,024 octets."""
    text = value if isinstance(value, str) else ""
    try:
        if text.startswith(">"):
            return Size(size(text[1:].strip()) + 1, _LARGEST)
        if text.startswith("<"):
            return Size(0, size(text[1:].strip()) - 1)
        least, dash, most = text.partition("-")
        if dash and (found := Size(size(least.strip()), size(most.strip()))) and found.least <= found.most:
            return found
    except Wrong:
        pass
    raise Wrong("size", f'{shown(value)} is no range of sizes, such as ">100KB", "<10KB" or "10KB-1MB"')


def header_name(value: object) -> str:
    """The name of a header field, as written."""
    if isinstance(value, str) and _FIELD_NAME.fullmatch(value):
        return value
    raise Wrong("header", f'{shown(value)} is no name of a header field, such as "X-Campaign"')


def removable(value: object) -> str:
    """The name of a header field that a message can do without, in lower case."""
    name = header_name(value).lower()
    if name in _NEEDED + _NEEDED_TOO:
        raise Wrong("header", f"{shown(value)} is needed: without it the message would be broken")
    return name


def hours(value: object) -> tuple[int, int]:
    """`09:00-20:30` in minutes of the day; 24:00 is its end."""
    match = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong("hours", f'{shown(value)} are no hours of a day, such as "09:00-20:30"')
    opens, closes = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if max(opens, closes) > 24 * 60:
        raise Wrong("hours", f'"{value}" is later than 24:00, the end of a day')
    if opens >= closes:
        raise Wrong("hours", f'"{value}" never opens: it ends before it begins; "22:00-24:00" ends with the day')
    return opens, closes


Exact = Annotated[list[Annotated[Pattern, *text_of(pattern, "crm-*")]], *ALONE_OR_LIST, Field(min_length=1)]
Subjects = Annotated[list[Annotated[Pattern, *text_of(subject_pattern, "order")]], *ALONE_OR_LIST, Field(min_length=1)]
Domains = Annotated[
    list[Annotated[Pattern, *text_of(domain_pattern, "news.shop.example")]], *ALONE_OR_LIST, Field(min_length=1)
]
Senders = Annotated[
    list[Annotated[Pattern, *text_of(sender_pattern, "bounces@shop.example")]], *ALONE_OR_LIST, Field(min_length=1)
]
Sizes = Annotated[list[Annotated[Size, *text_of(size_range, ">100KB")]], *ALONE_OR_LIST, Field(min_length=1)]
Hours = Annotated[list[Annotated[tuple[int, int], *text_of(hours, "09:00-20:30")]], *ALONE_OR_LIST, Field(min_length=1)]
Attachment = Annotated[
    bool | list[Pattern],
    PlainValidator(attachment),
    WithJsonSchema(
        {"anyOf": [{"type": "boolean"}, {"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    ),
]
HeaderName = Annotated[str, *text_of(header_name, "X-Campaign")]
Removable = Annotated[str, *text_of(removable, "X-Mailer")]
OnContradiction = Literal["trust", "flag", "reroute", "enforce", "refuse"]


class MatchTable(Section):
    """When a rule holds: all keys must. Case never matters."""

    credential: Exact | None = setting(None, "who hands it in")
    header: dict[HeaderName, Exact] = setting({}, "a field by its name; * alone: it is there")
    from_domain: Domains | None = setting(None, "of the From address; *.shop.example for those under it")
    sender: Senders | None = setting(None, "MAIL FROM: an address or a domain")
    recipient_domain: Domains | None = setting(None, "of any recipient")
    subject: Subjects | None = setting(None, "plain text: these words, side by side, anywhere")
    size: Sizes | None = setting(None, "as handed in")
    attachment: Attachment | None = setting(None, "true, false, or a file name such as *.pdf")


class StreamTable(Section):
    """One stream. Without match it is reached by name alone."""

    name: Name
    match: MatchTable | None = None
    mail_class: ClassName | None = setting(None, "else the credential's", alias="class")
    brand: str = setting("", "else the credential's, else the From domain's")
    topic: Name | None = setting(None, "of the brand")
    priority: int = setting(
        0, "within its class 9 goes first; an app may ask for less of a message (MT-PRIORITY)", ge=-9, le=9
    )
    rate: Rate | None = None
    valid_for: PositiveDuration | None = setting(None, "worthless after it")
    send_window: str = setting("", "a [window.NAME]")
    review_by: date | None = setting(None, "after this day it is listed for review")
    on_contradiction: OnContradiction | None = setting(None, "when the evidence says another class")
    unsubscribe: Literal["keep", "replace"] = setting(
        "keep", "the List-Unsubscribe its app sets; replace: by ours, which tells the app's as well"
    )
    also_remove: list[Removable] = setting([], "header fields that do not leave")


class WindowTable(Section):
    """When mail may be sent, in local time."""

    tz: Timezone
    closed: list[date] = setting([], "whole days")

    def opens(self) -> Iterator[tuple[str, frozenset[str]]]:
        """(key, the days it stands for) of all that is set."""
        for name in type(self).model_fields:
            if name not in WindowTable.model_fields and getattr(self, name) is not None:
                yield name.replace("_", "-"), _days(*name.split("_"))


def _days(first: str, last: str = "") -> frozenset[str]:
    start, count = DAYS.index(first), (DAYS.index(last or first) - DAYS.index(first)) % 7
    return frozenset(DAYS[(start + step) % 7] for step in range(count + 1))


_RANGES = (*DAYS, *(f"{first}_{last}" for first, last in product(DAYS, DAYS) if first != last))
_DAY_KEYS: Any = {name: (Hours | None, setting(None, alias=name.replace("_", "-"))) for name in _RANGES}
if TYPE_CHECKING:
    Window = WindowTable
else:  # with a key for every day and every range of days
    Window = create_model("Window", __base__=WindowTable, **_DAY_KEYS)


class StreamDefaults(Section):
    """For streams that do not say otherwise, and for mail no rule matches."""

    on_contradiction: OnContradiction = "flag"


class StreamsFile(Section):
    """policies/streams.toml"""

    default: StreamDefaults = StreamDefaults()
    window: dict[Name, Window] = setting({})
    stream: list[StreamTable] = setting([])
