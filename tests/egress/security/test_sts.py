import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.egress.security.sts import BadPolicy, Policy, parse, record_id

GOOD = b"version: STSv1\r\nmode: enforce\r\nmx: mx1.example.test\r\nmx: *.mx.example.test\r\nmax_age: 86400\r\n"


@pytest.mark.parametrize(
    ("texts", "identifier"),
    [
        (["v=STSv1; id=20261122;"], "20261122"),
        (["v=STSv1;id=a1"], "a1"),
        (["v=STSv1 ; id=a1 ; more=x"], "a1"),
        (["v=STSv1; more=x; id=a1"], "a1"),
        (["unrelated", "v=STSv1; id=a1;"], "a1"),
        ([], None),
        (["v=STSv1"], None),
        (["v=STSv1;"], None),
        (["v=STSv1; id=;"], None),
        (["v=STSv1; id=with-dash;"], None),
        (["v=STSv1; id=" + "a" * 33], None),
        (["v=STSv12; id=a1"], None),
        (["id=a1; v=STSv1"], None),
        (["v=STSv1; id=a1", "v=STSv1; id=a2"], None),
    ],
)
def test_record(texts: list[str], identifier: str | None) -> None:
    assert record_id(texts) == identifier


def test_a_policy() -> None:
    policy = parse(GOOD)
    assert policy == Policy(
        "enforce",
        86400,
        ("mx1.example.test", "*.mx.example.test"),
        (
            "version: STSv1",
            "mode: enforce",
            "mx: mx1.example.test",
            "mx: *.mx.example.test",
            "max_age: 86400",
        ),
    )
    assert policy.active
    assert parse("\n".join(policy.lines).encode()) == policy


@pytest.mark.parametrize(
    ("body", "mode", "age"),
    [
        (b"mode: none\nversion: STSv1\nmax_age: 1", "none", 1),
        (b"version:STSv1\nmode:testing\nmx:a.test\nmax_age:31557600\n\n", "testing", 31557600),
        (
            b"version: STSv1\nmode: testing \nmode: enforce\nmx: a.test\nmax_age: 5\nmax_age: 6\nnew_key: x",
            "testing",
            5,
        ),
    ],
)
def test_what_a_policy_may_look_like(body: bytes, mode: str, age: int) -> None:
    policy = parse(body)
    assert (policy.mode, policy.max_age) == (mode, age)
    assert policy.active == (mode != "none")
    assert not any("new_key" in line or "max_age: 6" in line for line in policy.lines), "only what counts is kept"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "version"),
        (b"version: STSv2\nmode: none\nmax_age: 1", "version"),
        (b"version: STSv1\nmax_age: 1", "no mode"),
        (b"version: STSv1\nmode: strict\nmax_age: 1", "'strict'"),
        (b"version: STSv1\nmode: none", "no max_age"),
        (b"version: STSv1\nmode: none\nmax_age: -1", "'-1'"),
        (b"version: STSv1\nmode: none\nmax_age: 31557601", "'31557601'"),
        (b"version: STSv1\nmode: none\nmax_age: 99999999999", "max_age"),
        (b"version: STSv1\nmode: enforce\nmax_age: 1", "no mx"),
        (b"version: STSv1\nmode: enforce\nmax_age: 1\nmx: *", "no host name"),
        (b"version: STSv1\nmode: enforce\nmax_age: 1\nmx: a.*.test", "no host name"),
        (b"version: STSv1\nmode: enforce\nmax_age: 1\nmx: " + b"a." * 200 + b"test", "no host name"),
        (b"version: STSv1\nmode: enforce\nmax_age: 1" + b"\nmx: a.test" * 201, "more than 200"),
        (b"<html>", "not `key: value`"),
        (b"version: STSv1\x00\nmode: none\nmax_age: 1", "not `key: value`"),
        ("version: STSv1\nmode: none\nmax_age: 1\nnote: ä".encode(), "ASCII"),
    ],
)
def test_what_is_no_policy(body: bytes, said: str) -> None:
    with pytest.raises(BadPolicy) as caught:
        parse(body)
    assert said in str(caught.value)


def test_a_policy_made_to_be_slow_is_read_at_once() -> None:
    """64 KB of blanks in one line once held a worker up for 20 s."""
    start = time.process_time()
    for line in (
        b"note: a" + b" " * 65_000 + b"b",
        b"note" + b" " * 65_000 + b"b",
        b"a:" * 32_000,
        b"mx: " + b"a." * 32_000,
    ):
        with contextlib.suppress(BadPolicy):
            parse(GOOD + line)
    assert time.process_time() - start < 2


@given(st.binary(max_size=200))
def test_nothing_else_is_raised(body: bytes) -> None:
    with contextlib.suppress(BadPolicy):
        parse(body)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mx1.example.test", True),
        ("MX1.Example.test", True),
        ("a.mx.example.test", True),
        ("a.b.mx.example.test", False),
        ("mx.example.test", False),
        ("mx2.example.test", False),
        ("xmx1.example.test", False),
    ],
)
def test_which_hosts_it_allows(host: str, allowed: bool) -> None:
    assert parse(GOOD).allows(host) is allowed
