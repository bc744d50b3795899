from collections.abc import Callable
from pathlib import Path

import pytest

from relay.users import User, Users, UsersError, fits, hashed, weakness

NOA = User("noa", "operator", (), "hash", 1)
DAN = User("dan", "viewer", ("shop", "crm"), "other", 2)


def test_users_are_kept_for_nobody_else_to_read(tmp_path: Path) -> None:
    users = Users(tmp_path / "data")
    assert users.current() == {}
    users.add(NOA)
    users.add(DAN)
    assert users.current() == {"noa": NOA, "dan": DAN}
    assert Users(tmp_path / "data").current() == users.current()
    assert (tmp_path / "data" / "users.json").stat().st_mode & 0o777 == 0o600
    assert users.remove("noa") == NOA
    assert users.renew("dan", "third").password == "third"
    assert set(users.current()) == {"dan"}


def test_what_cannot_be_done_changes_nothing(tmp_path: Path) -> None:
    users = Users(tmp_path)
    users.add(NOA)
    with pytest.raises(UsersError, match='"noa" is there already'):
        users.add(NOA)
    changes: list[Callable[[], object]] = [lambda: users.remove("eve"), lambda: users.renew("eve", "x")]
    for change in changes:
        with pytest.raises(UsersError, match='no user "eve"; there are: noa'):
            change()
    assert users.current() == {"noa": NOA}


def test_a_change_by_another_process_is_seen(tmp_path: Path) -> None:
    here, there = Users(tmp_path), Users(tmp_path)
    here.add(NOA)
    assert set(there.current()) == {"noa"}
    here.renew("noa", "newer")
    assert there.current()["noa"].stamp != NOA.stamp
    (tmp_path / "users.json").unlink()
    assert there.current() == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"users": []}',
        '{"users": {"noa": {}}}',
        '{"users": {"noa": {"role": "root", "password": "x", "credentials": [], "since": 1}}}',
        '{"users": {"noa": {"role": "viewer", "password": 5, "credentials": [], "since": 1}}}',
        '{"users": {"noa": {"role": "viewer", "password": "x", "credentials": "all", "since": 1}}}'.replace(
            '"all"', "[7]"
        ),
        '{"users": {"noa": {"role": "viewer", "password": "x", "credentials": 7, "since": 1}}}',
    ],
)
def test_a_file_that_makes_no_sense_never_looks_like_one_without_users(tmp_path: Path, text: str) -> None:
    (tmp_path / "users.json").write_text(text)
    users = Users(tmp_path)
    with pytest.raises(UsersError, match=r"users\.json cannot be read"):
        users.current()
    with pytest.raises(UsersError, match=r"users\.json cannot be read"):
        users.add(NOA)
    assert (tmp_path / "users.json").read_text() == text


def test_passwords_are_kept_as_argon2_hashes() -> None:
    kept = hashed("correct horse battery")
    assert kept.startswith("$argon2id$v=19$m=32768,t=3,p=1$")
    assert fits("correct horse battery", kept)
    assert not fits("correct horse batterz", kept)
    assert not fits("x", "no hash")
    assert hashed("correct horse battery") != kept


@pytest.mark.parametrize(
    "password", ["short", "aaaaaaaaaaaaaaaa", "noa-is-here-today", "Postlane-2026!", "x" * 300, "abab" * 5]
)
def test_a_password_that_will_not_do(password: str) -> None:
    assert weakness("noa", password)
    assert not weakness("noa", "correct horse battery")
