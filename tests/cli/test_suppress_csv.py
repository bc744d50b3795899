"""Suppression lists as other systems write them."""

import io
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.cli.suppress_csv import COLUMNS, Row, read, write

DEFAULTS = {"stop": "marketing", "brand": "", "reason": "imported", "source": "old.csv"}


def rows(text: str, **defaults: Any) -> list[Row]:
    return list(read(io.StringIO(text, newline=""), {**DEFAULTS, **defaults}))


def test_addresses_alone_take_all_else_from_the_options() -> None:
    found = rows("dana@b.example\n\n noa@b.example \r\n")
    assert [row.entry["recipient"] for row in found] == ["dana@b.example", "noa@b.example"]
    assert [row.line for row in found] == [1, 3]
    assert all(row.entry == {**DEFAULTS, "recipient": row.entry["recipient"]} for row in found)


def test_columns_are_found_by_name_in_any_order_and_case() -> None:
    text = '\ufeffCreated_At,Ignored,E-Mail,Stop,Note\n2026-11-21,x,dana@b.example,topic:offers,"a, ""b"""\n,,noa@b.example\n'
    first, second = rows(text)
    assert first.entry == {
        **DEFAULTS, "recipient": "dana@b.example", "stop": "topic:offers", "since": 1_795_219_200_000, "note": 'a, "b"',
    }  # fmt: skip
    assert second.entry == {**DEFAULTS, "recipient": "noa@b.example"}


def test_what_is_wrong_with_a_line_is_said_and_the_next_one_is_read() -> None:
    text = "email,stop,until\nnobody,,\n@b.example,,\n,all,\ndana@b.example,,soon\nnoa@b.example,all,2026-11-21T12:00:00Z\n"
    found = rows(text)
    assert [row.fault for row in found] == [
        '"nobody" is no address',
        '"@b.example" is no address',
        "no address",
        'expires "soon" is no time such as 2026-11-21 or 2026-11-21T12:00:00Z',
        "",
    ]
    assert found[-1].entry["until"] == 1_795_262_400_000
    assert rows("dana@b.example\n", stop="")[0].fault == "nothing says what it stops"
    long = rows("x" * 3_000 + "@b.example\ndana@b.example\n")
    assert (bool(long[0].fault), long[-1].entry.get("recipient")) == (True, "dana@b.example")
    assert rows("") == []


def test_of_whom_the_key_alone_is_known_he_comes_back_by_it() -> None:
    (row,) = rows("key,recipient\n0123,\n")
    assert row.entry == {**DEFAULTS, "key": "0123"}


TEXTS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20).map(str.strip)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.fixed_dictionaries({"note": TEXTS, "source": TEXTS, "brand": TEXTS, "reason": TEXTS}), max_size=5))
def test_what_is_written_is_read_again(notes: list[dict[str, str]]) -> None:
    told = [
        {"recipient": f"d{n}@b.example", "key": "ab", "stop": "all", "since": "2026-11-21T12:00:00.000Z", **note}
        for n, note in enumerate(notes)
    ]
    file = io.StringIO(newline="")
    assert write(told, file) == len(told)
    file.seek(0)
    assert file.readline().strip().split(",") == list(COLUMNS)
    file.seek(0)
    found = list(read(file, {}))
    assert [row.fault for row in found] == [""] * len(told)
    for row, one in zip(found, told, strict=True):
        assert row.entry.get("since") == 1_795_262_400_000
        assert {name: row.entry.get(name, "") for name in ("note", "source", "brand", "reason")} == {
            name: one[name].lstrip("\ufeff") for name in ("note", "source", "brand", "reason")
        }
        assert "key" not in row.entry, "it is for those of whom there is no address"


def test_times_before_all_mail_are_none_and_the_last_day_means_never() -> None:
    for text in ("0001-01-01T00:00:00+23:59", "1969-12-31", "0000-00-00"):
        (row,) = rows(f"email,since\ndana@b.example,{text}\n")
        assert "is no time" in row.fault
    for text in ("9999-12-31", "9999-12-31T23:59:59-12:00"):
        (row,) = rows(f"email,expires\ndana@b.example,{text}\n")
        assert "until" not in row.entry
