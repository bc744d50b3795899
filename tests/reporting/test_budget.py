"""How much of its caps a segment has used, and whose mail it was."""

import itertools
from pathlib import Path

import pytest

from relay.config.units import rate
from relay.message import MailClass
from relay.policy.caps import Cap, Caps
from relay.recipient import normalised
from relay.reporting import Reader, sql
from relay.reporting.budget import Allowance, Share, allowances, budget
from relay.reporting.database import opened
from relay.reporting.question import ask
from tests.support.event_folder import DAY, HOUR, NOON, EventFolder

MARKETING = frozenset({MailClass.MARKETING})
CAPS = Caps(
    [
        Cap("arava", frozenset({"arava"}), MARKETING, MARKETING, (rate("2/week"), rate("3/7d")), "postpone"),
        Cap("marom", frozenset({"marom"}), MARKETING, MARKETING, (rate("1/day"),), "drop"),
    ],
    {"arava": "Asia/Jerusalem", "marom": "UTC"},
)
SUNDAY = NOON - 5 * DAY - 14 * HOUR  # Monday the 16th, 00:00 in Jerusalem


@pytest.fixture(params=["lines", "columns"])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Reader:
    folder = EventFolder(tmp_path)
    for who, credential, many in (("dana", "crm", 2), ("dana", "club", 1), ("noa", "club", 1), ("tal", "shop", 1)):
        brand = "marom" if credential == "shop" else "arava"
        folder.add("delivered", NOON - DAY, many, recipient=f"{who}@gmail.com", credential=credential, brand=brand)
    folder.add("delivered", NOON - 6 * DAY, 1, recipient="noa@gmail.com")
    folder.add("delivered", NOON - HOUR, 1, recipient="Noa@gmail.com", **{"class": "transactional"})
    folder.add("bounced", NOON - HOUR, 1, recipient="noa@gmail.com")
    if request.param == "columns":
        folder.archive()
    return Reader([tmp_path])


def test_each_limit_of_a_cap_has_its_window() -> None:
    found = allowances(CAPS, NOON)
    assert [(one.cap, one.limit, one.places, one.since) for one in found] == [
        ("arava", "2/week", 2, SUNDAY),
        ("arava", "3/7d", 3, NOON - 7 * DAY),
        ("marom", "1/day", 1, NOON - 12 * HOUR),
    ]
    assert [one.cap for one in allowances(CAPS, NOON, ["marom"])] == ["marom"]


def test_a_segment_is_whoever_got_mail_that_fits(reader: Reader) -> None:
    everybody = ask("summary", NOON - 7 * DAY, NOON)
    week, sliding, marom = reader.budgets(allowances(CAPS, NOON), everybody)
    assert (week.people, week.used, week.full) == (3, {0: 1, 1: 1, 2: 1}, 1)
    assert week.shares == [Share("club", "news", 2, 2), Share("crm", "news", 2, 1)]
    assert week.sends == 4
    assert sliding.used == {0: 1, 1: 0, 2: 1, 3: 1}
    assert marom.used == {0: 3, 1: 0}, "of today"
    (club,) = reader.budgets(
        allowances(CAPS, NOON, ["arava"])[:1], ask("summary", NOON - DAY, NOON, where={"credential": ["shop"]})
    )
    assert (club.used, list(club.shares)) == ({0: 1, 1: 0, 2: 0}, [])


def test_a_list_of_people_has_those_too_who_got_nothing(reader: Reader) -> None:
    question = ask("summary", NOON - DAY, NOON)
    people = ["DANA@gmail.com", "dana@gmail.com", "new@gmail.com"]
    (week,) = reader.budgets(allowances(CAPS, NOON)[:1], question, people)
    assert week.used == {0: 1, 1: 0, 2: 1}
    assert [(one.credential, one.sends) for one in week.shares] == [("crm", 2), ("club", 1)]


def test_one_person_is_one_however_his_address_is_written(tmp_path: Path) -> None:
    folder = EventFolder(tmp_path)
    for written in ("Dana.L@gmail.com", "danal+news@googlemail.com", "noa+a@b.example", "noa+b@b.example"):
        folder.add("delivered", NOON - HOUR, 1, recipient=written)
    question = ask("summary", NOON - DAY, NOON)
    (week,) = Reader([tmp_path]).budgets(allowances(CAPS, NOON)[:1], question)
    assert week.used == {0: 0, 1: 2, 2: 1}, "Gmail ignores dots and tags, of others nobody knows"
    (listed,) = Reader([tmp_path]).budgets(allowances(CAPS, NOON)[:1], question, ["d.a.n.a.l@gmail.com"])
    assert (listed.used, listed.shares) == ({0: 0, 1: 0, 2: 1}, [Share("crm", "news", 2, 1)])


def test_the_spelling_of_plain_addresses_is_that_of_live_mail() -> None:
    locals_ = ["".join(signs) for signs in itertools.product("aZ0.+-_", repeat=3)]
    domains = ("gmail.com", "GoogleMail.com", "proton.me", "outlook.com", "b.example", "sub.gmail.com")
    written = [f"{local}@{domain}" for local in locals_ for domain in domains]
    query = sql.people("SELECT written, written AS recipient FROM (SELECT unnest(?::VARCHAR[]) AS written)")
    with opened("64MB", 1) as database:
        found = dict(database.execute(query, [written]).fetchall())
    assert found == {one: normalised(one) for one in written}


def test_without_events_nobody_used_anything(tmp_path: Path) -> None:
    reader, question = Reader([tmp_path]), ask("summary", NOON - DAY, NOON)
    (week,) = reader.budgets(allowances(CAPS, NOON)[:1], question, ["a@b.example"])
    assert (week.used, week.sends, week.full) == ({0: 1, 1: 0, 2: 0}, 0, 0)
    assert reader.budgets(allowances(CAPS, NOON)[:1], question)[0].people == 0


def test_who_got_more_than_the_limit_has_it_full() -> None:
    limit = Allowance("arava", "2/week", 2, 0, frozenset(), frozenset())
    assert budget(limit, {1: 5, 2: 3, 9: 4}, (), 20).used == {0: 8, 1: 5, 2: 7}
