"""The sockets that outlive workers: bound before any process starts, and kept by the supervisor."""

import socket
from dataclasses import dataclass, field

from relay.config import Deployment

BACKLOG = 1024  # connections that wait while a worker restarts; the kernel caps it at net.core.somaxconn


class StartError(Exception):
    """Why the node cannot start, in words for the person who started it."""


class PortTaken(StartError):
    """An address we were told to listen on cannot be bound."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {error.strerror}")
        self.host, self.port = host, port


@dataclass(slots=True)
class Sockets:
    """`listeners[worker][i]` belongs to the deployment's listener i; `capture` is there from when mail is first captured."""

    listeners: list[list[socket.socket]] = field(default_factory=list)
    admin: socket.socket | None = None
    api: socket.socket | None = None
    public: socket.socket | None = None
    capture: socket.socket | None = None

    @property
    def ports(self) -> list[int]:
        """Where apps reach us: of each listener, in the order of the deployment's."""
        return [link.getsockname()[1] for link in self.listeners[0]]

    @property
    def capture_address(self) -> str:
        """ "host:port"; "" without one."""
        return f"127.0.0.1:{self.capture.getsockname()[1]}" if self.capture is not None else ""

    def open_capture(self) -> None:
        """Connections wait for the web process, which serves them once it is started anew."""
        if self.capture is None:
            self.capture = _bind("127.0.0.1", 0, shared=False)
            self.capture.listen(128)


def bind_all(deployment: Deployment, workers: int) -> Sockets:
    """Raises PortTaken."""
    sockets = Sockets(listeners=[[] for _ in range(workers)])
    for listener in deployment.listeners:
        host, port = listener.bind
        if port:
            _bind(host, port, shared=False).close()  # SO_REUSEPORT alone would share the port with a stranger
        for worker in range(workers):
            link = _bind(host, port, shared=True)
            port = link.getsockname()[1]  # port 0: the kernel chose one for the first worker, the others join it
            sockets.listeners[worker].append(link)
    sockets.admin = _pages(deployment.web.admin, 128)
    sockets.api = _pages(deployment.web.api, BACKLOG)
    sockets.public = _pages(deployment.web.public, BACKLOG)
    if deployment.captures:
        sockets.open_capture()
    return sockets


def _pages(address: str, backlog: int) -> socket.socket | None:
    """Where the web process answers; None for ""."""
    if not address:
        return None
    host, _, number = address.rpartition(":")
    link = _bind(host.strip("[]"), int(number), shared=False)
    link.listen(backlog)
    return link


def _bind(host: str, port: int, *, shared: bool) -> socket.socket:
    """A bound socket; `shared` ones (SO_REUSEPORT) listen at once, so that no connection is refused while workers start."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    link = socket.socket(family)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
    try:
        link.bind((host, port))
    except OSError as error:
        link.close()
        raise PortTaken(host, port, error) from error
    if shared:
        link.listen(BACKLOG)
    return link
