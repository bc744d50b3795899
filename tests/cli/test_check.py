import argparse
import json
from pathlib import Path

import pytest

from relay.cli import check
from relay.signing.keyfile import write_private_key
from tests.support.signatures import ed25519_private

CASES = Path(__file__).parents[1] / "bad_config"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for folder in ("config", "policies"):
        (tmp_path / folder).mkdir()
        for file in (CASES / "_good" / folder).iterdir():
            (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    return tmp_path


def run(*words: str, as_json: bool = False) -> int:
    parser = argparse.ArgumentParser()
    check.add_parser(parser.add_subparsers())
    args = parser.parse_args(["check", *words])
    args.config, args.policies, args.json = Path("config"), Path("policies"), as_json
    status: int = args.run(args)
    return status


def test_all_well(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert capsys.readouterr().out == "0 errors, 0 warnings in 7 files.\n"


def break_two(here: Path) -> None:
    (here / "policies" / "routes.toml").write_text('[default]\nmarketing = "cold"\nservice = "transactional"\n')
    pools = here / "config" / "pools.toml"
    pools.write_text(pools.read_text() + "\n[pool.cold-1]\nsources = []\n")


def test_every_error_in_one_go(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    break_two(here)
    assert run() == 1
    assert capsys.readouterr().out == (
        "config/pools.toml:11: pool.cold-1.sources: is empty; at least one is expected   [empty]\n"
        'policies/routes.toml:2: default.marketing: no pool "cold" in config/pools.toml; did you mean "cold-1"?'
        "   [unknown-name]\n"
        'policies/routes.toml:3: default.service: warning: pool "transactional" carries transactional mail too: '
        "one complaint about service mail harms both   [mixed-pool]\n"
        "2 errors, 1 warning in 7 files.\n"
    )


def test_warnings_alone_are_no_failure(here: Path) -> None:
    (here / "policies" / "caps.toml").write_text('[runaway]\nsame_message = "6/hour"\n')
    assert run() == 0


@pytest.mark.parametrize("words", [["--format", "json"], []])
def test_as_json(here: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    break_two(here)
    assert run(*words, as_json=not words) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {
        "file": "config/pools.toml",
        "line": 11,
        "key": "pool.cold-1.sources",
        "message": "is empty; at least one is expected",
        "code": "empty",
        "severity": "error",
    }
    assert [line["severity"] for line in lines] == ["error", "error", "warning"]


def test_as_annotations(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "policies" / "routes.toml").write_text('[default]\nmarketing = "100%"\n')
    assert run("--format", "github") == 1
    assert capsys.readouterr().out == (
        "::error file=policies/routes.toml,line=2,title=unknown-name::default.marketing: "
        'no pool "100%25" in config/pools.toml; there are marketing, service, transactional\n'
    )


def test_policies_are_checked_beside_a_config_that_cannot_be_used(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "config" / "postlane.toml").write_text("[node\n")
    (here / "policies" / "retry.toml").write_text("[urgent]\n")
    assert run() == 1
    assert "2 errors, 0 warnings in 7 files." in capsys.readouterr().out


def test_what_runs_is_named_where_errors_leave_it_alone(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "request", lambda *_: {"policies": "3f9a1c"})
    assert run() == 0
    assert "running" not in capsys.readouterr().out
    (here / "policies" / "retry.toml").write_text("[urgent]\n")
    assert run() == 1
    assert capsys.readouterr().out.endswith(
        "1 error, 0 warnings in 7 files. The running policies (3f9a1c) are untouched.\n"
    )


@pytest.fixture
def bad_keys(here: Path) -> Path:
    folder = here / "config" / "dkim" / "example.com"
    folder.parent.mkdir()
    write_private_key(folder / "a.pem", ed25519_private())
    (folder / "a.pem").chmod(0o604)
    return folder


def test_keys_are_checked_too(bad_keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert capsys.readouterr().out == (
        "config/dkim/example.com/a.pem: warning: every user of this machine can read it: "
        "chmod o= config/dkim/example.com/a.pem   [dkim-key]\n"
        "0 errors, 1 warning in 8 files.\n"
    )
    (bad_keys / "b.pem").write_text("no key")
    (bad_keys.parent / "keys.toml").write_text('[key."example.com".a]\nstate = "asleep"\n')
    assert run() == 1
    assert capsys.readouterr().out == (
        'config/dkim/keys.toml:2: key."example.com".a.state: "asleep" is no state; write pending, active, retired'
        "   [key-state]\n"
        "1 error, 0 warnings in 10 files.\n"
    )


def test_problems_of_keys_as_json_and_as_annotations(bad_keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bad_keys / "b.pem").write_text("no key")
    assert run(as_json=True) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["file"], found["severity"], found["code"]) == ("config/dkim/example.com/b.pem", "error", "dkim-key")
    assert run("--format", "github") == 1
    assert capsys.readouterr().out.startswith(
        "::error file=config/dkim/example.com/b.pem,title=dkim-key::is no private"
    )
