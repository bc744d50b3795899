"""A message's template as a short name: the same for every copy, whatever was filled in. Pure.

What is filled in is left out: words with digits, codes, the recipient's name and address (from To, and
after a greeting); links are no text in the first place. What remains of the subject and of the first words of the text is hashed: a receipt's list of goods comes later.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b

from relay.header import Field, readable
from relay.policy.evidence.lexicon import normal
from relay.policy.evidence.text import MAX_FIELDS, Text, bounded

WORDS = 24  # of the text, after what varies is gone: two or three sentences
_LOOKED_AT = 400  # octets of the opening in which these are found
MAX_TO = 300  # octets of To: the first recipient's name and address
_VARIES = re.compile(rb" (?:[^ ]*[0-9@%$#&+][^ ]*|[^ ]{25,})(?= )")
_GREETED = re.compile(
    (
        r" (dear|hi|hello|hey|hallo|liebe|lieber|geehrte|geehrter|frau|herr|bonjour|cher|chère|hola|estimado|estimada|ciao"
        r"|gentile|caro|cara|olá|prezado|caro|dobry|cześć|здравствуйте|привет|уважаемый|уважаемая|שלום|היי|הי|مرحبا|عزيزي"
        r"|عزيزتي|beste|hoi|merhaba|sayın) [^ ]+(?= )"
    ).encode()
)


def skeleton(text: Text, fields: Sequence[Field]) -> str:
    """12 hexadecimal digits. `text` and `fields` are of the same message."""
    to = next((f for f in fields[:MAX_FIELDS] if f.name == "to"), None)
    names = frozenset(normal(readable(bounded(to, MAX_TO)).encode()).replace(b"@", b" ").split()) if to else frozenset()
    subject = [word for word in _VARIES.sub(b"", text.subject).split() if word not in names]
    opening = _VARIES.sub(b"", _GREETED.sub(rb" \1", text.opening[:_LOOKED_AT]))
    words = [word for word in opening.split() if word not in names][:WORDS]
    return blake2b(b" ".join(subject) + b"\0" + b" ".join(words), digest_size=6).hexdigest()
