"""What the supervisor tells a worker at its start; apart from both, so that neither needs the other's imports."""

from dataclasses import dataclass
from pathlib import Path

# A worker that stops gives its sessions and attempts this long (s); a session that waits for the answer to its final
# dot may take ten minutes, so what is cut off here is counted and may be delivered twice (ARCHITECTURE, restart).
DRAIN_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process reads what is in force.

    config, policies  kept copies (relay/kept.py)
    origin            config/ on disk, which `config` is a copy of: keys, certificates, secrets and relative paths are there
    started           the copy of config/ that the node started with: [node], binds and [state] are those
    """

    config: str
    policies: str
    origin: str
    started: str

    @property
    def versions(self) -> dict[str, str]:
        """As workers report them: what two processes must agree on."""
        return {"version": Path(self.policies).name, "config": Path(self.config).name}


@dataclass(frozen=True, slots=True)
class Order:
    """What the supervisor tells a worker at its start. `shards`: its own first, then the adopted ones.

    listeners  descriptors, in the order of the deployment's listeners     control  its end of the socket pair
    capture    "host:port" of the capture server; "" where all mail leaves
    workers    how many there are on this node
    """

    place: Place
    shards: tuple[int, ...]
    listeners: tuple[int, ...]
    control: int
    capture: str
    workers: int
