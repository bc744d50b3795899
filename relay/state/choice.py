"""The backend that `url` in [state] names."""

from pathlib import Path

from relay.state.interface import State
from relay.state.sqlite import SqliteState


def state_at(url: str, password_file: str, file: Path, member: str) -> State:
    """`file`: where the embedded one is. `member`: who asks, a name of its own among all that share it."""
    if url == "sqlite:":
        return SqliteState(file)
    from relay.state.redis import RedisState  # noqa: PLC0415 (5 MB and 0.2 s that only Redis is worth)

    return RedisState(url, password_file, member)
