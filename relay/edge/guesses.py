"""How many wrong passwords a peer may try, over all its connections. Pure; one object for all listeners of a worker.

Rules
- A peer (an IPv4 address, an IPv6 /64) that fails `failures` times within `seconds` has its logins put off for `seconds`,
  unread. Trust by address is not touched.
- Nobody's success clears the count: else one who has a password of his own could guess others' with it.
- Who has logged in from there before still may: apps share addresses (NAT, a cluster's exit, a proxy), and one that was
  left with an old password must not stop the mail of all others. He may until he fails.
- Both tables are bounded. Beyond the bound the count that ends soonest goes, and the name that logged in longest ago.
"""

# 30 are ten connections of three (Limits.auth_failures), or an app of thirty processes with an old password; with 900 s
# that leaves 2,880 guesses a day and worker, against 160 random bits. What it saves is work and room in the event log.
FAILURES = 30
SECONDS = 900.0
MOST = (
    10_000  # of each table, some 5 MB with both full: more peers than that are a botnet, which no count of peers stops
)


class Guesses:
    """Ask `may_try` before each check, and tell what came of it. `peer` is the group a connection counts for; `now` in
    seconds on a clock that never goes back."""

    def __init__(self, failures: int = FAILURES, seconds: float = SECONDS, most: int = MOST) -> None:
        self.failures = failures
        self.seconds = seconds
        self.most = most
        self._counts: dict[str, tuple[int, float]] = {}  # failures and when they are forgotten; the soonest first
        self._known: dict[tuple[str, str], None] = {}  # peer and name; who logged in last is last

    def __repr__(self) -> str:
        return f"<Guesses of {len(self._counts)} peers, {len(self._known)} names known>"

    def may_try(self, peer: str, name: str, now: float) -> bool:
        count, until = self._counts.get(peer, (0, now))
        return count < self.failures or until <= now or (peer, name) in self._known

    def failed(self, peer: str, name: str, now: float) -> None:
        self._known.pop((peer, name), None)
        self._forget(now)
        count, until = self._counts.get(peer, (0, now + self.seconds))
        if count + 1 == self.failures:
            self._counts.pop(peer, None)  # it now ends last
            until = now + self.seconds
        self._counts[peer] = count + 1, until
        if len(self._counts) > self.most:
            del self._counts[next(iter(self._counts))]

    def succeeded(self, peer: str, name: str) -> None:
        self._known.pop((peer, name), None)
        self._known[peer, name] = None
        if len(self._known) > self.most:
            del self._known[next(iter(self._known))]

    def _forget(self, now: float) -> None:
        while self._counts:
            soonest = next(iter(self._counts))
            if self._counts[soonest][1] > now:
                return
            del self._counts[soonest]
