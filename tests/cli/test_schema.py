"""JSON Schema of every file, and that what ships points editors at what ships."""

import json
from pathlib import Path

import pytest

from relay.cli.main import main
from relay.config.json_schema import json_schemas

ROOT = Path(__file__).parents[2]


def test_what_ships_is_what_the_models_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--write", str(tmp_path / "new")]) == 0
    written = {path.name: path.read_text() for path in (tmp_path / "new").iterdir()}
    shipped = {path.name: path.read_text() for path in (ROOT / "schema").iterdir()}
    assert written == shipped, "write them anew: postlane schema --write schema"
    assert capsys.readouterr().out == f"{len(shipped)} files in {tmp_path / 'new'}\n"


@pytest.mark.parametrize("folder", ["config", "policies"])
def test_the_first_line_of_every_file_leads_to_its_schema(folder: str) -> None:
    for path in (ROOT / folder).glob("*.toml"):
        first, schema = path.read_text().partition("\n")[0], path.parent / f"../schema/{path.stem}.json"
        assert first == f"#:schema ../schema/{path.stem}.json"
        assert schema.exists()


def test_printed_it_is_one_object_or_one_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # no config/ is needed
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schemas()
    assert main(["schema", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["file"]: line["schema"] for line in lines} == {f"{n}.toml": s for n, s in json_schemas().items()}


def test_editors_are_asked_for_no_more_than_the_reader() -> None:
    schemas = json_schemas()
    assert "required" not in schemas["retry"]["$defs"]["RetryTable"]
    assert schemas["streams"]["$defs"]["StreamTable"]["required"] == ["name"]
    assert "class" in schemas["streams"]["$defs"]["StreamTable"]["properties"]
