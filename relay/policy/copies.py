"""When two messages are one: copies of each other, or one in place of the other. Pure.

A copy is what an app hands in again because it lost our answer, or a job because it ran twice: of the same credential, with the
same X-Postlane-Idempotency-Key or else the same Message-ID, to the same recipient, with the same content. Without either of
the two an app has not said that messages are one, and equal ones are sent as often as they come.

Content is what the recipient reads: From, Subject and body. What an app makes anew when it builds a message once more is left
out: Date, a Message-ID beside the key, fields of its own tracing, the order of fields, and in a multipart body the boundaries,
which are random. A text that differs makes another message, also under the same key: sending it is the lesser harm.

A collapse key says that a newer message of the same credential with it takes an older one's place.

What State is told by are keyed hashes: it learns neither addresses nor what mail says.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b, blake2s, sha256

from relay.header import Field, first

KEY_OCTETS = 12  # of a hash: of 100 million the next is one of them with a probability of 1 in 10^21
BOUNDARIES = 8  # in one message that are left out: nobody nests deeper
REMEMBERED = 1_024  # keys, the latest: 300 KB
_BOUNDARY = b"boundary="
_END = b' \t\r\n;"'


class Hashes:
    """By the node's secret."""

    def __init__(self, secret: bytes) -> None:
        self._key = blake2s(secret, person=b"copies").digest()
        self.key = lru_cache(maxsize=REMEMBERED)(self._new_key)  # a copy is claimed, then kept

    def of(self, kind: bytes, parts: Iterable[bytes]) -> str:
        """Of a message, in hexadecimal; other kinds have other hashes."""
        whole = blake2b(digest_size=KEY_OCTETS, key=self._key, person=kind)
        whole.update(b"".join([len(part).to_bytes(4, "big") + part for part in parts]))
        return whole.hexdigest()

    def _new_key(self, of_message: str, recipient: str) -> bytes:
        """Of that message to him; whoever writes an address in capitals means the same one."""
        whole = f"{of_message}{recipient.lower()}".encode("utf-8", "surrogatepass")
        return blake2b(whole, digest_size=KEY_OCTETS, key=self._key).digest()

    def copy(self, credential: str, idempotency_key: str, fields: Sequence[Field], body: Callable[[], bytes]) -> str:
        """By which copies of a message are known, but for the recipient; "" where its app has not said what it is. `body`:
        the hash of its body (body_of)."""
        said = b"key " + idempotency_key.encode() if idempotency_key else first(fields, "message-id")
        if not said:
            return ""
        parts = credential.encode(), said, first(fields, "from"), first(fields, "subject"), body()
        return self.of(b"copy", parts)

    def alike(self, credential: str, stream: str, skeleton: str) -> str:
        """By which the messages of one template are known, but for the recipient."""
        return self.of(b"alike", (credential.encode(), stream.encode(), skeleton.encode()))

    def collapse(self, credential: str, key: str) -> str:
        """By which the messages are known that take each other's place, but for the recipient; "" for none."""
        return self.of(b"collapse", (credential.encode(), key.encode())) if key else ""


def body_of(fields: Sequence[Field], content: bytes, start: int, plain: Callable[[], bytes]) -> bytes:
    """A hash of the body, which begins at `start`: `plain`, which its signature needs too, unless it is a multipart one."""
    kind = first(fields, "content-type")
    if _BOUNDARY not in kind.lower():
        return plain()
    body = content[start:]
    for boundary in _boundaries(kind, body):
        body = body.replace(boundary, b"")
    return sha256(body).digest()  # a third of what blake2b takes, where the processor knows it


def _boundaries(kind: bytes, body: bytes) -> list[bytes]:
    """The longest first: one may begin as another does."""
    found = {_value(kind, kind.lower().find(_BOUNDARY))}
    at = body.find(_BOUNDARY)
    while at >= 0 and len(found) < BOUNDARIES:
        found.add(_value(body, at))
        at = body.find(_BOUNDARY, at + 1)
    return sorted((one for one in found if len(one) > 1), key=len, reverse=True)


def _value(text: bytes, at: int) -> bytes:
    """What is said there; 70 octets at most (RFC 2046 5.1.1)."""
    value = text[at + len(_BOUNDARY) : at + len(_BOUNDARY) + 72]
    if value[:1] == b'"':
        return value[1:].partition(b'"')[0]
    return next((value[:end] for end, octet in enumerate(value) if octet in _END), value)
