"""Who is let in: an exact number a second, and unsubscribing apart from looking."""

from relay.web.public.gate import BURST_SECONDS, PAGES_A_SECOND, POSTS_A_SECOND, SHED, Gate


def admitted(gate: Gate, begins: bytes, number: int, now: float) -> int:
    return sum(gate.admits(begins, now) for _ in range(number))


def test_pages_and_requests_to_leave_have_an_allowance_each() -> None:
    gate = Gate()
    assert admitted(gate, b"GET /u/x", 2_000, 0.0) == PAGES_A_SECOND * BURST_SECONDS
    assert admitted(gate, b"HEAD /u/x", 1, 0.0) == 0
    assert admitted(gate, b"POST /u/x", 2_000, 0.0) == POSTS_A_SECOND * BURST_SECONDS
    assert admitted(gate, b"GET /u/x", 2_000, 1.0) == PAGES_A_SECOND
    assert (gate.served, gate.shed) == (100 + 400 + 50, 1_900 + 1 + 1_600 + 1_950)


def test_a_flood_gets_the_rate_and_no_more() -> None:
    gate = Gate()
    found = sum(gate.admits(b"GET /", number / 2_000) for number in range(20_000))
    assert found <= (10 + BURST_SECONDS) * PAGES_A_SECOND


def test_what_is_shed_is_told_when_to_come_again() -> None:
    head, _, body = SHED.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 30\r\n" in head
    assert b"\r\nContent-Length: %d\r\n" % len(body) in head
