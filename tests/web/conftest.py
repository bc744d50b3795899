"""A browser; and, since many tests make a site of their own: what its templates are compiled to is shared, as it is by all
pages of a running node."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pytest
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket

from relay.web import templating
from tests.support.browser import launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser


class Compiled(BytecodeCache):
    """In memory, by file."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._kept:
            bucket.bytecode_from_string(self._kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    environment = partial(Environment, bytecode_cache=Compiled())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templating, "Environment", environment)
        yield
