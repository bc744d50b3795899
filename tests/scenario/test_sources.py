"""Sources whose addresses live on other machines: a SOCKS5 proxy of our own and a real haproxy, each with an address."""

from pathlib import Path

import pytest

from tests.support.haproxy import Haproxy
from tests.support.node import CREDENTIALS, Event, Node, wait_for
from tests.support.peer import serving
from tests.support.sink import Sink
from tests.support.socks5_server import Socks5Server

pytestmark = pytest.mark.scenario

POOLS = """\
[pool.transactional]
sources = [{{ address = "127.0.0.7", socks5 = "127.0.0.1:{socks5}", socks5_user = "t1", socks5_password_file = "secret" }}]
[pool.service]
sources = [{{ address = "127.0.0.6", weight = 1000, socks5 = "127.0.0.1:{dead}" }}, {{ address = "127.0.0.3" }}]
[pool.marketing]
sources = [{{ address = "127.0.0.8", haproxy = "127.0.0.1:{haproxy}" }}]
"""
BULK = "127.0.0.9"
BILLS = "127.0.0.10"
SERVICE = f'''
[credential.bills]
class = "service"
domains = ["*"]
networks = ["{BILLS}/32"]
'''


def not_yet(proxy: Socks5Server) -> Socks5Server:
    """With a port, at which nobody listens."""
    with serving(proxy):
        return proxy


def test_mail_leaves_by_proxies_from_the_addresses_that_live_there_and_where_one_is_dead_from_its_sibling(
    tmp_path: Path,
) -> None:
    socks5 = not_yet(Socks5Server(leaves_from="127.0.0.7", login=("t1", "s3cret")))
    dead = not_yet(Socks5Server(leaves_from="127.0.0.6"))
    with Sink() as sink, Haproxy(tmp_path, {}, outbound=True) as haproxy:
        files = {
            "config/pools.toml": POOLS.format(socks5=socks5.port, haproxy=haproxy.outbound, dead=dead.port),
            "policies/credentials.toml": CREDENTIALS + SERVICE,
            "secret": "s3cret\n",
        }
        delivery = f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"'
        with Node(tmp_path / "node", delivery=delivery, key_for=("test.example",), files=files) as node:
            its_sibling_carries_the_mail_and_nothing_waits(node)
            waits = node.send("dana@example.com")
            deferred = wait_for("it to wait for the proxy", lambda: node.events(id=waits, type="deferred"))[0]
            assert deferred["reply"]["text"].startswith("cannot send from 127.0.0.7: socks5 127.0.0.1:")
            assert not deferred["permanent"]
            with serving(socks5, dead):
                assert left_from(node, node.send("noa@example.com", source=BULK)) == "127.0.0.8"
                assert left_from(node, waits) == "127.0.0.7"
                back = "its return, after a pause of five seconds or ten"
                wait_for(back, lambda: left_from(node, node.send("eli@example.com", source=BILLS)) == "127.0.0.6", 60)
                wait_for("that to be told", lambda: len(alerts(node)) == 2)
                wait_for("all to be well", lambda: node.run("status").returncode == 0)
            came = {message.recipients[0]: message.source for message in sink.messages}
            assert (came["dana@example.com"], came["noa@example.com"]) == ("127.0.0.7", "127.0.0.8")
            assert "s3cret" not in node.log()


def its_sibling_carries_the_mail_and_nothing_waits(node: Node) -> None:
    sent = [node.send(f"eli{number}@example.com", source=BILLS) for number in range(5)]
    assert {left_from(node, one) for one in sent} == {"127.0.0.3"}
    assert node.events(type="deferred") == []
    (alert,) = wait_for("the alert", lambda: alerts(node))
    assert alert["what"] == {"source": "127.0.0.6", "site": None}
    assert "nothing leaves from 127.0.0.6 for a while: " in node.run("status").stdout


def left_from(node: Node, identifier: str) -> str:
    """When it was delivered."""
    ended = node.final(identifier, 60)
    assert ended["type"] == "delivered"
    source: str = ended["source"]
    return source


def alerts(node: Node) -> list[Event]:
    """Of the source that is dead."""
    return [alert for alert in node.events(type="alert", name="source") if alert["what"]["source"] == "127.0.0.6"]
