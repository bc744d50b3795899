"""A private Postfix, and the pair Postfix + OpenDKIM that Postlane is measured against.

Everything lives in a directory of its own: configuration, queue, data, key, milter socket. Ports are loopback's.
Postfix insists on starting as root; its daemons then run as the user of its package.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.processes import BenchError, Program, answers_smtp, free_port, start, wait_until
from bench.signing_key import SigningKey

TEMPLATES = Path(__file__).parent / "postfix"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # daemons' programs, also for users whose PATH lacks them


def find(program: str) -> str:
    """Where a program is; BenchError names it if it is not installed."""
    path = shutil.which(program, path=PATH)
    if path is None:
        raise BenchError(f"{program} is not installed")
    return path


def missing() -> list[str]:
    """What keeps this machine from running Postfix + OpenDKIM: names of programs, or "root"."""
    absent = [name for name in ("postfix", "opendkim", "smtp-source", "smtp-sink") if not shutil.which(name, path=PATH)]
    return absent + (["root"] if os.geteuid() else [])


def fill(template: str, words: Mapping[str, object]) -> str:
    """Replace @WORD@ by its value."""
    for word, value in words.items():
        template = template.replace(f"@{word}@", str(value))
    return template


class Postfix:
    """One private Postfix instance, run in the foreground by its own master process."""

    def __init__(self, directory: Path, main_cf: str, master_cf: str, port: int, host: str = "127.0.0.1") -> None:
        """`main_cf` may hold @QUEUE@ and @DATA@; `master_cf` listens at `host` and `port`.

        `directory` and those above it must be open to the user postfix.
        """
        self.directory = directory
        self.host = host
        self.port = port
        self.config = directory / "etc"
        self.queue = directory / "queue"
        self._data = directory / "data"
        for folder in (directory, self.config, self.queue, self._data):
            folder.mkdir(mode=0o755, exist_ok=True)
        owner = pwd.getpwnam("postfix")
        os.chown(self._data, owner.pw_uid, owner.pw_gid)
        words = {"QUEUE": self.queue, "DATA": self._data}
        (self.config / "main.cf").write_text(fill(main_cf, words))
        (self.config / "master.cf").write_text(master_cf)
        self._master: Program | None = None

    def __repr__(self) -> str:
        return f"<Postfix {self.host}:{self.port} {'up' if self._master else 'down'} {self.directory}>"

    @property
    def pid(self) -> int:
        if self._master is None:
            raise BenchError("Postfix is not running")
        return self._master.pid

    def start(self) -> None:
        """Check the configuration (which also makes the queue's folders), start, wait for the greeting."""
        log = self.directory / "postfix.log"
        check = subprocess.run(
            [find("postfix"), "-c", str(self.config), "check"], capture_output=True, text=True, timeout=60, check=False
        )
        if check.returncode:
            raise BenchError(f"postfix check: {check.stderr.strip()}")
        daemons = self.setting("daemon_directory")
        self._master = master = start("postfix master", [f"{daemons}/master", "-c", str(self.config), "-d"], log)

        def greets() -> bool:
            master.check()
            return answers_smtp(self.port, self.host)

        try:
            wait_until(greets, 20, "Postfix does not answer")
        except BenchError as problem:
            raise BenchError(f"{problem}\n{self.log()}") from None

    def stop(self) -> None:
        if self._master is not None:
            self._master.stop()
            self._master = None

    def setting(self, name: str) -> str:
        """The value of a main.cf parameter in force."""
        return self._command("postconf", "-h", name).strip()

    def log(self) -> str:
        """The last lines of its own log, if it keeps one."""
        path = Path(self.setting("maillog_file") or "/dev/null")
        return path.read_text(errors="replace")[-4000:] if path.is_file() else ""

    def waiting(self) -> int:
        """How many messages are in the queue."""
        return self._command("postqueue", "-j").count("\n")

    def _command(self, program: str, *arguments: str) -> str:
        command = [find(program), "-c", str(self.config), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


class PostfixOpenDkim:
    """Postfix + OpenDKIM, tuned: accepts on `port`, signs, and hands everything to 127.0.0.1:`sink`."""

    name = "Postfix + OpenDKIM"

    def __init__(
        self,
        directory: Path,
        sink: int,
        key: SigningKey,
        *,
        concurrency: int = 20,
        smtpd: int = 100,
        settings: Sequence[str] = (),
    ) -> None:
        """`settings`: lines of main.cf on top of the published ones; the last value of a parameter counts."""
        self._directory = directory
        directory.chmod(0o755)
        self.port = free_port()
        milter = directory / "opendkim.sock"
        key_file = directory / "dkim.pem"
        key_file.write_bytes(key.private_pem)
        shutil.chown(key_file, "postfix")
        words = {
            "PORT": self.port,
            "SINK": sink,
            "MILTER": milter,
            "CONCURRENCY": concurrency,
            "SMTPD": smtpd,
            "USER": "postfix",
            "DOMAIN": key.domain,
            "SELECTOR": key.selector,
            "KEY": key_file,
        }
        main_cf, master_cf, opendkim = (
            fill((TEMPLATES / name).read_text(), words) for name in ("main.cf.in", "master.cf.in", "opendkim.conf.in")
        )
        main_cf += "".join(f"{line}\n" for line in settings)
        self._milter = milter
        self._opendkim_conf = directory / "opendkim.conf"
        self._opendkim_conf.write_text(opendkim)
        self.postfix = Postfix(directory / "postfix", main_cf, master_cf, self.port)
        self._opendkim: Program | None = None

    def start(self) -> None:
        shutil.chown(self._directory, "postfix")  # OpenDKIM, as this user, makes its socket here
        command = [find("opendkim"), "-f", "-x", str(self._opendkim_conf)]
        self._opendkim = opendkim = start("opendkim", command, self._directory / "opendkim.log")

        def listens() -> bool:
            opendkim.check()
            return self._milter.exists()

        wait_until(listens, 10, "OpenDKIM does not listen")
        self.postfix.start()

    def stop(self) -> None:
        self.postfix.stop()
        if self._opendkim is not None:
            self._opendkim.stop()
            self._opendkim = None

    def pids(self) -> list[int]:
        """Roots of the process trees whose CPU and memory are this system's."""
        return [self.postfix.pid] + ([self._opendkim.pid] if self._opendkim else [])
