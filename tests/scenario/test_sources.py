"""Sources whose addresses live on other machines: a SOCKS5 proxy of our own and a real haproxy, each with an address."""

from pathlib import Path

import pytest

from tests.support.dnsserver import serving
from tests.support.haproxy import Haproxy
from tests.support.node import Node, wait_for
from tests.support.sink import Sink
from tests.support.socks5_server import Socks5Server

pytestmark = pytest.mark.scenario

POOLS = """\
[pool.transactional]
sources = [{{ address = "127.0.0.7", socks5 = "127.0.0.1:{socks5}", socks5_user = "t1", socks5_password_file = "secret" }}]
[pool.service]
sources = [{{ address = "127.0.0.3" }}]
[pool.marketing]
sources = [{{ address = "127.0.0.8", haproxy = "127.0.0.1:{haproxy}" }}]
"""
BULK = "127.0.0.9"


def test_mail_leaves_by_proxies_from_the_addresses_that_live_there(tmp_path: Path) -> None:
    socks5 = Socks5Server(leaves_from="127.0.0.7", login=("t1", "s3cret"))
    with serving(socks5):
        pass  # it has a port now
    with Sink() as sink, Haproxy(tmp_path, {}, outbound=True) as haproxy:
        pools = POOLS.format(socks5=socks5.port, haproxy=haproxy.outbound)
        node = Node(
            tmp_path / "node",
            delivery=f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"',
            key_for=("test.example",),
            files={"config/pools.toml": pools, "secret": "s3cret\n"},
        )
        with node:
            waits = node.send("dana@example.com")
            deferred = wait_for("it to wait for the proxy", lambda: node.events(id=waits, type="deferred"))[0]
            assert deferred["reply"]["text"].startswith("cannot send from 127.0.0.7: socks5 127.0.0.1:")
            assert not deferred["permanent"]
            with serving(socks5):
                delivered = node.final(waits, 60)
                assert (delivered["type"], delivered["source"]) == ("delivered", "127.0.0.7")
                delivered = node.final(node.send("noa@example.com", source=BULK))
                assert (delivered["type"], delivered["source"]) == ("delivered", "127.0.0.8")
            assert {message.recipients[0]: message.source for message in sink.messages} == {
                "dana@example.com": "127.0.0.7",
                "noa@example.com": "127.0.0.8",
            }
            assert "s3cret" not in node.log()
