"""[state] url names the backend."""

import subprocess
import sys
from pathlib import Path

from relay.state.choice import state_at
from relay.state.redis import RedisState
from relay.state.sqlite import SqliteState

ROOT = Path(__file__).parents[2]


def test_each_url_has_its_backend(tmp_path: Path) -> None:
    assert isinstance(state_at("sqlite:", "", tmp_path, "a", 0), SqliteState)
    assert list(tmp_path.iterdir()) == []
    state = state_at("rediss://relay@r.example:6380/1", "/etc/password", tmp_path, "a", 0)
    assert isinstance(state, RedisState)
    assert repr(state) == "<RedisState rediss://r.example:6380/1: 0 waiting, closed>"


def test_all_workers_and_lives_of_a_node_are_one_owner(tmp_path: Path) -> None:
    owners = set[str]()
    for folder in ("one", "one", "other"):
        state = state_at("redis://r.example:6379/0", "", tmp_path / folder, "relay-1", len(owners))
        assert isinstance(state, RedisState)
        owners.add(state._owner)
    assert len(owners) == 2
    assert min(map(len, owners)) == 32


def test_who_keeps_state_here_does_not_load_redis() -> None:
    program = "import sys, relay.worker; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
