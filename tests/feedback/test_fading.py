"""What goes from recorded events, and when; what reports count stays."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.feedback.eventlog import hour_of
from relay.feedback.fading import ADDRESSES, HOUR, SUBJECTS, TRANSCRIPTS, due, faded

NOON = 1_763_726_400_000  # 2025-11-21T12:00:00Z
DAY = 24 * HOUR
KEEP = {SUBJECTS: 2 * DAY, TRANSCRIPTS: DAY, ADDRESSES: 30 * DAY}
FILES = [
    "2025-11-21T11.0.parquet",
    "2025-11-20T11.0.jsonl",
    "2025-11-20T10.1-2.damaged",
    "2025-11-19T11.0.parquet",
    "2025-10-01T00.0.parquet",
]
NOT_OURS = ["2025-10-01T00.0.open.jsonl", "2025-10-01T00.0.partial", "2025-10-01T00.parquet", "removed.json", "x"]


def test_the_oldest_come_first_each_with_what_is_to_go() -> None:
    assert due([*FILES, *NOT_OURS], {}, NOON, KEEP) == [
        ("2025-10-01T00.0.parquet", frozenset({SUBJECTS, TRANSCRIPTS, ADDRESSES})),
        ("2025-11-19T11.0.parquet", frozenset({SUBJECTS, TRANSCRIPTS})),
        ("2025-11-20T10.1-2.damaged", frozenset({TRANSCRIPTS})),
        ("2025-11-20T11.0.jsonl", frozenset({TRANSCRIPTS})),
    ]
    assert due(FILES, {}, NOON - 1, KEEP)[-1] == ("2025-11-20T10.1-2.damaged", frozenset({TRANSCRIPTS}))


def test_what_is_done_is_not_done_again() -> None:
    done = {"2025-10-01T00.0.parquet": [SUBJECTS, ADDRESSES], "2025-11-19T11.0.parquet": [SUBJECTS, TRANSCRIPTS]}
    assert due(FILES[3:], done, NOON, KEEP) == [("2025-10-01T00.0.parquet", frozenset({TRANSCRIPTS}))]


@pytest.mark.parametrize(("now", "files"), [(NOON, 1), (NOON - 1, 0)])
def test_nothing_at_all_kept_means_until_the_hour_is_over(now: int, files: int) -> None:
    assert len(due(["2025-11-21T11.0.parquet"], {}, now, {ADDRESSES: 0})) == files


@given(st.integers(0, 4 * 10**12), st.integers(0, 10**12), st.integers(0, 4 * 10**12))
def test_nothing_younger_than_is_kept_ever_goes(now: int, keep: int, written: int) -> None:
    if due([f"{hour_of(written)}.0.parquet"], {}, now, {SUBJECTS: keep}):
        assert written + keep < now
    else:
        assert written + keep > now - HOUR


EVENT: dict[str, Any] = {
    "type": "bounced",
    "subject": "Hi Dana",
    "headers": {"subject": ["Hi Dana"], "x-app": ["1"]},
    "transcript": ["RCPT TO:<dana@gmail.com>"],
    "recipient": "dana@gmail.com",
    "domain": "gmail.com",
    "reply": {"code": 550, "text": "no dana@gmail.com here"},
    "metadata": {"subject": "sold"},
}


def key(address: str) -> bytes:
    return address[:1].encode() * 16


def test_subjects_go_from_the_headers_too() -> None:
    assert faded(EVENT, frozenset({SUBJECTS}), key) == {
        **{name: value for name, value in EVENT.items() if name != "subject"},
        "headers": {"x-app": ["1"]},
    }
    assert EVENT["headers"] == {"subject": ["Hi Dana"], "x-app": ["1"]}, "what was read stays as it is"


def test_transcripts_go() -> None:
    gone = faded(EVENT, frozenset({TRANSCRIPTS}), key)
    assert gone == {name: value for name, value in EVENT.items() if name != "transcript"}
    assert faded(gone, frozenset({TRANSCRIPTS, SUBJECTS}), key) == faded(gone, frozenset({SUBJECTS}), key)


def test_addresses_go_wherever_they_stand() -> None:
    gone = faded(EVENT, frozenset({ADDRESSES}), key)
    assert gone["recipient"] == "~" + "64" * 16 + "@gmail.com"
    assert gone["domain"] == "gmail.com"
    assert "dana@" not in str(gone)
    assert gone["subject"] == "Hi Dana"


def test_all_of_it_at_once() -> None:
    gone = faded(EVENT, frozenset(KEEP), key)
    assert sorted(gone) == ["domain", "headers", "metadata", "recipient", "reply", "type"]
    assert faded(gone, frozenset(KEEP), key) == gone
