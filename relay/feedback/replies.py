"""What a failed reply means: one of 23 categories, and whether trying again could help. Pure.

Suppression, back-off and the words we write to senders follow the category, never the bare code (DESIGN, invariant 7):
providers answer 550 5.7.1 to an unknown user, a poor reputation and a missing DKIM signature alike. So the order is

1. FIRM: enhanced status codes that mean one thing wherever they are seen (RFC 3463, 5248, 7293, 7372, 7505, 8617,
   8689), after the few that a provider defines differently (PROVIDERS);
2. TEXTS: the clearest words, those that blame us first, so that a block on our own IP never condemns an address;
3. WEAK: enhanced codes under which servers say all sorts of things, and those that would condemn an address;
4. BASIC: the three digits together with the command they answer (RFC 5321 4.3.2): 552 to RCPT TO is a full mailbox and
   temporary (as RFC 1123 5.3.2 already had to say), after the final dot it is the size and permanent.

A bare 550 is `other`: it may mean anything (RFC 5321 4.2.3: "not found, no access, or rejected for policy reasons").
"""

import re
from dataclasses import dataclass
from enum import Enum, StrEnum

from relay.outcome import Reply

TEXT_LIMIT = 1000  # characters of a reply looked at: its verdict stands in front, and patterns must not meet megabytes


class Reach(Enum):
    """Who or what the failure is about, and so what else would fail the same way."""

    RECIPIENT = "recipient"
    SENDER = "sender"
    MESSAGE = "message"
    CONNECTION = "connection"
    OTHER = "other"


