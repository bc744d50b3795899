"""A clock that goes when it is told to."""

START = 1_763_726_400_000  # 2025-11-21T12:00:00Z


class Clock:
    """Callable as every `clock` here: ms since the epoch."""

    def __init__(self, now: int = START) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def __repr__(self) -> str:
        return f"<Clock {self.now}>"
