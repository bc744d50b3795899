"""A message's template as a short name: the same for every copy, whatever was filled in. Pure.

What is filled in is left out: words with digits, codes, the recipient's name and address (from To, and after a greeting);
links are no text in the first place. What remains of the subject and of the first words of the text is hashed: a
receipt's list of goods comes later.
"""

from collections.abc import Sequence
from hashlib import blake2b

from relay.header import Field, readable
from relay.policy.evidence.lexicon import normal
from relay.policy.evidence.text import MAX_FIELDS, Text, bounded

WORDS = 24  # of the text, after what varies is gone: two or three sentences
MAX_TO = 300  # octets of To: the first recipient's name and address
LONGEST = 40  # octets of a word; what is longer is a code, or Chinese, whose words are not parted
_MARKED = bytes(ord("0") if chr(c) in "123456789@%$#&+" else c for c in range(256))
_GREETINGS = frozenset(
    word.encode()
    for word in (
        *("dear", "hi", "hello", "hey", "hallo", "liebe", "lieber", "geehrte", "geehrter", "frau", "herr", "bonjour"),
        *(
            "cher",
            "chère",
            "hola",
            "estimado",
            "estimada",
            "ciao",
            "gentile",
            "caro",
            "cara",
            "olá",
            "prezado",
            "cześć",
        ),
        *("здравствуйте", "привет", "уважаемый", "уважаемая", "שלום", "היי", "הי", "مرحبا", "عزيزي", "عزيزتي", "beste"),
        *("hoi", "merhaba", "sayın"),
    )
)
_NOBODY: frozenset[bytes] = frozenset()


def skeleton(text: Text, fields: Sequence[Field]) -> str:
    """12 hexadecimal digits. `text` and `fields` are of the same message."""
    to = next((f for f in fields[:MAX_FIELDS] if f.name == "to"), None)
    names = _NOBODY
    if to is not None:
        names = frozenset(normal(readable(bounded(to, MAX_TO)).encode()).replace(b"@", b" ").split())
    kept = _kept(text.subject, names, len(text.subject))
    kept.append(b"\0")
    kept += _kept(text.opening, names, WORDS)
    return blake2b(b" ".join(kept), digest_size=6).hexdigest()


def _kept(octets: bytes, names: frozenset[bytes], most: int) -> list[bytes]:
    """The words of the template, `most` of them."""
    kept: list[bytes] = []
    before = b""
    for word in octets.translate(_MARKED).split(None, 3 * WORDS):
        if b"0" not in word and word not in names and before not in _GREETINGS and len(word) <= LONGEST:
            kept.append(word)
            if len(kept) == most:
                break
        before = word
    return kept
