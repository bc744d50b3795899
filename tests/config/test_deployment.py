from datetime import date
from ipaddress import ip_network
from pathlib import Path

import pytest

from relay.config import ConfigErrors, Deployment, examine_deployment, load_deployment
from relay.egress.pools import Protocol, Proxy
from relay.message import MailClass

LISTENER = '[[listener]]\nbind = "127.0.0.1:2525"\nauth = "optional"\ntrust = ["127.0.0.0/8"]\ncredential = "local"\n'
SHIPPED = Path(__file__).parents[2] / "config"


def deployment(folder: Path, more: str = "", environ: dict[str, str] | None = None) -> Deployment:
    config = folder / "config"
    config.mkdir(exist_ok=True)
    text = f'[node]\nhostname = "relay-1.arava.example"\n{LISTENER}{more}'
    (config / "postlane.toml").write_text(text)
    return load_deployment(config, environ or {})


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    made = deployment(tmp_path)
    assert made.warnings == ()
    assert made.node.name == "relay-1"
    assert made.node.data_dir == tmp_path / "data"
    assert made.dkim_dir == tmp_path / "config" / "dkim"
    assert made.listeners[0].max_size == 25 * 1024 * 1024
    assert made.listeners[0].trust == [ip_network("127.0.0.0/8")]
    assert (made.listeners[0].host, made.listeners[0].port) == ("127.0.0.1", 2525)
    assert made.web.admin == "127.0.0.1:8025"
    assert made.retention.subjects == 30 * 86_400_000
    assert made.relay is None
    assert not made.capture


def test_what_is_to_outlive_its_events_is_said(tmp_path: Path) -> None:
    """Not where it is the default that does: who shortens events asks for nothing impossible."""
    made = deployment(tmp_path, '[retention]\nevents = "9d"\nsubjects = "10d"\ntranscripts = "9d"\n')
    assert [str(problem) for problem in made.warnings] == [
        f"{made.warnings[0].file}:{made.warnings[0].line}: retention.subjects: warning: has no effect beyond events, "
        "which it goes with; write as much at most   [no-effect]"
    ]
    assert made.retention.addresses == 400 * 86_400_000


def test_without_pools_each_class_has_one_of_the_system_s_choice(tmp_path: Path) -> None:
    pools = deployment(tmp_path).pools
    assert set(pools) == {kind.label for kind in MailClass}
    assert [(source.address, source.ehlo) for source in pools["service"].sources] == [("", "")]


def test_pools(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "pools.toml").write_text(
        '[pool.a]\nsources = [{ address = "192.0.2.1", ehlo = "T1.arava.example" }, { address = "::1", weight = 5 }]\n'
    )
    sources = deployment(tmp_path).pools["a"].sources
    assert [(source.address, source.ehlo, source.weight) for source in sources] == [
        ("192.0.2.1", "t1.arava.example", 1),
        ("::1", "", 5),  # greets with the node's own name
    ]
    (tmp_path / "config" / "pools.toml").write_text(
        '[pool.a]\nsources = [{ address = "192.0.2.1", warmup = 2026-11-23 }, { address = "192.0.2.2" }]\n'
    )
    assert [one.warmup for one in deployment(tmp_path).pools["a"].sources] == [date(2026, 11, 23), None]


def test_sources_behind_proxies(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "secret").write_text("s3cret\n")
    (tmp_path / "config" / "pools.toml").write_text(
        """[pool.a]
sources = [
  { address = "192.0.2.1", socks5 = "10.0.0.9:1080", socks5_user = "a1", socks5_password_file = "secret" },
  { address = "2001:db8::1", haproxy = "[2001:db8::9]:2526" },
  { address = "192.0.2.2" },
]
"""
    )
    made = deployment(tmp_path)
    assert [source.through for source in made.pools["a"].sources] == [
        Proxy(Protocol.SOCKS5, "10.0.0.9", 1080, "a1", "s3cret"),
        Proxy(Protocol.HAPROXY, "2001:db8::9", 2526),
        None,
    ]
    assert "s3cret" not in repr(made)


