"""What the supervisor tells a worker at its start; apart from both, so that neither needs the other's imports."""

from dataclasses import asdict, dataclass

import orjson

# A worker that stops gives its sessions and attempts this long (s); a session that waits for the answer to its final
# dot may take ten minutes, so what is cut off here is counted and may be delivered twice (ARCHITECTURE, restart).
DRAIN_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Order:
    """What the supervisor tells a worker at its start. `shards`: its own first, then the adopted ones.

    listeners  descriptors, in the order of the deployment's listeners     control  its end of the socket pair
    capture    "host:port" of the capture server, whether it has anything to take or not
    sandbox    capture mode: nothing may leave, whatever the files say by the time they are read
    workers    how many there are on this node
    """

    config: str
    policies: str
    shards: tuple[int, ...]
    listeners: tuple[int, ...]
    control: int
    capture: str
    sandbox: bool
    workers: int

    def dump(self) -> str:
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def load(cls, text: str) -> "Order":
        facts = orjson.loads(text)
        return cls(**{**facts, "shards": tuple(facts["shards"]), "listeners": tuple(facts["listeners"])})
