"""The admin's word on what replies mean."""

import pytest

from relay.feedback.replies import diagnose
from relay.feedback.rulings import NO_RULINGS, Ruling, Rulings
from relay.feedback.taxonomy import Category
from relay.outcome import Reply
from relay.policy.patterns import Matcher, parse

PATTERNS = [parse(r"re:mailbox (is )?dormant"), parse("closed", words=True)]
RULES = Rulings(
    [
        Ruling(Category.INACTIVE_MAILBOX, "b:1", sites={"walla"}, texts=frozenset({0})),
        Ruling(Category.POLICY_BLOCK, "b:2", codes=frozenset({"554", "5.7.9"}), commands=frozenset({"END"})),
        Ruling(Category.BAD_MAILBOX, "b:3", texts=frozenset({1})),
    ],
    Matcher(PATTERNS).matches,
)


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "command", "site", "place"),
    [
        (550, "", "Mailbox is DORMANT", "RCPT", "walla", "b:1"),
        (550, "", "mailbox is dormant", "RCPT", "google", None),
        (550, "", "mailbox is dormant and closed", "RCPT", "google", "b:3"),
        (554, "", "no", "END", "any", "b:2"),
        (550, "5.7.9", "no", "END", "any", "b:2"),
        (554, "", "no", "RCPT", "any", None),
        (550, "", "disclosed", "RCPT", "any", None),
    ],
)
def test_the_first_rule_whose_keys_all_hold(
    code: int, enhanced: str, text: str, command: str, site: str, place: str | None
) -> None:
    found = RULES.find(Reply(code, enhanced, text), command, site)
    assert (found.place if found else None) == place


def test_a_rule_says_what_a_reply_means_and_the_code_whether_it_is_for_good() -> None:
    for code, permanent in ((550, True), (450, False)):
        found = diagnose(Reply(code, "", "mailbox is dormant"), "RCPT", site="walla", rulings=RULES)
        assert (found.category, found.permanent, found.rule) == ("inactive-mailbox", permanent, "b:1")
    other = diagnose(Reply(550, "5.1.1", "no such user"), "RCPT", site="walla", rulings=RULES)
    assert other == diagnose(Reply(550, "5.1.1", "no such user"), "RCPT")


def test_without_rules_nothing_is_ruled() -> None:
    assert NO_RULINGS.find(Reply(550, "", "no"), "RCPT", "walla") is None
    assert repr(RULES) == "<Rulings 3>"
