import socket
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from relay.config import Deployment, load_deployment, load_policies
from relay.egress.settings import EgressSettings, Relay
from relay.settings import egress_settings, listener_settings, own_addresses, site_chooser

POOLS = """\
[pool.a]
sources = [{ address = "192.0.2.10" }, { address = "2001:db8::10" }]
[pool.b]
sources = [{ address = "" }]
"""


def deployment(folder: Path, *binds: str) -> Deployment:
    (folder / "config").mkdir()
    listeners = "".join(f'[[listener]]\nbind = "{bind}"\n' for bind in binds)
    (folder / "config" / "postlane.toml").write_text(f'[node]\nhostname = "relay.test.example"\n{listeners}')
    (folder / "config" / "pools.toml").write_text(POOLS)
    return load_deployment(folder / "config", {})


@pytest.fixture
def host_name(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the host's own name resolves to; with nothing in it, the resolver fails."""
    addresses: list[str] = []

    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return addresses


def test_bound_to_one_address(tmp_path: Path, host_name: list[str]) -> None:
    host_name.append("198.51.100.1")
    assert own_addresses(deployment(tmp_path, "192.0.2.7:25", "0.0.0.0:587")) == {"192.0.2.7"}


def test_nothing_of_ours_answers_on_the_port_of_mx_hosts(tmp_path: Path, host_name: list[str]) -> None:
    host_name.append("198.51.100.1")
    assert own_addresses(deployment(tmp_path, "0.0.0.0:587")) == frozenset()


def test_bound_everywhere(tmp_path: Path, host_name: list[str]) -> None:
    """Many a machine's own name leads to loopback only: what it sends from and listens on says more."""
    host_name.append("127.0.1.1")
    binds = ("0.0.0.0:25", "192.0.2.7:587", "[::]:465")
    assert own_addresses(deployment(tmp_path, *binds)) == {"127.0.1.1", "192.0.2.7", "192.0.2.10", "2001:db8::10"}


@pytest.mark.usefixtures("host_name")
def test_a_host_name_that_nobody_knows(tmp_path: Path) -> None:
    assert own_addresses(deployment(tmp_path, "[::]:25")) == {"192.0.2.10", "2001:db8::10"}


def test_a_listener_s_networks_reach_the_edge(tmp_path: Path) -> None:
    made = deployment(
        tmp_path, '127.0.0.1:25"\ntrust = ["10.20.0.0/16"]\nproxy_protocol = ["10.20.0.7"]\ncredential = "local'
    )
    found = listener_settings(made, made.listeners[0])
    assert (found.trust, found.proxies) == ((ip_network("10.20.0.0/16"),), (ip_network("10.20.0.7"),))


def settings(folder: Path, delivery: str, *, sandbox: bool = False) -> EgressSettings:
    for name in ("config", "policies"):
        (folder / name).mkdir(exist_ok=True)
    text = f'[node]\nhostname = "relay.test.example"\n[[listener]]\nbind = "127.0.0.1:0"\n[delivery]\n{delivery}'
    (folder / "config" / "postlane.toml").write_text(text)
    read = load_deployment(folder / "config", {})
    policies = load_policies(folder / "policies", read)
    return egress_settings(read, policies, capture="127.0.0.1:4711", sandbox=sandbox, workers=2)


SERVER = Relay("127.0.0.1", 4711)
STAGING = 'relay_host = "hub.example:25"\nonly_to = ["dana@b.example", "*.c.example"]\n'


@pytest.mark.parametrize(
    ("delivery", "sandbox", "captured"),
    [
        ("", False, []),
        (STAGING, False, ["noa@b.example"]),
        (f'{STAGING}mode = "capture"\n', False, ["dana@b.example", "noa@b.example", "noa@m.c.example"]),
        (STAGING, True, ["dana@b.example", "noa@b.example", "noa@m.c.example"]),
        ("", True, ["dana@b.example", "noa@b.example", "noa@m.c.example"]),
    ],
)
def test_what_goes_to_the_capture_server(tmp_path: Path, delivery: str, sandbox: bool, captured: list[str]) -> None:
    """A worker that starts anew in the sandbox may find files that somebody is about to go live with."""
    found = settings(tmp_path, delivery, sandbox=sandbox)
    site_of = site_chooser(found)
    people = [("dana@b.example", "b.example"), ("noa@b.example", "b.example"), ("noa@m.c.example", "m.c.example")]
    to_capture = [one for one, domain in people if found.capture and not found.capture.only_to.mean(one, domain)]
    assert to_capture == captured
    assert found.capture is None or found.capture.server == SERVER
    assert [one for one, domain in people if site_of(one, domain) == "127.0.0.1:4711"] == captured
    others = {site_of(one, domain) for one, domain in people if one not in captured}
    assert others <= ({"hub.example:25"} if delivery else {"b.example", "m.c.example"})
