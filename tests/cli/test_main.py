import argparse
from importlib import import_module

import pytest

from relay.cli.main import COMMANDS, build_parser


def words_of(module: str) -> set[str]:
    subparsers = argparse.ArgumentParser().add_subparsers()
    import_module(f"relay.cli.{module}").add_parser(subparsers)
    return set(subparsers.choices)


@pytest.mark.parametrize("module", sorted(set(COMMANDS.values())))
def test_each_command_is_found_in_its_module(module: str) -> None:
    assert words_of(module) == {word for word, where in COMMANDS.items() if where == module}


def test_the_help_names_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        build_parser("--help").parse_args(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines() if line.startswith("    ") and line[4] != " "] == list(
        COMMANDS
    )


def test_an_unknown_command_is_answered_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        build_parser("sned").parse_args(["sned"])
    assert end.value.code == 2
    assert "send" in capsys.readouterr().err
