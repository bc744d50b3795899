"""The tables of codes."""

import re

from relay.feedback.codes import BASIC, COMMANDS, FIRM, SUBJECTS, WEAK


def test_keys_are_subject_and_detail_or_code_and_command() -> None:
    assert all(re.fullmatch(r"\d\.\d{1,3}", detail) for detail in (*FIRM, *WEAK))
    assert all(re.fullmatch(r"\d", subject) for subject in SUBJECTS)
    assert all(400 <= code < 600 for code, _ in BASIC)
    assert not set(COMMANDS) & {"RCPT", "END"}  # what fails there has many causes


def test_a_bare_550_to_rcpt_condemns_nobody() -> None:
    assert (550, "RCPT") not in BASIC
    assert (550, "") not in BASIC
