"""The evidence of live mail: bulkness counted by skeleton and credential."""

from relay.config.evidence import load_model
from relay.header import split
from relay.policy.evidence.classify import classify
from relay.policy.evidence.judge import HALF_LIFE, Bulk, Judge
from relay.policy.letter import Letter


def test_copies_add_up_and_fade() -> None:
    bulk = Bulk()
    assert bulk.add("crm", "a", 40, 0) == 40
    assert bulk.add("crm", "a", 40, 0) == 80
    assert bulk.add("crm", "b", 1, 0) == 1
    assert bulk.add("shop", "a", 1, 0) == 1
    assert bulk.add("crm", "a", 1, HALF_LIFE) == 41


def test_only_so_many_are_remembered_the_latest() -> None:
    bulk = Bulk(room=2)
    for template in ("a", "b", "a", "c"):
        bulk.add("crm", template, 10, 0)
    assert bulk.add("crm", "a", 1, 0) == 21
    assert bulk.add("crm", "b", 1, 0) == 1
    assert repr(bulk) == "<Bulk skeletons=2>"


def test_the_judge_says_what_classify_says_and_notices_a_mailing() -> None:
    judge = Judge(load_model)
    content = b"Subject: Weekend\r\nTo: a@b.example\r\n\r\nSee you on Sunday"
    fields, rest = split(content)
    letter = Letter(fields, content, rest, domains=["b.example"])
    assert judge(letter, "crm", 0) == classify(content, fields, rest, 1, 1, load_model())
    for _ in range(60):
        evidence = judge(letter, "crm", 0)
    assert "many-alike" in {one[0] for one in evidence.shown}
    assert "skeletons=1" in repr(judge)


def test_recipients_that_nobody_judged_are_counted_too() -> None:
    judge = Judge(load_model)
    letter = Letter([], b"\r\nSee you on Sunday", 0, domains=["b.example"])
    assert "many-alike" not in {one[0] for one in judge(letter, "crm", 0, 30).shown}
    assert "many-alike" in {one[0] for one in judge(letter, "crm", 0, 30).shown}
