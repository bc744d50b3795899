"""When threads pay: a busy process beside an idle processor."""

from pathlib import Path

import pytest

from relay.spare import SparePower, spare


@pytest.mark.parametrize(
    ("before", "own", "idle", "pays"),
    [
        (False, 1.0, 0.4, True),  # one worker has all the work, the other processor has none
        (False, 1.0, 0.1, False),  # all are busy
        (True, 1.0, 0.1, True),  # threads took the idle time themselves: go on
        (True, 1.0, 0.01, False),
        (False, 0.3, 0.7, False),  # little to do: on the spot is soonest
        (True, 0.3, 0.7, False),
    ],
)
def test_spare(before: bool, own: float, idle: float, pays: bool) -> None:
    assert spare(before, own, idle) is pays


def test_looks_at_the_machine_four_times_a_second(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    now, used = 0.0, 0.0

    def write(idle: int, busy: int) -> None:
        stat.write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 ...\n")

    write(0, 0)
    power = SparePower(lambda: now, lambda: used, stat)
    assert not power()
    write(60, 40)
    now, used = 0.2, 0.2
    assert not power()  # too soon to look again
    now, used = 0.3, 0.3
    assert power()
    write(60, 140)
    now, used = 0.6, 0.6
    assert not power()


def test_a_machine_that_does_not_tell_has_none(tmp_path: Path) -> None:
    now = 0.0
    power = SparePower(lambda: now, lambda: now, tmp_path / "missing")
    now = 1.0
    assert not power()
