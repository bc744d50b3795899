"""The way to Redis: calls of State's one script, many in one round trip, to a server, to whichever of several is master now,
or to a cluster.

Every call is EVALSHA; where a server does not know the script (the first call, SCRIPT FLUSH, a failover) those calls are
repeated in their order as EVAL, which brings it. What fails ends the connection: the next call makes a new one, and so
finds who is master now, or a password that was changed. Who is, Sentinels say (`redis+sentinel://host,host/name`): a replica
that was promoted is known to them within a second of it. With `rediss+sentinel:` they and the servers are spoken to by TLS, by
the names or addresses that they say: certificates must hold those.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import structlog
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import NoScriptError, ReadOnlyError

log = structlog.get_logger()

SCRIPT = (Path(__file__).parent / "redis.lua").read_text("utf-8")
SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()  # Redis names scripts so
SECONDS = 2.0  # for an answer, connecting included: within a data centre it takes one millisecond
CLOSE_SECONDS = 1.0
SENTINEL, SENTINEL_TLS = "redis+sentinel", "rediss+sentinel"
SENTINEL_PORT = 26379
SENTINEL_SECONDS = (
    0.5  # for an answer of one: there are several, and the first may be on the machine that has just died
)


class Call(NamedTuple):
    """Of the script: keys of one hash tag, then what it is told."""

    keys: tuple[str | bytes, ...]
    words: tuple[str | int | bytes, ...]


class _PasswordFile(CredentialProvider):
    """Read for each connection: no restart when it is changed, and the password is kept nowhere."""

    def __init__(self, user: str, file: str) -> None:
        self._user, self._file = user, Path(file)

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._file.read_text("utf-8").strip("\r\n")
        return (self._user, password) if self._user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


class RedisLink:
    """`send` connects where there is no connection. Raises whatever goes wrong: the caller translates."""

    def __init__(self, url: str, password_file: str = "", sentinel_password_file: str = "") -> None:
        place = urlsplit(url)
        self.shown = place._replace(netloc=place.netloc.rpartition("@")[2]).geturl()
        self._credentials = _PasswordFile(place.username or "", password_file) if password_file else None
        self._client: Any = None
        self._cluster = False
        self._server = ""
        self._sentinel: Any = None
        if place.scheme in (SENTINEL, SENTINEL_TLS):
            self._sentinel = _sentinel(self.shown, sentinel_password_file)

    def __repr__(self) -> str:
        kind = " (cluster)" if self._cluster else ""
        return f"<RedisLink {self.shown}{kind}: {'connected' if self._client else 'not connected'}>"

    async def send(self, calls: Sequence[Call]) -> list[Any]:
        """An answer for each: what the script returned, or the exception that says why it did not run."""
        async with asyncio.timeout(SECONDS):
            if self._client is None:
                await self._connect()
            answers = await self._run("EVALSHA", SHA, calls)
            unknown = [number for number, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if unknown:
                again = await self._run("EVAL", SCRIPT, [calls[number] for number in unknown])
                for number, answer in zip(unknown, again, strict=True):
                    answers[number] = answer
        return answers

    async def close(self) -> None:
        client, self._client = self._client, None
        for one in filter(None, (client, self._sentinel)):
            with contextlib.suppress(Exception):  # it may be broken, which is why it is closed
                async with asyncio.timeout(CLOSE_SECONDS):
                    await one.aclose()

    def server_of(self, call: Call) -> str:
        """Whose clock counts there."""
        if not self._cluster or self._client is None:
            return self._server
        return str(self._client.get_node_from_key(call.keys[0]).name)

    async def _run(self, command: str, script: str, calls: Sequence[Call]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command(command, script, len(call.keys), *call.keys, *call.words)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    async def _connect(self) -> None:
        options: dict[str, Any] = {
            "credential_provider": self._credentials,
            "socket_timeout": SECONDS,
            "socket_connect_timeout": SECONDS,
            "retry": Retry(NoBackoff(), 0),  # what has no answer may have been done: the caller knows what follows
            "protocol": 2,
        }
        url = await self._master() if self._sentinel is not None else self.shown
        client: Any = Redis.from_url(url, max_connections=2, **options)
        try:
            about = await client.info()
            if about.get("cluster_enabled"):
                await client.aclose()
                client = RedisCluster.from_url(self.shown, **options)
                await client.initialize()
            elif about["role"] != "master":  # it would take no permit; a second later another is the master
                raise ReadOnlyError(f"{urlsplit(url).netloc} is a replica")
        except BaseException:
            with contextlib.suppress(Exception):
                await client.aclose()
            raise
        if about.get("maxmemory") and about.get("maxmemory_policy") != "noeviction":
            log.warning(
                "Redis may forget limits when its memory is full: set maxmemory-policy noeviction",
                server=self.shown,
                policy=about["maxmemory_policy"],
            )
        self._client, self._cluster = client, bool(about.get("cluster_enabled"))
        self._server = urlsplit(url).netloc if self._sentinel is not None else ""

    async def _master(self) -> str:
        """The URL of the server that is master now; raises what redis-py does where no Sentinel knows one."""
        _, name, *database = urlsplit(self.shown).path.split("/")
        host, port = await self._sentinel.discover_master(name)
        scheme = "rediss" if self.shown.startswith(SENTINEL_TLS) else "redis"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/{''.join(database) or 0}"


def _sentinel(url: str, password_file: str) -> Any:
    """Several that watch the same servers, all with the same password or none."""
    place = urlsplit(url)
    places = [urlsplit(f"//{one}") for one in place.netloc.split(",")]
    hosts = [(place.hostname, place.port or SENTINEL_PORT) for place in places]
    options: dict[str, Any] = {
        "socket_timeout": SENTINEL_SECONDS,
        "socket_connect_timeout": SENTINEL_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "ssl": place.scheme == SENTINEL_TLS,
        "credential_provider": _PasswordFile("", password_file) if password_file else None,
    }
    made: Any = Sentinel  # redis-py gives its arguments no types
    return made(hosts, sentinel_kwargs=options)
