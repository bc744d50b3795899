"""The first rule that holds, found without trying them all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.header import split
from relay.policy.letter import Letter
from relay.policy.patterns import parse
from relay.policy.streams import CUT, NOTED, NOTED_FILES, NOTED_VALUE, Match, Size, Stream, Streams, domain_text
from tests.support.rules import CRM, LETTERS, MATCHES, letter, texts


def streams(**matches: Match | None) -> Streams:
    return Streams(
        [(Stream(name, f"policies/streams.toml:{n}"), match) for n, (name, match) in enumerate(matches.items())]
    )


def found(all_streams: Streams, one: Letter, credential: str = "crm", domain: str = "a.example") -> str:
    stream = all_streams.find(one, credential, domain)
    return stream.name if stream else ""


def test_the_first_that_holds_wins_and_all_conditions_must() -> None:
    rules = streams(
        newsletter=Match(CRM, texts(header_list_unsubscribe="*", from_domain="a.example")),
        order=Match(CRM, texts(subject=["order", "invoice"])),
        rest=Match(CRM),
    )
    assert found(rules, letter("List-Unsubscribe: <x>", "Your order")) == "newsletter"
    assert found(rules, letter("List-Unsubscribe: <x>", "Your order"), domain="b.example") == "order"
    assert found(rules, letter("", "The invoice")) == "order"
    assert found(rules, letter("", "Hello")) == "rest"
    assert found(rules, letter("", "Your order"), credential="erp") == ""


def test_rules_of_one_credential_and_of_everybody_keep_their_order() -> None:
    rules = streams(everybody=Match(texts=texts(subject="sale")), mine=Match(CRM), late=Match(texts=texts(subject="x")))
    assert found(rules, letter(subject="big sale")) == "everybody"
    assert found(rules, letter(subject="x")) == "mine"
    assert found(rules, letter(subject="x"), credential="erp") == "late"


def test_without_rules_nothing_is_looked_at() -> None:
    assert Streams().find(None, "crm", "a.example") is None  # type: ignore[arg-type]
    named = streams(digest=None)
    assert named.find(None, "crm", "a.example") is None  # type: ignore[arg-type]
    assert named.named["digest"].rule == "policies/streams.toml:0"
    assert repr(named) == "<Streams 1 by name, 0 by rule>"


@pytest.mark.parametrize(
    ("match", "one", "holds"),
    [
        (Match(texts=texts(header_x_job="points-*")), letter("X-Job: Points-7"), True),
        (Match(texts=texts(header_x_job="points-*")), letter("X-Job: other\nx-job: points-7"), True),
        (Match(texts=texts(header_x_job="points-*")), letter("X-Other: points-7"), False),
        (Match(texts=texts(header_x_job="*")), letter("X-Job:"), True),
        (Match(texts=texts(header_x_job="שלום")), letter("X-Job: =?utf-8?B?16nXnNeV150=?="), True),
        (Match(texts=texts(sender="bounce@a.example")), letter(sender="Bounce@a.example"), True),
        (Match(texts=texts(sender="a.example")), letter(sender="bounce@A.example"), True),
        (Match(texts=texts(sender="<>")), letter(sender=""), True),
        (Match(texts=texts(sender="a.example")), letter(sender=""), False),
        (Match(texts=texts(recipient_domain="b.example")), letter(domains=["c.example", "b.example"]), True),
        (Match(texts=texts(recipient_domain="*.b.example")), letter(domains=["b.example"]), False),
        (Match(texts=texts(recipient_domain="b.example")), letter(domains=[]), False),
        (Match(texts=texts(header_x_job="*", header_x_more="*")), letter("X-Job: 1"), False),
        (Match(texts=texts(header_x_job="*", header_x_more="*")), letter("X-Job: 1\nX-More: 2"), True),
        (Match(sizes=(Size(0, 10), Size(12, 99))), letter("A: b"), True),
        (Match(sizes=(Size(0, 10), Size(99, 999))), letter("A: b"), False),
        (Match(attached=True), letter("Content-Disposition: attachment"), False),  # of the whole message's header
        (Match(attached=True), letter("A: b\nContent-Disposition: attachment"), True),
        (Match(attached=False), letter("A: b"), True),
        (Match(texts=texts(attachment="*.pdf")), letter("A: b\nContent-Disposition: attachment; filename=A.PDF"), True),
        (
            Match(texts=texts(attachment="*.pdf")),
            letter("A: b\nContent-Disposition: attachment; filename=a.png"),
            False,
        ),
    ],
)
def test_each_condition(match: Match, one: Letter, holds: bool) -> None:
    assert (found(streams(it=match), one) == "it") is holds


@given(
    st.lists(MATCHES, max_size=8),
    LETTERS,
    st.sampled_from(["crm", "erp", "web"]),
    st.sampled_from(["a.example", "b.example"]),
)
def test_the_index_finds_what_trying_each_in_turn_finds(
    matches: list[Match], one: Letter, credential: str, domain: str
) -> None:
    rules = Streams([(Stream(str(n), ""), match) for n, match in enumerate(matches)])
    alone = [
        str(n)
        for n, match in enumerate(matches)
        if Streams([(Stream(str(n), ""), match)]).find(one, credential, domain)
    ]
    assert found(rules, one, credential, domain) == (alone[0] if alone else "")


@given(st.binary(max_size=120), st.binary(max_size=60))
def test_any_header_and_subject_can_be_matched(header: bytes, subject: bytes) -> None:
    content = b"X-Job: " + header + b"\r\nSubject: " + subject + b"\r\n\r\n" + header
    one = Letter(
        split(content)[0], content, 0, subject.decode(errors="surrogateescape"), header.decode("latin-1"), ["x"]
    )
    rules = streams(
        a=Match(texts=texts(header_x_job=["re:^a+$", "b*c", "d"], subject=["order", "*x*y", "re:z"])),
        b=Match(texts=texts(attachment="*.exe", sender="*@x")),
        c=Match(attached=True),
    )
    assert found(rules, one) in ("", "a", "b", "c")


def test_two_thousand_rules_are_not_tried_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Streams(
        [
            (
                Stream(f"s{n}", ""),
                Match(CRM, texts(from_domain="a.example", header_x_job=f"job-{n}-*", subject="order")),
            )
            for n in range(2_000)
        ]
    )
    tried: list[str] = []

    def fit(_: object, rule: Any) -> bool:
        tried.append(rule.stream.name)
        return True

    monkeypatch.setattr("relay.policy.streams._Facts.fit", fit)
    assert found(rules, letter("X-Job: job-1999-x", "Your order")) == "s1999"
    assert found(rules, letter("X-Job: none", "Your order")) == ""
    assert tried == ["s1999"]


def test_domains_are_compared_as_a_labels() -> None:
    assert domain_text("*.bücher.example") == "*.xn--bcher-kva.example"
    assert domain_text("re:bücher") == "re:bücher"
    assert domain_text("a.example") == "a.example"


# What is noted for later, and what of a message nobody can tell any more.


def test_what_rules_name_is_noted_whichever_rule_held() -> None:
    rules = streams(
        job=Match(frozenset({"club"}), texts(header_x_job="points-*")),
        mine=Match(CRM, texts(header_list_id="a*", subject="news")),
    )
    one = letter("X-Job: a\nX-JOB: =?utf-8?B?16nXnA==?=\nList-ID: b\nX-Other: c", "news")
    noted = {"headers": {"x-job": ["a", "\N{HEBREW LETTER SHIN}\N{HEBREW LETTER LAMED}"], "list-id": ["b"]}}
    assert rules.look(one, "crm", "a.example") == (None, noted)
    assert rules.look(one, "nobody", "a.example") == (None, noted)
    assert rules.look(letter("List-ID: abc", "news"), "crm", "a.example") == (
        rules.named["mine"],
        {"headers": {"x-job": [], "list-id": ["abc"]}},
    )


def test_nothing_is_noted_where_no_rule_names_a_header() -> None:
    one = letter("X-Job: a\nList-ID: b", "news")
    assert streams(mine=Match(CRM, texts(subject="news"))).look(one, "crm", "a.example")[1] == {}
    assert streams(mine=Match(CRM, texts(subject="news"))).look(one, "erp", "a.example") == (None, {})


def test_what_is_noted_is_bounded() -> None:
    names = [f"x-{n}" for n in range(12)]
    rules = Streams([(Stream("a", ""), Match(texts={f"header.{name}": (parse("z*"),) for name in names}))])
    long = letter("\n".join(f"{name}: {chr(0x5D0) * 150}" for name in names for _ in range(7)))
    headers = rules.look(long, "crm", "a.example")[1]["headers"]
    assert headers["x-0"] == [chr(0x5D0) * (NOTED_VALUE // 2) + CUT] * 5
    assert sum(len(name) + sum(map(len, values)) for name, values in headers.items()) <= NOTED
    assert list(headers) == ["x-0", "x-1", "x-2"]


PART = "\nContent-Disposition: attachment; filename=%s.pdf"


def test_attachments_are_noted_where_a_rule_asked_for_them() -> None:
    rules = streams(files=Match(CRM, texts(attachment="*.doc")), other=Match(frozenset({"erp"})))
    one = letter("A: b" + PART % "a" + PART % ("x" * 300))
    assert rules.look(one, "crm", "a.example") == (None, {"attachments": ["a.pdf", "x" * NOTED_VALUE + CUT]})
    assert rules.look(one, "erp", "a.example") == (rules.named["other"], {})
    many = letter("A: b" + "".join(PART % n for n in range(12)))
    noted = rules.look(many, "crm", "a.example")[1]["attachments"]
    assert noted == [f"{n}.pdf" for n in range(NOTED_FILES)] + [CUT]


def test_why_a_rule_holds() -> None:
    rules = streams(
        it=Match(CRM, texts(subject=["sale", "order"], header_x_job="points-*"), (Size(0, 900),), attached=False),
        any=Match(texts=texts(recipient_domain=["x.example", "b.example"])),
    )
    one = letter("X-Job: Points-7", "Your order", domains=["b.example"])
    assert rules.why(one, "crm", "a.example") == [
        ("credential", "crm"),
        ("subject", "order"),
        ("header.x-job", "points-*"),
        ("size", f"{one.size} octets"),
        ("attachment", "none"),
    ]
    assert rules.why(one, "erp", "a.example") == [("recipient_domain", "b.example")]
    assert rules.why(letter(), "erp", "a.example") == []
    assert streams(a=Match(attached=True)).why(letter("A: b" + PART % "a"), "x", "") == [("attachment", "yes")]


KNOWN = {"header.x-job", "subject"}


def doubt(rules: Streams, one: Letter, credential: str = "crm", half: frozenset[str] = frozenset()) -> str:
    """What is asked for and not among KNOWN; `half`: it is known that there is such a thing, not which."""
    found = rules.doubt(one, credential, "a.example", lambda key, there: key in KNOWN or (there and key in half))
    return f"{found[0].name} {found[1]}" if found else ""


def test_a_rule_above_that_asks_for_what_nobody_knows_leaves_it_open() -> None:
    rules = streams(
        known=Match(CRM, texts(header_x_job="a")),
        open=Match(CRM, texts(header_x_new="*", subject="news")),
        rest=Match(CRM),
        below=Match(CRM, texts(header_x_late="*")),
    )
    assert doubt(rules, letter("X-Job: b", "news")) == "open header.x-new"
    assert doubt(rules, letter("X-Job: a", "news")) == ""  # a rule above holds
    assert doubt(rules, letter("X-Job: b", "other")) == ""  # the rest of the rule does not hold
    assert doubt(rules, letter("X-Job: b", "news"), "erp") == ""
    assert doubt(rules, letter("X-Job: b", "news"), half=frozenset({"header.x-new"})) == ""  # it asks no more than that
    assert doubt(streams(known=Match(CRM, texts(header_x_job="a"))), letter("X-Job: b")) == ""


def test_without_a_rule_that_holds_all_may_leave_it_open() -> None:
    rules = streams(one=Match(CRM, texts(header_x_new="a*", subject="sale")), two=Match(texts=texts(header_x_late="*")))
    assert doubt(rules, letter(subject="news")) == "two header.x-late"
    assert doubt(rules, letter(subject="sale"), half=frozenset({"header.x-new"})) == "one header.x-new"


@pytest.mark.parametrize(
    ("match", "half", "expected"),
    [
        (Match(attached=True), "", "it attachment"),
        (Match(attached=False), "", "it attachment"),
        (Match(attached=True), "attachment", ""),
        (Match(texts=texts(attachment="*.pdf")), "attachment", "it attachment"),
        (Match(texts=texts(attachment="*.pdf"), attached=True), "", "it attachment"),
        (Match(texts=texts(attachment="*"), attached=True), "attachment", ""),
    ],
)
def test_attachments_may_leave_it_open(match: Match, half: str, expected: str) -> None:
    assert doubt(streams(it=match), letter(), half=frozenset({half})) == expected
