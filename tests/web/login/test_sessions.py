from dataclasses import replace
from pathlib import Path

import pytest

from relay.users import User
from relay.web.login.sessions import LASTS, OF_ONE, Sessions

NOA = User("noa", "operator", (), "hash", 1)
USERS = {"noa": NOA}


def test_a_session_outlives_the_process_and_its_token_is_not_kept(tmp_path: Path) -> None:
    token = Sessions(tmp_path).begin(NOA, 1000)
    again = Sessions(tmp_path)
    assert again.find(token, USERS, 1000) == NOA
    file = tmp_path / "sessions.json"
    assert token not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    for wrong in ("", "x", token[:-1], token + "x"):
        assert again.find(wrong, USERS, 1000) is None


def test_how_a_session_ends(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    token = sessions.begin(NOA, 0)
    assert sessions.find(token, USERS, LASTS - 1) == NOA
    assert sessions.find(token, USERS, LASTS) is None
    assert sessions.find(token, USERS, -1) is None, "a clock set back makes none longer"
    assert sessions.find(token, {}, 1) is None, "the user was removed"
    assert sessions.find(token, {"noa": replace(NOA, password="new")}, 1) is None
    viewer = replace(NOA, role="viewer")
    assert sessions.find(token, {"noa": viewer}, 1) == viewer, "a new role counts at once"
    sessions.end("another")
    assert sessions.find(token, USERS, 1) == NOA
    sessions.end(token)
    assert sessions.find(token, USERS, 1) is None
    assert Sessions(tmp_path).find(token, USERS, 1) is None


def test_sessions_do_not_pile_up(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    tokens = [sessions.begin(NOA, at) for at in range(OF_ONE + 5)]
    alive = [token for token in tokens if sessions.find(token, USERS, 100)]
    assert alive == tokens[5:]
    sessions.begin(NOA, 2 * LASTS)
    assert repr(sessions) == "<Sessions 1>"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"key": "x", "sessions": {}}', '{"key": 5, "sessions": {}}'])
def test_a_file_that_makes_no_sense_logs_everybody_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "sessions.json").write_text(text)
    sessions = Sessions(tmp_path)
    assert sessions.find("x", USERS, 0) is None
    assert sessions.find(sessions.begin(NOA, 0), USERS, 0) == NOA


def test_a_form_fits_who_it_was_shown_to(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    form = sessions.form("one")
    assert sessions.form_fits(form, "one")
    for said, of in ((form, "two"), (form, ""), ("", "one"), ("ü", "one"), (sessions.form(""), "")):
        assert not sessions.form_fits(said, of)
    assert not Sessions(tmp_path / "other").form_fits(form, "one"), "each node has a key of its own"


def test_a_browser_that_knew_the_password(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    cookie = sessions.browser(NOA)
    assert sessions.known_browser(cookie, NOA).startswith("noa ")
    dan = replace(NOA, name="dan")
    for said, user in ((cookie, None), (cookie, dan), (cookie, replace(NOA, password="new")), (cookie + "0", NOA)):
        assert sessions.known_browser(said, user) == ""
    for said in ("", ".", "x", "x.y", "ü.ü", cookie.partition(".")[2]):
        assert sessions.known_browser(said, NOA) == ""


def test_an_address_is_sealed_and_only_ours_is_opened(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    sealed = sessions.seal("dana@gmail.com")
    assert "dana" not in sealed
    assert sealed == sessions.seal("dana@gmail.com"), "the same page has the same address"
    assert sessions.open(sealed) == "dana@gmail.com"
    for wrong in ("", "x", "ü", sealed[:-2], "A" + sealed, "%%%", sealed.swapcase()):
        assert sessions.open(wrong) == ""
    assert Sessions(tmp_path / "other").open(sealed) == ""
