"""What is bound before any process starts."""

import socket
from pathlib import Path

import pytest

from relay.config import Deployment, load_deployment
from relay.sockets import PortTaken, Sockets, bind_all


def deployment(folder: Path, listener: str, web: str = "", public: str = "") -> Deployment:
    (folder / "config").mkdir()
    text = f'[node]\nhostname = "relay.test.example"\n[[listener]]\nbind = "{listener}"\n'
    text += f'[web]\nadmin = "{web}"\npublic = "{public}"\n'
    (folder / "config" / "postlane.toml").write_text(text)
    return load_deployment(folder / "config", {})


def close(sockets: Sockets) -> None:
    if sockets.capture is not None:
        sockets.capture.close()
    for links in sockets.listeners:
        for link in links:
            link.close()
    for page in (sockets.admin, sockets.public):
        if page is not None:
            page.close()


def test_each_worker_has_a_socket_on_the_same_port(tmp_path: Path) -> None:
    sockets = bind_all(deployment(tmp_path, "127.0.0.1:0", "127.0.0.1:0"), 2)
    ports = {links[0].getsockname()[1] for links in sockets.listeners}
    assert len(ports) == 1
    with socket.create_connection(("127.0.0.1", ports.pop())):
        pass  # it waits for a worker
    assert (sockets.capture, sockets.capture_address) == (None, "")
    close(sockets)


def test_pages_have_a_socket_each_where_they_are_to_be(tmp_path: Path) -> None:
    sockets = bind_all(deployment(tmp_path, "127.0.0.1:0", "", "127.0.0.1:0"), 1)
    assert sockets.admin is None
    assert sockets.public is not None
    with socket.create_connection(sockets.public.getsockname()):
        pass  # it waits for the web process
    close(sockets)


def test_a_port_that_a_stranger_has(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(PortTaken, match=f"cannot listen on 127.0.0.1:{port}: Address already in use") as taken:
            bind_all(deployment(tmp_path, f"127.0.0.1:{port}"), 1)
    assert (taken.value.host, taken.value.port) == ("127.0.0.1", port)


def test_the_capture_server_s_socket_comes_when_it_is_needed() -> None:
    sockets = Sockets()
    sockets.open_capture()
    address = sockets.capture_address
    sockets.open_capture()
    assert sockets.capture_address == address
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))):
        pass
    close(sockets)
