"""Sources whose addresses live on other machines: a SOCKS5 proxy of our own and a real haproxy, each with an address."""

from pathlib import Path

import pytest

from tests.support.haproxy import Haproxy
from tests.support.node import Node, wait_for
from tests.support.peer import serving
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


def test_where_a_source_is_dead_its_sibling_carries_the_mail_and_nothing_waits(tmp_path: Path) -> None:
    socks5 = Socks5Server(leaves_from="127.0.0.7")
    with serving(socks5):
        pass  # it has a port now
    dead = f'{{ address = "127.0.0.7", weight = 1000, socks5 = "127.0.0.1:{socks5.port}" }}'
    pools = POOLS.format(socks5=1, haproxy=1).splitlines()
    pools[1] = f'sources = [{dead}, {{ address = "127.0.0.3" }}]'
    with Sink() as sink:
        delivery = f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"'
        files = {"config/pools.toml": "\n".join(pools)}
        with Node(tmp_path, delivery=delivery, key_for=("test.example",), files=files) as node:
            for number in range(5):
                assert node.final(node.send(f"dana{number}@example.com"))["source"] == "127.0.0.3"
            assert node.events(type="deferred") == []
            (alert,) = wait_for("the alert", lambda: node.events(type="alert", name="source"))
            assert alert["what"] == {"source": "127.0.0.7", "site": None}
            assert "nothing leaves from 127.0.0.7 for a while: " in node.run("status").stdout
            with serving(socks5):
                back = "its return, after a pause of five seconds or ten"
                wait_for(back, lambda: node.final(node.send("dana@example.com"))["source"] == "127.0.0.7", 60)
                wait_for("that to be told", lambda: len(node.events(type="alert", name="source")) == 2)
                assert node.run("status").returncode == 0
