"""A message as policy looks at it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.header import Field


@dataclass(slots=True)
class Letter:
    """`fields`, `rest`: as relay.header.split() gives them of `content`. `domains` are the recipients', one each, as
    A-labels; `sender` is the envelope's."""

    fields: Sequence[Field]
    content: bytes = b""
    rest: int = 0
    subject: str = ""
    sender: str = ""
    domains: Sequence[str] = ()
