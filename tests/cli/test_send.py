from pathlib import Path

import pytest

from relay.cli.send import entrance
from relay.config import Deployment, load_deployment


def deployment(folder: Path, *listeners: str) -> Deployment:
    (folder / "config").mkdir()
    tables = "".join(f"[[listener]]\n{listener}\n" for listener in listeners)
    (folder / "config" / "postlane.toml").write_text(f'[node]\nhostname = "relay.test.example"\n{tables}')
    return load_deployment(folder / "config", {})


def test_a_test_message_enters_where_apps_do(tmp_path: Path) -> None:
    made = deployment(
        tmp_path, 'bind = "127.0.0.1:25"\nrole = "bounces"', 'bind = "[::]:587"', 'bind = "127.0.0.1:465"'
    )
    listener, host = entrance(made)
    assert (listener.port, host) == (587, "::1")


def test_it_does_not_enter_where_it_would_be_taken_for_a_proxy(tmp_path: Path) -> None:
    behind = 'bind = "0.0.0.0:{}"\nproxy_protocol = ["{}"]'
    made = deployment(tmp_path, behind.format(465, "127.0.0.0/8"), behind.format(587, "10.20.0.7"))
    listener, host = entrance(made)
    assert (listener.port, host) == (587, "127.0.0.1")


def test_where_only_proxies_may_come_it_says_so(tmp_path: Path) -> None:
    made = deployment(tmp_path, 'bind = "127.0.0.1:465"\nproxy_protocol = ["127.0.0.1"]')
    with pytest.raises(ConnectionError, match="proxy_protocol"):
        entrance(made)
