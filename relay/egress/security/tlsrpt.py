"""TLS reports (RFC 8460): who wants one, what is counted, and the report itself. Pure."""

import gzip
import re
from base64 import encodebytes
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from textwrap import wrap
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

MAX_ADDRESSES = 5  # of one record that get the report; nobody needs more, and each is work a stranger makes us do
MAX_DETAILS = 100  # failures told apart in one policy of a report; what is beyond counts in the total only
MAX_TEXT = 200  # characters of a reason in a report

_MAILTO = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")


@dataclass(frozen=True, slots=True)
class Applied:
    """A policy that sessions were held to.

    kind     tlsa | sts | no-policy-found              domain  whose it is: of DANE the name its records stand under
    strings  the policy as it was published            mx      the patterns of an MTA-STS policy
    """

    kind: str
    domain: str
    strings: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A session that failed, or a policy that could not be had.

    result  a type of 4.3                 source, mx, address  ours, their host's name and address; "" where there was none
    reason  more about it, in words
    """

    result: str
    mx: str = ""
    address: str = ""
    source: str = ""
    reason: str = ""


@dataclass(slots=True)
class Counts:
    """Of one policy on one day: sessions that were fine, and failures by kind."""

    good: int = 0
    bad: int = 0
    failures: Counter[Failure] = field(default_factory=Counter)

    def add(self, failure: Failure | None, count: int = 1) -> None:
        if failure is None:
            self.good += count
            return
        self.bad += count
        if failure in self.failures or len(self.failures) < MAX_DETAILS:
            self.failures[failure] += count


# ------------------------------------------------------------------------------------------------------ who wants one


def addresses(texts: Iterable[str]) -> tuple[str, ...]:
    """Where reports go, by the TXT records of _smtp._tls.DOMAIN: `mailto:` with its address decoded, and `https:` URLs.
    None where there are no records, or two (3)."""
    ours = [text for text in texts if re.match(r"v=TLSRPTv1[ \t]*;", text)]
    if len(ours) != 1:
        return ()
    for part in ours[0].split(";")[1:]:
        name, equals, value = part.strip(" \t").partition("=")
        if equals and name.strip(" \t") == "rua":
            good = [uri for each in value.split(",")[:MAX_ADDRESSES] if (uri := _uri(each.strip(" \t")))]
            return tuple(dict.fromkeys(good))
    return ()


def _uri(text: str) -> str:
    """A URI we can send to, else ""."""
    scheme, _, rest = text.partition(":")
    if scheme.lower() == "mailto":
        address = unquote(rest.partition("?")[0])
        return f"mailto:{address}" if _MAILTO.fullmatch(address) else ""
    if scheme.lower() == "https" and text.isascii() and text.isprintable() and " " not in text:
        try:
            parts = urlsplit(text)
            usable = bool(parts.hostname) and not parts.username and parts.port in (None, 443)
        except ValueError:
            return ""
        return text if usable else ""
    return ""


# --------------------------------------------------------------------------------------------------------- the report


@dataclass(frozen=True, slots=True)
class About:
    """What a report says of itself. `day` is the UTC day it covers, "2026-11-22"; `organisation` our host name; `node`
    tells reports of nodes with the same host name apart."""

    day: str
    domain: str
    organisation: str
    contact: str
    node: str

    @property
    def identifier(self) -> str:
        """The same whenever it is made, so that a receiver who gets it twice knows."""
        return f"{self.day}.{self.domain}.{self.node}@{self.organisation}"

    @property
    def span(self) -> tuple[datetime, datetime]:
        begin = datetime.fromisoformat(self.day).replace(tzinfo=UTC)
        return begin, begin + timedelta(days=1, seconds=-1)

    @property
    def file_name(self) -> str:
        """5.1."""
        begin, end = (int(each.timestamp()) for each in self.span)
        unique = "".join(c for c in self.node if c.isascii() and c.isalnum())
        return f"{self.organisation}!{self.domain}!{begin}!{end}!{unique or 1}.json.gz"


def report(about: About, counted: Mapping[Applied, Counts]) -> bytes:
    """The report, JSON by 4.4, compressed."""
    begin, end = (each.strftime("%Y-%m-%dT%H:%M:%SZ") for each in about.span)
    facts = {
        "organization-name": about.organisation,
        "date-range": {"start-datetime": begin, "end-datetime": end},
        "contact-info": about.contact,
        "report-id": about.identifier,
        "policies": [_policy(applied, counts) for applied, counts in counted.items()],
    }
    return gzip.compress(orjson.dumps(facts), mtime=0)


def _policy(applied: Applied, counts: Counts) -> dict[str, Any]:
    policy: dict[str, Any] = {"policy-type": applied.kind, "policy-domain": applied.domain}
    if applied.strings:
        policy["policy-string"] = list(applied.strings)
    if applied.mx:
        policy["mx-host"] = list(applied.mx)
    summary = {"total-successful-session-count": counts.good, "total-failure-session-count": counts.bad}
    told: dict[str, Any] = {"policy": policy, "summary": summary}
    if counts.failures:
        told["failure-details"] = [_detail(failure, count) for failure, count in counts.failures.items()]
    return told


def _detail(failure: Failure, count: int) -> dict[str, Any]:
    facts: dict[str, Any] = {"result-type": failure.result}
    named = (
        ("sending-mta-ip", failure.source),
        ("receiving-mx-hostname", failure.mx),
        ("receiving-ip", failure.address),
        ("failure-reason-code", failure.reason[:MAX_TEXT]),
    )
    facts |= {name: value for name, value in named if value}
    return facts | {"failed-session-count": count}


def letter(about: About, to: str, content: bytes, message_id: str, now: int) -> bytes:
    """The report as mail (5.3): a multipart/report, CRLF line ends. `now` in ms."""
    date = format_datetime(datetime.fromtimestamp(now / 1000, UTC))
    boundary = f"=_{about.day}_tlsrpt"  # neither words of ours nor base64 have "=_" at a line's beginning
    words = wrap(
        f"This is a TLS report (RFC 8460) of {about.organisation} about mail to {about.domain} on {about.day} (UTC): "
        "how many connections were made, under which policy, and what failed. It is for a program to read; whoever "
        f"wants no more of them removes the TXT record _smtp._tls.{about.domain}.",
        76,
    )
    lines = [
        f"From: Postlane <{about.contact}>",
        f"To: <{to}>",
        f"Date: {date}",
        f"Message-ID: {message_id}",
        f"Subject: Report Domain: {about.domain}",
        f" Submitter: {about.organisation}",
        f" Report-ID: <{about.identifier}>",
        f"TLS-Report-Domain: {about.domain}",
        f"TLS-Report-Submitter: {about.organisation}",
        "TLS-Required: No",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type="tlsrpt";',
        f' boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        *words,
        "",
        f"--{boundary}",
        "Content-Type: application/tlsrpt+gzip",
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment;",
        f' filename="{about.file_name}"',
        "",
        *_base64(content),
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode("ascii")


def _base64(content: bytes) -> Sequence[str]:
    return encodebytes(content).decode("ascii").splitlines()
