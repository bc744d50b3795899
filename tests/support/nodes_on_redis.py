"""Nodes that share a Redis, and apps that hand in bulk and passwords to each of them in turn."""

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.node import CREDENTIALS, Node, together
from tests.support.sink import Sink

QUOTA = 600  # in five minutes: what had to wait has places half a second apart
POOLS = """\
[pool.transactional]
sources = [{ address = "127.0.0.2" }]
[pool.service]
sources = [{ address = "127.0.0.3" }]
[pool.marketing]
sources = [{ address = "127.0.0.4" }]
"""
SHAPING = """\
[default]
rate = "100000/second"
pace_start = "50000/second"
"""
CAPPED = {  # one mail a week of all that these nodes carry
    "policies/brands.toml": '[brand.shop]\ndomains = ["test.example"]\n',
    "policies/caps.toml": '[cap.shop]\nbrands = "shop"\nlimits = "1/7d"\n',
}
BULK = "127.0.0.9"
PASSWORD = "s3cret-of-redis"
SECRET = "5e" * 32 + "\n"  # the same on all nodes, so that each opens what another sealed
RETURN_PATH = '\nreturn_path_domain = "bounce.test.example"'


def node_of(
    folder: Path,
    name: str,
    sink: Sink,
    url: str,
    place: str = "",
    *,
    workers: int = 2,
    bounces: int = 0,
    files: Mapping[str, str] | None = None,
) -> Node:
    """`url`: of its State. `bounces`: the port where what comes back is taken; 0: mail leaves by the app's own return path."""
    credentials = CREDENTIALS.replace('"transactional"', '"transactional"\nquota = "1000/hour"')
    credentials = credentials.replace('"marketing"', f'"marketing"\nquota = "{QUOTA}/5m"')
    node = Node(
        folder / (place or name),
        delivery=f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"' + (RETURN_PATH if bounces else ""),
        key_for=("test.example",),
        more=f'[state]\nurl = "{url}"\npassword_file = "redis-password"\n[secrets]\nfile = "secret"',
        listener=f'\n[[listener]]\nbind = "127.0.0.1:{bounces}"\nrole = "bounces"\n' if bounces else "",
        files={
            "config/pools.toml": POOLS,
            "policies/credentials.toml": credentials,
            "policies/shaping.toml": SHAPING,
            "redis-password": PASSWORD,
            "secret": SECRET,
            **(files or {}),
        },
        workers=workers,
    )
    (node.folder / "secret").chmod(0o600)
    config = node.folder / "config" / "postlane.toml"
    config.write_text(config.read_text().replace('name = "test-1"', f'name = "{name}"'))
    return node


@contextmanager
def two_nodes(
    folder: Path,
    sink: Sink,
    url: str,
    *,
    workers: int = 2,
    bounces: Sequence[int] = (0, 0),
    files: Mapping[str, str] | None = None,
) -> Iterator[tuple[Node, Node]]:
    named = zip(("relay-1", "relay-2"), bounces, strict=True)
    one, other = (node_of(folder, name, sink, url, workers=workers, bounces=port, files=files) for name, port in named)
    with together(one, other):
        yield one, other


def bulk_at(sink: Sink) -> int:
    return sum(message.source == "127.0.0.4" for message in sink.messages)


def metric(node: Node, name: str) -> set[str]:
    return {line.split()[1] for line in node.page("/metrics").splitlines() if line.startswith(f"{name}{{")}


def shows_state(node: Node, up: int) -> bool:
    return metric(node, "postlane_state_up") == {str(up)}


def put_off(nodes: Sequence[Node]) -> int:
    """How often the quota has put mail off for long."""
    events = [event for node in nodes for event in node.events(type="postponed", reason="quota")]
    return sum(is_long(event["until"]) for event in events)


def is_long(until: str) -> bool:
    """Until then the quota is used up: places in line, half a second apart, are no such thing."""
    return datetime.fromisoformat(until) > datetime.now(UTC) + timedelta(minutes=1)


class Load:
    """Apps that hand in all the time, to each node in turn: bulk by two, now and then somebody's password, and once more to
    those who got the first mails, r0 and so on: `again` so many."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.bulk = 0
        self.urgent = 0
        self.again = 0

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(60)

    def _run(self) -> None:
        for number in itertools.count():
            node = self._nodes[number % 2]
            if number % 5 == 0:
                node.send(f"urgent{number}@example.com")
                self.urgent += 1
            else:
                node.send([f"b{number}-{n}@example.com" for n in range(2)], source=BULK)
                self.bulk += 2
            if number % 20 == 1:
                node.send(f"r{self.again}@example.com", source=BULK)
                self.again += 1
            if self._enough.wait(0.2):
                return
