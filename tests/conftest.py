from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from relay.egress.security import trust
from tests.support.certificates import Authority

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
