"""Which node config/ is about and where its data is, also while the files are broken: a command must reach the running
node then more than ever, and a start with broken files looks there for the last good ones.
"""

from collections.abc import Callable
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
    """`data_dir` is absolute; `timezone` an IANA name."""

    name: str
    data_dir: Path
    timezone: str


def whereabouts(config_dir: Path) -> Whereabouts:
    """What [node] says; where the file does not parse, each line of it that does. A value that makes no sense has its
    default, and what else is broken does not matter."""
    said = _node(config_dir / "postlane.toml")
    data_dir: Path = _value(said, "data_dir", units.folder)
    return Whereabouts(
        _value(said, "name", units.name),
        config_dir.resolve().parent / data_dir,
        _value(said, "timezone", units.timezone),
    )


def _node(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return {}
    with suppress(spanned_toml.TOMLDecodeError, RecursionError):
        node = spanned_toml.loads(text).unspan().get("node")
        return node if isinstance(node, dict) else {}
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
