"""The backend that `url` in [state] names."""

import secrets
from pathlib import Path

from relay.durable import make_once
from relay.state.interface import State
from relay.state.sqlite import SqliteState


def state_at(
    url: str, password_file: str, data_dir: Path, node: str, shard: int, sentinel_password_file: str = ""
) -> State:
    """For the worker of `shard`. `data_dir`: where the embedded backend is, and what tells this node from another of its
    name. Raises OSError."""
    if url == "sqlite:":
        return SqliteState(data_dir / "state.db")
    from relay.state.redis import RedisState  # noqa: PLC0415 (5 MB and 0.2 s that only Redis is worth)

    owner = _owner(data_dir / "node-id")
    return RedisState(url, password_file, f"{node}/{shard}", owner=owner, sentinel_password_file=sentinel_password_file)


def _owner(path: Path) -> str:
    """The same for all workers and all lives of a node."""
    if not path.exists():
        make_once(path, secrets.token_hex(16).encode())
    return path.read_text("ascii")
