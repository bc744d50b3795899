"""Fields are found as they stand; nothing is repaired."""

from relay.header import Field, split


def test_fields_keep_folds_and_line_ends() -> None:
    fields, rest = split(b"A: b\r\n c\r\nSubject : x\r\n\r\nbody: no field\r\n")
    assert fields == [Field("a", b"A: b\r\n c\r\n"), Field("subject", b"Subject : x\r\n")]
    assert rest == len(b"A: b\r\n c\r\nSubject : x\r\n")
    assert fields[0].value == b"b c"


def test_lines_that_are_no_field_have_no_name() -> None:
    fields, _ = split(b"From sender Sat\r\n folded at once\r\nno colon\r\nA: b\r\n\r\n")
    assert [f.name for f in fields] == ["", "", "a"]


def test_a_header_without_body_and_a_body_without_header() -> None:
    assert split(b"A: b\r\n") == ([Field("a", b"A: b\r\n")], 6)
    assert split(b"\r\nbody\r\n") == ([], 0)
    assert split(b"") == ([Field("", b"\r\n")], 0)
