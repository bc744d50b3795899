"""The trace id: an opaque, self-authenticating token per recipient, in a header field of our own.

It is the second way back from a complaint to the delivery that caused it, for reports that redact the recipient. One
AES block holds the maker's time and place of the message id (10 octets), the recipient's index (3) and three zero
octets; a node that holds the secret opens it, and three octets of zero are its proof of origin (a forger's odds: 1 in
16 million a try, and a hit yields only a random id that no table knows). A block cipher makes equal tokens only for
equal input, so no nonce is needed.
"""

from hashlib import blake2s

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from relay.ids import pack, unpack

FIELD = "X-Postlane-Trace"


class Tracer:
    """Seals and opens trace ids with a key derived from the node's master secret; one of its own for each `purpose`."""

    def __init__(self, secret: bytes, purpose: bytes = b"trace") -> None:
        key = blake2s(secret, person=purpose).digest()[:16]
        cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 one block, unique by content: the very use ECB is for
        self._seal = cipher.encryptor()
        self._open = cipher.decryptor()

    def token(self, message_id: str, index: int) -> str:
        block = pack(message_id) + index.to_bytes(3, "big") + b"\0\0\0"
        return self._seal.update(block).hex()

    def field(self, message_id: str, index: int) -> bytes:
        return f"{FIELD}: {self.token(message_id, index)}\r\n".encode()

    def open(self, token: str) -> tuple[str, int] | None:
        """(message id, recipient index); None for what we did not make."""
        try:
            block = bytes.fromhex(token)
        except ValueError:
            return None
        if len(block) != 16:
            return None
        plain = self._open.update(block)
        if plain[13:] != b"\0\0\0":
            return None
        return unpack(plain[:10]), int.from_bytes(plain[10:13], "big")
