"""A node of Postlane as in production: every feature on; its configuration, data and ports are its own."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.peers import fill
from bench.processes import Program, answers_smtp, free_port, start, wait_until
from bench.signing_key import SigningKey

ROOT = Path(__file__).parent.parent
TEMPLATES = Path(__file__).parent / "postlane"


class PostlaneNode:
    """`postlane serve`, accepting on `port`, signing with `key`, handing everything to `relay` ("host:port").

    With an empty `relay` mail goes to the MX hosts that `nameservers` name, at `remote_port`. `workers` 0: one per CPU.
    """

    name = "Postlane"

    def __init__(
        self,
        directory: Path,
        relay: str,
        key: SigningKey,
        *,
        workers: int = 0,
        mail_class: str = "transactional",
        nameservers: tuple[str, ...] = (),
        remote_port: int = 25,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        self.port, self.public = free_port(), free_port()
        self.data = directory / "data"
        self.data.mkdir()
        words = {
            "DATA": self.data,
            "WORKERS": workers,
            "PORT": self.port,
            "RELAY": relay,
            "REMOTE_PORT": remote_port,
            "NAMESERVERS": ", ".join(f'"{server}"' for server in nameservers),
            "ADMIN": free_port(),
            "PUBLIC": self.public,
            "DOMAIN": key.domain,
            "CLASS": mail_class,
        }
        for template in TEMPLATES.glob("*/*.toml"):
            target = directory / template.relative_to(TEMPLATES)
            target.parent.mkdir(exist_ok=True)
            target.write_text(fill(template.read_text(), words))
        key_file = directory / "config" / "dkim" / key.domain / f"{key.selector}.pem"
        key_file.parent.mkdir(parents=True)
        key_file.write_bytes(key.private_pem)
        key_file.chmod(0o600)
        # The environment of whoever runs the benchmark must not decide which files are read
        own = {name: value for name, value in os.environ.items() if not name.startswith("POSTLANE_")}
        self._environment = {**own, **(environment or {})}
        self._program: Program | None = None

    def __repr__(self) -> str:
        return f"<PostlaneNode 127.0.0.1:{self.port} {'up' if self._program else 'down'} {self._directory}>"

    def start(self) -> None:
        config, policies = self._directory / "config", self._directory / "policies"
        command = [
            sys.executable,
            "-m",
            "relay.cli.main",
            "serve",
            "--config",
            f"{config}",
            "--policies",
            f"{policies}",
        ]
        log = self._directory / "postlane.log"
        self._program = program = start("postlane", command, log, env=self._environment, cwd=ROOT)

        def greets() -> bool:
            program.check()
            return answers_smtp(self.port)

        wait_until(greets, 30, "Postlane does not answer")

    def stop(self) -> None:
        """SIGTERM: it drains and ends."""
        if self._program is not None:
            self._program.stop(40)
            self._program = None

    def pids(self) -> list[int]:
        """Roots of the process trees whose CPU and memory are this system's: the supervisor has all as children."""
        return [self._program.pid] if self._program else []
