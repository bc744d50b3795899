"""The byte budget of contents that parked deliveries keep in memory. Pure."""

from relay.message import Delivery


class Contents:
    """The byte budget of contents that parked deliveries keep in memory, each message's counted once."""

    def __init__(self, budget: int) -> None:
        self.held = 0
        self._budget = budget
        # By identity: how many deliveries are parked with this very object, and the bytes counted for it. Another
        # object of the same row, read from the spool, has no content.
        self._parked: dict[int, tuple[int, int]] = {}

    def keep(self, delivery: Delivery) -> None:
        """A delivery is parked: its content stays where the budget allows, else it is read back from the spool."""
        message = delivery.message
        if message.content is None:
            return
        others, size = self._parked.get(id(message), (0, len(message.content)))
        if not others:
            if self.held + size > self._budget:
                message.content = None
                return
            self.held += size
        self._parked[id(message)] = others + 1, size

    def release(self, delivery: Delivery) -> None:
        """A delivery is parked no longer."""
        identity = id(delivery.message)
        parked, size = self._parked.pop(identity, (0, 0))
        if parked > 1:
            self._parked[identity] = parked - 1, size
        else:
            self.held -= size
