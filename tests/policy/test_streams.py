"""The first rule that holds, found without trying them all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.header import split
from relay.policy.letter import Letter
from relay.policy.streams import Match, Size, Stream, Streams, domain_text
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
