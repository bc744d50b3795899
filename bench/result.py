"""What a part of the benchmark found, for who watches and for results/."""

from collections.abc import Iterable
from pathlib import Path


def publish(lines: Iterable[str], file: str | None) -> None:
    """Print the lines, and write them to `file` if there is one."""
    text = "\n".join(lines) + "\n"
    print(text)
    if file:
        Path(file).write_text(text)
