"""How far a failure reaches, and our own words where the far side had none. Pure.

The one table that turns (command, reply) into a Scope; what follows from a scope is decided in feedback/consequences.
"""

from relay.outcome import Outcome, Reply, Scope

# What a refusal of each command is about, unless the reply itself says more (below).
_SCOPES = {
    "DNS": Scope.SITE,
    "CONNECT": Scope.HOST,  # the banner too: another MX host may be more willing
    "EHLO": Scope.HOST,
    "STARTTLS": Scope.HOST,
    "AUTH": Scope.SITE,  # a relay that does not know us: no fault of any message
    "RSET": Scope.HOST,
    "MAIL": Scope.MESSAGE,
    "RCPT": Scope.RECIPIENT,
    "DATA": Scope.MESSAGE,
    "END": Scope.MESSAGE,
}
_NOT_LOGGED_IN = frozenset({530, 534, 535, 538})  # RFC 4954 6: about our login, whatever was asked


def scope_of(command: str, reply: Reply) -> Scope:
    """The scope of a remote's reply to `command`.

    421 closes the connection whenever it comes (RFC 5321 3.8), and x.3.x is the state of the mail system (RFC 3463
    3.4): both are temporary troubles of this host. 452 is "insufficient system storage", but at RCPT "too many
    recipients" or a full mailbox (RFC 5321 4.5.3.1.10).
    """
    if reply.ok:
        return Scope.RECIPIENT
    if reply.code == 421:
        return Scope.HOST
    if reply.code in _NOT_LOGGED_IN:
        return Scope.SITE
    if reply.enhanced.startswith("4.3.") or (reply.code == 452 and command in ("MAIL", "DATA", "END")):
        return Scope.HOST
    return _SCOPES[command]


def ours(code: int, enhanced: str, text: str, command: str, scope: Scope) -> Outcome:
    """An outcome in our own words, marked so that no rule for remote replies reacts to it."""
    return Outcome(Reply(code, enhanced, text), command, scope, internal=True)
