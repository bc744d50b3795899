"""What is kept of captured mail: bounded, found by id, and whole after a restart."""

from pathlib import Path

import pytest

from relay.header import split
from relay.web.captures import Captures, message_id

IDS = ["01kaj2m8q4x7ab00", "01kaj2m8q4x7ab01", "01kaj2m8q4x7ab02"]


def message(identifier: str, size: int = 0) -> bytes:
    return f"Received: from a by b with ESMTP id {identifier}; date\r\n\r\n".encode() + b"x" * size


def keep(captures: Captures, identifier: str, now: int = 1_000, size: int = 0) -> str:
    return captures.add("a@x", ["b@y"], ["SIZE=1"], message(identifier, size), now).name


def test_a_restart_finds_what_was_kept(tmp_path: Path) -> None:
    name = keep(Captures(tmp_path), IDS[0])
    again = Captures(tmp_path)
    assert repr(again) == f"<Captures 1 of 1000, {len(message(IDS[0]))} of 200000000 octets>"
    (capture,) = again.of_message(IDS[0])
    assert (capture.name, capture.sender, capture.recipients, capture.options) == (name, "a@x", ("b@y",), ("SIZE=1",))
    assert again.get(name) == capture
    assert again.content(capture) == message(IDS[0])


@pytest.mark.parametrize("bounds", [{"max_count": 2}, {"max_bytes": 2_500}])
def test_the_oldest_go_when_a_bound_is_reached(tmp_path: Path, bounds: dict[str, int]) -> None:
    captures = Captures(tmp_path, **bounds)
    for now, identifier in enumerate(IDS):
        keep(captures, identifier, now, size=1_000)
    assert [bool(captures.of_message(i)) for i in IDS] == [False, True, True]
    assert len(list(tmp_path.iterdir())) == 4


def test_bounds_hold_at_start_too(tmp_path: Path) -> None:
    captures = Captures(tmp_path)
    for now, identifier in enumerate(IDS):
        keep(captures, identifier, now)
    again = Captures(tmp_path, max_count=1)
    assert [bool(again.of_message(i)) for i in IDS] == [False, False, True]


def test_half_written_pairs_are_removed_and_strange_files_left_alone(tmp_path: Path) -> None:
    name = keep(Captures(tmp_path), IDS[0])
    (tmp_path / "0000000000001-000001.eml").write_bytes(b"half")
    (tmp_path / "0000000000002-000001.new").write_bytes(b"half")
    (tmp_path / "0000000000003-000001.json").write_bytes(b"no json")
    (tmp_path / "notes.txt").write_bytes(b"mine")
    captures = Captures(tmp_path)
    assert captures.get(name) is not None
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "0000000000003-000001.json",
        f"{name}.eml",
        f"{name}.json",
        "notes.txt",
    ]


def test_two_messages_of_one_millisecond_are_two(tmp_path: Path) -> None:
    captures = Captures(tmp_path)
    assert keep(captures, IDS[0]) != keep(captures, IDS[0])
    assert len(captures.of_message(IDS[0])) == 2


def test_a_captured_message_that_has_gone_is_none(tmp_path: Path) -> None:
    captures = Captures(tmp_path)
    name = keep(captures, IDS[0])
    capture = captures.get(name)
    assert capture is not None
    (tmp_path / f"{name}.eml").unlink()
    assert captures.content(capture) is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"Received: by r with ESMTP id {IDS[0]};\r\nReceived: by s with ESMTP id {IDS[1]};\r\n", IDS[0]),
        (f"Received: from x\r\n\tby y id {IDS[2]}; date\r\n", IDS[2]),
        ("Received: by y id 4XkQm21Zz; date\r\n", ""),
        ("Received: by y id 01kaj2m8q4x7abil; date\r\n", ""),  # i and l are no Crockford digits
        ("Subject: id 01kaj2m8q4x7ab00\r\n", ""),
    ],
)
def test_the_topmost_received_names_the_message(header: str, expected: str) -> None:
    assert message_id(split(header.encode() + b"\r\n")[0]) == expected


def test_mail_of_strangers_belongs_to_no_message(tmp_path: Path) -> None:
    captures = Captures(tmp_path)
    captures.add("a@x", ["b@y"], [], b"Subject: x\r\n\r\n", 1)
    assert captures.of_message("") == []
