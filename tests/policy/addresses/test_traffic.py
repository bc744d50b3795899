"""What was delivered where, within bounds."""

import pytest

from relay.policy.addresses.traffic import Traffic, together


def test_deliveries_are_counted() -> None:
    traffic = Traffic({"a.example": 2})
    traffic.add("a.example")
    traffic.add("b.example")
    assert traffic.counts == {"a.example": 3, "b.example": 1}
    assert repr(traffic) == "<Traffic to 2 domains>"


def test_what_gets_little_goes_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.policy.addresses.traffic.MOST", 3)
    traffic = Traffic({"large.example": 10})
    for name in ("b.example", "c.example", "d.example"):
        traffic.add(name)
    assert traffic.counts == {"large.example": 5}


def test_workers_together() -> None:
    assert together([{"a.example": 1}, {"a.example": 2, "b.example": 1}]) == {"a.example": 3, "b.example": 1}
