from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from relay.config.fields import Duration, Name
from relay.config.reader import Document, Section, read, setting, shown_path


class Inner(Section):
    address: str
    weight: int = setting(1, ge=1)


class Rule(Section):
    name: str = ""
    wait: list[Duration] = setting([])
    inner: list[Inner] = setting([])
    kind: Literal["a", "b"] | None = None


class File(Section):
    rule: list[Rule] = setting([])
    thing: dict[Name, Annotated[Rule, Field()]] = setting({})


TEXT = """\
# a comment

[[rule]]
name = "first"
wait = [
  "1s",
  "soon",
]

  [[rule]]      # indented, and what it lacks is a name
  # wait = ["1s"]
  inner = [{ address = "x" }, { weight = 0, address = "y" }]

[thing.one]
wait = ["1d"]
[thing.one.kind]
"""


@pytest.fixture
def document(tmp_path: Path) -> Document:
    document, problems = read(tmp_path / "file.toml", TEXT.encode())
    assert document is not None
    assert problems == []
    return document


@pytest.mark.parametrize(
    ("loc", "line", "label"),
    [
        ((), 1, ""),
        (("rule",), 3, "rule"),
        (("rule", 0), 3, "rule.first"),
        (("rule", 0, "name"), 4, "rule.first.name"),
        (("rule", 0, "wait", 1), 7, "rule.first.wait[2]"),
        (("rule", 0, "missing"), 3, "rule.first.missing"),
        (("rule", 1), 10, "rule.#2"),
        (("rule", 1, "inner", 1, "weight"), 12, "rule.#2.inner[2].weight"),
        (("thing", "one", "kind"), 16, "thing.one.kind"),
        (("thing", "a b", "kind"), 14, 'thing."a b".kind'),
        (("nothing", 0, "at all"), 1, 'nothing."at all"'),
    ],
)
def test_every_key_has_its_place_and_name(
    document: Document, loc: tuple[str | int, ...], line: int, label: str
) -> None:
    assert document.line(loc) == line
    assert document.label(loc) == label


def test_all_errors_are_found_and_the_rest_is_still_a_model(document: Document) -> None:
    model, problems = document.validate(File)
    assert [(problem.line, problem.key, problem.slug) for problem in problems] == [
        (7, "rule.first.wait[2]", "duration"),
        (12, "rule.#2.inner[2].weight", "range"),
        (16, "thing.one.kind", "choice"),
    ]
    assert document.broken
    assert model is not None
    assert model.rule[0].wait == [1_000]
    assert model.rule[1].inner[1].weight == 1
    assert document.data["rule"][0]["wait"] == ["1s", "soon"], "the data stays as it was written"


def test_what_is_left_of_a_list_keeps_its_places(tmp_path: Path) -> None:
    text = b'[[rule]]\nunknown = 1\ninner = [{}, {address = "a"}]\n[[rule]]\nname = 5\n[[rule]]\nname = "c"\n'
    document, _ = read(tmp_path / "file.toml", text)
    assert document is not None
    model, _ = document.validate(File)
    assert model is not None
    assert model.rule[0].inner[0].address == "a"
    assert document.problem(("rule", 0, "inner", 0, "address"), "", "").key == "rule.#1.inner[2].address"
    assert document.problem(("rule", 2, "name"), "", "").line == 7


def test_a_file_of_which_nothing_can_be_used(tmp_path: Path) -> None:
    class Strict(Section):
        node: Inner

    document, _ = read(tmp_path / "file.toml", b"node = 1\nother = 2\n")
    assert document is not None
    model, problems = document.validate(Strict)
    assert model is None
    assert [problem.slug for problem in problems] == ["type", "unknown-key"]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_bytes(b"\xef\xbb\xbf[node]\r\nname = 'x'\r\n\r\nnext = 1\r\n")
    document, problems = read(path)
    assert problems == []
    assert document is not None
    assert document.line(("node", "next")) == 4


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing, problems = read(tmp_path / "no.toml")
    assert missing is None
    assert str(problems[0]).endswith("no.toml: cannot be read: No such file or directory   [file]")
    deep, problems = read(tmp_path / "deep.toml", b"a = " + b"[" * 20_000)
    assert deep is None
    assert problems[0].slug == "toml"


def test_paths_are_as_short_as_they_open_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "config" / "a.toml") == "config/a.toml"
    assert shown_path(Path("config/a.toml")) == "config/a.toml"
    assert shown_path(Path("/etc/postlane/a.toml")) == "/etc/postlane/a.toml"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (TEXT, [3, 10]),
        ('x = """\n[[rule]]\n"""\n[[rule]]\nname = "a"\n', [4]),
        ('["rule"]]\n'.replace("[", "[[", 1) + 'name = "a"\n[[rule]]\nname = "b"\n', [1, 3]),
        ("[[rule]]\r\nname = 'a'\r\n\r\n[[ rule ]]\r\nname = 'b'\r\n", [1, 4]),
        ("rule = [\n{ name = 'a' },\n{ name = 'b' },\n]\n", [2, 3]),
    ],
    ids=["indented", "within a text", "quoted", "Windows", "in braces"],
)
def test_where_rules_stand(tmp_path: Path, text: str, lines: list[int]) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(text.encode())
    document, _ = read(path)
    assert document is not None
    found = [document.line(("rule", number)) for number in range(len(lines))]
    assert found == lines
    assert [document.text.count("\n", 0, document.places["rule", number]) + 1 for number in range(len(lines))] == lines
