"""The real program among hostile hosts and zones: each costs its own mail time, and nobody else anything."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.support.dnsserver import DnsServer
from tests.support.node import Node, free_port, wait_for
from tests.support.peer import serving
from tests.support.smtp_peer import Close, Drip, Flood, Raw, Reset, Script, SmtpPeer

pytestmark = pytest.mark.scenario

# What each domain's host does; a list ends, and then the host behaves.
HOSTS: Mapping[str, Script] = {
    "endless.test": {"CONNECT": [Flood(b"220-x\r\n" * 1000)]},
    "dripping.test": {"EHLO": Drip()},
    "lines.test": {"END": [Raw(b"250-x\r\n" * 100_000)]},
    "reset.test": {"DATA": [Reset()]},
    "lost.test": {"END": [Close()]},
    "nonsense.test": {"MAIL": [Raw(b"\xff\x00" * 100_000)]},
    "good.test": {},
}
RECOVER = ("endless.test", "lines.test", "reset.test", "lost.test", "nonsense.test")
NEVER = ("servfail.test", "circle.test", "many.test", "nobody.test")
MOST_MEMORY = 30_000_000  # octets more than before


def memory_of(node: Node) -> int:
    (worker,) = node.ask({"do": "stats"})["workers"]
    status = Path(f"/proc/{worker['pid']}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def zone(dns: DnsServer, addresses: Mapping[str, str]) -> None:
    for domain, address in addresses.items():
        dns.add(domain, "MX", f"10 mx.{domain}.", ttl=0)
        dns.add(f"mx.{domain}", "A", address, ttl=2**31)
    dns.add("circle.test", "CNAME", "circle.test.")
    dns.add("many.test", "MX", *(f"{n} mx{n}.many.test." for n in range(500)))
    for n in range(500):
        dns.add(f"mx{n}.many.test", "A", "127.0.2.1")
    dns.add("nobody.test", "A", "127.0.2.2")
    dns.fail("servfail.test")


def test_hostile_hosts_hold_up_nobody_and_lose_nothing(tmp_path: Path) -> None:
    port, dns = free_port(), DnsServer()
    addresses = {domain: f"127.0.1.{number}" for number, domain in enumerate(HOSTS, 1)}
    peers = {d: SmtpPeer(host=addresses[d], port=port, script=script) for d, script in HOSTS.items()}
    zone(dns, addresses)
    with ExitStack() as stack:
        stack.enter_context(serving(dns))
        for peer in peers.values():
            stack.enter_context(serving(peer))
        delivery = f'mode = "live"\nport = {port}\nallow_private = true'
        node = Node(tmp_path, delivery=delivery, nameservers=f'"{dns.address}"', key_for=("test.example",))
        stack.enter_context(node)
        before = memory_of(node)
        sent = {domain: node.send(f"dana@{domain}") for domain in (*HOSTS, *NEVER)}
        began = time.monotonic()
        others = [node.send("noa@good.test") for _ in range(20)]
        assert all(node.final(identifier)["type"] == "delivered" for identifier in (sent["good.test"], *others))
        assert time.monotonic() - began < 10

        for domain in RECOVER:
            assert node.final(sent[domain], 60)["type"] == "delivered", domain
            story = node.events(id=sent[domain])
            assert [event["type"] for event in story][-2:] == ["deferred", "delivered"], domain
            doubt = "may have been delivered" in story[-2]["reply"]["text"]
            assert doubt == (domain == "lost.test")
            assert len(peers[domain].transactions) == 1, "of those that were answered"
        assert sum(line == "DATA" for line in peers["lost.test"].commands) == 2, "in doubt it was sent again"

        for domain in NEVER:
            tried = wait_for(domain, partial(node.events, id=sent[domain], type="deferred"))
            assert not tried[0]["permanent"]
        waiting = node.run("queue", "list", "--limit", "0", "--json").stdout.splitlines()
        assert len(waiting) == len(NEVER) + 1, "with the one whose host drips"
        assert memory_of(node) - before < MOST_MEMORY
