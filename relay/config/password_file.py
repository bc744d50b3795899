"""Passwords that Postlane itself says to others: each in a file of its own, that a key names."""

from pathlib import Path

from relay.config.problems import Problem
from relay.config.reader import Document
from relay.config.wording import Loc


def password_in(document: Document, loc: Loc, file: str, home: Path) -> tuple[str, list[Problem]]:
    """What stands in the file that `loc` names; "" where it names none."""
    if not file:
        return "", []
    try:
        return (home / file).read_text("utf-8").strip("\r\n"), []
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        return "", [document.problem(loc, f'"{file}" cannot be read: {why}', "file")]