class Category(StrEnum):
    BAD_MAILBOX = "bad-mailbox"
    INACTIVE_MAILBOX = "inactive-mailbox"
    BAD_DOMAIN = "bad-domain"
    RECIPIENT_REFUSED = "recipient-refused"
    QUOTA = "quota"
    SUPPRESSED = "suppressed"
    BAD_SENDER = "bad-sender"
    AUTH_FAILURE = "auth-failure"
    POLICY_BLOCK = "policy-block"
    REPUTATION_BLOCK = "reputation-block"
    RATE_LIMITED = "rate-limited"
    GREYLISTED = "greylisted"
    RELAY_DENIED = "relay-denied"
    SPAM_BLOCK = "spam-block"
    CONTENT_ERROR = "content-error"
    MESSAGE_TOO_LARGE = "message-too-large"
    EXPIRED = "expired"
    PROTOCOL_ERROR = "protocol-error"
    REMOTE_ERROR = "remote-error"
    DNS_FAILURE = "dns-failure"
    NETWORK_ERROR = "network-error"
    TLS_FAILURE = "tls-failure"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a category says: whom it is about, and whether it condemns the address (when the reply is permanent)."""

    reach: Reach
    condemns: bool = False


MEANINGS: dict[Category, Meaning] = {
    Category.BAD_MAILBOX: Meaning(Reach.RECIPIENT, condemns=True),
    Category.INACTIVE_MAILBOX: Meaning(Reach.RECIPIENT, condemns=True),
    Category.BAD_DOMAIN: Meaning(Reach.RECIPIENT, condemns=True),
    Category.RECIPIENT_REFUSED: Meaning(Reach.RECIPIENT),
    Category.QUOTA: Meaning(Reach.RECIPIENT),
    Category.SUPPRESSED: Meaning(Reach.RECIPIENT),
    Category.BAD_SENDER: Meaning(Reach.SENDER),
    Category.AUTH_FAILURE: Meaning(Reach.SENDER),
    Category.POLICY_BLOCK: Meaning(Reach.SENDER),
    Category.REPUTATION_BLOCK: Meaning(Reach.CONNECTION),
    Category.RATE_LIMITED: Meaning(Reach.CONNECTION),
    Category.GREYLISTED: Meaning(Reach.CONNECTION),
    Category.RELAY_DENIED: Meaning(Reach.CONNECTION),
    Category.SPAM_BLOCK: Meaning(Reach.MESSAGE),
    Category.CONTENT_ERROR: Meaning(Reach.MESSAGE),
    Category.MESSAGE_TOO_LARGE: Meaning(Reach.MESSAGE),
    Category.EXPIRED: Meaning(Reach.MESSAGE),
    Category.PROTOCOL_ERROR: Meaning(Reach.CONNECTION),
    Category.REMOTE_ERROR: Meaning(Reach.CONNECTION),
    Category.DNS_FAILURE: Meaning(Reach.CONNECTION),
    Category.NETWORK_ERROR: Meaning(Reach.CONNECTION),
    Category.TLS_FAILURE: Meaning(Reach.CONNECTION),
    Category.OTHER: Meaning(Reach.OTHER),
}

_C = Category

# subject.detail of the enhanced code (its class is the reply's own hardness): IANA's registry, and the RFC of each.
FIRM: dict[str, Category] = {
    "1.3": _C.BAD_MAILBOX,  # RFC 3463: bad destination mailbox address syntax
    "1.4": _C.BAD_MAILBOX,  # ambiguous
    "1.6": _C.INACTIVE_MAILBOX,  # moved, no forwarding address
    "1.7": _C.BAD_SENDER,  # bad sender's mailbox address syntax
    "1.8": _C.BAD_SENDER,  # bad sender's system address
    "1.10": _C.BAD_DOMAIN,  # RFC 7505: null MX
    "2.2": _C.QUOTA,  # mailbox full
    "2.3": _C.MESSAGE_TOO_LARGE,  # longer than the mailbox's limit
    "2.4": _C.REMOTE_ERROR,  # mailing list expansion problem
    "3.1": _C.REMOTE_ERROR,  # mail system full
    "3.4": _C.MESSAGE_TOO_LARGE,  # too big for the system
    "4.1": _C.NETWORK_ERROR,  # no answer from host
    "4.2": _C.NETWORK_ERROR,  # bad connection
    "4.3": _C.DNS_FAILURE,  # directory server failure
    "4.5": _C.REMOTE_ERROR,  # mail system congestion
    "4.6": _C.NETWORK_ERROR,  # routing loop
    "4.7": _C.EXPIRED,  # delivery time expired
    "5.3": _C.RATE_LIMITED,  # too many recipients
    "6.7": _C.CONTENT_ERROR,  # RFC 6531: non-ASCII addresses not permitted
    "6.9": _C.CONTENT_ERROR,  # RFC 6531: UTF-8 header, and the next host cannot take it
    "7.8": _C.AUTH_FAILURE,  # RFC 4954, 5248: authentication credentials invalid
    "7.10": _C.TLS_FAILURE,  # RFC 5248: encryption needed
    "7.11": _C.TLS_FAILURE,  # RFC 4954: encryption required for this mechanism
    "7.12": _C.AUTH_FAILURE,  # RFC 4954: password transition needed
    "7.14": _C.AUTH_FAILURE,  # RFC 5248: trust relationship required
    "7.16": _C.MESSAGE_TOO_LARGE,  # RFC 6710: too big for its priority
    "7.17": _C.INACTIVE_MAILBOX,  # RFC 7293: mailbox owner has changed
    "7.18": _C.INACTIVE_MAILBOX,  # RFC 7293: domain owner has changed
    "7.20": _C.AUTH_FAILURE,  # RFC 7372: no passing DKIM signature
    "7.21": _C.AUTH_FAILURE,  # no acceptable DKIM signature
    "7.22": _C.AUTH_FAILURE,  # no author-matched DKIM signature
    "7.23": _C.AUTH_FAILURE,  # SPF failed
    "7.24": _C.AUTH_FAILURE,  # SPF error
    "7.25": _C.AUTH_FAILURE,  # reverse DNS failed
    "7.26": _C.AUTH_FAILURE,  # several checks failed
    "7.27": _C.BAD_SENDER,  # RFC 7505: the sender's domain has a null MX
    "7.28": _C.RATE_LIMITED,  # mail flood detected (IANA registry)
    "7.29": _C.AUTH_FAILURE,  # RFC 8617: ARC failed
    "7.30": _C.TLS_FAILURE,  # RFC 8689: REQUIRETLS support required
}

WEAK: dict[str, Category] = {
    "1.1": _C.BAD_MAILBOX,  # bad destination mailbox address
    "1.2": _C.BAD_DOMAIN,  # bad destination system address
    "2.1": _C.INACTIVE_MAILBOX,  # mailbox disabled
    "3.0": _C.REMOTE_ERROR,
    "3.2": _C.REMOTE_ERROR,  # system not accepting network messages
    "3.3": _C.PROTOCOL_ERROR,  # system not capable of selected features
    "3.5": _C.REMOTE_ERROR,  # system incorrectly configured
    "4.0": _C.NETWORK_ERROR,
    "4.4": _C.DNS_FAILURE,  # unable to route
    "7.2": _C.RECIPIENT_REFUSED,  # mailing list expansion prohibited
    "7.13": _C.INACTIVE_MAILBOX,  # RFC 5248: user account disabled
}

# Whole subjects, when neither words nor detail say more.
SUBJECTS: dict[str, Category] = {"5": _C.PROTOCOL_ERROR, "6": _C.CONTENT_ERROR, "7": _C.POLICY_BLOCK}

# Providers that use a code against the registry, or beyond it. Google: "SMTP error reference", answer 3726730 of its
# Workspace help; Microsoft: "NDRs and SMTP errors in Exchange Online"; Yahoo: "SMTP error codes" of its sender hub.
PROVIDERS: dict[str, dict[str, Category]] = {
    "google": {
        "7.27": _C.AUTH_FAILURE,  # SPF did not pass
        "7.29": _C.TLS_FAILURE,  # not sent over TLS
        "7.30": _C.AUTH_FAILURE,  # DKIM did not pass
        "7.31": _C.AUTH_FAILURE,  # DMARC alignment
        "7.40": _C.AUTH_FAILURE,  # no DMARC record
    },
    "microsoft": {
        "1.10": _C.BAD_MAILBOX,  # recipient not found in the directory
        "7.23": _C.AUTH_FAILURE,
        "7.508": _C.RATE_LIMITED,
        "7.509": _C.AUTH_FAILURE,  # DMARC
        "7.511": _C.REPUTATION_BLOCK,
        "7.515": _C.AUTH_FAILURE,
    },
    "yahoo": {"7.9": _C.POLICY_BLOCK},
}

_ADDRESSEE = r"(?:user|mailbox|recipients?|account|addressee|local[- ]part)"
_ABSENT = r"(?:unknown|not found|not known|doe?s ?n[o']t exist|not exist|is invalid|not valid|nonexistent|unavailable)"
_GONE = r"(?:disabled|suspended|deactivated|inactive|not active|closed|locked|no longer|has moved|terminated|deleted)"
_NO = r"(?:refused|rejected|denied|blocked|not (?:allowed|permitted|authori[sz]ed))"
_DOMAIN = r"(?:destination |recipient )?(?:host|domain)"

# In this order: what blames the sending side, then what blames the message, then what is about the recipient.
# Gaps between words are bounded, so that no reply makes a search slow.
_TEXTS: tuple[tuple[Category, tuple[str, ...]], ...] = (
    (_C.GREYLISTED, (r"gr[ae]y-?list",)),
    # Lists of domains and links in the message, not of addresses that send it.
    (_C.SPAM_BLOCK, (r"\b(?:uribl|surbl|dbl\.spamhaus)\b", r"(?:url|link|domain)s? .{0,30}(?:black|block)-?list")),
    (
        _C.REPUTATION_BLOCK,
        (
            r"(?:black|block|deny)[- ]?list",
            r"\bdnsbls?\b|\brbls?\b|spamhaus|barracudacentral",
            r"\b(?:poor|bad|low) reputation|reputation of (?:your|the|this)",
            r"\b(?:sending|source|client|your) (?:ip|host|server)\b.{0,60}\b(?:blocked|banned|rejected|listed)",
            r"\bip (?:address )?(?:\S+ )?(?:is |was |has been )?(?:temporarily )?(?:blocked|banned|rejected)",
            r"blocked (?:using|by) \S+\.\S+",
            r"banned sending ip|open (?:relay|proxy)|client host rejected",
        ),
    ),
    (
        _C.AUTH_FAILURE,
        (
            r"\bspf\b|\bdkim\b|\bdmarc\b|\bptr\b|\brdns\b",
            r"reverse (?:dns|lookup|mapping)",
            r"\bhelo\b.{0,40}(?:resolve|reject|invalid)",
            r"authenticat\w+ (?:is )?(?:required|needed|failed|failure|checks?)|unauthenticated|not authenticated",
        ),
    ),
    (
        _C.RATE_LIMITED,
        (
            r"too many (?!error|hop|bad)|rate[- ]?limit|throttl|concurrent|slow down",
            r"too (?:fast|quickly|often|frequent)",
            r"(?:rate|volume|frequency) .{0,30}(?:limit|exceed|high)|(?:unusual|excessive|high) (?:rate|volume)",
            r"(?:hourly|daily|sending|message|connection|relay) (?:quota|limit)",
            r"messages per (?:session|connection|hour|day)",
        ),
    ),
    (
        _C.MESSAGE_TOO_LARGE,
        (
            r"(?:message|mail|attachment)s?\b.{0,40}(?:too (?:big|large|long)|exceed\w* .{0,40}size)",
            r"(?:message|mail) (?:size|length) .{0,40}(?:exceed|limit|over)|size limit",
        ),
    ),
    (
        _C.QUOTA,
        (
            r"over ?quota|quota (?:is )?full|quota .{0,20}exceed|exceed\w* .{0,20}quota",
            r"(?:mailbox|inbox|account|storage)\b.{0,30}\bfull\b|out of storage|not enough (?:storage|space)",
        ),
    ),
    (_C.SUPPRESSED, (r"suppress(?:ed|ion)",)),
    (
        _C.RELAY_DENIED,
        (r"relay\w*\b.{0,20}(?:denied|not (?:permitted|allowed)|prohibited|refused)", r"(?:not|n't|unable to) relay"),
    ),
    (
        _C.BAD_SENDER,
        (
            rf"sender\b.{{0,80}}(?:{_NO}|does not exist|invalid|unknown|not found|unroutable|verif)",
            r"domain of sender|(?:invalid|unroutable|bad) (?:sender|return path)",
            r"\bmail from (?:address|domain)\b.{0,40}(?:invalid|rejected|denied)",
        ),
    ),
    (
        _C.CONTENT_ERROR,
        (
            r"\bvirus|malware|infected|trojan|attachment",
            r"malformed|\brfc ?\d{3,4}[- ]complian|bare (?:cr|lf|newline)|duplicate header",
        ),
    ),
    (
        _C.SPAM_BLOCK,
        (
            r"\bspam|unsolicited|\bjunk\b|phish|\bbulk mail",
            r"message content|content (?:was )?(?:rejected|blocked|refused)",
        ),
    ),
    (
        _C.TLS_FAILURE,
        (
            r"\bstarttls\b|must .{0,20}\btls\b|certificate|encryption (?:is )?(?:required|needed)",
            r"\btls\b.{0,40}(?:required|fail|not available|unavailable|negotiat|handshake)",
        ),
    ),
    (
        _C.EXPIRED,
        (
            r"(?:message|delivery time|queue|retry (?:time|timeout))\b.{0,30}expired",
            r"(?:delivery|queue|retry) (?:time|timeout).{0,10}exceeded|gave up|giving up",
        ),
    ),
    (
        _C.RECIPIENT_REFUSED,
        (
            r"(?:refused|rejected|blocked|filtered) by (?:the )?(?:recipient|user|addressee)",
            r"recipient(?:'s)? preferences|message filtered",
            r"(?:recipient|user) (?:has |does not |do not |is not ).{0,20}(?:accept|blocked|allow)",
        ),
    ),
    (
        _C.INACTIVE_MAILBOX,
        (
            rf"{_ADDRESSEE}\b.{{0,60}}\b{_GONE}|{_GONE} {_ADDRESSEE}",
            r"no longer (?:valid|available|on server|in use|works)",
        ),
    ),
    (
        _C.BAD_DOMAIN,
        (
            r"\b(?:host|domain)\b.{0,40}(?:unknown|not found|does not exist|not exist|invalid)|nxdomain|null mx",
            rf"(?:unknown|invalid|no such|bad) {_DOMAIN}",
            r"(?:does not|doesn't|not) accept(?:ing)? (?:any |network )?(?:e?mail|messages)",
        ),
    ),
    (
        _C.BAD_MAILBOX,
        (
            rf"(?:no such|unknown|invalid|non-?existent|unrecogni[sz]ed|bad) (?:{_ADDRESSEE}|address|person)",
            rf"{_ADDRESSEE}\b.{{0,100}}\b{_ABSENT}|address (?:does not exist|unknown|not found)",
            rf"no (?:mailbox|valid recipients?|account)\b|not a (?:valid|known) (?:{_ADDRESSEE}|address)",
            r"(?:doesn't|does not) have an? \S+ account",
        ),
    ),
    (
        _C.DNS_FAILURE,
        (
            r"\bdns\b|servfail|no (?:mx|a) records?|name (?:service|server) error",
            r"(?:can ?not|unable to|could not) resolve",
        ),
    ),
    (
        _C.NETWORK_ERROR,
        (
            r"connection (?:timed out|refused|reset|lost|closed|dropped)",
            r"time(?:d )?[- ]?out|unreachable|no route|too many hops|mail loop",
        ),
    ),
    (
        _C.REMOTE_ERROR,
        (
            r"internal .{0,20}error|configuration error|mailer error|local error|milter",
            r"(?:server|system|service|resources?) .{0,20}(?:unavailable|not available|busy|full|overloaded|error)",
            r"temporar\w+ .{0,20}(?:failure|problem|error|unavailable)",
            r"disk full|insufficient .{0,20}(?:storage|resources|memory)",
        ),
    ),
    (
        _C.POLICY_BLOCK,
        (r"\bpolicy|policies|prohibited|access denied|forbidden|security|not (?:allowed|permitted|authori[sz]ed)",),
    ),
    (
        _C.PROTOCOL_ERROR,
        (
            r"syntax error|bad sequence|out of sequence|not implemented|need (?:rcpt|mail|helo)",
            r"(?:unrecogni[sz]ed|unknown|unimplemented) command",
        ),
    ),
)
TEXTS = tuple((category, re.compile("|".join(patterns))) for category, patterns in _TEXTS)

# (code, command) or (code, ""): any command. RFC 5321 4.2.3 unless noted.
BASIC: dict[tuple[int, str], Category] = {
    (421, ""): _C.REMOTE_ERROR,
    (451, ""): _C.REMOTE_ERROR,
    (452, ""): _C.REMOTE_ERROR,
    (452, "RCPT"): _C.RATE_LIMITED,  # 4.5.3.1.10: too many recipients
    (454, ""): _C.AUTH_FAILURE,  # RFC 4954 6
    (500, ""): _C.PROTOCOL_ERROR,
    (501, ""): _C.PROTOCOL_ERROR,
    (502, ""): _C.PROTOCOL_ERROR,
    (503, ""): _C.PROTOCOL_ERROR,
    (504, ""): _C.PROTOCOL_ERROR,
    (521, ""): _C.BAD_DOMAIN,  # RFC 7504: this host never accepts mail
    (530, ""): _C.AUTH_FAILURE,  # RFC 4954 6
    (534, ""): _C.AUTH_FAILURE,
    (535, ""): _C.AUTH_FAILURE,
    (538, ""): _C.AUTH_FAILURE,
    (551, ""): _C.RELAY_DENIED,  # 3.4: user not local
    (552, ""): _C.MESSAGE_TOO_LARGE,
    (552, "RCPT"): _C.QUOTA,
    (553, "MAIL"): _C.BAD_SENDER,
    (554, "CONNECT"): _C.REPUTATION_BLOCK,  # 3.1: no service for you here
    (555, ""): _C.PROTOCOL_ERROR,
    (556, ""): _C.BAD_DOMAIN,  # RFC 7504: the domain accepts no mail
}

# What a step's failure means when its reply says nothing more.
COMMANDS: dict[str, Category] = {
    "DNS": _C.DNS_FAILURE,
    "STARTTLS": _C.TLS_FAILURE,
    "AUTH": _C.AUTH_FAILURE,
}

# "5.1.1" in a reply that has none in its proper place (qmail writes "(#5.1.1)"); never the middle of an IP address.
_BURIED = re.compile(r"(?<![\w.])[245]\.(\d{1,3}\.\d{1,3})(?![\w.]*\d)")
_ENHANCED = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})")


def classify(reply: Reply, command: str, provider: str = "") -> tuple[Category, bool]:
    """The category of a failed reply to `command` (as Outcome.command), and whether it is permanent.

    Permanent means that the same message to the same recipient will not be taken later: the code and the enhanced code
    both say so, and it is no full mailbox told at RCPT TO. `provider` is a name in PROVIDERS, or "".
    """
    text = " ".join(reply.text[:TEXT_LIMIT].casefold().replace("’", "'").split())
    detail = _detail(reply, text)
    category = _decide(reply.code, detail, text, command, provider)
    lenient = category is Category.QUOTA and reply.code == 552 and command == "RCPT"
    permanent = reply.permanent and not reply.enhanced.startswith("4") and not lenient
    return category, permanent


def condemns(category: str, permanent: bool) -> bool:
    """May this failure suppress the address? Never for what is the sender's, message's or connection's fault."""
    return permanent and MEANINGS[Category(category)].condemns


def _detail(reply: Reply, text: str) -> str:
    """ "1.1" of 5.1.1; "" if the reply has no enhanced code."""
    found = _ENHANCED.fullmatch(reply.enhanced) or _BURIED.search(text)
    return found[1] if found else ""


def _decide(code: int, detail: str, text: str, command: str, provider: str) -> Category:
    told = PROVIDERS.get(provider, {}).get(detail) or FIRM.get(detail)
    if told is not None:
        return told
    for category, pattern in TEXTS:
        if pattern.search(text):
            return category
    return (
        WEAK.get(detail)
        or SUBJECTS.get(detail.partition(".")[0])
        or BASIC.get((code, command))
        or COMMANDS.get(command)
        or BASIC.get((code, ""))
        or Category.OTHER
    )
