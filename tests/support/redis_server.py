"""Real Redis servers on loopback, each with a folder of its own, ended by their process.

with RedisServer(tmp_path) as redis:       one server; kill(), pause(), resume(), start() as its operator or its fate would
with RedisServer(tmp_path, age=OLD):       one that others have used for long: it grants from the first question on
    ... redis.url ...
with RedisCluster(tmp_path) as cluster:    two masters that share the hash slots
with RedisPair(tmp_path) as pair:          a master, its replica, and a Sentinel that promotes the replica
"""

import signal
import subprocess
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from relay.state.redis import QUIET, TAGS
from tests.support import needs
from tests.support.node import free_port, wait_for

OLD = 6 * QUIET
HEARD = QUIET // 2  # another node was first to hear of it: the rest of its quiet time is two looks of each worker


class RedisServer:
    """`options`: as on the command line of redis-server; `first`: those before all others. Without persistence: what it is
    started with again is nothing. `age` of `with` and start(): for how long (ms) somebody else has known its data by then.
    Less than QUIET is what a node finds that does not look first; 0: nobody has asked yet."""

    def __init__(
        self, folder: Path, *options: str, password: str = "", first: tuple[str, ...] = (), age: int = 0
    ) -> None:
        self._first = first
        self._program = needs.program("redis-server")
        self._folder = folder
        self._options = options
        self._password = password
        self._age = age
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __repr__(self) -> str:
        return f"<RedisServer {self.url}>"

    def __enter__(self) -> "RedisServer":
        return self.start(self._age)

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, age: int = 0) -> "RedisServer":
        self._folder.mkdir(parents=True, exist_ok=True)
        words = [
            *self._first,
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self._folder),
            "--save",
            "",
        ]
        words += ["--requirepass", self._password] if self._password else []
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *words, *self._options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            wait_for("redis-server", self._answers)
            if age:
                self._known_for(age)
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def empty(self) -> None:
        """As if it had been started without its data, scripts included."""
        self.ask("FLUSHALL")
        self.ask("SCRIPT FLUSH")

    def pause(self) -> None:
        """It takes connections and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str | int) -> Any:
        with Redis(port=self.port, password=self._password or None, socket_timeout=10) as client:
            return client.execute_command(*words)

    def _known_for(self, age: int) -> None:
        made = int(self.ask("TIME")[0]) * 1000 - age
        self.ask("MSET", *(word for tag in range(TAGS) for word in (f"postlane:{{{tag}}}:epoch", f"{made}-somebody")))

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(f"redis-server does not run:\n{(self._folder / 'redis.log').read_text()}")
        try:
            return bool(self.ask("PING"))
        except RedisError:
            return False


def grants(redis: RedisServer) -> bool:
    """The time is over in which those who live tell a new Redis what they have."""
    epoch = redis.ask("GET", "postlane:{0}:epoch")
    return epoch is not None and int(redis.ask("TIME")[0]) * 1000 > int(epoch.partition(b"-")[0]) + QUIET


class RedisCluster:
    """Two masters, each with half of the slots."""

    def __init__(self, folder: Path) -> None:
        self.servers: list[RedisServer] = []
        self._buses = [free_port(), free_port()]
        for number, bus in enumerate(self._buses):
            options = ("--cluster-enabled", "yes", "--cluster-port", str(bus))
            self.servers.append(RedisServer(folder / str(number), *options))
        self.url = self.servers[0].url

    def __enter__(self) -> "RedisCluster":
        try:
            for server, slots in zip(self.servers, ((0, 8191), (8192, 16383)), strict=True):
                server.start()
                server.ask("CLUSTER ADDSLOTSRANGE", *slots)
            one, other = self.servers
            one.ask("CLUSTER MEET", "127.0.0.1", other.port, self._buses[1])
            wait_for("the cluster", self._complete)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.kill()

    def empty(self) -> None:
        for server in self.servers:
            server.empty()

    def _complete(self) -> bool:
        return all(server.ask("CLUSTER INFO")["cluster_state"] == "ok" for server in self.servers)


class RedisPair:
    """`url` names the Sentinel: who is master, only it says. `kill_master()`, as a machine dies; the replica has it all but what
    was written in its last moment."""

    NAME = "postlane"

    def __init__(self, folder: Path, password: str = "", age: int = 0) -> None:
        self._folder = folder
        self._password = password
        self._age = age
        self.master = RedisServer(folder / "one", "--repl-diskless-sync-delay", "0", password=password)
        of_master = ("--replicaof", "127.0.0.1", str(self.master.port))
        options = (*of_master, *(("--masterauth", password) if password else ()))
        self.replica = RedisServer(folder / "other", *options, password=password)
        self.sentinel = RedisServer(
            folder / "sentinel", "--sentinel", first=(str(folder / "sentinel" / "sentinel.conf"),)
        )
        self.url = f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{self.NAME}/0"

    def __enter__(self) -> "RedisPair":
        watched = [f"monitor {self.NAME} 127.0.0.1 {self.master.port} 1"]
        watched += [f"down-after-milliseconds {self.NAME} 500", f"failover-timeout {self.NAME} 3000"]
        watched += [f"auth-pass {self.NAME} {self._password}"] if self._password else []
        file = self._folder / "sentinel" / "sentinel.conf"
        file.parent.mkdir(parents=True)
        file.write_text("".join(f"sentinel {line}\n" for line in watched))
        try:
            self.master.start(self._age)
            self.replica.start()
            wait_for("the replica", lambda: self.replica.ask("INFO", "replication")["master_link_status"] == "up")
            self.sentinel.start()
            wait_for("the Sentinel to know the replica", self._knows_both)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self.sentinel, self.replica, self.master):
            server.kill()

    def kill_master(self) -> None:
        self.master.kill()

    def promoted(self) -> bool:
        return str(self.replica.ask("INFO", "replication")["role"]) == "master"

    def _knows_both(self) -> bool:
        return int(self.sentinel.ask("INFO", "sentinel")["master0"]["slaves"]) == 1
