"""Old events go, hour by hour; what is being written, and what is not ours, stays."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from relay.feedback import eventretention
from relay.feedback.eventlog import hour_of
from relay.feedback.eventretention import HOUR, expired, remove_expired

NOON = 1_763_726_400_000  # 2025-11-21T12:00:00Z
DAY = 24 * HOUR

FILES = [
    "2025-11-19T11.0.parquet",
    "2025-11-19T12.0.parquet",
    "2025-11-20T10.0.parquet",
    "2025-11-20T11.0.jsonl",
    "2025-11-20T11.1-2.damaged",
    "2025-11-20T11.0.partial",
    "2025-11-20T12.0.jsonl",
    "2025-11-21T11.0.jsonl",
    "2025-11-21T12.0.jsonl",
]
NOT_OURS = ["2025-11-19T11.0.open.jsonl", "2025-11-19T11.parquet", "old.parquet", "2025-11-19T11.0.parquet.bak", "x"]


@pytest.mark.parametrize(
    ("now", "keep", "gone"),
    [
        (NOON, DAY, 6),
        (NOON - 1, DAY, 3),
        (NOON, DAY + 1, 3),
        (NOON, 400 * DAY, 0),
        (NOON, 1_000_000 * DAY, 0),
        (NOON, 1, 7),
        (NOON + HOUR - 1, 1, 8),
        (NOON + HOUR, 0, 9),
        (NOON, -1, 0),
    ],
)
def test_what_is_old(now: int, keep: int, gone: int) -> None:
    assert expired([*reversed(FILES), *NOT_OURS], now, keep) == sorted(FILES[:gone])


@given(st.integers(0, 4 * 10**12), st.integers(0, 10**12), st.integers(0, 4 * 10**12))
def test_nothing_younger_than_asked_for_ever_goes(now: int, keep: int, written: int) -> None:
    """An event is in the file of the hour of its export."""
    gone = expired([f"{hour_of(written)}.0.parquet"], now, keep)
    if gone:
        assert written + keep < now
        assert hour_of(written) < hour_of(now)
    else:
        assert written + keep > now - HOUR


def test_they_are_removed_in_turns_with_a_word_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventretention, "MOST", 4)
    for name in FILES + NOT_OURS:
        (tmp_path / name).write_text("{}\n")
    with capture_logs() as logs:
        assert [remove_expired(tmp_path, NOON, DAY) for _ in range(3)] == [4, 2, 0]
    assert [(line["event"], line["files"], line["last"]) for line in logs] == [
        ("old events removed", 4, "2025-11-20T11.0.jsonl"),
        ("old events removed", 2, "2025-11-20T11.1-2.damaged"),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES[6:] + NOT_OURS)


def test_no_folder_no_work(tmp_path: Path) -> None:
    assert remove_expired(tmp_path / "events", NOON, DAY) == 0
