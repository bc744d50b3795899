"""tls.db, by two processes' worth of connections."""

from pathlib import Path

import apsw
import pytest

from relay.database import DatabaseError
from relay.egress.security import store as module
from relay.egress.security.store import SHORTEST, Due, Kept, Store
from relay.egress.security.sts import parse
from relay.egress.security.tlsrpt import MAX_DETAILS, Applied, Counts, Failure

POLICY = parse(b"version: STSv1\nmode: enforce\nmx: mx.example.test\nmax_age: 1000\n")
DAY, NOW = "2026-11-22", 1_000_000
STS, NONE = Applied("sts", "example.test", ("mode: enforce",), ("mx.test",)), Applied("no-policy-found", "example.test")
BAD = Failure("certificate-expired", "mx.test", "192.0.2.1", "", "over")


def counts(good: int, *failures: Failure) -> Counts:
    made = Counts(good)
    for failure in failures:
        made.add(failure)
    return made


def test_policies_outlive_the_process_until_they_expire(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "sub" / "tls.db"), Store(tmp_path / "sub" / "tls.db")
    kept = Kept("example.test", "a1", NOW, POLICY)
    one.keep(kept)
    assert two.policy("example.test") == kept
    assert two.policy("other.test") is None
    newer = Kept("example.test", "a2", NOW + 5, POLICY)
    two.keep(newer)
    one.close()
    assert Store(tmp_path / "sub" / "tls.db").policies(NOW, 9) == [newer]
    assert two.policies(NOW, 0) == []
    assert two.policies(newer.expires_at, 9) == []
    assert two.policy("example.test") is None
    assert "open" in repr(two)
    two.close()
    assert "closed" in repr(two)


def test_a_policy_holds_five_minutes_at_least() -> None:
    brief = parse(b"version: STSv1\nmode: none\nmax_age: 0\n")
    assert Kept("a.test", "1", NOW, brief).expires_at == NOW + SHORTEST
    assert Kept("a.test", "1", NOW, POLICY).expires_at == NOW + 1_000_000


def test_counts_of_all_workers_add_up(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "tls.db"), Store(tmp_path / "tls.db")
    one.add(DAY, [("example.test", STS, counts(3, BAD)), ("other.test", NONE, counts(1))])
    two.add(DAY, [("example.test", STS, counts(2, BAD, BAD)), ("example.test", NONE, counts(4))])
    found = one.counted(DAY, "example.test")
    assert found == {STS: counts(5, BAD, BAD, BAD), NONE: counts(4)}
    assert one.counted("2026-11-21", "example.test") == {}


def test_what_is_due(tmp_path: Path) -> None:
    store = Store(tmp_path / "tls.db")
    for day in ("2026-11-20", "2026-11-21", DAY):
        store.add(day, [("example.test", STS, counts(1, BAD)), ("other.test", NONE, counts(1))])
    assert store.due(DAY, NOW, 1) == [Due("2026-11-20", "example.test", 0)]
    first, second, *_ = store.due(DAY, NOW, 10)
    store.done(first)
    store.later(second, NOW + 1)
    assert store.due(DAY, NOW, 10) == [Due("2026-11-21", "example.test", 0), Due("2026-11-21", "other.test", 0)]
    assert store.due(DAY, NOW + 1, 1) == [Due("2026-11-20", "other.test", 1)]
    assert store.counted("2026-11-20", "example.test") == {}


def test_both_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DOMAINS", 2)
    store = Store(tmp_path / "tls.db")
    store.add(DAY, [(f"{n}.test", NONE, counts(1)) for n in range(4)])
    store.add(DAY, [("0.test", STS, counts(1)), ("9.test", NONE, counts(1))])
    assert {due.domain for due in store.due("2026-11-23", NOW, 99)} == {"0.test", "1.test"}
    for first in (0, MAX_DETAILS):
        many = [Failure("validation-failure", reason=str(n)) for n in range(first, first + MAX_DETAILS)]
        store.add(DAY, [("1.test", STS, counts(0, *many))])
    store.add(DAY, [("1.test", STS, counts(0, Failure("validation-failure", reason="0")))])
    found = store.counted(DAY, "1.test")[STS]
    assert (found.bad, len(found.failures)) == (2 * MAX_DETAILS + 1, MAX_DETAILS)
    assert found.failures[Failure("validation-failure", reason="0")] == 2
    hosts = [Applied("tlsa", f"mx{n}.1.test") for n in range(module.MAX_POLICIES + 5)]
    store.add(DAY, [("1.test", host, counts(1, BAD)) for host in hosts])
    assert len(store.counted(DAY, "1.test")) == module.MAX_POLICIES
    store.add(DAY, [("1.test", hosts[0], counts(1, BAD))])
    assert store.counted(DAY, "1.test")[hosts[0]] == counts(2, BAD, BAD)


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / "tls.db"))
    db.pragma("user_version", 99)
    db.close()
    store = Store(tmp_path / "tls.db")
    with pytest.raises(DatabaseError):
        store.policies(NOW, 9)
    assert "closed" in repr(store)
