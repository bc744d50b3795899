"""Mail of the past decided again: what would change, what would not, and what nobody can tell."""

from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from relay.egress.pools import Pool, Source
from relay.fate import Files
from relay.identity import Brand, Credential
from relay.message import MailClass
from relay.policy.decide import Law
from relay.policy.patterns import parse
from relay.policy.routes import AnyOf, Route, RouteMatch, Routes
from relay.policy.streams import Match, Stream, Streams
from relay.replay import Answer, Comparison, Undecided, again, asks, messages
from tests.support.rules import texts
from tests.support.signatures import both_keys

SHOP = Credential("shop", MailClass.TRANSACTIONAL, frozenset({"a.example"}), streams=("named",))
AUTO = Credential("auto", None, frozenset({"a.example"}))
POOLS = {name: Pool(name, (Source("", ""),)) for name in ("transactional", "service", "marketing", "cold")}
IDS = count(1)


def files(*rules: tuple[Stream, Match | None], **changes: Any) -> Files:
    law = Law("abc123", "postmaster@a.example", {"a": Brand("a", domains=frozenset({"a.example"}))}, Streams(rules))
    keys = both_keys("a.example")
    own = {c: POOLS[c.label] for c in MailClass}
    apps = {one.name: one for one in (SHOP, AUTO)}
    made = Files("v", law, apps, lambda domain: keys if domain == "a.example" else (), own, POOLS, Routes())
    return replace(made, **changes)


def stream(name: str, mail_class: MailClass | None = None, line: int = 1, **given: Any) -> tuple[Stream, Match]:
    return Stream(name, f"policies/streams.toml:{line}", mail_class), Match(texts=texts(**given))


def events(*domains: str, **facts: Any) -> list[dict[str, Any]]:
    """Of one message."""
    about = {
        "id": f"{next(IDS):016d}",
        "credential": "shop",
        "stream": "shop",
        "class": "transactional",
        "sender": "s@a.example",
        "from": "s@a.example",
        "subject": "Your order",
        "size": 900,
        "headers": {},
        **facts,
    }
    given = domains or ("b.example",)
    return [about | {"rcpt": n, "recipient": f"dana@{domain}", "domain": domain} for n, domain in enumerate(given)]


def compared(before: Files, after: Files, *mail: list[dict[str, Any]]) -> Comparison:
    comparison = Comparison(before, after)
    for message in messages(event for one in mail for event in one):
        comparison.add(message)
    return comparison


def test_recipients_are_put_together_and_reports_are_none() -> None:
    late = events("b.example", "c.example")[1:]  # its first recipient is older than what was asked for
    unreadable = events(**{"from": None})
    found = list(messages([*late, *events("b.example", "c.example"), *events(report_of="x"), *unreadable, *events()]))
    assert [message.recipients for message in found] == [["dana@b.example", "dana@c.example"], ["dana@b.example"]]


def test_the_same_files_change_nothing() -> None:
    same = files(stream("order", subject="order"))
    found = compared(same, same, events(), events("b.example", "c.example"), events(credential="auto", confidence=0.9))
    assert (found.messages, found.recipients, found.changed, found.changes) == (3, 4, 0, [])
    assert repr(found) == "<Comparison 3 messages, 0 kinds of change>"


def test_what_changes_is_counted_by_message_and_recipient() -> None:
    before = files(stream("order", subject="order"))
    after = files(stream("invoice", MailClass.SERVICE, 7, subject="invoice"), stream("order", subject="order"))
    invoice = {"subject": "Your order, invoice"}
    mail = [events(), *(events("b.example", "c.example", **invoice) for _ in range(5)), events(**invoice)]
    found = compared(before, after, *mail)
    (change,) = found.changes
    assert (change.before, change.after) == (
        Answer("order", "transactional", "a", ""),
        Answer("invoice", "service", "a", ""),
    )
    assert (change.messages, change.recipients, found.changed, found.messages) == (6, 11, 6, 7)
    assert change.moves == {("transactional", "service"): 11}
    assert [len(message.recipients) for message in change.examples] == [2, 2, 2]
    assert change.urgent


def test_a_stream_alone_is_no_matter_of_urgency() -> None:
    found = compared(files(), files(stream("order", subject="order")), events())
    (change,) = found.changes
    assert (change.before.stream, change.after.stream, change.moves, change.urgent) == ("shop", "order", {}, False)
    marketing = replace(SHOP, mail_class=MailClass.MARKETING)
    service = replace(SHOP, mail_class=MailClass.SERVICE)
    found = compared(files(credentials={"shop": marketing}), files(credentials={"shop": service}), events())
    (change,) = found.changes
    assert not change.urgent


