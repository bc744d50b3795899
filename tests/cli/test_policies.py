"""postlane policies: what was accepted, what differs, what holds, and the way back."""

import getpass
import json
from pathlib import Path
from typing import Any

import pytest

from relay.cli import policies
from relay.cli.main import main
from relay.config.reader import fingerprint
from relay.kept import Decision, Store, write_decision

CONFIG = '[node]\nname = "mx-a"\nhostname = "mx-a.arava.example"\ntimezone = "Asia/Jerusalem"\n'
FRIDAY = 1_795_186_920_000  # 2026-11-20T15:02:00Z
CREDENTIAL = b'[credential.shop]\nclass = "auto"\ndomains = ["a.example"]\npassword = "sha256:AAAA:BBBB"\n'
OLD = {"credentials.toml": CREDENTIAL, "routes.toml": b"[default]\n"}
NEW = {"credentials.toml": CREDENTIAL, "retry.toml": b'[transactional]\ngive_up = "2d"\n'}
OLD_NAME, NEW_NAME = fingerprint(OLD), fingerprint(NEW)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node where NEW is in force, OLD was, and NEW is on disk."""
    monkeypatch.chdir(tmp_path)
    for folder in ("config", "policies"):
        (tmp_path / folder).mkdir()
    (tmp_path / "config" / "postlane.toml").write_text(CONFIG)
    for name, content in NEW.items():
        (tmp_path / "policies" / name).write_bytes(content)
    store = Store(tmp_path / "data", "policies")
    for at, version in ((FRIDAY - 86_400_000, OLD), (FRIDAY, NEW)):
        store.keep(fingerprint(version), version)
        store.touch(fingerprint(version), at)
    write_decision(tmp_path / "data", Decision(NEW_NAME, "7be210", FRIDAY, "noa", "reload"))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str], str]:
    status = main(["policies", *words])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err


@pytest.mark.usefixtures("here")
def test_accepted_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "list") == (
        0,
        [
            f"* {NEW_NAME}  Fri 20 Nov 17:02  in force since Fri 20 Nov 17:02 (reload, noa), on disk",
            f"  {OLD_NAME}  Thu 19 Nov 17:02",
        ],
        "",
    )
    _, lines, _ = run(capsys, "list", "--json")
    assert json.loads(lines[1]) == {
        "version": OLD_NAME,
        "at": "2026-11-19T15:02:00.000Z",
        "in_force": False,
        "on_disk": False,
    }


def test_what_differs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "diff") == (0, [], "")
    (here / "policies" / "retry.toml").write_text('[transactional]\ngive_up = "3d"\n')
    assert run(capsys, "diff")[1] == [
        f"--- policies/retry.toml\t({NEW_NAME}, in force)",
        "+++ policies/retry.toml\t(on disk)",
        "@@ -1,2 +1,2 @@",
        " [transactional]",
        '-give_up = "2d"',
        '+give_up = "3d"',
    ]
    _, lines, _ = run(capsys, "diff", OLD_NAME)
    assert lines[0] == f"--- /dev/null\t({OLD_NAME})"
    assert "+++ /dev/null\t(on disk)" in lines
    _, lines, _ = run(capsys, "diff", OLD_NAME, "--json")
    told = [json.loads(line) for line in lines]
    assert [(one["file"], one["version"]) for one in told] == [
        ("policies/retry.toml", OLD_NAME),
        ("policies/routes.toml", OLD_NAME),
    ]
    assert told[1]["diff"].endswith("-[default]")


def test_what_holds_and_where_it_comes_from(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "show", "retry", "transactional") == (
        0,
        [
            'transactional.wait\t["15s", "1m", "5m", "15m", "30m"]\tshipped',
            'transactional.give_up\t"2d"\tpolicies/retry.toml:2',
            'transactional.warn_after\t"10m"\tshipped',
        ],
        "",
    )
    (here / "policies" / "retry.toml").unlink()
    status, lines, error = run(capsys, "show", "policies/retry.toml", "--json")
    assert (status, len(lines)) == (0, 9)
    assert json.loads(lines[1]) == {
        "file": "policies/retry.toml",
        "key": "transactional.give_up",
        "value": "2d",
        "from": "policies/retry.toml:2",
    }
    assert error == "policies/retry.toml on disk is another one: postlane policies diff\n"


@pytest.mark.usefixtures("here")
def test_hashes_of_passwords_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ((), ("--json",)):
        _, lines, _ = run(capsys, "show", "credentials", "shop", *form)
        shown = next(line for line in lines if "password" in line)
        assert "sha256:..." in shown
        assert "AAAA" not in "".join(lines)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("show", "retyr"), 'no file "retyr.toml" in policies/ that this version acts on; did you mean "retry.toml"?'),
        (("show", "retry", "servce"), 'no name "servce" in policies/retry.toml; did you mean "service"?'),
        (("diff", "ffffff"), 'no version "ffffff" in '),
    ],
)
def test_what_is_not_there(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], why: str) -> None:
    status, lines, error = run(capsys, *words)
    assert (status, lines) == (1, [])
    assert error.startswith(f"postlane: {why}")


def test_where_no_node_ever_ran(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "data" / "versions" / "in-force.json").unlink()
    for words in (("list",), ("diff",), ("show", "retry")):
        status, _, error = run(capsys, *words)
        assert status == 1
        assert "nothing was ever in force here" in error


def test_the_way_back(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    answer: dict[str, Any] = {
        "node": "mx-a",
        "version": OLD_NAME,
        "before": NEW_NAME,
        "config": "7be210",
        "config_before": "7be210",
        "seconds": 0.3,
        "waits": [],
        "on_disk": NEW_NAME,
    }

    def request(data_dir: Path, question: dict[str, Any], patience: float) -> dict[str, Any]:
        assert data_dir == here / "data"
        assert patience > 120
        asked.append(question)
        return answer

    monkeypatch.setattr(policies, "request", request)
    assert run(capsys, "rollback", OLD_NAME, "--reason", "oops") == (
        0,
        [
            f"mx-a  {OLD_NAME} in force (0.30 s)",
            f"Undo: postlane policies rollback {NEW_NAME}",
            f"The files on disk are still {NEW_NAME}: the next reload of them puts those in force again.",
            f"See postlane policies diff; a restart of the node keeps {OLD_NAME} until they change.",
        ],
        "",
    )
    assert asked == [{"do": "rollback", "version": OLD_NAME, "by": getpass.getuser(), "reason": "oops"}]
    _, lines, _ = run(capsys, "rollback", OLD_NAME, "--json")
    assert json.loads(lines[0])["on_disk"] == NEW_NAME
    answer = {"error": "no version x is kept; postlane policies list"}
    assert run(capsys, "rollback", "x") == (1, [], "postlane: no version x is kept; postlane policies list\n")


@pytest.mark.usefixtures("here")
def test_without_a_node_there_is_no_way_back(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, error = run(capsys, "rollback", OLD_NAME)
    assert status == 1
    assert "mx-a is not running" in error
