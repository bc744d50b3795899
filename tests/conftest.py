from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

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
