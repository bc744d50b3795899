"""`postlane explain FILE`: what would happen to a message under the files on disk, and why."""

import argparse
import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.cli import explain_view
from relay.cli.explain import Asked, Basis, basis_of, explained
from relay.cli.main import main
from relay.message import MailClass
from relay.policy.contradiction import Trouble
from tests.support.company import (
    BURIED,
    NEWSLETTER,
    NEWSLETTER_HE,
    PROMOTION,
    PROMOTION_HE,
    RECEIPT,
    RECEIPT_HE,
    company,
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The company's files in the working directory."""
    monkeypatch.chdir(company(tmp_path))
    monkeypatch.delenv("POSTLANE_CONFIG", raising=False)
    monkeypatch.delenv("POSTLANE_POLICIES", raising=False)
    return tmp_path


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place without config/ and policies/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSTLANE_CONFIG", raising=False)
    monkeypatch.delenv("POSTLANE_POLICIES", raising=False)
    monkeypatch.setattr("relay.config.places.SYSTEM", tmp_path / "etc")
    return tmp_path


def write(folder: Path, text: str, name: str = "mail.eml") -> str:
    (folder / name).write_text(text)
    return name


class Explaining:
    """Runs the command in the company's folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def run(self, *words: str) -> tuple[int, str, str]:
        status = main(["explain", *words])
        out, err = self._capsys.readouterr()
        return status, out, err

    def screen(self, text: str, *words: str) -> list[str]:
        status, out, err = self.run(write(self.folder, text), *words)
        assert (status, err) == (0, "")
        return out.splitlines()

    def facts(self, text: str, *words: str) -> dict[str, Any]:
        (line,) = self.screen(text, *words, "--json")
        found: dict[str, Any] = json.loads(line)
        return found


@pytest.fixture
def explain(here: Path, capsys: pytest.CaptureFixture[str]) -> Explaining:
    return Explaining(here, capsys)


def test_the_screen_of_a_receipt(explain: Explaining) -> None:
    lines = explain.screen(RECEIPT, "--credential", "woo")
    assert lines[:6] == [
        "mail.eml   From: Marom <shop@marom.example>   Subject: Your order 77",
        "",
        '  Stream   order           streams.toml:7: credential woo, subject "order"',
        f"  Class    transactional   streams.toml:11: the stream says so; so does the evidence, {lines[3][-4:]}",
        "  Brand    marom           brands.toml:3: domain marom.example",
        "  Pool     transactional   routes.toml:2 · source 198.51.100.10",
    ]
    assert lines[7] == f"  {'Evidence':<66}speaks for"
    assert lines[8].startswith('    order "your order" in subject and opening ')
    assert lines[8][68:].startswith("transactional  +")
    assert lines[-8:] == [
        "  Recipient             Decision   Why",
        "  dana@gmail.com        send       pool transactional",
        "",
        "  Limits   google: connections 5 (shipped), rate 100/second (shipped), reserved 2 (shipped), messages per connection",
        "             50 (shipped), tls required (shipped)",
        "",
        "  Signed   d=marom.example s=2026b-ed (Ed25519) and s=2026b (RSA), aligned with From",
        "  Adds     X-Postlane-Trace, DKIM-Signature, Received, Message-ID, Date, Feedback-ID: order:woo:marom:postlane",
    ]


@pytest.mark.parametrize(
    ("text", "mail_class", "stream"),
    [
        (RECEIPT, "transactional", "order"),
        (RECEIPT + PROMOTION, "transactional", "order"),
        (NEWSLETTER, "marketing", "newsletter"),
        (RECEIPT_HE, "transactional", "order"),
        (RECEIPT_HE + PROMOTION_HE, "transactional", "order"),
        (NEWSLETTER_HE, "marketing", "newsletter"),
    ],
    ids=["receipt", "promotion", "newsletter", "receipt-he", "promotion-he", "newsletter-he"],
)
def test_mails_of_a_shop_in_two_languages(explain: Explaining, text: str, mail_class: str, stream: str) -> None:
    found = explain.facts(text, "--credential", "woo")
    assert (found["class"], found["claimed"], found["stream"]) == (mail_class, mail_class, stream)
    assert (found["pool"], found["brand"]) == (mail_class, "marom")
    alone = explain.facts(text, "--credential", "mixed")
    assert (alone["class"], alone["claimed"], alone["stream"]) == (mail_class, None, "mixed")
    speaks = {term["for"] for term in found["evidence"] if term["weight"] > 1}
    promoted = text in (RECEIPT + PROMOTION, RECEIPT_HE + PROMOTION_HE)
    assert speaks >= ({"transactional", "marketing"} if promoted else {mail_class})


OURS = ["List-Unsubscribe", "List-Unsubscribe-Post"]


def test_marketing_shows_the_list_unsubscribe_that_it_gets(explain: Explaining) -> None:
    bare = NEWSLETTER.replace("List-Unsubscribe: <https://marom.example/u/1>\n", "")
    assert explain.facts(bare, "--credential", "mixed")["adds"][-2:] == OURS
    kept = explain.facts(NEWSLETTER, "--credential", "woo")
    assert not set(OURS) & {*kept["adds"], *kept["removes"]}
    streams = explain.folder / "policies" / "streams.toml"
    streams.write_text(
        streams.read_text().replace('class = "marketing"', 'class = "marketing"\nunsubscribe = "replace"')
    )
    replaced = explain.facts(NEWSLETTER, "--credential", "woo")
    assert replaced["adds"][-2:] == OURS
    assert replaced["removes"] == ["List-Unsubscribe"]


def test_a_claim_that_the_evidence_contradicts_is_shown_as_such(explain: Explaining) -> None:
    lines = explain.screen(BURIED + PROMOTION, "--credential", "woo")
    assert lines[3].startswith(
        "  Class    transactional   streams.toml:11: the stream says so; the evidence says marketing, 0."
    )
    (first, _) = explain.screen(BURIED + PROMOTION, "--credential", "woo", "--brief")
    assert first.startswith("mail.eml  order (streams.toml:7)  transactional (evidence: marketing 0.")
    assert first.endswith(")  brand marom")


# An advertisement that its app sends among the receipts.
DISGUISED = NEWSLETTER.replace("Summer", "Order today: summer").replace(
    "List-Unsubscribe: <https://marom.example/u/1>\n", ""
)


def standing(explain: Explaining, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node runs, one of whose workers has met a contradiction in this stream."""
    trouble = Trouble("woo", "order", MailClass.TRANSACTIONAL, MailClass.MARKETING, 9, 11, 6, (), whole=True)
    answer = json.loads(orjson.dumps({"workers": [{"up": False}, {"troubles": [asdict(trouble)]}]}))
    monkeypatch.setattr("relay.cli.explain.request", lambda *_, **__: answer)


def test_what_a_contradiction_would_come_to(explain: Explaining, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = explain.folder / "policies" / "streams.toml"
    streams.write_text(
        streams.read_text().replace('name = "order"\n', 'name = "order"\non_contradiction = "reroute"\n')
    )
    lines = explain.screen(DISGUISED, "--credential", "woo")
    assert lines[-1] == (
        "One message alone changes nothing. Once several read like this, such mail leaves by the pool of that class, and "
        'nothing holds it back: on_contradiction = "reroute" (streams.toml:9).'
    )
    standing(explain, monkeypatch)
    lines = explain.screen(DISGUISED, "--credential", "woo")
    assert lines[3].startswith(
        "  Class    marketing       rerouted (streams.toml:9): the stream says transactional, the evidence marketing, "
    )
    assert lines[5].startswith("  Pool     marketing ")
    assert lines[-1] == (
        'To carry it as transactional: set on_contradiction = "flag" in streams.toml:9, or take out what reads as marketing.'
    )
    found = explain.facts(DISGUISED, "--credential", "woo")
    assert (found["class"], found["claimed"], found["contradiction"]) == ("marketing", "transactional", "rerouted")
    assert explain.facts(RECEIPT, "--credential", "woo")["contradiction"] is None, "this one does not read so"


def test_what_stands_is_flagged_where_nothing_else_is_said(
    explain: Explaining, monkeypatch: pytest.MonkeyPatch
) -> None:
    standing(explain, monkeypatch)
    lines = explain.screen(DISGUISED, "--credential", "woo")
    assert lines[3].startswith("  Class    transactional   ")
    assert lines[3].endswith(": flagged")


def test_checks_are_shown_with_what_came_of_them(explain: Explaining) -> None:
    brands = explain.folder / "policies" / "brands.toml"
    asked = 'checks = { alignment = "refuse", one-click-unsubscribe = "warn" }\n'
    brands.write_text(brands.read_text().replace("[brand.marom]\n", f"[brand.marom]\n{asked}"))
    lines = explain.screen(RECEIPT, "--credential", "woo")
    at = next(number for number, line in enumerate(lines) if line.startswith("  Checks"))
    assert lines[at].split() == ["Checks", "alignment", "passes", "RFC", "7489", "3.1.1"]
    assert lines[at + 1].split()[:6] == ["one-click-unsubscribe", "not", "asked", "of", "transactional", "mail"]
    found = explain.facts(NEWSLETTER.replace("List-Unsubscribe-Post", "X-Nothing"), "--credential", "woo")
    assert [(one["name"], one["level"]) for one in found["checks"]] == [("one-click-unsubscribe", "warn")]


def test_mail_that_would_have_to_wait_or_comes_too_late(explain: Explaining) -> None:
    late = explain.facts("X-Postlane-Valid-Until: 2020-01-01T00:00:00Z\n" + RECEIPT, "--credential", "woo")
    (row,) = late["recipients"]
    assert (row["decision"], row["reason"]) == (
        "withhold",
        "stale: X-Postlane-Valid-Until ended 2020-01-01T00:00:00.000Z",
    )
    streams = explain.folder / "policies" / "streams.toml"
    today = datetime.now(UTC).date()
    closed = "".join(f"{today + timedelta(days=day)}, " for day in range(-2, 3))
    window = f'[window.never]\nsun-sat = "00:00-24:00"\ntz = "UTC"\nclosed = [{closed}]\n'
    text = streams.read_text().replace('name = "newsletter"\n', 'name = "newsletter"\nsend_window = "never"\n')
    streams.write_text(window + text)
    (row,) = explain.facts(NEWSLETTER, "--credential", "woo")["recipients"]
    assert (row["decision"], row["pool"]) == ("postpone", "marketing")
    assert datetime.fromisoformat(row["until"]).date() - today == timedelta(days=3)
    assert row["reason"] == f"send-window: window never is closed until {row['until']}"


def test_json_has_all_that_is_promised(explain: Explaining) -> None:
    found = explain.facts(RECEIPT, "--credential", "woo")
    assert (found["file"], found["credential"], found["rule"]) == ("mail.eml", "woo", "policies/streams.toml:7")
    assert found["recipients"] == [
        {
            "recipient": "dana@gmail.com",
            "decision": "send",
            "reason": None,
            "until": None,
            "site": "google",
            "pool": "transactional",
            "route": "policies/routes.toml:2",
            "sources": ["198.51.100.10"],
            "limits": [
                {"key": "connections", "value": 5, "from": "shipped", "domain": None},
                {"key": "rate", "value": "100/second", "from": "shipped", "domain": None},
                {"key": "reserved", "value": 2, "from": "shipped", "domain": None},
                {"key": "messages_per_connection", "value": 50, "from": "shipped", "domain": None},
                {"key": "tls", "value": "required", "from": "shipped", "domain": None},
            ],
            "paces": [],
        }
    ]
    assert found["signed"] == [
        {"d": "marom.example", "s": "2026b-ed", "a": "ed25519-sha256"},
        {"d": "marom.example", "s": "2026b", "a": "rsa-sha256"},
    ]
    strongest = found["evidence"][0]
    assert (strongest["term"], strongest["text"], strongest["for"]) == ("order", "your order", "transactional")
    assert 0.34 < found["confidence"] <= 1
    assert len(found["skeleton"]) == 12
    assert len(found["policies"]) == 6
    assert (found["contradiction"], found["refused"], found["checks"], found["lint"]) == (None, None, [], [])


def test_how_fast_it_may_go_and_goes_now(explain: Explaining, monkeypatch: pytest.MonkeyPatch) -> None:
    (explain.folder / "policies" / "shaping.toml").write_text('[provider.google.pool.marketing]\nrate = "40/second"\n')
    row = {
        "site": "google", "source": "198.51.100.21", "pool": "marketing", "pace": 31.0, "direction": "recovering", "until": None,
        "said": "31 of 40/s, recovering since 14:02 (421 4.7.28)",
    }  # fmt: skip
    monkeypatch.setattr("relay.cli.explain.request", lambda *_, **__: {"paces": [row], "standing": []})
    words = [word for to in ("a@gmail.com", "b@gmail.com", "c@archive.example") for word in ("--to", to)]
    lines = explain.screen(NEWSLETTER, "--credential", "woo", *words)
    at = lines.index("  a@gmail.com           send       pool marketing")
    pace = "google: pace now 31 of 40/s, recovering since 14:02 (421 4.7.28) from 198.51.100.21"
    assert lines[at + 1] == f"{'':35}{pace}"
    limits = [line for line in lines[at:] if "connections" in line]
    assert limits[0].startswith("  Limits   google: connections 5 (shipped), rate 40/second (shaping.toml:2), ")
    assert limits[1].startswith("           10.0.0.9:2525: connections 10 (shipped), reserved 2 (shipped), ")
    assert len(limits) == 2, "recipients that share them are told once"
    (one, *_) = explain.facts(NEWSLETTER, "--credential", "woo", *words)["recipients"]
    assert (one["paces"], one["limits"][1]["from"]) == ([row], "policies/shaping.toml:2")


def test_what_is_taken_out_and_which_signature_with_it(explain: Explaining) -> None:
    text = (
        "Bcc: boss@marom.example\nX-Shop-Debug: 1\n"
        "DKIM-Signature: v=1; d=shop.example; s=x; h=From:Bcc:\n X-Shop-Debug; b=x\n"
        "DKIM-Signature: v=1; d=other.example; s=x; h=From:Subject; b=x\n"
        "Date: Sat, 21 Nov 2026 12:05:31 +0000\nMessage-ID: <1@marom.example>\n" + RECEIPT
    )
    lines = explain.screen(text, "--credential", "woo")
    at = lines.index("  Adds     X-Postlane-Trace, DKIM-Signature, Received, Feedback-ID: order:woo:marom:postlane")
    assert lines[at + 1 : at + 3] == [
        "  Removes  Bcc, X-Shop-Debug",
        "           the app's DKIM-Signature d=shop.example: it covers bcc, x-shop-debug",
    ]
    found = explain.facts(text, "--credential", "woo")
    assert found["adds"] == ["X-Postlane-Trace", "DKIM-Signature", "DKIM-Signature", "Received", "Feedback-ID"]
    assert found["removes"] == ["Bcc", "X-Shop-Debug"]
    assert found["drops"] == [{"d": "shop.example", "covers": ["bcc", "x-shop-debug"]}]


def test_each_recipient_has_its_route(explain: Explaining) -> None:
    words = [word for to in ("a@gmail.com", "b@discard.example", "c@archive.example") for word in ("--to", to)]
    lines = explain.screen(NEWSLETTER, "--credential", "woo", "--brief", *words)
    assert lines[1:] == [
        "  a@gmail.com        send      pool marketing",
        "  b@discard.example  withhold  discarded",
        "  c@archive.example  send      pool marketing to 10.0.0.9:2525",
    ]
    full = explain.screen(NEWSLETTER, "--credential", "woo", *words)
    assert "  Pool     marketing       routes.toml:4 · sources 198.51.100.20, .21, 203.0.113.22" in full
    assert "  Pool     discarded       routes.toml:6" in full
    assert "  b@discard.example     withhold   discarded, routes.toml:6" in full
    assert "  c@archive.example     send       pool marketing to 10.0.0.9:2525, routes.toml:16" in full
    found = explain.facts(NEWSLETTER, "--credential", "woo", "--to", "b@discard.example")
    assert (found["pool"], found["recipients"][0]["reason"]) == (None, "discarded")


def test_the_brand_may_be_the_credential_s_or_the_stream_s(explain: Explaining) -> None:
    lines = explain.screen(NEWSLETTER, "--credential", "kinor")
    assert "  Brand    kinor           credentials.toml:14: credential kinor" in lines
    assert "  Pool     kinor           routes.toml:11 · source 203.0.113.9" in lines
    lines = explain.screen(RECEIPT, "--credential", "woo", "--stream", "digest")
    assert "  Stream   digest          streams.toml:20: named by the app: woo+digest" in lines
    assert "  Brand    kinor           streams.toml:23: stream digest" in lines
    header = RECEIPT.replace("Subject", "X-Postlane-Stream: digest\nSubject")
    assert any(
        line.startswith("  Stream   digest          streams.toml:20: named in X-Postlane-Stream")
        for line in explain.screen(header, "--credential", "woo")
    )


def test_without_a_rule_the_credential_says_it(explain: Explaining) -> None:
    hello = RECEIPT.replace("Your order 77\n", "Hello\n")
    lines = explain.screen(hello, "--credential", "woo")
    assert lines[2] == "  Stream   woo             no rule fits, so it is named as the credential"
    assert lines[3].startswith("  Class    transactional   credentials.toml:2: credential woo says so; ")
    lines = explain.screen(hello, "--credential", "mixed")
    assert lines[3].startswith("  Class    transactional   by evidence, ")
    assert lines[3].endswith("; credentials.toml:8 leaves it to that")


def test_size_and_attachments_are_conditions_too(explain: Explaining) -> None:
    large = RECEIPT.replace("Your order 77\n", "Hello\n") + "word word word\n" * 8000
    lines = explain.screen(large, "--credential", "woo")
    assert lines[2] == (
        f"  Stream   big             streams.toml:14: credential woo, size {len(large) + large.count(chr(10)):,} octets, "
        'attachment "none"'
    )


FOREIGN = RECEIPT.replace("shop@marom.example", "shop@blog.example")
REFUSED = [
    (
        FOREIGN,
        ["--credential", "woo"],
        "550 5.7.1 From domain blog.example is not one of woo's: marom.example. "
        "Ask postmaster@relay-1.marom.example   [from-domain]",
        "If that domain is the app's own: postlane credentials set woo --domain DOMAIN",
    ),
    (
        FOREIGN,
        [],
        "550 5.7.20 No DKIM key for blog.example here, so it would leave unsigned: "
        "postlane keys generate blog.example   [unsigned]",
        "Rules, domains and class of an app count with --credential NAME.",
    ),
    (
        RECEIPT,
        ["--credential", "woo", "--stream", "newsletter"],
        '550 5.7.1 No stream "newsletter" for woo; it may use: digest   [stream]',
        "To let the app name it: postlane credentials set woo --stream STREAM",
    ),
    (RECEIPT, ["--credential", "old"], "550 5.7.1 old may not send any more   [credential]", ""),
    (RECEIPT + "a" * 1000, ["--credential", "woo"], "550 5.6.0 line longer than 998 octets   [long-line]", ""),
    (RECEIPT + "\0", ["--credential", "woo"], "550 5.6.0 NUL in the message   [nul]", ""),
    (RECEIPT + "0123456\n" * 130_000, ["--credential", "woo"], "552 5.3.4 message too big   [size]", ""),
]


@pytest.mark.parametrize(
    ("text", "words", "reply", "advice"), REFUSED, ids=[one[2].rpartition("[")[2][:-1] for one in REFUSED]
)
def test_a_refusal_is_shown_as_the_app_would_hear_it(
    explain: Explaining, text: str, words: list[str], reply: str, advice: str
) -> None:
    lines = explain.screen(text, *words)
    assert lines[2] == f"  Refused  {reply}"
    assert not any(line.startswith(("  Recipient", "  Signed", "  Adds")) for line in lines)
    assert (lines[-1] if advice else "") == advice
    found = explain.facts(text, *words)
    assert found["refused"] == {
        "code": int(reply[:3]),
        "enhanced": reply.split(" ")[1],
        "text": " ".join(reply.partition("   [")[0].split(" ")[2:]),
        "reason": reply.rpartition("[")[2][:-1],
    }
    assert [one["decision"] for one in found["recipients"]] == ["refuse"]
    assert (found["class"], found["signed"], found["adds"]) == ("transactional", [], [])
    brief = explain.screen(text, *words, "--brief")
    assert brief[1].startswith(f"  dana@gmail.com  refuse    {reply.partition('   [')[0]}")


def test_mail_that_may_leave_unsigned_says_why(explain: Explaining) -> None:
    kinor = RECEIPT.replace("shop@marom.example", "app@kinor.example")
    lines = explain.screen(kinor, "--credential", "kinor")
    assert "  Signed   no: there is no key for kinor.example, and its brand sends unsigned" in lines
    assert (
        "  Adds     X-Postlane-Trace, Received, Message-ID, Date, Feedback-ID: kinor__:kinor_:kinor:postlane" in lines
    )


def test_sender_and_recipients_are_the_envelope_s(explain: Explaining) -> None:
    (explain.folder / "policies" / "streams.toml").write_text(
        '[[stream]]\nname = "null"\nmatch.sender = "<>"\nclass = "service"\n'
        '[[stream]]\nname = "own"\nmatch.sender = "shop@marom.example"\nclass = "service"\n'
        '[[stream]]\nname = "digest"\n'
    )
    assert explain.facts(RECEIPT)["stream"] == "own"
    assert explain.facts(RECEIPT, "--from", "<>")["stream"] == "null"
    assert explain.facts(RECEIPT, "--from", "")["stream"] == "null"
    assert explain.facts(RECEIPT, "--from", "bounce@marom.example")["stream"] is None
    text = RECEIPT.replace(
        "To: Dana <dana@gmail.com>\n", "To: a@x.example, a@x.example\nCc: B <b@y.example>, c@localhost\n"
    )
    assert [one["recipient"] for one in explain.facts(text)["recipients"]] == ["a@x.example", "b@y.example"]
    nobody = RECEIPT.replace("To: Dana <dana@gmail.com>\n", "")
    assert [one["recipient"] for one in explain.facts(nobody)["recipients"]] == ["somebody@example.com"]


def test_a_stream_may_be_named_without_an_app(explain: Explaining) -> None:
    found = explain.facts(RECEIPT, "--stream", "digest")
    assert (found["credential"], found["stream"], found["class"]) == (None, "digest", "service")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--credential", "wo"], 'no credential "wo" in policies/credentials.toml; did you mean "woo"?'),
        (["--stream", "odrer"], 'no stream "odrer" in policies/streams.toml; did you mean "order"?'),
        (["--to", "dana"], "--to dana: 553 5.1.3 the address needs a domain"),
        (["--from", "a b@x.example"], "--from a b@x.example: 553 5.1.7 malformed address"),
        (["--config", "elsewhere"], "elsewhere is no folder. Say --config DIR, or set POSTLANE_CONFIG."),
    ],
)
def test_misuse(explain: Explaining, words: list[str], error: str) -> None:
    write(explain.folder, RECEIPT)
    assert explain.run("mail.eml", *words) == (2, "", f"postlane explain: {error}\n")


