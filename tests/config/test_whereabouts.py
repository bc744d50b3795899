"""A command finds its node, and a start its data, whatever has become of config/."""

from pathlib import Path

import pytest

from relay.config import load_deployment
from relay.config.whereabouts import Whereabouts, whereabouts

REST = 'hostname = "mx.arava.example"\n[[listener]]\nbind = "127.0.0.1:2525"\n'


def write(folder: Path, text: str) -> Path:
    config = folder / "config"
    config.mkdir(exist_ok=True)
    (config / "postlane.toml").write_text(text)
    return config


@pytest.mark.parametrize("said", ["", 'name = "mx-a"\ndata_dir = "/srv/mail"\ntimezone = "Europe/Berlin"\n'])
def test_the_same_as_the_whole_file_says(tmp_path: Path, said: str) -> None:
    config = write(tmp_path, f"[node]   # this machine\n{said}{REST}")
    node = load_deployment(config, {}).node
    assert whereabouts(config) == Whereabouts(node.name, node.data_dir, node.timezone)


@pytest.mark.parametrize("trouble", ["[delivery\n", "[delivery]\nmode = live\n", "[[listener]]\nbimd = 1\n", "x"])
def test_what_is_broken_elsewhere_does_not_matter(tmp_path: Path, trouble: str) -> None:
    config = write(tmp_path, f'[ node ]\nname = "mx-a"\ndata_dir = "spool here"  # a space\n{REST}{trouble}')
    assert whereabouts(config) == Whereabouts("mx-a", tmp_path / "spool here", "UTC")


def test_a_line_that_makes_no_sense_has_its_default(tmp_path: Path) -> None:
    config = write(tmp_path, '[node]\nname = "mx-a\ndata_dir = 7\ntimezone = "Berlin"\nhostname = "mx.arava.example"\n')
    assert whereabouts(config) == Whereabouts("relay-1", tmp_path / "data", "UTC")


def test_the_same_key_of_another_table_is_another_key(tmp_path: Path) -> None:
    config = write(tmp_path, f'[other]\nname = "x"\n[node]\nname = "mx-a"\n{REST}[x.y]\nname = "y"\n')
    assert whereabouts(config).name == "mx-a"


@pytest.mark.parametrize(
    "text", ['node.name = "mx-a"\nnode.data_dir = "d"\nx = 1\n', 'node = { name = "mx-a", data_dir = "d" }\n']
)
def test_toml_has_more_than_one_way_to_say_it(tmp_path: Path, text: str) -> None:
    assert whereabouts(write(tmp_path, text)) == Whereabouts("mx-a", tmp_path / "d", "UTC")
    assert whereabouts(write(tmp_path, "node = 3\n")).name == "relay-1"


def test_without_the_file_it_is_the_default_place(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    assert whereabouts(tmp_path / "config") == Whereabouts("relay-1", tmp_path / "data", "UTC")


def test_events_of_other_nodes_stand_behind_its_own(tmp_path: Path) -> None:
    said = '[web]\nevents = ["relay-2/events", "/srv/relay-3/events", 3]\n'
    found = whereabouts(write(tmp_path, f'[node]\nname = "mx-a"\n{said}'))
    assert found.events == (tmp_path / "data/events", tmp_path / "relay-2/events", Path("/srv/relay-3/events"))
