"""A message as its events recorded it: what rules make of it, and what nobody knows any more."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.header import split
from relay.identity import Credential
from relay.message import MailClass
from relay.policy.decide import Decision, Law, decide
from relay.policy.letter import Letter
from relay.policy.patterns import parse
from relay.policy.recorded import past
from relay.policy.streams import CUT, Match, Stream, Streams
from tests.support.rules import LETTERS, MATCHES

ANY = Credential("crm", MailClass.SERVICE, frozenset({"*"}))
EVENT: dict[str, Any] = {
    "type": "accepted",
    "id": "01kaj2m8q4x7aaaa",
    "rcpt": 0,
    "credential": "crm",
    "stream": "news",
    "class": "marketing",
    "sender": "bounce@a.example",
    "from": "a@a.example",
    "recipient": "dana@b.example",
    "domain": "b.example",
    "subject": "News",
    "size": 18_231,
}


def decided(event: dict[str, Any], streams: Streams | None = None) -> Decision:
    found = past([event])
    assert found is not None
    decision = decide(
        found.letter, ANY, found.named, 0, Law("abc123", "postmaster@a.example", {}, streams or Streams())
    )
    assert isinstance(decision, Decision), decision
    return decision


def test_a_message_of_many_recipients_is_one() -> None:
    found = past([EVENT, EVENT | {"rcpt": 1, "recipient": "e@c.example", "domain": "c.example"}])
    assert found is not None
    assert (found.id, found.credential, found.named) == ("01kaj2m8q4x7aaaa", "crm", "")
    assert found.recipients == ["dana@b.example", "e@c.example"]
    letter = found.letter
    assert (letter.domains, letter.size, letter.subject) == (["b.example", "c.example"], 18_231, "News")
    assert (letter.sender, letter.attachments()) == ("bounce@a.example", [])


def test_the_app_s_own_stream_is_known() -> None:
    found = past([EVENT | {"named": True}])
    assert found is not None
    assert found.named == "news"


def test_what_the_evidence_said_is_said_again() -> None:
    found = past([EVENT | {"confidence": 0.97, "skeleton": "5ce1e7000001"}])
    assert found is not None
    assert found.judged is not None
    assert found.judge(found.letter, "crm", 0) is found.judged
    assert (found.judged.mail_class, found.judged.confidence, found.judged.skeleton) == (
        MailClass.MARKETING,
        0.97,
        "5ce1e7000001",
    )
    other = past([EVENT | {"confidence": 0.8, "judged": "service"}])
    assert other is not None
    assert other.judged is not None
    assert other.judged.mail_class is MailClass.SERVICE
    silent = past([EVENT])
    assert silent is not None
    assert silent.judged is None
    assert silent.judge(silent.letter, "crm", 0).confidence == 0
    odd = past([EVENT | {"confidence": 0.97, "class": "odd"}])
    assert odd is not None
    assert odd.judged is None


@pytest.mark.parametrize("author", ["a@a.example", '"a b"@a.example', "\u05d0@\u05d1.example", "a.b+c@x.a.example"])
def test_from_is_read_back_as_it_was(author: str) -> None:
    decision = decided(EVENT | {"from": author})
    assert decision.author == author


def test_further_domains_count_again() -> None:
    decision = decided(EVENT | {"co_authors": ["b.example", "c.example"]})
    assert decision.co_authors == ("b.example", "c.example")
    assert decided(EVENT | {"headers": {"sender": ["Shop <s@a.example>"]}}).co_authors == ()


@pytest.mark.parametrize(
    ("more", "key", "there", "known"),
    [
        ({}, "header.x-job", True, False),
        ({"headers": {"x-job": []}}, "header.x-job", False, True),
        ({"headers": {"x-job": ["a" + CUT]}}, "header.x-job", False, False),
        ({"headers": {"x-job": ["a" + CUT]}}, "header.x-job", True, True),
        ({"headers": {"x-job": "odd", "x-new": [1]}}, "header.x-new", True, False),
        ({"headers": ["odd"]}, "header.x-job", True, False),
        ({}, "attachment", True, False),
        ({"attachments": []}, "attachment", False, True),
        ({"attachments": ["a.pdf", CUT]}, "attachment", False, False),
    ],
)
def test_what_is_known(more: dict[str, Any], key: str, there: bool, known: bool) -> None:
    found = past([EVENT | more])
    assert found is not None
    assert found.letter.known(key, there) is known


@pytest.mark.parametrize("name", ["id", "credential", "stream", "class", "sender", "from", "domain"])
def test_an_event_without_what_matters_cannot_be_read(name: str) -> None:
    assert past([{key: value for key, value in EVENT.items() if key != name}]) is None
    assert past([EVENT | {name: 7}]) is None


json_values = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=2)


# Strings of any kind are slow to draw on a machine that does other things.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from([*EVENT, "headers", "attachments", "co_authors", "confidence", "named"]), json_values
    )
)
def test_whatever_an_event_holds_nothing_raises(more: dict[str, Any]) -> None:
    found = past([EVENT | more])
    if found is not None:
        decide(found.letter, ANY, found.named, 0, Law("abc123", "", {}, Streams()))


@given(st.lists(MATCHES, max_size=6), LETTERS, st.sampled_from(["crm", "erp"]))
def test_the_rules_that_noted_it_decide_the_same_again(matches: list[Match], one: Letter, credential: str) -> None:
    rules = Streams([(Stream(str(n), ""), match) for n, match in enumerate(matches)])
    stream, noted = rules.look(one, credential, "a.example")
    event = EVENT | {"subject": one.subject, "size": one.size, "credential": credential} | noted
    domains = one.domains or ["z.example"]
    found = past([event | {"rcpt": n, "domain": domain} for n, domain in enumerate(domains)])
    assert found is not None
    letter = found.letter
    if not one.domains:
        letter.domains = []
    assert rules.find(letter, credential, "a.example") is stream
    assert rules.doubt(letter, credential, "a.example", letter.known) is None


def test_a_subject_that_was_removed_leaves_open_what_asks_for_it() -> None:
    rules = Streams([(Stream("sale", ""), Match(texts={"subject": (parse("sale", words=True),)}))])
    for event, asked in ((EVENT, ""), ({name: value for name, value in EVENT.items() if name != "subject"}, "subject")):
        found = past([event])
        assert found is not None
        doubt = rules.doubt(found.letter, "crm", "a.example", found.letter.known)
        assert (doubt[1] if doubt else "") == asked


def test_a_letter_on_the_wire_knows_all_of_itself() -> None:
    content = b"X-Job: a\r\nx-job: =?utf-8?Q?b?=\r\n\r\nbody\r\n"
    fields, rest = split(content)
    letter = Letter(fields, content, rest)
    assert (letter.size, letter.values("x-job"), letter.attachments()) == (len(content), ["a", "b"], [])
