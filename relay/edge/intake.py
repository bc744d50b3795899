"""The data of one message on its way in, by DATA or by BDAT, within the size limit and the byte budget. No I/O.

Once something is wrong (`failure`) nothing is kept any more, but the data is still read to its end, so that the peer
hears the answer and the next command is found where it is. A peer that goes on and on (`hopeless`) is not read
further.
"""

from relay.edge import framing, replies
from relay.edge.commands import Chunk
from relay.edge.limits import ByteBudget
from relay.outcome import Reply

DISCARD_FACTOR = 4  # times the size limit: enough for any honest mistake, and an end to a flood


class Intake:
    """`take` is called with the session's input whenever there is more, and takes out of it what is the message's.

    whole    the message is complete: in `content`, or not at all for the reason in `failure`
    """

    command = ""

    def __init__(self, limit: int, budget: ByteBudget, failure: Reply | None = None) -> None:
        self.limit = limit
        self.failure = failure
        self.whole = False
        self.content = b""
        self.dropped = 0
        self._budget = budget
        self._reserved = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._reserved} octets, {self.failure or 'good'}>"

    def take(self, buffer: bytearray) -> bool:
        """True when what was announced (the message, or a chunk of it) is here as a whole."""
        raise NotImplementedError

    @property
    def hopeless(self) -> bool:
        return self.dropped > DISCARD_FACTOR * self.limit

    def release(self) -> None:
        """Gives back the octets; call it when the message is answered or given up."""
        self._budget.release(self._reserved)
        self._reserved = 0

    def _hold(self, size: int, limit: int) -> bool:
        """Makes the reservation at least `size`, or sets `failure`."""
        if size > limit:
            self.failure = replies.TOO_BIG
        elif size > self._reserved:
            if self._budget.reserve(size - self._reserved):
                self._reserved = size
            else:
                self.failure = replies.NO_ROOM
        if self.failure is None:
            return True
        self.release()
        return False


class DataIntake(Intake):
    """DATA: up to CRLF.CRLF, dot-stuffed."""

    command = "DATA"

    def __init__(self, limit: int, budget: ByteBudget) -> None:
        super().__init__(limit, budget)
        self._reader = framing.DataReader()

    def take(self, buffer: bytearray) -> bool:
        reader = self._reader
        content = reader.take(buffer)
        if content is not None:
            self.whole = True
            if self.failure is None and self._hold(len(content), self.limit):
                self.content = content
            return True
        # Stuffing adds at most one octet to three (".CRLF"), so up to there the message may yet be small enough.
        if self.failure is None and not self._hold(len(buffer), self.limit * 4 // 3):
            reader.discard = True
            reader.take(buffer)
        self.dropped = reader.dropped
        return False


class ChunkIntake(Intake):
    """BDAT (RFC 3030): counted octets, whatever they are; `expect` says how many come next."""

    command = "BDAT"

    def __init__(self, limit: int, budget: ByteBudget, failure: Reply | None = None) -> None:
        super().__init__(limit, budget, failure)
        self.chunk = Chunk(0, False)
        self._left = 0
        self._collected = bytearray()

    def expect(self, chunk: Chunk) -> None:
        self.chunk = chunk
        self._left = chunk.size

    def take(self, buffer: bytearray) -> bool:
        part = min(self._left, len(buffer))
        if self.failure is None and self._hold(len(self._collected) + part, self.limit):
            self._collected += buffer[:part]
        else:
            self._collected.clear()
            self.dropped += part
        del buffer[:part]
        self._left -= part
        if self._left:
            return False
        if self.chunk.last:
            self.whole = True
            self.content = bytes(self._collected)
            self._collected.clear()
        return True
