"""What reports hand to spreadsheets. Pure."""

from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets take for one, and run (OWASP: CSV injection)


def harmless(value: Any) -> Any:
    """A text that would be a formula begins with a quote: subjects, replies, names of campaigns are strangers' words."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
