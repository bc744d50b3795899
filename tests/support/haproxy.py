"""A real haproxy that hands TCP connections on, each with a PROXY header; TLS passes through untouched.

with Haproxy(tmp_path, {465: "send-proxy-v2"}) as proxy:
    ... connect to proxy.ports[465] on 127.0.0.1: haproxy connects to port 465 there ...

With outbound=True it also listens at `proxy.outbound`, and connects from and to where a PROXY header says; this needs root.
"""

import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.support import needs
from tests.support.node import free_port, wait_for

CONFIG = """\
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
"""
# It looks every 100 ms whether the server is up, and says LOCAL then.
OUTBOUND = """\
listen outbound
    bind 127.0.0.1:{port} accept-proxy
    server anywhere 0.0.0.0 source 0.0.0.0 usesrc clientip
"""
ROUTE = """\
listen port-{target}
    bind 127.0.0.1:{port}
    server node 127.0.0.1:{target} {option} check check-send-proxy inter 100ms
"""


class Haproxy:
    """For each port on 127.0.0.1 in `routes`, one in front of it; the value is haproxy's word for the header."""

    def __init__(self, folder: Path, routes: Mapping[int, str], *, outbound: bool = False) -> None:
        self._program = needs.program("haproxy")
        if outbound:
            needs.root("haproxy leaves from any address")
        self.outbound = free_port() if outbound else 0
        self.ports = {target: free_port() for target in routes}
        self._config = folder / "haproxy.cfg"
        tables = [ROUTE.format(target=port, port=self.ports[port], option=option) for port, option in routes.items()]
        tables += [OUTBOUND.format(port=self.outbound)] if outbound else []
        self._config.write_text(CONFIG + "".join(tables))
        self._log = folder / "haproxy.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Haproxy {self.ports}>"

    def __enter__(self) -> "Haproxy":
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, "-db", "-f", str(self._config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            wait_for("haproxy", self._listens)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    def _listens(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(f"haproxy does not run:\n{self._log.read_text(errors='replace')}")
        for port in [*self.ports.values(), *([self.outbound] if self.outbound else [])]:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except ConnectionRefusedError:
                return False
        return True
