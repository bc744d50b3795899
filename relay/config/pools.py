"""config/pools.toml: the addresses mail leaves from, and the proxies that some of them live behind."""

from collections.abc import Iterator
from pathlib import Path

from relay.config.password_file import password_in
from relay.config.problems import Problem
from relay.config.reader import Document, read
from relay.config.schema_config import PoolsFile, PoolTable, SourceTable
from relay.config.wording import Loc
from relay.egress.pools import Pool, Protocol, Proxy, Source
from relay.message import MailClass

SOCKS5_LIMIT = 255  # octets of user and password (RFC 1929 2)


def read_pools(path: Path, home: Path) -> tuple[dict[str, Pool], list[Problem]]:
    """Without the file: a pool for each class, each with the address the system chooses."""
    if not path.exists():
        return {kind.label: Pool(kind.label, (Source("", ""),)) for kind in MailClass}, []
    document, problems = read(path)
    if document is None:
        return {}, problems
    table, found = document.validate(PoolsFile)
    problems += found
    pools: dict[str, Pool] = {}
    for name, pool in (table.pool if table else {}).items():
        sources: list[Source] = []
        for number, said in enumerate(pool.sources):
            source, found = _source(document, ("pool", name, "sources", number), said, home)
            sources.append(source)
            problems += found
        pools[name] = Pool(name, tuple(sources))
        problems += _of_sources(document, name, pool)
    for name in document.names("pool"):  # one with errors is still a name that routes may use
        pools.setdefault(name, Pool(name, (Source("", ""),)))
    return pools, problems


def _source(document: Document, loc: Loc, said: SourceTable, home: Path) -> tuple[Source, list[Problem]]:
    protocol, server = (Protocol.SOCKS5, said.socks5) if said.socks5 else (Protocol.HAPROXY, said.haproxy)
    problems = list(_of_proxy(document, loc, said))
    if not server:
        return Source(said.address, said.ehlo, said.weight, warmup=said.warmup), problems
    password, found = password_in(document, (*loc, "socks5_password_file"), said.socks5_password_file, home)
    host, _, port = server.rpartition(":")
    octets = len(password.encode())
    if not found and said.socks5_password_file and not 1 <= octets <= SOCKS5_LIMIT:
        message = f"holds {octets} octets; 1 to {SOCKS5_LIMIT} are a password (RFC 1929)"
        found = [document.problem((*loc, "socks5_password_file"), message, "range")]
    proxy = Proxy(protocol, host.strip("[]"), int(port), said.socks5_user, password)
    return Source(said.address, said.ehlo, said.weight, proxy, said.warmup), problems + found


def _of_proxy(document: Document, loc: Loc, said: SourceTable) -> Iterator[Problem]:
    """What two keys of one source show."""
    if said.socks5 and said.haproxy:
        yield document.problem((*loc, "haproxy"), "a source has one proxy: socks5 or haproxy", "conflict")
    if (said.socks5 or said.haproxy) and not said.address:
        message = 'is empty; which address does the proxy leave from? Such as "192.0.2.10"'
        yield document.problem((*loc, "address"), message, "missing")
    if said.socks5_user and not said.socks5:
        yield document.problem((*loc, "socks5"), "is missing; socks5_user is for it", "missing")
    if bool(said.socks5_user) != bool(said.socks5_password_file):
        lacking, has = ("socks5_password_file", "socks5_user")[:: 1 if said.socks5_user else -1]
        yield document.problem((*loc, lacking), f"is missing; {has} needs it", "missing")
    if len(said.socks5_user.encode()) > SOCKS5_LIMIT:
        yield document.problem((*loc, "socks5_user"), f"has more than {SOCKS5_LIMIT} octets (RFC 1929)", "range")


def _of_sources(document: Document, name: str, pool: PoolTable) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, source in enumerate(pool.sources):
        loc: Loc = ("pool", name, "sources", number)
        if source.address in seen:
            yield document.problem(
                (*loc, "address"), f'"{source.address}" stands in this pool twice; use weight', "duplicate"
            )
        seen.add(source.address)
