"""A company's events, which each file of tests lays out in its `folder`, and a node."""

from pathlib import Path

import pytest

from relay.reporting import Reader
from tests.support.desk import Node, Remembered


@pytest.fixture(scope="module")
def reader(folder: Path) -> Remembered:
    return Remembered(Reader([folder / "events"]))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(tmp_path)
    node.block()
    return node