def test_a_route_changes_the_pool_of_those_it_is_for() -> None:
    to_b = RouteMatch(domains=AnyOf([parse("b.example")]))
    cold = files(routes=Routes([(to_b, Route("policies/routes.toml:7", pool="cold"))]))
    found = compared(files(), cold, events("c.example", "b.example"), events("c.example"))
    (change,) = found.changes
    assert (change.messages, change.recipients, change.domain) == (1, 2, "b.example")
    assert change.moves == {("transactional", "cold"): 1}
    assert change.urgent
    gone = files(routes=Routes([(to_b, Route("policies/routes.toml:7", discard=True))]))
    assert compared(files(), gone, events()).changes[0].moves == {("transactional", "discarded"): 1}


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (files(credentials={}), "credential"),
        (files(credentials={"shop": replace(SHOP, disabled=True)}), "credential"),
        (files(credentials={"shop": replace(SHOP, domains=frozenset({"x.example"}))}), "from-domain"),
        (files(keys_for=lambda _: ()), "unsigned"),
    ],
)
def test_what_would_be_refused(after: Files, reason: str) -> None:
    (change,) = compared(files(), after, events()).changes
    assert change.after.refused == reason
    assert change.moves == {("transactional", "refused"): 1}
    assert change.urgent
    (back,) = compared(after, files(), events()).changes
    assert (back.before.refused, back.after.refused) == (reason, "")


def test_further_domains_of_the_header_count() -> None:
    wide = files(credentials={"shop": replace(SHOP, domains=frozenset({"a.example", "c.example"}))})
    (change,) = compared(wide, files(), events(co_authors=["c.example"]), events()).changes
    assert (change.after.refused, change.messages) == ("sender-domain", 1)


def test_an_app_that_names_its_stream_is_asked_whether_it_may() -> None:
    named = (Stream("named", "policies/streams.toml:1", MailClass.SERVICE), None)
    everybody = stream("all", MailClass.MARKETING, header_x_new="*")
    mail = events(named=True, stream="named")
    assert compared(files(named), files(named, everybody), mail).changes == []
    (change,) = compared(files(named), files(credentials={"shop": replace(SHOP, streams=())}), mail).changes
    assert change.after.refused == "stream"


def test_what_was_not_recorded_is_undecided_and_its_rule_named() -> None:
    before, after = files(), files(stream("news", MailClass.MARKETING, 7, header_x_job="a*", subject="order"))
    found = compared(
        before,
        after,
        events(),
        events(headers={"x-job": []}),
        events(headers={"x-job": ["abc"]}),
        events(headers={"x-job": ["ab…"]}),
        events(subject="Hello"),
    )
    lacking = Undecided("policies/streams.toml:7", "news", "header.x-job")
    assert found.undecided == {(lacking, False): 2}
    assert (found.urgent_undecided, found.changed, found.messages) == (2, 1, 5)
    assert asks(lacking) == "streams.toml:7 (news) asks for header x-job, which was not recorded"
    back = compared(after, before, events(**{"class": "marketing"}))
    assert (back.undecided, back.urgent_undecided) == ({(lacking, True): 1}, 0)


def test_evidence_that_nobody_recorded_is_undecided() -> None:
    auto = files(credentials={"shop": replace(SHOP, mail_class=None)})
    found = compared(files(), auto, events(), events(confidence=0.9))
    assert found.undecided == {(Undecided("", "shop", "evidence"), False): 1}
    assert found.changed == 0
    assert asks(Undecided("", "shop", "evidence")) == "stream shop asks for evidence, which was not recorded"
    (message,) = messages(events(confidence=0.9, **{"class": "marketing"}))
    decided = again(message, auto)
    assert not isinstance(decided, Undecided)
    assert decided.weighed is not None
    assert decided.weighed.mail_class is MailClass.MARKETING


def test_the_most_frequent_change_comes_first() -> None:
    after = files(stream("a", line=1, subject="one"), stream("b", line=5, subject="two"))
    mail = [events(subject="one"), events(subject="two"), events(subject="two")]
    assert [change.after.stream for change in compared(files(), after, *mail).changes] == ["b", "a"]
