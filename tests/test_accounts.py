"""In whose mail it mostly is."""

from pathlib import Path

from relay.accounts import Accounts, Beside, mostly
from relay.policy.badhour import BadHour
from relay.policy.feedback_id import FeedbackIds
from relay.policy.tallies import HOUR, QUARTER, Sheet
from relay.state.sqlite import SqliteState
from relay.tally import Kind, Tally
from relay.tallying import HOURS, board
from tests.support.clocks import Clock


def test_what_has_half_of_all_is_named() -> None:
    parts = {
        ("campaign", "may"): 40.0,
        ("campaign", ""): 1.0,
        ("credential", "crm"): 41.0,
        ("site", "google"): 20.0,
        ("site", "yahoo"): 20.0,
        ("site", "gmx"): 1.0,
    }
    assert mostly(parts) == "mostly campaign may (40 of 41), credential crm (41 of 41)"
    assert mostly({}) == mostly({("site", "x"): 0.0}) == mostly({("campaign", ""): 5.0}) == ""


async def test_what_a_site_said_in_its_bad_hour_blames_nobody(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db", Clock())
    await state.open()
    sheet, hour = Sheet("news"), state.now() // HOUR
    begin = hour * HOUR
    bad = begin + 2 * QUARTER
    for at, campaign in ((begin, "may"), (bad, "june"), (bad + QUARTER, "june")):
        sheet.add(Tally(Kind.HARD, "news", False, "crm", "a", campaign, "b.example", at))
    await state.pin(HOURS, str(hour), "")
    await state.pin(board(hour), "n/0 news", sheet.dump())
    beside = Beside({"b.example": BadHour("b.example", bad, 0.9, 2, 0.01, bad)}, {}, FeedbackIds())
    accounts = Accounts(state)
    await accounts.hours(beside, begin, begin, 0)
    said = await accounts.whose(("news", False), "hard_bounces", beside, begin, begin)
    assert said == "mostly campaign may (1 of 1), credential crm (1 of 1), site b.example (1 of 1)"
    await state.close()
