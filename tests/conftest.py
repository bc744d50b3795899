import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from relay.egress.security import trust
from relay.state.sqlite import SqliteState
from tests.support.certificates import Authority
from tests.support.clocks import Clock

# As structlog does unless told otherwise, but a plain traceback: in colours, with all locals, one takes seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")  # a loaded machine is no fault


@pytest.hookimpl(trylast=True)  # behind the shuffling
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start the program come first, those of the longest tests before all: what waits runs beside what computes,
    and no processor is idle at the end because of one long test."""
    items.sort(key=_leads)


def pytest_unconfigure() -> None:
    gc.unfreeze()  # where this process was forked; else DuckDB complains of what is left


def _leads(item: pytest.Item) -> tuple[bool, int]:
    mark = item.get_closest_marker("timeout")
    return item.get_closest_marker("scenario") is None, -mark.args[0] if mark is not None else 0


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    """The one authority that this process trusts, for this test."""
    made = Authority.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.alone))
    trust.verifying.cache_clear()
    yield made
    trust.verifying.cache_clear()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def state(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteState]:
    """An open State of this test's own, by its clock."""
    made = SqliteState(tmp_path / "state.db", clock)
    await made.open()
    yield made
    await made.close()
