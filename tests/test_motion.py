"""What nodes tell each other about versions: which decision counts, who is asked, what a note may hold."""

from dataclasses import replace

import pytest

from relay.motion import COUNTED, FORGOTTEN, HEARD, MOST_OCTETS, STALE, Motion, Seat, dump, pack, table, unpack, vote

NOW = 1_800_000_000_000
SEAT = Seat("a", NOW, 2, "3f9a1c", "000000004-aa", "0.1.0")
MOTION = Motion("000000005-bb", "c41b08", "noa", "reload", "", "a", NOW, "3f9a1c", ("b", "c"))


def notes(*found: Seat | Motion, decided: bool = True, **more: str) -> dict[str, str]:
    kind = "decided" if decided else "asked"
    named = {f"node/{one.node}" if isinstance(one, Seat) else f"{kind}/{one.ballot}": dump(one) for one in found}
    return named | {name.replace("__", "/"): text for name, text in more.items()}


def test_notes_come_back_as_they_were() -> None:
    seen = table(notes(SEAT, MOTION) | {f"vote/{MOTION.ballot}/b": vote(["no"]), "wants/c": "c41b08"}, NOW, 2)
    assert seen.seats == {"a": SEAT}
    assert seen.decided == MOTION
    assert seen.votes == {(MOTION.ballot, "b"): ("no",)}
    assert seen.wants == {"c": "c41b08"}


def test_what_another_postlane_writes_is_read_as_far_as_it_goes() -> None:
    newer = dump(SEAT).replace("}", ',"mood":"fine"}')
    seen = table({"node/a": newer, "node/b": "{}", "decided/x": "[", "vote/x/b": "5", "poll/1": "?"}, NOW, 0)
    assert seen.seats == {"a": SEAT}
    assert seen.decided is None
    assert seen.votes == {}


def test_the_highest_ballot_counts_for_all() -> None:
    several = [
        replace(MOTION, ballot=ballot) for ballot in ("000000009-aa", "000000010-aa", "000000010-ab", "000000002-zz")
    ]
    decided = table(notes(*several), NOW, 0).decided
    assert decided is not None
    assert decided.ballot == "000000010-ab"
    assert table({}, NOW, 0).decided is None


def test_a_ballot_is_higher_than_all_that_are_known() -> None:
    assert table({}, NOW, 0).next_ballot("", "cc") == "000000001-cc"
    assert table(notes(MOTION), NOW, 0).next_ballot("", "cc") == "000000006-cc"
    assert table(notes(MOTION, decided=False), NOW, 0).next_ballot("", "cc") == "000000006-cc"
    assert table(notes(MOTION), NOW, 0).next_ballot("000000041-aa", "cc") == "000000042-cc"


def test_who_is_there() -> None:
    seats = [SEAT, replace(SEAT, node="b", at=NOW - HEARD), replace(SEAT, node="c", at=NOW - HEARD + 1)]
    seen = table(notes(*seats, replace(SEAT, node="d", ended=True)), NOW, 0)
    assert [seat.node for seat in seen.there("a")] == ["c"]
    assert [seat.node for seat in seen.away("a")] == ["b"]


def test_workers_of_nodes_that_do_not_take_part_are_strangers() -> None:
    gone = replace(SEAT, node="b", at=NOW - COUNTED + 1)
    drains = replace(SEAT, node="c", ended=True)
    found = notes(SEAT, gone, drains)
    assert table(found, NOW, 6).strangers() == 0
    assert table(found, NOW, 7).strangers() == 1
    assert table(found, NOW + 1, 6).strangers() == 2, "its workers do not count any more, so these are others"
    assert table(found, NOW, 0).strangers() == 0


def test_a_node_is_asked_once_and_not_about_what_is_over() -> None:
    asked = notes(MOTION, decided=False)
    assert table(asked, NOW, 0).awaited("b", "") == MOTION
    assert table(asked, NOW, 0).awaited("a", "") is None, "who asks is not asked"
    assert table(asked, NOW, 0).awaited("b", MOTION.ballot) is None
    assert table(asked, NOW + STALE, 0).awaited("b", "") is None
    assert table(asked | {f"vote/{MOTION.ballot}/b": "[]"}, NOW, 0).awaited("b", "") is None
    later = notes(replace(MOTION, ballot="000000006-aa"))
    assert table(asked | later, NOW, 0).awaited("b", "") is None
    newer = replace(MOTION, ballot="000000006-aa")
    assert table(asked | notes(newer, decided=False), NOW, 0).awaited("b", "") == newer


def test_litter_is_all_but_what_counts() -> None:
    old, gone = replace(MOTION, ballot="000000001-aa"), replace(SEAT, node="b", at=NOW - FORGOTTEN - 1)
    ended = replace(SEAT, node="c", at=NOW - COUNTED - 1, ended=True)
    found = notes(SEAT, gone, ended, MOTION, old, vote__x__b="[]", wants__b="c41b08") | notes(MOTION, decided=False)
    litter = set(table(found, NOW, 0).litter())
    assert litter == {"decided/000000001-aa", "vote/x/b", f"asked/{MOTION.ballot}", "node/b", "node/c"}


def test_files_travel_octet_by_octet() -> None:
    files = {"retry.toml": "# הודעה\r\n\ufeff".encode(), "caps.toml": b""}
    assert unpack(pack(files)) == files


def test_files_that_are_too_much_or_no_text_do_not() -> None:
    assert pack({"a.toml": b"x" * MOST_OCTETS})
    with pytest.raises(ValueError, match=r"2,000,001 octets, and nodes pass on 2,000,000"):
        pack({"a.toml": b"x" * MOST_OCTETS, "b.toml": b"x"})
    with pytest.raises(ValueError, match="utf-8"):
        pack({"a.toml": b"\xff"})


@pytest.mark.parametrize(
    "text", ["[]", '{"../x.toml": ""}', '{".x.toml": ""}', '{"a/b.toml": ""}', '{"x.py": ""}', '{"x.toml": 5}', "{"]
)
def test_files_that_would_lead_elsewhere_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no file of policies|files are a table|unexpected|expected"):
        unpack(text)
