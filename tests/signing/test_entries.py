"""keys.toml: every mistake is told with its line, what was expected, and a slug."""

from pathlib import Path

import pytest

from relay.signing.entries import Entry, KeysError, read_entries


def told(file: Path, content: bytes) -> list[str]:
    file.write_bytes(content)
    with pytest.raises(KeysError) as caught:
        read_entries(file)
    return [str(problem).removeprefix(f"{file}") for problem in caught.value.problems]


def test_no_file_is_no_entries(tmp_path: Path) -> None:
    assert read_entries(tmp_path / "keys.toml") == {}


def test_an_entry_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text('[key."example.com".a]\n')
    assert read_entries(tmp_path / "keys.toml") == {("example.com", "a"): Entry("active", 0)}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            b'\n[key."example.com".a]\nstate = "actve"\n',
            ':3: key."example.com".a.state: "actve" is no state; write pending, active, retired   [key-state]',
        ),
        (
            b'[key."example.com".a]\nstate = 1\n',
            ':2: key."example.com".a.state: "1" is no state; write pending, active, retired   [key-state]',
        ),
        (
            b'[key."example.com".a]\ncreated = "2026-11-21"\n',
            ':2: key."example.com".a.created: is no date; write 2026-11-21T12:00:00Z, without quotes   [date]',
        ),
        (
            b'[key."example.com".a]\nstat = "active"\n',
            ':2: key."example.com".a.stat: unknown key; expected state, created   [unknown-key]',
        ),
        (b"[keys]\n", ':1: keys: unknown; expected [key."DOMAIN".SELECTOR]   [unknown-key]'),
        (b"key = 1\n", ':1: key: is no table; expected [key."DOMAIN".SELECTOR], the domain in quotes   [toml]'),
        (
            b'[key]\n"example.com" = "active"\n',
            ':2: key."example.com": is no table; expected [key."DOMAIN".SELECTOR], the domain in quotes   [toml]',
        ),
        (
            b'[key."example.com"]\n2026b = "active"\n',
            ':2: key."example.com".2026b: is no table; expected [key."DOMAIN".SELECTOR], the domain in quotes   [toml]',
        ),
        (b"[key\n", ": Expected ']' at the end of a table declaration (at line 1, column 5)   [toml]"),
        (b"\xff\n", ": is not UTF-8; save it as UTF-8   [toml]"),
    ],
)
def test_mistakes(tmp_path: Path, content: bytes, expected: str) -> None:
    assert told(tmp_path / "keys.toml", content) == [expected]


def test_a_domain_without_quotes_is_explained(tmp_path: Path) -> None:
    """TOML makes nested tables of it."""
    assert told(tmp_path / "keys.toml", b'[key.example.com.a]\nstate = "active"\n') == [
        ':1: key."example".com.a: a domain needs quotes: [key."DOMAIN".SELECTOR]   [domain-quotes]'
    ]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "keys.toml").mkdir()
    with pytest.raises(KeysError, match=r"keys\.toml: cannot be read"):
        read_entries(tmp_path / "keys.toml")