def test_broken_files_explain_nothing(explain: Explaining) -> None:
    (explain.folder / "policies" / "streams.toml").write_text('[[stream]]\nname = "x"\nclas = "service"\n')
    write(explain.folder, RECEIPT)
    status, out, err = explain.run("mail.eml")
    assert (status, out) == (1, "")
    assert "policies/streams.toml:3: stream.x.clas: unknown key; did you mean class?" in err


def test_capture_mode_says_that_nothing_leaves(explain: Explaining) -> None:
    config = explain.folder / "config" / "postlane.toml"
    config.write_text(config.read_text() + '[delivery]\nmode = "capture"\n')
    lines = explain.screen(FOREIGN)
    assert '  dana@gmail.com        send       captured: mode = "capture", pool transactional' in lines
    assert "  Signed   d=blog.example s=sandbox (RSA), a throw-away key of capture mode" in lines
    assert explain.facts(FOREIGN)["recipients"][0]["site"] is None
    assert not (explain.folder / "data").exists()


def test_staging_captures_everybody_else(explain: Explaining) -> None:
    config = explain.folder / "config" / "postlane.toml"
    config.write_text(config.read_text() + '[delivery]\nonly_to = ["gmail.com"]\nrelay_host = "192.0.2.25:25"\n')
    words = ("--to", "a@gmail.com", "--to", "b@gmx.example")
    inside, outside = explain.facts(RECEIPT, "--credential", "woo", *words)["recipients"]
    assert (inside["site"], inside["reason"]) == ("192.0.2.25:25", None)
    assert (outside["site"], outside["reason"], outside["sources"]) == (None, "captured: not one of only_to", [])


