import argparse
import json
from pathlib import Path

import pytest

from relay.cli import explain

RECEIPT = """From: =?utf-8?Q?Mar=C3=B3m?= <shop@marom.example>
Subject: Your order 77, and 20 % off tents

Hi Dana, thank you for your order. Total: 240.
"""


def run(*words: str, as_json: bool = False) -> int:
    parser = argparse.ArgumentParser()
    explain.add_parser(parser.add_subparsers())
    args = parser.parse_args(["explain", *words])
    args.json = as_json
    status: int = args.run(args)
    return status


@pytest.fixture
def receipt(tmp_path: Path) -> Path:
    file = tmp_path / "receipt.eml"
    file.write_text(RECEIPT)
    return file


def test_what_a_person_reads(receipt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(receipt)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{receipt}   From: Maróm <shop@marom.example>   Subject: Your order 77, and 20 % off tents"
    assert lines[2].startswith("  Class    transactional   by evidence, 0.")
    assert lines[4] == f"  {'Evidence':<66}speaks for"
    assert lines[5].startswith('    order "your order" in subject and opening ')
    assert lines[5][68:].startswith("transactional  +")
    assert any(line.startswith('    discount "20 % off" in subject ') for line in lines)


def test_json_one_object_a_file(receipt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(receipt), str(receipt), as_json=True) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == second
    assert (first["file"], first["class"], first["stream"]) == (str(receipt), "transactional", None)
    assert 0.34 < first["confidence"] <= 1
    strongest = first["evidence"][0]
    assert (strongest["term"], strongest["text"], strongest["for"]) == ("order", "your order", "transactional")
    assert strongest["weight"] > 1


def test_lint_and_no_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.eml"
    file.write_bytes(b"Subject: x\r\nSubject: \x1b[31my\r\n\r\n")
    assert run(str(file)) == 0
    out = capsys.readouterr().out
    assert "Subject: x\n" in out
    assert "  Lint     no From field (RFC 5322 3.6)   [no-from]\n           2 subject fields" in out


def test_a_file_that_cannot_be_read_does_not_keep_the_others_back(
    receipt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("nowhere.eml", str(receipt)) == 1
    printed = capsys.readouterr()
    assert printed.err == "postlane explain: nowhere.eml: No such file or directory\n"
    assert "Class    transactional" in printed.out
