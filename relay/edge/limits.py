"""What one session may use: numbers with their reasons, a listener's settings, and the bytes all sessions may hold.
Pure but for the TLS context that the settings carry.
"""

import ssl
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

IPNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one listener in one worker (so twice as many connections on a node with two workers).

    max_size              octets of a message, offered as SIZE (RFC 1870)
    max_recipients        of one transaction; RFC 5321 4.5.3.1.8 asks for at least 100, large apps send 1,000
    command_seconds       RFC 5321 4.5.3.2.7: a server waits at least 5 minutes for the next command
    data_seconds          between two reads of a message: twice what RFC 5321 4.5.3.2.5 lets a client wait
    message_seconds       for the whole of a message: 25 MB over a line of 7 KB/s; a dripping peer is not kept on
    stranger_seconds      for a peer without identity, all in all: an app logs in within its first seconds
    tls_seconds           for a handshake: a few round trips on the worst line
    header_seconds        for a proxy's header, its first octets (proxy-protocol.txt 2: at least 3, for a lost segment)
    linger_seconds        for our last words to leave after we closed
    errors                of one session since its last accepted message, then 421 (Postfix has the same 20)
    junk                  commands that carry no mail, likewise (Postfix has the same 100)
    auth_failures         of one connection, then 421: a person mistypes once or twice, an app never (of a peer: `Guesses`)
    connections           about 10 KB each when idle, so 10 MB; the rest of the descriptors are egress's and the spool's
    connections_per_peer  one peer (IPv6: one /64) takes at most a quarter of them; app servers open 100
    input_bytes           unread commands in memory; then we stop reading until they are answered
    stranger_input_bytes  the same for a peer without identity: one AUTH line (RFC 4954 4: 12,288 octets) and a bit
    sweep_seconds         how often deadlines are looked at: one timer for all sessions instead of one each
    """

    max_size: int = 25_000_000
    max_recipients: int = 1000
    command_seconds: float = 300
    data_seconds: float = 600
    message_seconds: float = 3600
    stranger_seconds: float = 120
    tls_seconds: float = 30
    header_seconds: float = 5
    linger_seconds: float = 10
    errors: int = 20
    junk: int = 100
    auth_failures: int = 3
    connections: int = 1000
    connections_per_peer: int = 250
    input_bytes: int = 65_536
    stranger_input_bytes: int = 16_384
    sweep_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """One `[[listener]]` of the configuration as plain values.

    hostname    greets and is named in EHLO's answer
    tls         off | starttls | implicit; `context` is set for the latter two
    auth        required (nobody is known by his address) | optional
    trust       networks whose peers may send as `credential` where no credential lists them
    role        submission | bounces; only the former offers AUTH
    proxies     networks whose peers must begin with a PROXY header, and are believed
    """

    hostname: str
    tls: str = "off"
    context: ssl.SSLContext | None = None
    auth: str = "optional"
    trust: tuple[IPNetwork, ...] = ()
    credential: str = ""
    role: str = "submission"
    proxies: tuple[IPNetwork, ...] = ()


class ByteBudget:
    """Octets of message data that all sessions of a worker hold together; what is beyond is answered 452 4.3.1.

    One object for all listeners of the worker. A session reserves while a message grows and releases when it has its
    reply.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def __repr__(self) -> str:
        return f"<ByteBudget {self.used} of {self.limit}>"

    def has(self, count: int) -> bool:
        return self.used + count <= self.limit

    def reserve(self, count: int) -> bool:
        """Takes `count` octets, or none and says False."""
        if self.used + count > self.limit:
            return False
        self.used += count
        return True

    def release(self, count: int) -> None:
        self.used -= count
