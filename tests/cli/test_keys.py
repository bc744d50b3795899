"""postlane keys, as a person and as a script meet it."""

import argparse
import json
import re
import sys
from pathlib import Path

import pytest

from relay.cli import keys as command
from relay.signing.keys import read_keys
from tests.support.signatures import both_keys, rsa_private


@pytest.fixture(autouse=True)
def _one_rsa_key_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    private = rsa_private()
    monkeypatch.setattr("relay.signing.keyfile.generate_private_key", lambda **_: private)


class Shell:
    """Runs `postlane keys ...` on a config directory of its own; remembers what was printed."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config = config
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *words: str, as_json: bool = False) -> int:
        parser = argparse.ArgumentParser(prog="postlane")
        command.add_parser(parser.add_subparsers())
        try:
            args = parser.parse_args(["keys", *words], argparse.Namespace(config=self.config, json=as_json))
            status: int = args.run(args)
        except SystemExit as stop:
            status = int(stop.code or 0)
        self.out, self.err = self._capsys.readouterr()
        return status

    def rows(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path, capsys)


def test_generate_makes_both_and_shows_what_to_publish(shell: Shell) -> None:
    assert shell("generate", "Example.com.", "--selector", "2026b") == 0
    folder = shell.config / "dkim" / "example.com"
    assert shell.out.startswith(
        f"Made {folder}/2026b.pem   RSA 2048   active\nMade {folder}/2026b-ed.pem   Ed25519   active\n"
    )
    keys, _ = read_keys(shell.config / "dkim")
    assert all(command.zone_record(key) in shell.out for key in keys)
    assert shell.out.endswith("A running node signs with them after: postlane reload\n")


def test_generate_says_how_to_take_a_waiting_key_into_use(shell: Shell) -> None:
    shell("generate", "example.com")
    assert shell("generate", "example.com", "--algorithm", "rsa", "--selector", "next") == 0
    assert shell.out.endswith(
        "They do not sign yet. When the records are visible (dig TXT next._domainkey.example.com):\n"
        "  postlane keys set example.com next --state active\n"
        "  postlane reload\n"
    )


@pytest.mark.parametrize(("option", "state"), [("--active", "active"), ("--pending", "pending")])
def test_generate_takes_the_wanted_state(shell: Shell, option: str, state: str) -> None:
    shell("generate", "example.com", "--pending")
    assert shell("generate", "example.com", option, as_json=True) == 0
    assert [row["state"] for row in shell.rows()] == [state, state]


def test_generate_for_scripts(shell: Shell) -> None:
    assert shell("generate", "example.com", "--algorithm", "ed25519", "--selector", "s1", as_json=True) == 0
    (row,) = shell.rows()
    assert row.pop("created").endswith("Z")
    assert re.fullmatch(r"v=DKIM1; k=ed25519; p=[A-Za-z0-9+/]{43}=", row.pop("value"))
    assert row == {
        "domain": "example.com",
        "selector": "s1",
        "algorithm": "ed25519-sha256",
        "state": "active",
        "file": f"{shell.config}/dkim/example.com/s1.pem",
        "name": "s1._domainkey.example.com",
        "type": "TXT",
    }


def test_generate_never_replaces_a_key(shell: Shell) -> None:
    shell("generate", "example.com", "--selector", "s1")
    before = (shell.config / "dkim/example.com/s1.pem").read_bytes()
    assert shell("generate", "example.com", "--selector", "s1") == 1
    assert shell.err == (
        f"postlane keys generate: {shell.config}/dkim/example.com/s1.pem: "
        "is in use already; choose another selector   [dkim-key]\n"
    )
    assert (shell.config / "dkim/example.com/s1.pem").read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ("generate", "../../etc"),
        ("generate", "a/b"),
        ("generate", "/etc/passwd"),
        ("generate", ".."),
        ("generate", "bücher.example"),
        ("generate", "example.com", "--selector", "../x"),
        ("generate", "example.com", "--selector", "x" * 62),
        ("generate", "example.com", "--algorithm", "dsa"),
        ("generate", "example.com", "--active", "--pending"),
        ("generate",),
        ("dns", "a/b"),
        ("set", "example.com", "s1", "--state", "revoked"),
        ("set", "example.com", "a/b", "--state", "active"),
        (),
    ],
)
def test_misuse(shell: Shell, words: tuple[str, ...]) -> None:
    assert shell(*words) == 2
    assert shell.err
    assert list(shell.config.iterdir()) == []


def test_list_for_scripts_and_pipes(shell: Shell) -> None:
    shell("generate", "example.com", "--selector", "s1")
    assert shell("list", as_json=True) == 0
    assert [(row["selector"], row["algorithm"], row["state"]) for row in shell.rows()] == [
        ("s1-ed", "ed25519-sha256", "active"),
        ("s1", "rsa-sha256", "active"),
    ]
    assert shell("list") == 0
    first, second = (line.split("\t") for line in shell.out.splitlines())
    assert first[:4] == ["example.com", "s1-ed", "Ed25519", "active"]
    assert second[:4] == ["example.com", "s1", "RSA 2048", "active"]


def test_list_on_a_terminal(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("generate", "example.com", "--selector", "s1")
    shell("set", "example.com", "s1", "--state", "retired")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert shell("list") == 0
    assert [re.sub(r"\d{4}-\d\d-\d\d", "DATE", line) for line in shell.out.splitlines()] == [
        "DOMAIN        SELECTOR   KIND       STATE     CREATED",
        "example.com   s1-ed      Ed25519    active    DATE",
        "example.com   s1         RSA 2048   retired   DATE",
    ]


def test_list_of_nothing_says_how_to_begin(shell: Shell) -> None:
    assert shell("list") == 0
    assert (shell.out, shell.err) == ("", "No keys yet. Make some: postlane keys generate DOMAIN\n")


def test_list_shows_warnings_beside_the_keys(shell: Shell) -> None:
    shell("generate", "example.com", "--selector", "s1")
    (shell.config / "dkim/example.com/s1.pem").unlink()
    assert shell("list") == 0
    assert "warning: active, but example.com/s1.pem is missing" in shell.err
    assert len(shell.out.splitlines()) == 1


@pytest.mark.parametrize("words", [("list",), ("dns",), ("generate", "example.com")])
def test_a_broken_key_is_told_by_every_verb(shell: Shell, words: tuple[str, ...]) -> None:
    folder = shell.config / "dkim" / "example.com"
    folder.mkdir(parents=True)
    (folder / "s1.pem").write_text("")
    assert shell(*words) == 1
    assert f"{folder}/s1.pem: is no private key in PEM form" in shell.err


def test_dns_prints_what_is_to_be_published(shell: Shell) -> None:
    shell("generate", "example.com", "--selector", "s1")
    shell("generate", "example.net", "--selector", "s2", "--algorithm", "rsa", "--pending")
    shell("set", "example.com", "s1", "--state", "retired")
    assert shell("dns", as_json=True) == 0
    assert [(row["name"], row["type"]) for row in shell.rows()] == [
        ("s1-ed._domainkey.example.com", "TXT"),
        ("s2._domainkey.example.net", "TXT"),
    ]
    assert shell("dns", "example.net") == 0
    assert shell.out.startswith('; pending, RSA 2048\ns2._domainkey.example.net. IN TXT ( "v=DKIM1; k=rsa; p=')


def test_dns_without_keys(shell: Shell) -> None:
    assert shell("dns", "example.com") == 1
    assert shell.err == "postlane keys dns: no key to publish. Make one: postlane keys generate example.com\n"


def test_a_zone_record_splits_long_values() -> None:
    rsa, ed = both_keys()
    strings = re.findall(r'"([^"]*)"', command.zone_record(rsa))
    assert "".join(strings) == rsa.dns_value
    assert [len(string) for string in strings] == [255, len(rsa.dns_value) - 255]
    assert command.zone_record(ed) == f'2026b-ed._domainkey.example.com. IN TXT ( "{ed.dns_value}" )'


def test_set_changes_a_state(shell: Shell) -> None:
    shell("generate", "example.com", "--selector", "s1")
    assert shell("set", "example.com", "s1", "--state", "retired") == 0
    assert shell.out == "example.com s1 is retired. A running node heeds it after: postlane reload\n"
    assert shell("set", "example.com", "s1", "--state", "active", as_json=True) == 0
    assert [row["state"] for row in shell.rows()] == ["active"]


def test_set_of_no_key(shell: Shell) -> None:
    assert shell("set", "example.com", "s1", "--state", "active") == 1
    assert "no such key; see postlane keys list" in shell.err
