"""What the running node says of a message's recipients, as explain shows it."""

from pathlib import Path
from typing import Any

import pytest

from relay.cli import explain_people
from relay.cli.explain_people import Knowing, words
from relay.control import NodeDown
from relay.message import MailClass


def weighed() -> Any:
    decision: Any = type("Said", (), {"brand": "a", "stream": "s", "valid_until": None})
    return type("Weighed", (), {"decision": decision, "mail_class": MailClass.MARKETING, "contradiction": None})


def test_the_node_is_asked_of_all_and_one_that_is_down_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    answers: list[Any] = [{"stands": [None, {"decision": "withhold"}]}, NodeDown("gone")]

    def request(_: Path, question: Any, **__: Any) -> Any:
        asked.append(question)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(explain_people, "request", request)
    knowing = Knowing(tmp_path)
    assert knowing.stands(["a@b.example", "c@b.example"], weighed()) == {"c@b.example": {"decision": "withhold"}}
    assert (asked[0]["class"], asked[0]["brand"]) == ("marketing", "a")
    for _ in range(2):
        assert knowing.stands(["a@b.example"], weighed()) == {}
    assert len(asked) == 2
    assert Knowing().stands(["a@b.example"], weighed()) == {}


def test_what_a_person_can_undo_is_pointed_to() -> None:
    stands = {"reason": "unsubscribed", "detail": "marketing, one-click on 2026-11-03"}
    assert words("dana@b.example", stands) == (
        "unsubscribed: marketing, one-click on 2026-11-03; postlane recipient dana@b.example tells what undoes it"
    )
    assert words("dana@b.example", {"reason": "capped", "detail": "cap a: 1/day"}) == "capped: cap a: 1/day"
