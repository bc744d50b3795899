import csv
import io

import pytest
from starlette.datastructures import QueryParams

from relay.reporting import Answer, Figures, Row
from relay.web.desk import glance
from relay.web.desk.asked import DAY, Asked, asked
from relay.web.desk.reports import question
from relay.web.desk.tables import as_csv, table
from relay.web.login.visitor import Visitor
from tests.support.event_folder import NOON


def about(query: str = "", report: str = "bounces") -> Asked:
    return asked(report, QueryParams(query), Visitor("noa", "operator"), NOON)


def figures(bounced: int, ended: int = 1000) -> Figures:
    return Figures({"bounced": bounced, "ended": ended, "delivered": ended - bounced, "accepted": ended})


def answer(*rows: Row, of: Asked | None = None, others: Row | None = None) -> Answer:
    of = of or about()
    total = Row((), figures(sum(row.now["bounced"] for row in rows)), figures(70, 7000))
    return Answer(question(of, "UTC", [of.by]), list(rows), total, others, groups=len(rows), span=7 * DAY)


def test_a_row_leads_to_what_is_within_it_and_to_its_messages() -> None:
    found = table(answer(Row(("quota",), figures(40), figures(35, 7000))), about())
    (line,) = found.lines
    assert (line.name, found.head, found.heads) == ("quota", "Category", ("Bounced", "Bounce share"))
    assert line.drill == "/report/bounces?span=24h&category=quota&by=stream"
    assert line.messages == "/found?span=24h&by=category&report=bounces&category=quota"
    assert [(cell.text, cell.usual) for cell in line.cells] == [("40", "5"), ("4.0 %", "0.50 %")]
    assert found.total.messages


@pytest.mark.parametrize(
    ("bounced", "usual", "jumps"), [(40, 35, True), (19, 35, False), (40, 300, False), (40, 0, True)]
)
def test_far_above_the_usual_is_marked_where_it_is_of_enough_mail(bounced: int, usual: int, jumps: bool) -> None:
    (line,) = table(answer(Row(("quota",), figures(bounced), figures(usual, 7000))), about()).lines
    assert [cell.jump for cell in line.cells] == [False, jumps]


def test_what_is_usual_is_unknown_without_days_before() -> None:
    (line,) = table(answer(Row(("quota",), figures(40))), about()).lines
    assert [(cell.usual, cell.jump) for cell in line.cells] == [("", False)] * 2


def test_the_longest_bar_is_of_the_largest_count() -> None:
    rows = [Row((name,), figures(count)) for name, count in (("a", 200), ("b", 50), ("c", 0))]
    assert [line.cells[0].bar for line in table(answer(*rows), about()).lines] == [100, 25, 0]
    assert [line.cells[1].bar for line in table(answer(*rows), about()).lines] == [0, 0, 0]


def test_rows_without_a_name_lead_nowhere() -> None:
    others = Row((), figures(5))
    found = table(answer(Row((None,), figures(40)), others=others), about("by=campaign"))
    assert (found.lines[0].name, found.lines[0].drill, found.lines[0].messages) == ("(none)", "", "")
    assert found.others is not None
    assert (found.others.name, found.others.drill) == ("all others", "")


def test_names_as_people_say_them() -> None:
    assert table(answer(Row(("google",), figures(1))), about("by=site")).head == "Provider"


def test_a_spreadsheet_sees_no_formula_and_no_lost_quotes() -> None:
    hostile = ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "\t=1", 'a "b", c\r\nd', "plain", -3, 0.5, None, True]
    text = as_csv(["a"] * len(hostile), [hostile], masked=False)
    _, row = csv.reader(io.StringIO(text, newline=""))
    assert row == [
        "'=cmd|' /C calc'!A0",
        "'+1",
        "'-1",
        "'@x",
        "'\t=1",
        'a "b", c\r\nd',
        "plain",
        "-3",
        "0.5",
        "",
        "True",
    ]


def test_addresses_in_a_viewers_file_are_masked() -> None:
    text = as_csv(["said"], [["550 dana.levi@gmail.com is unknown"]], masked=True)
    assert "dana" not in text
    assert "d***@gmail.com" in text


def test_cards_of_today_have_what_is_usual_beside_them() -> None:
    summary = Answer(
        question(about(report="summary"), "UTC", ["class"]),
        [],
        Row((), Figures({**figures(40).counts, "complained": 2}), figures(35, 7000)),
        span=7 * DAY,
    )
    cards = {card.name: card for card in glance.cards(summary, about("site=google", "summary"))}
    assert list(cards) == ["Accepted", "Delivered", "Bounced", "Complaints", "Deferred", "Withheld"]
    bounced = cards["Bounced"]
    assert (bounced.count, bounced.share, bounced.usual, bounced.jump) == ("40", "4.0 %", "0.50 %", True)
    assert bounced.address == "/report/bounces?span=24h&site=google"
    assert (cards["Accepted"].count, cards["Accepted"].share, cards["Accepted"].usual) == ("1,000", "", "1,000")
    assert not cards["Complaints"].jump, "two are too few to say anything"
