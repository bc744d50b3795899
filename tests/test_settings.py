import socket
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from relay.config import Deployment, load_deployment, load_policies
from relay.egress.settings import EgressSettings, Relay, Share
from relay.in_force import InForce, accept, examine_files
from relay.settings import (
    certificate_trouble,
    egress_settings,
    listener_settings,
    own_addresses,
    site_chooser,
    worker_settings,
)
from relay.shaping.sites import Sites
from tests.support.certificates import self_signed

POOLS = """\
[pool.a]
sources = [{ address = "192.0.2.10" }, { address = "2001:db8::10" }]
[pool.b]
sources = [{ address = "" }, { address = "192.0.2.99", haproxy = "192.0.2.98:2526" }]
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


def settings(folder: Path, delivery: str) -> EgressSettings:
    for name in ("config", "policies"):
        (folder / name).mkdir(exist_ok=True)
    text = f'[node]\nhostname = "relay.test.example"\n[[listener]]\nbind = "127.0.0.1:0"\n[delivery]\n{delivery}'
    (folder / "config" / "postlane.toml").write_text(text)
    read = load_deployment(folder / "config", {})
    policies = load_policies(folder / "policies", read)
    return egress_settings(read, policies, "127.0.0.1:4711", Share(2))


SERVER = Relay("127.0.0.1", 4711)
STAGING = 'relay_host = "hub.example:25"\nonly_to = ["dana@b.example", "*.c.example"]\n'


@pytest.mark.parametrize(
    ("delivery", "captured"),
    [
        ("", []),
        (STAGING, ["noa@b.example"]),
        (f'{STAGING}mode = "capture"\n', ["dana@b.example", "noa@b.example", "noa@m.c.example"]),
        ('mode = "capture"\n', ["dana@b.example", "noa@b.example", "noa@m.c.example"]),
    ],
)
def test_what_goes_to_the_capture_server(tmp_path: Path, delivery: str, captured: list[str]) -> None:
    found = settings(tmp_path, delivery)
    site_of = site_chooser(found, Sites())
    people = [("dana@b.example", "b.example"), ("noa@b.example", "b.example"), ("noa@m.c.example", "m.c.example")]
    to_capture = [one for one, domain in people if found.capture and not found.capture.only_to.mean(one, domain)]
    assert to_capture == captured
    assert found.capture is None or found.capture.server == SERVER
    assert [one for one, domain in people if site_of(one, domain) == "capture"] == captured
    others = {site_of(one, domain) for one, domain in people if one not in captured}
    assert others <= ({"hub.example:25"} if delivery else {"b.example", "m.c.example"})


# All of a worker's settings


def in_force(folder: Path, more: str = "") -> InForce:
    for name in ("config", "policies"):
        (folder / name).mkdir(exist_ok=True)
    text = f'[node]\nhostname = "relay.test.example"\n[[listener]]\nbind = "127.0.0.1:2525"\n{more}'
    (folder / "config" / "postlane.toml").write_text(text)
    found = examine_files(folder / "config", folder / "policies").accepted().policies
    return accept(folder / "config", folder / "policies", folder / "data", found)


def test_a_worker_is_told_all_at_once(tmp_path: Path) -> None:
    more = 'max_size = "64MB"\nauth = "optional"\n[dns]\nnameservers = ["127.0.0.1:5353"]\n'
    told = worker_settings(in_force(tmp_path, more), "", Share(2))
    ((listener, limits),) = told.listeners
    assert (listener.hostname, listener.auth, limits.max_size) == ("relay.test.example", "optional", 64 * 1024 * 1024)
    assert told.bytes_in_hand == 128 * 1024 * 1024
    assert told.nameservers == ("127.0.0.1:5353",)
    assert told.egress.relay is None
    assert {pool.name for pool in told.pools.values()} == {"transactional", "service", "marketing"}
    assert told.credentials.login("anybody", "x", 0, on_this_machine=True) is None
    assert told.certificate is None
    assert told.secret == (tmp_path / "data" / "secret").read_bytes()


def test_in_capture_mode_all_goes_to_the_capture_server_and_anybody_may_come(tmp_path: Path) -> None:
    told = worker_settings(in_force(tmp_path, '[delivery]\nmode = "capture"\n'), "127.0.0.1:4711", Share())
    assert told.egress.capture is not None
    assert told.egress.capture.server == Relay("127.0.0.1", 4711)
    assert told.credentials.login("anybody", "x", 0, on_this_machine=True) is not None


def test_half_of_a_certificate_is_no_setting(tmp_path: Path) -> None:
    pem = self_signed(tmp_path, "localhost")
    (tmp_path / "key.pem").write_text("half a k")
    tls = f'tls = "implicit"\n[tls]\ncert = "{pem}"\nkey = "{{}}"\n'
    good = worker_settings(in_force(tmp_path, tls.format(pem)), "", Share())
    assert good.listeners[0][0].context is not None
    assert good.certificate is not None
    broken = in_force(tmp_path, tls.format("key.pem"))
    assert "do not serve TLS" in certificate_trouble(broken.deployment)
    with pytest.raises(OSError, match="PEM"):
        worker_settings(broken, "", Share())
