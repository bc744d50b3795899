"""What codes mean without the words beside them: enhanced status codes, and the three digits with their command. Pure."""

from relay.feedback.taxonomy import Category

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
    "4.2": _C.NETWORK_ERROR,  # bad connection
    "4.3": _C.DNS_FAILURE,  # directory server failure
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
    "4.1": _C.NETWORK_ERROR,  # no answer from host; Microsoft: no such recipient
    "4.4": _C.DNS_FAILURE,  # unable to route
    "4.5": _C.REMOTE_ERROR,  # mail system congestion; Google: the daily limit
    "7.2": _C.RECIPIENT_REFUSED,  # mailing list expansion prohibited
    "7.13": _C.INACTIVE_MAILBOX,  # RFC 5248: user account disabled
}

# Whole subjects, when neither words nor detail say more.
SUBJECTS: dict[str, Category] = {"5": _C.PROTOCOL_ERROR, "6": _C.CONTENT_ERROR, "7": _C.POLICY_BLOCK}

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
    (550, "CONNECT"): _C.REPUTATION_BLOCK,  # whom we want to write to was not said yet: it can only be about us
    (550, "EHLO"): _C.REPUTATION_BLOCK,
    (554, "CONNECT"): _C.REPUTATION_BLOCK,  # 3.1: no service for you here
    (554, "EHLO"): _C.REPUTATION_BLOCK,
    (555, ""): _C.PROTOCOL_ERROR,
    (556, ""): _C.BAD_DOMAIN,  # RFC 7504: the domain accepts no mail
}

# What a step's failure means when its reply says nothing more.
COMMANDS: dict[str, Category] = {
    "DNS": _C.DNS_FAILURE,
    "STARTTLS": _C.TLS_FAILURE,
    "AUTH": _C.AUTH_FAILURE,
}
