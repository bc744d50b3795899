import argparse
import io
import json
from pathlib import Path

import pytest

from relay.cli import bounce
from relay.config import ConfigErrors

REPORT = """From: MAILER-DAEMON@mx.example.net
To: shop@marom.example
Subject: Undelivered mail
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b

It failed.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Original-Recipient: rfc822; dana@example.com
Final-Recipient: rfc822; x7@in.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user (in reply to RCPT TO command)
--b
Content-Type: message/rfc822

Message-ID: <7@marom.example>

hi
--b--
"""


def run(*words: str, as_json: bool = False, policies: Path | None = None) -> int:
    parser = argparse.ArgumentParser()
    bounce.add_parser(parser.add_subparsers())
    args = parser.parse_args(["bounce", *words])
    args.json, args.policies = as_json, policies
    status: int = args.run(args)
    return status


@pytest.fixture
def report(tmp_path: Path) -> Path:
    file = tmp_path / "report.eml"
    file.write_text(REPORT)
    return file


def test_what_a_person_reads(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(report), str(report)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:9] == [
        f"{report}   bounce, by delivery status",
        "  Reported by mx.example.net",
        "  Message-ID  <7@marom.example>",
        "",
        "  dana@example.com  (now x7@in.example)",
        "    Action    failed, 5.1.1",
        "    Reply     550 5.1.1 no such user (in reply to RCPT TO command)  (to RCPT)",
        '    Category  bad-mailbox, permanent, by words "no such {person}"',
        "    Then      suppress the address",
    ]
    assert lines[9:] == ["", *lines[:9]]


def test_json_one_object_a_file(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(report), str(report), as_json=True) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == second
    assert first == {
        "file": str(report),
        "kind": "bounce",
        "feedback_type": None,
        "recipients": [
            {
                "address": "dana@example.com",
                "action": "failed",
                "status": "5.1.1",
                "category": "bad-mailbox",
                "permanent": True,
                "rule": 'words "no such {person}"',
            }
        ],
        "found_by": "delivery status",
        "message_id": "<7@marom.example>",
        "reporter": "mx.example.net",
    }


def test_a_complaint_and_a_success_have_no_category(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    complaint = tmp_path / "complaint.eml"
    complaint.write_text(
        "From: fbl@isp.example\nContent-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/feedback-report\n\n"
        "Feedback-Type: abuse\nOriginal-Rcpt-To: dana@example.com\n--b--\n"
    )
    success = tmp_path / "success.eml"
    success.write_text(REPORT.replace("failed", "relayed").replace("5.1.1", "2.0.0"))
    assert run(str(complaint), str(success)) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{complaint}   complaint (abuse), by feedback report\n\n  dana@example.com\n\n")
    assert out.endswith("    Action    relayed, 2.0.0\n")
    run(str(complaint), as_json=True)
    assert json.loads(capsys.readouterr().out)["recipients"] == [{"address": "dana@example.com"}]


def test_a_file_that_cannot_be_read_does_not_keep_the_others_back(
    report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("nowhere.eml", str(report)) == 1
    printed = capsys.readouterr()
    assert printed.err == "postlane bounce: nowhere.eml: No such file or directory\n"
    assert "dana@example.com" in printed.out


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.eml"
    file.write_text(REPORT.replace("no such user", "no such \x1b[31muser"))
    assert run(str(file)) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_one_reply(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--reply", "550-5.1.1 nobody\n550 5.1.1 of that name: no such user", "--command", "rcpt to") == 0
    assert capsys.readouterr().out.splitlines() == [
        "550 5.1.1 nobody of that name: no such user  (to RCPT TO)",
        '  Category  bad-mailbox, permanent, by words "no such {person}"',
        "  About     the recipient",
        "  Then      suppress the address",
    ]
    assert run("--reply", "452 later", as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {"category": "remote-error", "permanent": False, "rule": "code 452"}


@pytest.mark.parametrize(
    ("text", "command", "category"),
    [
        ("552 no", "RCPT TO:<dana@example.com>", "quota"),
        ("552 no", "end of DATA", "message-too-large"),
        ("550 no", "HELO", "reputation-block"),
        ("550 unknown user x@y.example", "MAIL FROM", "bad-sender"),
        ("user unknown", "", "bad-mailbox"),
        ("550", "", "other"),
    ],
)
def test_commands_as_people_write_them(
    text: str, command: str, category: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--reply", text, "--command", command, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["category"] == category


def test_replies_as_json_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ['{"id": "a", "reply": "550 5.2.2 full", "command": null}', "", "nonsense", "[]", '{"id": "b"}']
    lines.append('{"id": 7, "reply": "421 bye"}')
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    assert run("--reply", "-", as_json=True) == 1
    printed = capsys.readouterr()
    assert [(one["id"], one["category"]) for one in map(json.loads, printed.out.splitlines())] == [
        ("a", "quota"),
        (7, "remote-error"),
    ]
    assert printed.err.splitlines() == [f"postlane bounce: line {n}: no JSON object with a reply" for n in (3, 4, 5)]


@pytest.mark.parametrize("words", [(), ("x.eml", "--reply", "550 no")])
def test_misuse(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(*words)
    assert stopped.value.code == 2
    assert "say files, or --reply" in capsys.readouterr().err


def test_the_admins_rules_come_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bounces.toml").write_text(
        '[[reply]]\nmatch.site = "walla"\nmatch.text = \'re:box (is )?asleep\'\ncategory = "inactive-mailbox"\n'
    )
    for site, category in (("walla", "inactive-mailbox"), ("other", "other")):
        assert run("--reply", "550 Box is asleep", "--site", site, as_json=True, policies=tmp_path) == 0
        assert json.loads(capsys.readouterr().out)["category"] == category
    assert run("--reply", "550 Box is asleep", "--site", "walla", policies=tmp_path) == 0
    assert "by policies/bounces.toml:1" in capsys.readouterr().out


def test_they_hold_for_what_a_mail_tells_too(tmp_path: Path, report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bounces.toml").write_text(
        '[[reply]]\nmatch.site = "walla"\nmatch.text = "no such user"\ncategory = "inactive-mailbox"\n'
    )
    for site, category in (("walla", "inactive-mailbox"), ("other", "bad-mailbox")):
        assert run(str(report), "--site", site, as_json=True, policies=tmp_path) == 0
        assert json.loads(capsys.readouterr().out)["recipients"][0]["category"] == category


def test_rules_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bounces.toml").write_text('[[reply]]\nmatch.code = 200\ncategory = "dead"\n')
    with pytest.raises(ConfigErrors) as raised:
        run("--reply", "550 no", policies=tmp_path)
    assert [problem.slug for problem in raised.value.problems] == ["code", "choice"]
    (tmp_path / "bounces.toml").unlink()
    assert run("--reply", "550 no", policies=tmp_path) == 0