def test_state_in_redis(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    said = '[state]\nurl = "rediss://relay@redis.arava.example:6380/1"\npassword_file = "{}"\n'
    made = deployment(tmp_path, said.format("password"))
    assert made.state.url == "rediss://relay@redis.arava.example:6380/1"
    assert made.state.password_file == str(tmp_path / "password")
    assert made.warnings == ()
    (warning,) = deployment(tmp_path, said.format("gone")).warnings
    assert (warning.key, warning.message) == ("state.password_file", 'no file "gone" on this machine')
    (warning,) = deployment(tmp_path, '[state]\npassword_file = "password"\n').warnings
    assert (warning.key, warning.slug) == ("state.password_file", "no-effect")
    said = '[state]\nurl = "{}"\nsentinel_password_file = "password"\n'
    made = deployment(tmp_path, said.format("rediss+sentinel://h/name"))
    assert (made.state.sentinel_password_file, made.warnings) == (str(tmp_path / "password"), ())
    (warning,) = deployment(tmp_path, said.format("redis://h")).warnings
    assert warning.message == "has no effect: url names no Sentinels"


def test_the_relay_and_its_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    made = deployment(
        tmp_path,
        '[delivery]\nrelay_host = "[2001:db8::1]:587"\nrelay_user = "u"\nrelay_password_file = "password"\n',
    )
    assert made.relay == ("2001:db8::1", 587)
    assert made.relay_password == "s3cret"
    assert "s3cret" not in repr(made)


@pytest.mark.parametrize(
    ("delivery", "captures", "said"),
    [
        ("", False, []),
        ('mode = "capture"\n', True, []),
        ('only_to = ["Arava.example"]\n', True, []),
        ('mode = "capture"\nonly_to = ["arava.example"]\n', True, ["no-effect"]),
    ],
)
def test_what_is_captured(tmp_path: Path, delivery: str, captures: bool, said: list[str]) -> None:
    made = deployment(tmp_path, f"[delivery]\n{delivery}")
    assert made.captures is captures
    assert made.delivery.only_to == (["arava.example"] if "only_to" in delivery else [])
    assert [problem.slug for problem in made.warnings] == said


def test_absolute_paths_stay(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").touch()
    made = deployment(tmp_path, f'[tls]\ncert = "cert.pem"\nkey = "{tmp_path}/cert.pem"\n')
    assert made.tls.cert == made.tls.key == str(tmp_path / "cert.pem")


EVERYWHERE = "0.0.0.0"  # noqa: S104 nothing is bound in these tests
CAPTURE = '[delivery]\nmode = "capture"\n'


def test_the_sandbox_s_ports_can_be_moved(tmp_path: Path) -> None:
    moved = deployment(tmp_path, CAPTURE, {"SMTP_PORT": "2600", "WEB_PORT": "8035", "HOST": EVERYWHERE})
    assert moved.capture
    assert str(moved.listeners[0].bind) == f"{EVERYWHERE}:2600"
    assert moved.web.admin == f"{EVERYWHERE}:8035"
    assert moved.web.public == f"{EVERYWHERE}:8036"
    assert ip_network("172.16.0.0/12") in moved.listeners[0].trust
    assert not any(network.prefixlen == 0 for network in moved.listeners[0].trust)


@pytest.mark.parametrize("environ", [{}, {"HOST": "my-machine"}, {"SMTP_PORT": ""}, {"HOST": "127.0.0.1"}])
def test_what_does_not_move_it(tmp_path: Path, environ: dict[str, str]) -> None:
    same = deployment(tmp_path, CAPTURE, environ)
    assert str(same.listeners[0].bind) == "127.0.0.1:2525"
    assert same.listeners[0].trust == [ip_network("127.0.0.0/8")]


def test_a_stray_variable_moves_nothing_in_live_mode(tmp_path: Path) -> None:
    live = deployment(tmp_path, "", {"SMTP_PORT": "2600", "WEB_PORT": "x", "HOST": EVERYWHERE})
    assert str(live.listeners[0].bind) == "127.0.0.1:2525"


def test_a_port_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as raised:
        deployment(tmp_path, CAPTURE, {"SMTP_PORT": "twenty"})
    assert [str(problem) for problem in raised.value.problems] == [
        'environment: SMTP_PORT: "twenty" is no port; 1 to 65535   [address]'
    ]


def test_a_folder_without_the_file(tmp_path: Path) -> None:
    examined = examine_deployment(tmp_path, {})
    assert examined.value is None
    assert [problem.slug for problem in examined.problems] == ["file"]
    with pytest.raises(ConfigErrors, match="cannot be read"):
        load_deployment(tmp_path, {})


def test_the_shipped_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = load_deployment(SHIPPED, {})
    assert shipped.warnings == ()
    assert shipped.capture
    assert str(shipped.listeners[0].bind) == "127.0.0.1:2525"
    assert shipped.web.admin == "127.0.0.1:8025"
    assert shipped.node.data_dir == SHIPPED.parent / "data"


def test_the_shipped_sandbox_says_the_defaults_where_it_is_no_sandbox(tmp_path: Path) -> None:
    """Each setting is declared once; the sample that shows them all must not drift from it."""
    shipped, bare = load_deployment(SHIPPED, {}), deployment(tmp_path)
    for section in ("tls", "dns", "state", "secrets", "web", "alerts", "retention"):
        assert getattr(shipped, section) == getattr(bare, section), section
    assert shipped.delivery == bare.delivery.model_copy(update={"mode": "capture"})
    assert shipped.listeners[0].max_size == bare.listeners[0].max_size


def test_who_may_be_believed_about_dnssec(tmp_path: Path) -> None:
    """A resolver on another machine: whoever stands between could say anything."""
    servers = '[dns]\nnameservers = ["127.0.0.1:53", "192.0.2.53", "[::1]:53"]\n'
    assert deployment(tmp_path, servers).warnings == ()
    (warning,) = deployment(tmp_path, servers + "trust_ad = true\n").warnings
    assert (warning.key, warning.slug) == ("dns.nameservers[2]", "trust")
    assert "may be forged on the way" in warning.message
    assert deployment(tmp_path, "[dns]\ntrust_ad = true\n").warnings == ()
