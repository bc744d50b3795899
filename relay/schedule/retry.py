"""When a deferred delivery goes again, and when it is given up. Pure: `now` and the random number are arguments.

RFC 5321 4.5.4.1 wants half an hour between attempts and four to five days before giving up, and lets a sender be
smarter: mail a person waits for is worth trying after seconds and nothing after a day, so each class has its own steps
(retry.toml).
"""

from dataclasses import dataclass

SPREAD = 0.2  # up to a fifth later: enough to pull apart what failed together, little enough to keep the admin's steps


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """One class of retry.toml, in ms. The last step of `wait` repeats until `give_up` after accept.

    `warn_after` accept the app is told of the delay; None: never.
    """

    wait: tuple[int, ...]
    give_up: int
    warn_after: int | None = None

    def __post_init__(self) -> None:
        if not self.wait or min(self.wait) <= 0 or self.give_up <= 0:
            raise ValueError(f"a retry policy needs steps and a give-up time above 0: {self}")


def next_attempt(policy: RetryPolicy, attempts: int, accepted_at: int, now: int, rand: float) -> int | None:
    """When to go again after `attempts` failed ones; None: give up now. `rand` is in [0, 1).

    Jitter only lengthens a step: a greylisting host counts from the first attempt, and who comes early starts anew.
    The last attempt is at the give-up time itself, so that a long last step does not shorten what the admin promised.
    """
    deadline = accepted_at + policy.give_up
    if now >= deadline:
        return None
    step = policy.wait[min(max(attempts, 1), len(policy.wait)) - 1]
    return min(now + int(step * (1 + SPREAD * rand)), deadline)


def warn_due(policy: RetryPolicy, accepted_at: int, now: int) -> bool:
    """Is a delivery so late that the app should know (RFC 3461 4.1, NOTIFY=DELAY)? The caller tells it once."""
    return policy.warn_after is not None and now >= accepted_at + policy.warn_after
