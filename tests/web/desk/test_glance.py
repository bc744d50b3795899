from starlette.datastructures import QueryParams

from relay.reporting.findings import Finding
from relay.web.desk.asked import asked
from relay.web.desk.glance import MOST, needs
from relay.web.login.visitor import Visitor
from tests.support.event_folder import NOON

ABOUT = asked("summary", QueryParams("span=7d"), Visitor("noa", "operator"), NOON)
ALERT = {"name": "stalled", "severity": "critical", "summary": "google waits", "advice": "look"}
SUSPENDED = {"said": "stream news", "waiting": 5, "reason": "", "undo": "postlane resume --stream news"}


def finding(category: str, count: int, share: float = 0.5) -> Finding:
    return Finding(category, count, 100, share, 0.01, {"stream": "order", "site": "google"}, {})


def test_what_needs_a_person_worst_first_with_the_way_to_its_messages() -> None:
    found = needs([finding("reputation-block", 50), finding("quota", 900)], {"alerts": [ALERT]}, ABOUT)
    assert [todo.need.what.partition(",")[0] for todo in found] == ["stalled: google waits", "reputation-block"]
    assert found[0].address == ""
    assert found[1].address == "/found?span=7d&report=bounces&category=reputation-block&stream=order&site=google"


def test_a_fault_of_ours_is_told_once_with_the_way_to_its_messages() -> None:
    fault = {"name": "auth-failure", "severity": "critical", "what": {"stream": "order"}, "summary": "12", "advice": ""}
    (todo,) = needs([finding("auth-failure", 50)], {"alerts": [fault]}, ABOUT)
    assert todo.need.what == "auth-failure: 12"
    assert todo.address == "/found?span=7d&report=bounces&category=auth-failure&stream=order"


def test_suspensions_have_a_place_of_their_own() -> None:
    assert needs([], {"suspensions": [SUSPENDED]}, ABOUT) == []


def test_of_the_node_nothing_is_said_to_who_is_limited_and_the_list_is_short() -> None:
    assert needs([], None, ABOUT) == []
    many = [finding("spam-block", 50 + number) for number in range(3 * MOST)]
    found = needs(many, None, ABOUT)
    assert len(found) == MOST
    assert found[0].need.weight == 49 + 3 * MOST
