"""A message as policy looks at it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from relay.header import Field, readable
from relay.policy.attachments import attachments
from relay.policy.evidence.text import Text, extract

_MAX_VALUE = 1_000  # octets of one value that are looked at; a line of a header has 998 at most (RFC 5322 2.1.1)
_MAX_REPEATED = 5  # fields of one name that are looked at


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

    def values(self, name: str) -> list[str]:
        """What the header fields of this name (in lower case) say, as people read it; of many the first, of long ones the
        beginning."""
        found = (readable(f.value[:_MAX_VALUE]) for f in self.fields if f.name == name)
        return list(islice(found, _MAX_REPEATED))

    @property
    def text(self) -> Text:
        """Its visible text and structure: extracted when somebody asks, and once, since evidence and checks both do."""
        if self._text is None:
            self._text = extract(self.content, self.fields, self.rest)
        return self._text

    @property
    def size(self) -> int:
        """Octets, as it was handed in."""
        return len(self.content)

    def attachments(self) -> list[str]:
        """A name for each attachment, "" where it has none. Takes a while: ask once."""
        return attachments(self.content)
