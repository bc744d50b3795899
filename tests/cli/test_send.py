from pathlib import Path

import pytest

from relay.cli import send
from relay.cli.send import entrance, port_of
from relay.config import Deployment, load_deployment
from relay.control import NodeDown


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


def test_the_port_is_the_running_node_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = deployment(tmp_path, 'bind = "127.0.0.1:25"\nrole = "bounces"', 'bind = "127.0.0.1:2525"')
    listener, _ = entrance(made)
    monkeypatch.setattr(send, "request", lambda *_: {"ports": [25, 2526]})
    assert port_of(made, listener) == 2526, "make run SMTP_PORT=2526"
    monkeypatch.setattr(send, "request", lambda *_: {"ports": [25]})
    assert port_of(made, listener) == 2525, "it was started with other listeners"


def test_where_no_node_answers_the_port_is_the_file_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object) -> dict[str, object]:
        raise NodeDown("no answer")

    monkeypatch.setattr(send, "request", nobody)
    made = deployment(tmp_path, 'bind = "127.0.0.1:2525"')
    assert port_of(made, entrance(made)[0]) == 2525
