"""Which node config/ is about and where its data is, also while the files are broken: a command must reach the running
node then more than ever, and a start with broken files looks there for the last good ones.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spanned_toml

from relay.config import units
from relay.config.problems import Wrong
from relay.config.schema_config import Node


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """`data_dir` is absolute; `timezone` an IANA name; `others`: event folders of other nodes, absolute too."""

    name: str
    data_dir: Path
    timezone: str
    others: tuple[Path, ...] = ()

    @property
    def events(self) -> tuple[Path, ...]:
        """All folders of events that are here, this node's first."""
        return (self.data_dir / "events", *self.others)


def whereabouts(config_dir: Path) -> Whereabouts:
    """What [node] says; where the file does not parse, each line of it that does. A value that makes no sense has its
    default, and what else is broken does not matter."""
    said, web = _sections(config_dir / "postlane.toml")
    data_dir: Path = _value(said, "data_dir", units.folder)
    home = config_dir.resolve().parent
    return Whereabouts(
        _value(said, "name", units.name),
        home / data_dir,
        _value(said, "timezone", units.timezone),
        tuple(home / folder for folder in _folders(web.get("events"))),
    )


def _folders(said: object) -> Iterator[Path]:
    for one in said if isinstance(said, list) else ():
        with suppress(Wrong):
            yield units.folder(one)


def _sections(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """[node] and [web]"""
    try:
        text = file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return {}, {}
    with suppress(spanned_toml.TOMLDecodeError, RecursionError):
        document = spanned_toml.loads(text).unspan()
        node, web = (document.get(name) for name in ("node", "web"))
        return node if isinstance(node, dict) else {}, web if isinstance(web, dict) else {}
    return _lines_of_node(text), {}


def _lines_of_node(text: str) -> dict[str, Any]:
    said: dict[str, Any] = {}
    inside = False
    for line in text.splitlines():
        if line.lstrip().startswith("["):
            inside = line.replace(" ", "").startswith("[node]")
        elif inside:
            with suppress(spanned_toml.TOMLDecodeError, RecursionError):
                said |= spanned_toml.loads(line).unspan()
    return said


def _value(said: dict[str, Any], key: str, read: Callable[[object], Any]) -> Any:
    with suppress(Wrong):
        return read(said.get(key))
    return read(Node.model_fields[key].default)
