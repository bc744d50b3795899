"""What a session says, with enhanced codes (RFC 3463), and the reasons its refusals have in events. Pure."""

from relay.edge import framing
from relay.outcome import Reply

# the three that every message hears, as they go out
SENDER_OK = b"250 2.1.0 sender OK\r\n"
RECIPIENT_OK = b"250 2.1.5 recipient OK\r\n"
GO_AHEAD = b"354 end with <CRLF>.<CRLF>\r\n"

FAULT = Reply(421, "4.3.0", "internal error, please come again")
FAULT_OF_ACCEPT = Reply(451, "4.3.0", "internal error, please come again")
TIMEOUT = Reply(421, "4.4.2", "timeout, closing")
TOO_MANY_CONNECTIONS = Reply(421, "4.7.0", "too many connections, please come again later")
GOING_DOWN = Reply(421, "4.3.2", "going down, please come again")
READY_FOR_TLS = Reply(220, "2.0.0", "ready for TLS")
OK = Reply(250, "2.0.0", "OK")
BYE = Reply(221, "2.0.0", "bye")
HELP = Reply(214, "2.0.0", "EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY QUIT")
CANNOT_VERIFY = Reply(252, "2.5.0", "send mail and see")
NO_EXPN = Reply(502, "5.5.1", "EXPN is not offered")
VRFY_SYNTAX = Reply(501, "5.5.4", "syntax: VRFY address")
UNKNOWN = Reply(500, "5.5.1", "command not known")
NOT_HTTP = Reply(421, "4.7.0", "this is SMTP, not HTTP")
NOT_TLS = Reply(421, "4.7.0", "this port starts in clear; use STARTTLS or the TLS port")
TOO_LONG = Reply(500, "5.5.2", "command line too long")
BARE_IN_COMMAND = Reply(500, "5.5.2", "command lines must end with CRLF")
NOT_TEXT = Reply(500, "5.5.2", "commands are ASCII or UTF-8 without control characters")
NO_ARGUMENT = Reply(501, "5.5.4", "no argument is expected")
EHLO_FIRST = Reply(503, "5.5.1", "EHLO first")
MAIL_FIRST = Reply(503, "5.5.1", "MAIL first")
MAIL_TWICE = Reply(503, "5.5.1", "MAIL was given; RSET first")
NO_RECIPIENTS = Reply(503, "5.5.1", "no valid recipients")
CHUNKS_BEGUN = Reply(503, "5.5.1", "the message has begun with BDAT")
AUTH_NOW = Reply(530, "5.7.0", "authentication required")
TLS_FIRST = Reply(530, "5.7.0", "STARTTLS first")
NO_RELAY = Reply(550, "5.7.1", "relaying denied")
CHUNK_OK = Reply(250, "2.0.0", "chunk OK")
TOO_BIG = Reply(552, "5.3.4", "message too big")
NO_ROOM = Reply(452, "4.3.1", "no room for this message now, please come again")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "too many recipients")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "too many errors")
TOO_MANY_FAILURES = Reply(421, "4.7.0", "too many authentication failures")
NO_TLS = Reply(502, "5.5.1", "STARTTLS is not offered")
TLS_ALREADY = Reply(503, "5.5.1", "TLS is active")
ENCRYPT_FIRST = Reply(538, "5.7.11", "encryption required for authentication")
NO_AUTH = Reply(502, "5.5.1", "AUTH is not offered")
AUTH_ALREADY = Reply(503, "5.5.1", "already authenticated, or in the middle of a transaction")
AUTH_MECHANISM = Reply(504, "5.5.4", "only PLAIN and LOGIN")
AUTH_OK = Reply(235, "2.7.0", "authenticated")
AUTH_FAILED = Reply(535, "5.7.8", "user or password not valid")
AUTH_LATER = Reply(454, "4.7.0", "too many failed logins from your address, please come again later")
AUTH_CANCELLED = Reply(501, "5.7.0", "authentication cancelled")
NOT_BASE64 = Reply(501, "5.5.2", "cannot decode base64")
AUTH_LINE = Reply(500, "5.5.6", "authentication exchange line too long")

REASONS = {
    framing.BARE: "line-ends",
    framing.NUL: "nul",
    framing.LONG_LINE: "long-line",
    TOO_BIG: "size",
    NO_ROOM: "memory",
    NO_RECIPIENTS: "order",
    MAIL_FIRST: "order",
}
