"""Who is let in when more is asked for than the pages can give: what is too much is told so at once, for next to nothing. Pure.

Mail comes first: a page costs some 0.5 ms, a refusal a tenth of it. Requests to unsubscribe have an allowance of their own, so
that scanners, which follow every link of a campaign, keep nobody from leaving.
"""

from dataclasses import dataclass, field

PAGES_A_SECOND = 50.0  # GET and HEAD: 3 % of one processor
POSTS_A_SECOND = 200.0  # a campaign of ten million with 0.5 % that leave within an hour makes 14
BURST_SECONDS = 2.0
RETRY_SECONDS = 30
CONNECTIONS = 512  # at a time; a proxy in front keeps some tens
HEADER_SECONDS = 10.0  # a connection may take to ask for something

SHED = (
    "HTTP/1.1 503 Service Unavailable\r\n"
    f"Retry-After: {RETRY_SECONDS}\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: 33\r\n"
    "Connection: close\r\n"
    "\r\n"
    "Too many requests; please wait.\r\n"
).encode()


@dataclass(slots=True)
class Allowance:
    """So many a second, and after a pause as many as in BURST_SECONDS at once."""

    rate: float
    left: float = 0.0
    at: float | None = None

    def take(self, now: float) -> bool:
        """`now` in s, of any clock that goes forward."""
        most = self.rate * BURST_SECONDS
        self.left = most if self.at is None else min(most, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class Gate:
    """`shed`: requests that were refused; `served`: those that were not."""

    pages: Allowance = field(default_factory=lambda: Allowance(PAGES_A_SECOND))
    posts: Allowance = field(default_factory=lambda: Allowance(POSTS_A_SECOND))
    served: int = 0
    shed: int = 0

    def admits(self, octets: bytes, now: float) -> bool:
        """`octets`: how the request begins."""
        allowed = (self.posts if octets.startswith(b"POST ") else self.pages).take(now)
        self.served += allowed
        self.shed += not allowed
        return allowed
