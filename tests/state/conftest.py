"""Redis servers that the tests of one process share; each test finds them empty."""

from collections.abc import Iterator

import pytest

from relay.state import redis_link
from tests.support.redis_server import RedisCluster, RedisServer


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def redis(shared_redis: RedisServer) -> RedisServer:
    shared_redis.empty()
    return shared_redis


@pytest.fixture
def cluster(shared_cluster: RedisCluster) -> RedisCluster:
    shared_cluster.empty()
    return shared_cluster


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of Redis are waited for, however busy the machine is."""
    monkeypatch.setattr(redis_link, "SECONDS", 60.0)
