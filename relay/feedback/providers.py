"""What single providers mean by codes and marks of their own. Pure.

Sources: Google "SMTP error reference" (answer 3726730 of its Workspace help); Microsoft "NDRs and SMTP errors in Exchange
Online" and "Troubleshooting" of its postmaster pages; Yahoo "SMTP error codes" of its sender hub; Apple "Postmaster
information for iCloud Mail"; Comcast, GoDaddy, Orange: their postmaster pages.
"""

from relay.feedback.taxonomy import Category

_C = Category

# subject.detail of the enhanced code, where a provider uses it against the registry, or beyond it.
CODES: dict[str, dict[str, Category]] = {
    "google": {
        "4.5": _C.RATE_LIMITED,  # daily sending limit
        "7.27": _C.AUTH_FAILURE,  # SPF did not pass
        "7.28": _C.RATE_LIMITED,
        "7.29": _C.TLS_FAILURE,  # not sent over TLS
        "7.30": _C.AUTH_FAILURE,  # DKIM did not pass
        "7.31": _C.AUTH_FAILURE,  # DMARC alignment
        "7.32": _C.AUTH_FAILURE,  # From not aligned with SPF or DKIM
        "7.40": _C.AUTH_FAILURE,  # no DMARC record
    },
    "microsoft": {
        "1.10": _C.BAD_MAILBOX,  # recipient not found in the directory
        "1.90": _C.RATE_LIMITED,  # the sender's daily limit of recipients
        "1.351": _C.BAD_MAILBOX,  # the server behind says: unknown recipient
        "2.121": _C.RATE_LIMITED,  # the recipient's hourly limit
        "2.122": _C.RATE_LIMITED,
        "4.310": _C.BAD_DOMAIN,
        "4.312": _C.DNS_FAILURE,
        "4.316": _C.EXPIRED,  # expired, connection refused
        "7.23": _C.AUTH_FAILURE,
        "7.54": _C.RELAY_DENIED,  # not an accepted domain
        "7.64": _C.RELAY_DENIED,  # tenant attribution
        "7.124": _C.RECIPIENT_REFUSED,  # not in the list of allowed senders
        "7.133": _C.RECIPIENT_REFUSED,  # a group takes mail from inside only
        "7.134": _C.RECIPIENT_REFUSED,
        "7.136": _C.RECIPIENT_REFUSED,
        "7.501": _C.SPAM_BLOCK,
        "7.502": _C.SPAM_BLOCK,
        "7.503": _C.SPAM_BLOCK,
        "7.508": _C.RATE_LIMITED,
        "7.509": _C.AUTH_FAILURE,  # DMARC
        "7.511": _C.REPUTATION_BLOCK,
        "7.512": _C.CONTENT_ERROR,  # no From field
        "7.515": _C.AUTH_FAILURE,
        **{f"7.{detail}": _C.REPUTATION_BLOCK for detail in range(606, 650)},  # banned sending IP
    },
    "yahoo": {"7.9": _C.POLICY_BLOCK},
}

# Marks that only this provider writes. The host that answered says it better; a DSN often does not name it.
MARKS: tuple[tuple[str, str], ...] = (
    ("gsmtp", "google"),
    ("gmail", "google"),
    ("support.google.com", "google"),
    ("googlemail", "google"),
    ("outlook.com", "microsoft"),
    ("office.com", "microsoft"),
    ("office365", "microsoft"),
    ("hotmail", "microsoft"),
    ("messaging.microsoft", "microsoft"),
    ("resolver.", "microsoft"),
    ("yahoo", "yahoo"),
    ("verizonmedia", "yahoo"),
)

HOSTS: dict[str, str] = {
    "google.com": "google",
    "googlemail.com": "google",
    "outlook.com": "microsoft",
    "hotmail.com": "microsoft",
    "office365.us": "microsoft",
    "microsoft.com": "microsoft",
    "yahoodns.net": "yahoo",
    "yahoo.com": "yahoo",
    "icloud.com": "apple",
    "apple.com": "apple",
    "me.com": "apple",
}

# Names of errors: words that occur nowhere else, so the provider need not be known.
NAMES: tuple[tuple[Category, str], ...] = (
    (
        _C.REPUTATION_BLOCK,
        "s3140; s3150; dy 001|002; ou 001|002; tss04|tss05|tss06|tss07|tss08|tss09|tss10|tss11|tss12",
    ),
    (_C.REPUTATION_BLOCK, "bl21|bl22|bl23; ib103|ib104|ib105|ib106|ib110|ib111|ib112|ib113; unsolicitediperror"),
    (_C.REPUTATION_BLOCK, "bl000000|bl000001|bl000010; hvu b1|b2; ofr 102|103|104; ofr006; cm csi"),
    (_C.RATE_LIMITED, "rp 001|002|003; rl000001|rl000002|rl000003; ib007|ib101|ib504|ib510|ib605|ib607"),
    (_C.RATE_LIMITED, "receivingratelimitexceeded; receivingrate; unsolicitedratelimiterror; dailylimitexceeded"),
    (_C.RATE_LIMITED, "recipientratelimitexceeded; submission rate; wssubmission exceeded; throttlingexception"),
    (_C.SPAM_BLOCK, "sc 001|002|003|004; hm07|hm08; cs01; unsolicitedmessageerror; ib212|ib704; ofr 506|999"),
    (_C.POLICY_BLOCK, "ph01; blockedmessage; ib702"),
    (_C.AUTH_FAILURE, "unauthenticatedsender; dmarcrejection; ib108|ib508; customfromdenied; unauthenticatedemail"),
    (_C.CONTENT_ERROR, "rfcmessagenoncompliant; ib705; invalidheader"),
    (_C.QUOTA, "overquotatemp|overquotaperm; overquota; quotaexceededexception"),
    (
        _C.BAD_MAILBOX,
        "address rejected access denied as; recipientnotfound; nosuchuser; recipnotfound; exrecipnotfound; rcp p1",
    ),
    (_C.INACTIVE_MAILBOX, "disableduser; mailboxdisabledexception; inactiveuser"),
    (
        _C.RECIPIENT_REFUSED,
        "rcp p2; rst authrequired; rst notauthorized; rst notauthenticated; rst restrictedtorecipientspermission; senderfilter",
    ),
    (_C.BAD_SENDER, "groups google com support"),  # of a group one may not write to, in forty languages
    (_C.BAD_SENDER, "sendasdeniedexception"),
    (_C.EXPIRED, "queue expired"),
    (_C.RELAY_DENIED, "relaydenied"),
)


def provider_of(mx: str, text: str = "") -> str:
    """The provider that answered, by its host's name or else by what it wrote (lower case); "" if it is none we know."""
    labels = mx.lower().rstrip(".").split(".")
    if len(labels) > 1:
        return HOSTS.get(".".join(labels[-2:]), "")
    return next((provider for mark, provider in MARKS if mark in text), "")
