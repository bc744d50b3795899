"""A message as policy looks at it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from relay.header import Field
from relay.policy.evidence.text import Text, extract


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
    _text: Text | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def text(self) -> Text:
        """Its visible text and structure: extracted when somebody asks, and once, since evidence and checks both do."""
        if self._text is None:
            self._text = extract(self.content, self.fields, self.rest)
        return self._text
