"""Selectors that nothing in force knows: whoever typed them is told, since most are slips."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from relay.control import granted

Json = dict[str, Any]
_NAMES = ("stream", "credential", "brand", "topic", "site")


def warn(request: Callable[[Path, Json], Json], data_dir: Path, what: Mapping[str, str | Sequence[str]]) -> None:
    """On standard error; `what`: selectors by name. What waits from before a file changed may be meant, so it is no error."""
    asked = {name: what[name] for name in _NAMES if what.get(name)}
    if asked:
        for said in granted(request(data_dir, {"do": "names", "what": asked}))["unheard"]:
            print(f"Mind: {said}", file=sys.stderr)
