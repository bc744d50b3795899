import argparse
import json
import shutil
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from relay.cli import users
from relay.control import NodeDown
from relay.users import Users, fits
from tests.support.fake_node import FakeNode

GOOD = Path(__file__).parents[1] / "bad_config" / "_good"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    shutil.copytree(GOOD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    node = FakeNode()
    monkeypatch.setattr(users, "request", node)
    monkeypatch.setattr(users, "hashed", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash)  # quick
    return node


def run(*words: str, as_json: bool = False) -> int:
    parser = argparse.ArgumentParser()
    users.add_parser(parser.add_subparsers())
    args = parser.parse_args(["users", *words])
    args.config, args.policies, args.json = Path("config"), Path("policies"), as_json
    status: int = args.run(args)
    return status


def kept() -> Users:
    return Users(Path("data"))


def test_a_new_users_password_is_shown_once(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("add", "noa", "--role", "operator", "--reason", "night duty") == 0
    told = capsys.readouterr().out
    assert told.startswith("noa   operator, all mail\npassword   ")
    password = told.splitlines()[1].split()[1]
    user = kept().current()["noa"]
    assert fits(password, user.password)
    assert password not in Path("data/users.json").read_text()
    assert run("list") == 0
    assert capsys.readouterr().out.startswith("noa                      operator  all mail, since ")
    (asked,) = node.asked
    assert (asked["do"], asked["kind"]) == ("record", "audit")
    assert asked["facts"]["action"] == "users add"
    assert asked["facts"]["reason"] == "night duty"
    assert asked["facts"]["what"] == {"user": "noa", "role": "operator", "credentials": []}
    assert password not in json.dumps(asked)


def test_a_user_who_sees_some_credentials_alone(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    name = _credential()
    assert run("add", "dan", "--credential", name, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["role"], told["credentials"]) == ("viewer", [name])
    assert len(told["password"]) == 32
    assert kept().current()["dan"].credentials == (name,)
    assert run("list", as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["credentials"] == [name]
    assert run("add", "eve", "--credential", "nobody") == 2
    assert 'no credential "nobody"' in capsys.readouterr().err
    assert "eve" not in kept().current()


def _credential() -> str:
    import spanned_toml

    return str(next(iter(spanned_toml.loads(Path("policies/credentials.toml").read_text()).unspan()["credential"])))


def test_a_new_password_and_the_end(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    run("add", "noa")
    before = kept().current()["noa"].password
    assert run("password", "noa") == 0
    assert kept().current()["noa"].password != before
    assert run("remove", "noa") == 0
    assert "That was the last one" in capsys.readouterr().out
    assert kept().current() == {}
    assert [one["facts"]["action"] for one in node.asked] == ["users add", "users password", "users remove"]
    assert run("list") == 0
    assert "No users" in capsys.readouterr().out
    run("add", "noa")
    capsys.readouterr()
    assert run("remove", "noa", as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": "noa"}


def test_what_cannot_be_done(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("add", "Noa Levi") == 2
    assert '"Noa Levi" is no name' in capsys.readouterr().err
    run("add", "noa")
    capsys.readouterr()
    assert run("add", "noa") == 1
    assert "is there already" in capsys.readouterr().err
    assert run("remove", "eve") == 1
    Path("data/users.json").write_text("?")
    assert run("list") == 1
    assert "cannot be read" in capsys.readouterr().err


def test_a_node_that_is_down_keeps_nobody_out(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    node.answer = NodeDown("nobody")
    assert run("add", "noa") == 0
    assert set(kept().current()) == {"noa"}


def test_a_password_may_be_typed(
    node: FakeNode, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter(["short", "correct horse battery", "another horse", *["correct horse battery"] * 4])
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    assert run("add", "noa", "--ask") == 2
    assert "12 characters at least" in capsys.readouterr().err
    assert run("add", "noa", "--ask") == 2
    assert "two different" in capsys.readouterr().err
    assert run("add", "noa", "--ask") == 0
    assert "correct" not in capsys.readouterr().out
    assert fits("correct horse battery", kept().current()["noa"].password)
    assert run("password", "noa", "--ask", as_json=True) == 0
    assert "password" not in json.loads(capsys.readouterr().out)


def test_broken_policies_keep_nobody_from_his_page(node: FakeNode) -> None:
    Path("policies/credentials.toml").write_text("?")
    assert run("add", "dan", "--credential", "whatever") == 0
