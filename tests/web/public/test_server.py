"""The server of the public pages over real sockets: what it sheds, and what a peer may hold."""

import http.client
import socket
import time
from pathlib import Path

import pytest

from relay.web.public import server
from relay.web.public.gate import Allowance, Gate
from tests.support.public import TOKEN, Site, served


def ask(port: int, method: str = "GET", body: str = "") -> tuple[int, str | None]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        link.request(method, f"/u/{TOKEN}", body)
        answer = link.getresponse()
        answer.read()
        return answer.status, answer.getheader("Retry-After")
    finally:
        link.close()


def test_beyond_the_allowance_pages_are_shed_and_leaving_is_not(tmp_path: Path) -> None:
    gate = Gate(pages=Allowance(1.0), posts=Allowance(100.0))
    with served(Site(tmp_path), gate) as port:
        found = [ask(port) for _ in range(6)]
        assert found[:2] == [(200, None)] * 2
        assert found[-1] == (503, "30")
        assert ask(port, "POST", "List-Unsubscribe=One-Click") == (200, None)
    assert gate.shed >= 3


def test_a_proxy_keeps_its_connection_and_each_request_counts(tmp_path: Path) -> None:
    gate = Gate(pages=Allowance(1.5))
    with served(Site(tmp_path), gate) as port:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(3):
            link.request("GET", f"/u/{TOKEN}")
            answer = link.getresponse()
            answer.read()
            assert answer.status == 200
        link.request("GET", f"/u/{TOKEN}")
        assert link.getresponse().status == 503
        link.close()


def test_a_request_in_pieces_is_one(tmp_path: Path) -> None:
    gate = Gate()
    with served(Site(tmp_path), gate) as port, socket.create_connection(("127.0.0.1", port), 10) as link:
        body = b"List-Unsubscribe=One-Click"
        head = f"POST /u/{TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        for piece in (head[:10], head[10:-3], head[-3:], body[:5], body[5:]):
            link.sendall(piece)
            time.sleep(0.02)  # so that each arrives by itself
        assert link.recv(100).startswith(b"HTTP/1.1 200 ")
    assert (gate.served, gate.shed) == (1, 0)


def ended(link: socket.socket) -> bytes:
    octets = b""
    while piece := link.recv(4096):
        octets += piece
    return octets


@pytest.mark.parametrize("said", [b"", b"GET /u/x HT"])
def test_who_asks_for_nothing_is_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.2)
    with served(Site(tmp_path)) as port, socket.create_connection(("127.0.0.1", port), 10) as link:
        link.sendall(said)
        assert ended(link) == b""


def test_connections_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 2)
    with served(Site(tmp_path)) as port:
        held = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(2)]
        for link in held:
            link.sendall(b"GET /u/x HT")
        with socket.create_connection(("127.0.0.1", port), 10) as third:
            assert ended(third).startswith(b"HTTP/1.1 503 ")
        for link in held:
            link.close()


@pytest.mark.parametrize("nonsense", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
def test_what_is_no_http_is_answered_as_such(tmp_path: Path, nonsense: bytes) -> None:
    with served(Site(tmp_path)) as port:
        with socket.create_connection(("127.0.0.1", port), 10) as link:
            link.sendall(nonsense + b"\r\n\r\n")
            assert b" 200 " not in ended(link)
        assert ask(port) == (200, None)
