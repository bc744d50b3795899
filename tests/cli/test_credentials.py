import argparse
import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from relay.cli import credentials
from relay.cli.credential_view import table
from relay.config import load_deployment, load_policies
from relay.control import NodeDown
from relay.identity import Credential, proof_of

GOOD = Path(__file__).parents[1] / "bad_config" / "_good"


class Node:
    """A running node's control socket: answers what it is told to, remembers what it was asked."""

    def __init__(self) -> None:
        self.policies: str | None = None
        self.fails = ""
        self.open = False
        self.asked: list[dict[str, Any]] = []

    def request(self, data_dir: Path, question: dict[str, Any], timeout: float = 60.0) -> dict[str, Any]:
        if self.policies is None:
            raise NodeDown("nobody")
        self.asked.append(question)
        if question["do"] == "reload":
            if self.fails:
                problems = ["relay-2: policies/retry.toml:3: no"]
                return {"error": self.fails, "problems": problems, "open": self.open}
            self.policies = version()
            return {"version": self.policies}
        return {"policies": self.policies}


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    shutil.copytree(GOOD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    node = Node()
    monkeypatch.setattr(credentials, "request", node.request)
    return node


def run(*words: str, as_json: bool = False) -> int:
    parser = argparse.ArgumentParser()
    credentials.add_parser(parser.add_subparsers())
    args = parser.parse_args(["credentials", *words])
    args.config, args.policies, args.json = Path("config"), Path("policies"), as_json
    status: int = args.run(args)
    return status


def version() -> str:
    return load_policies(Path("policies"), load_deployment(Path("config"), {})).version


def credential(name: str) -> Credential:
    return load_policies(Path("policies"), load_deployment(Path("config"), {})).credentials[name]


def add(*words: str) -> int:
    return run("add", "shop", "--domain", "arava.example", "--class", "transactional", *words)


def password_in(text: str) -> str:
    return next(line.split()[1] for line in text.splitlines() if line.startswith("password "))


def test_a_new_app(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("policies/credentials.toml").read_text()
    words = [
        "--brand",
        "arava",
        "--stream",
        "order",
        "reset",
        "--quota",
        "5/hour",
        "--owner",
        "a@arava.example",
        "--domain",
        "x.example",
    ]
    assert add(*words) == 0
    shop = credential("shop")
    assert shop.domains == {"arava.example", "x.example"}
    assert (shop.brand, shop.streams, shop.owner) == ("arava", ("order", "reset"), "a@arava.example")
    out = capsys.readouterr()
    password = password_in(out.out)
    assert shop.passwords[0].digest == sha256(shop.passwords[0].salt + password.encode()).digest()
    after = Path("policies/credentials.toml").read_text()
    assert password not in after
    assert after.startswith(before)
    assert "No node runs here" in out.err


@pytest.mark.parametrize("framework", ["django", "laravel", "wordpress", "nodemailer"])
def test_settings_to_paste(node: Node, capsys: pytest.CaptureFixture[str], framework: str) -> None:
    assert add("--for", framework) == 0
    out = capsys.readouterr().out
    assert out.count(password_in(out)) == 2
    assert "2525" in out


def test_a_machine_that_cannot_log_in(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert add("--no-password") == 2
    assert "add --network" in capsys.readouterr().err
    assert add("--no-password", "--network", "10.20.0.17") == 0
    assert credential("shop").passwords == ()


def test_as_json(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    run("add", "shop", "--domain", "arava.example", "--class", "auto", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["class"], told["passwords"], len(told["password"])) == ("shop", "auto", 1, 32)
    run("list", as_json=True)
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == ["local", "shop"]
    run("show", "shop", as_json=True)
    assert "password" not in json.loads(capsys.readouterr().out)


def test_what_is_there_is_not_overwritten(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    add()
    assert add() == 1
    assert 'credential "shop" is there already' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--quota", "40/s"], 'write "40/second"'),
        (["--brand", "arva"], 'did you mean "arava"?'),
        (["--domain", "@x.example"], 'write "x.example"'),
        (["--network", "10.20.0.17/24"], "inside a network"),
    ],
)
def test_what_is_wrong_changes_nothing(
    node: Node, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    before = Path("policies/credentials.toml").read_bytes()
    assert add(*words) == 1
    err = capsys.readouterr().err
    assert says in err
    assert "Nothing was changed." in err
    assert Path("policies/credentials.toml").read_bytes() == before


def test_a_dry_run_shows_the_change(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("policies/credentials.toml").read_bytes()
    node.policies = version()
    assert add("--dry-run") == 0
    out = capsys.readouterr().out
    assert "+[credential.shop]" in out
    assert "password  " not in out
    assert Path("policies/credentials.toml").read_bytes() == before
    assert node.asked == []


def test_set_adds_to_lists_and_takes_away(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    add("--quota", "5/hour", "--owner", "a@arava.example")
    assert run("set", "shop", "--domain", "blog.example", "arava.example", "--quota", "", "--class", "marketing") == 0
    shop = credential("shop")
    assert shop.domains == {"arava.example", "blog.example"}
    assert shop.quota is None
    assert shop.owner == "a@arava.example"
    assert shop.mail_class is not None
    assert shop.mail_class.label == "marketing"
    assert run("set", "shop", "--remove-domain", "arava.example", "--dsn", "none", "--over-quota", "refuse") == 0
    shop = credential("shop")
    assert shop.domains == {"blog.example"}
    assert (shop.dsn, shop.over_quota) == ("none", "refuse")
    assert run("set", "shop", "--remove-domain", "blg.example") == 1
    assert 'did you mean "blog.example"?' in capsys.readouterr().err
    assert run("set", "shop", "--remove-domain", "blog.example") == 1, "a credential without domains could send nothing"


def test_rotation_leaves_two_valid(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    add()
    first = password_in(capsys.readouterr().out)
    run("rotate", "shop", "--keep", "2d")
    second = password_in(capsys.readouterr().out)
    old, new = credential("shop").passwords
    assert old.digest == sha256(old.salt + first.encode()).digest()
    assert new.digest == sha256(new.salt + second.encode()).digest()
    assert old.until > 0
    assert new.until == 0
    run("rotate", "shop")
    again, _ = credential("shop").passwords
    assert again.digest == new.digest, "the newest stays valid, the oldest goes"
    run("rotate", "shop", "--keep", "0s")
    assert len(credential("shop").passwords) == 1
    assert run("rotate", "shop", "--keep", "a week") == 2


def test_a_password_for_one_that_had_none(node: Node) -> None:
    assert run("rotate", "local") == 0
    assert len(credential("local").passwords) == 1


def test_a_token_for_the_api_is_shown_once_and_renewed_as_a_password_is(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    add()
    capsys.readouterr()
    assert run("token", "shop") == 0
    out = capsys.readouterr().out
    first = out.split()[1]
    assert first.startswith("shop.")
    assert f"Authorization: Bearer {first}" in out
    (entry,) = credential("shop").tokens
    assert entry.digest == sha256(entry.salt + proof_of(first).encode()).digest()
    assert len(credential("shop").passwords) == 1
    run("token", "shop", "--keep", "2d", as_json=True)
    second = json.loads(capsys.readouterr().out)["token"]
    old, new = credential("shop").tokens
    assert (old.digest, old.until > 0) == (entry.digest, True)
    assert new.digest == sha256(new.salt + proof_of(second).encode()).digest()
    assert run("token", "shop", "--remove") == 0
    assert credential("shop").tokens == ()
    assert "token" not in capsys.readouterr().out


def test_disable_and_enable(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    add()
    assert run("disable", "shop", "--reason", "left") == 0
    assert credential("shop").disabled
    run("list")
    assert "disabled" in capsys.readouterr().out
    run("set", "shop", "--enable")
    assert not credential("shop").disabled


@pytest.mark.parametrize("words", [["set"], ["show"], ["rotate"], ["disable"]])
def test_an_unknown_name(node: Node, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert run(*words, "lokal") == 1
    assert 'no credential "lokal" in credentials.toml; did you mean "local"?' in capsys.readouterr().err


def test_show(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    add("--quota", "5/hour")
    capsys.readouterr()
    run("show", "shop")
    assert capsys.readouterr().out.splitlines()[:2] == ["name        shop", "class       transactional"]
    run("show", "shop", "--for", "django")
    assert 'EMAIL_HOST_USER = "shop"' in capsys.readouterr().out


def test_a_running_node_reloads_and_records_who_did_it(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    node.policies = version()
    add("--reason", "ticket 5512")
    assert [question["do"] for question in node.asked] == ["stats", "reload", "record"]
    facts = node.asked[-1]["facts"]
    assert (facts["action"], facts["what"], facts["reason"]) == (
        "credentials add",
        {"credential": "shop"},
        "ticket 5512",
    )
    assert f"In force: policies {version()}" in capsys.readouterr().err


def test_other_edits_on_disk_are_not_put_in_force_by_the_way(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    node.policies = "abcdef"
    add()
    assert [question["do"] for question in node.asked] == ["stats"]
    assert "other edits wait on disk" in capsys.readouterr().err


def test_a_refused_reload_is_told(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    node.policies, node.fails = version(), "policies have errors"
    add()
    assert "did not take it: policies have errors" in capsys.readouterr().err


def in_a_cluster() -> None:
    config = Path("config/postlane.toml")
    config.write_text(config.read_text() + '\n[state]\nurl = "redis://r.example"\n')


def test_what_not_all_nodes_take_is_taken_back(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    in_a_cluster()
    before = Path("policies/credentials.toml").read_bytes()
    node.policies, node.fails = version(), "not every process could take it"
    assert add() == 1
    out = capsys.readouterr()
    assert "relay-2: policies/retry.toml:3: no" in out.err
    assert "Nothing was changed, on any node." in out.err
    assert "password" not in out.out
    assert Path("policies/credentials.toml").read_bytes() == before
    assert [question["do"] for question in node.asked] == ["stats", "reload", "reload"]
    node.fails = ""
    assert add() == 0
    assert f"In force: policies {version()}" in capsys.readouterr().err


def test_what_other_nodes_may_have_taken_is_not_taken_back(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    in_a_cluster()
    node.policies, node.fails, node.open = version(), "State was lost while it was decided", True
    assert add() == 0
    out = capsys.readouterr()
    assert "did not take it: State was lost while it was decided; relay-2: policies/retry.toml:3: no" in out.err
    assert password_in(out.out)
    assert credential("shop")
    node.policies = None
    run("disable", "shop")
    assert "start it, then postlane reload puts it in force on all nodes" in capsys.readouterr().err


def test_what_somebody_edits_meanwhile_is_not_taken_back(
    node: Node, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_cluster()
    node.policies, node.fails = version(), "not every process could take it"
    request = node.request

    def edits(*words: Any) -> dict[str, Any]:
        if words[1]["do"] == "reload":
            with Path("policies/credentials.toml").open("a") as file:
                file.write("# mine\n")
        return request(*words)

    monkeypatch.setattr(credentials, "request", edits)
    assert add() == 0
    assert "did not take it" in capsys.readouterr().err
    assert credential("shop")


def test_a_folder_that_cannot_be_written(
    node: Node, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, text: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("relay.config.edit.replace", refuse)
    assert add() == 1
    assert "credentials.toml: Permission denied" in capsys.readouterr().err


def test_tables_are_aligned() -> None:
    assert table([("A", "B"), ("long", "c")]) == ["A     B", "long  c"]