def test_without_any_files_it_is_any_app_of_class_auto(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = Explaining(nowhere, capsys)
    write(nowhere, RECEIPT)
    status, out, err = command.run("mail.eml")
    lines = out.splitlines()
    assert (status, err) == (0, "postlane explain: no config/ and policies/ here: as for any app of class auto\n")
    assert lines[2].startswith("  Class    transactional   by evidence, ")
    assert lines[3] == "  Pool     transactional"
    assert "  Signed   not known: the keys are in config/" in lines
    found = json.loads(command.run("mail.eml", "--json")[1])
    assert (found["credential"], found["stream"], found["policies"]) == (None, None, None)
    status, out, err = command.run("mail.eml", "--credential", "woo")
    assert (status, out) == (2, "")
    assert err.startswith("postlane explain: no config/ here nor ")


def test_many_files_one_object_each(explain: Explaining) -> None:
    names = [write(explain.folder, text, f"{n}.eml") for n, text in enumerate([RECEIPT, RECEIPT, NEWSLETTER])]
    status, out, _ = explain.run(*names, "--json")
    first, second, third = map(json.loads, out.splitlines())
    assert status == 0
    assert first | {"file": ""} == second | {"file": ""}  # what was explained before is no mailing
    assert [first["file"], third["file"]] == ["0.eml", "2.eml"]
    _, out, _ = explain.run(*names[:2])
    assert "\n\n1.eml   From: " in out


def test_lint_and_no_sender(explain: Explaining) -> None:
    lines = explain.screen("Subject: x\r\nSubject: \x1b[31my\r\n\r\n")
    assert lines[0] == "mail.eml   From: (none)   Subject: x"
    assert lines[2] == "  Refused  550 5.6.0 The message has no From field   [from]"
    assert lines[3].startswith("  Class    ")
    assert lines[3].endswith(", if it were taken")
    at = lines.index("  Lint     no From field (RFC 5322 3.6)   [no-from]")
    assert lines[at + 1].startswith("           2 subject fields; ")


def test_a_file_that_cannot_be_read_does_not_keep_the_others_back(explain: Explaining) -> None:
    status, out, err = explain.run("nowhere.eml", write(explain.folder, RECEIPT))
    assert (status, err) == (1, "postlane explain: nowhere.eml: No such file or directory\n")
    assert "  Class    transactional" in out


@pytest.fixture(scope="module")
def basis(tmp_path_factory: pytest.TempPathFactory) -> Basis:
    folder = company(tmp_path_factory.mktemp("company"))
    return basis_of(argparse.Namespace(config=folder / "config", policies=folder / "policies", credential=None))


NAMES = ["From", "To", "Subject", "Bcc", "Sender", "DKIM-Signature", "X-Postlane-Stream", "Content-Type", "\xff", ""]
VALUES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"shop@marom.example", b"v=1; h=Bcc; d", b"=?utf-7?Q?+2AA-?=", b"digest", b"multipart/mixed; boundary=a"]
    ),
)


@settings(deadline=None)  # a loaded machine is no fault
@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6), st.binary(max_size=200), st.booleans())
def test_whatever_a_message_holds_it_is_explained(
    basis: Basis, fields: list[tuple[str, bytes]], body: bytes, named: bool
) -> None:
    octets = b"".join(name.encode("latin-1") + b": " + value + b"\r\n" for name, value in fields) + b"\r\n" + body
    asked = Asked("woo" if named else explain_view.ANYBODY, "", None, None)
    one = explained("x.eml", octets, asked, basis)
    json.dumps(explain_view.as_facts(one), ensure_ascii=False).encode()
    for lines in (explain_view.as_text(one), explain_view.as_brief(one)):
        "\n".join(lines).encode()
