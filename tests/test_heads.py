"""What stands in front of a message for each recipient, through accept(): tokens, and signatures that cover them."""

import re
from dataclasses import replace

import pytest

from relay.accept import accept
from relay.header import split
from relay.message import MailClass
from relay.outcome import Reply
from relay.policy.checks import BUILT_IN, Checks, built_in
from relay.policy.evidence.classify import Evidence
from relay.policy.patterns import parse
from relay.policy.streams import Match, Stream, Streams
from relay.tokens import DAY, Ticket, Tokens
from tests.support.house import LETTER, NOW, SHOP, Rig, submission
from tests.support.signatures import both_keys, verdicts

CRM = replace(SHOP, name="crm", mail_class=MailClass.MARKETING)
PAGE = "https://mail.a.example"
TOKENS = Tokens([b"s" * 32])
OWN = b"List-Unsubscribe: <https://crm.example/u?id=7>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"


def rig(unsubscribe: str = "keep") -> Rig:
    made = Rig()
    made.evidence = Evidence(MailClass.MARKETING, 0.98)
    made.pages = {"a": PAGE}
    match = Match(texts={"subject": (parse("order", words=True),)})
    made.streams = Streams([(Stream("news", "policies/streams.toml:1", unsubscribe=unsubscribe), match)])
    return made


async def letters(made: Rig, content: bytes = LETTER, recipients: tuple[str, ...] = ("dana@b.example",)) -> list[bytes]:
    answer = await accept(submission(content, CRM, recipients), made.acceptance())
    assert isinstance(answer, Reply)
    assert answer.ok
    ((message, deliveries),) = made.spool.puts[0].put
    assert message.content is not None
    return [delivery.head + message.content for delivery in deliveries]


def fields_of(letter: bytes, name: str) -> list[str]:
    return [field.value.decode() for field in split(letter)[0] if field.name == name]


def ticket_of(letter: bytes) -> Ticket | None:
    (field,) = fields_of(letter, "list-unsubscribe")
    found = re.fullmatch(rf"<{PAGE}/u/([\w-]+)>", field)
    assert found, field
    return TOKENS.open(found[1])


async def test_a_token_knows_the_template() -> None:
    made = rig()
    made.evidence = Evidence(MailClass.MARKETING, 0.9, "0ffe12345678")
    ticket = ticket_of((await letters(made))[0])
    assert ticket is not None
    assert ticket.skeleton == "0ffe12345678"


async def test_marketing_gets_both_fields_signed_by_every_key() -> None:
    (letter,) = await letters(rig())
    ticket = ticket_of(letter)
    assert ticket is not None
    assert ticket == Ticket("a", "news", "dana@b.example", NOW // DAY, message=ticket.message, credential="crm")
    assert fields_of(letter, "list-unsubscribe-post") == ["List-Unsubscribe=One-Click"]
    assert verdicts(letter, both_keys("a.example"), 2) == [True, True]
    assert verdicts(letter.replace(b"/u/", b"/v/"), both_keys("a.example"), 2) == [False, False], "covered"
    post = letter.replace(b"=One-Click", b"=Two-Click")
    assert verdicts(post, both_keys("a.example"), 2) == [False, False]


async def test_each_of_many_recipients_has_a_token_and_a_signature_of_his_own() -> None:
    people = tuple(f"p{number}@b.example" for number in range(20))
    made = rig()
    found = await letters(made, recipients=people)
    tickets = [ticket for letter in found if (ticket := ticket_of(letter)) is not None]
    assert [ticket.recipient for ticket in tickets] == list(people), "in their order"
    ((message, _),) = made.spool.puts[0].put
    assert [(ticket.message, ticket.rcpt) for ticket in tickets] == [(message.id, index) for index in range(20)]
    assert all(verdicts(letter, both_keys("a.example"), 2) == [True, True] for letter in found[:3])
    assert len(made.spool.puts[0].put) == 1, "the content is stored once"


async def test_who_has_left_already_takes_no_others_place_in_the_tokens() -> None:
    made = rig()
    made.people.block("p0@b.example", "marketing", "unsubscribed", "a")
    (letter,) = await letters(made, recipients=("p0@b.example", "p1@b.example"))
    ticket = ticket_of(letter)
    assert ticket is not None
    assert (ticket.recipient, ticket.rcpt) == ("p1@b.example", 1)


@pytest.mark.parametrize(
    ("labels", "url", "kept"),
    [(2, 0, ("c" * 200, False)), (2, 150, ("", True)), (3, 330, ("", False))],
)
async def test_what_a_token_has_no_room_for_is_left_out_the_campaign_first(
    labels: int, url: int, kept: tuple[str, bool]
) -> None:
    """Of a token of 860 characters 628 octets are what it says."""
    long = "l" * 64 + "@" + ".".join(["d" * 60] * labels) + ".b.example"
    own = b"List-Unsubscribe: <https://crm.example/" + b"x" * url + b">\r\n" if url else b""
    made = rig()
    made.streams = Streams([(Stream("s" * 63, "policies/streams.toml:1", unsubscribe="replace"), Match())])
    (letter,) = await letters(made, b"X-Postlane-Campaign: " + b"c" * 200 + b"\r\n" + own + LETTER, (long,))
    ticket = ticket_of(letter)
    assert ticket is not None
    assert (ticket.campaign, bool(ticket.calls)) == kept
    assert ticket.message
    assert max(map(len, letter.split(b"\r\n"))) <= 998


async def test_what_the_app_has_set_leaves_as_it_is_and_is_signed_once() -> None:
    made = rig()
    first, second = await letters(made, OWN + LETTER, ("dana@b.example", "noa@b.example"))
    assert fields_of(first, "list-unsubscribe") == ["<https://crm.example/u?id=7>"]
    assert fields_of(first, "dkim-signature") == fields_of(second, "dkim-signature")


async def test_a_stream_may_have_ours_in_its_place_with_the_apps_url_in_the_token() -> None:
    (letter,) = await letters(rig("replace"), OWN + LETTER)
    ticket = ticket_of(letter)
    assert ticket is not None
    assert ticket.calls == "https://crm.example/u?id=7"
    assert len(fields_of(letter, "list-unsubscribe-post")) == 1
    assert verdicts(letter, both_keys("a.example"), 2) == [True, True]


async def test_an_address_too_long_beside_a_url_gets_a_token_without_it() -> None:
    long = "l" * 64 + "@" + ".".join(["d" * 60] * 3) + ".b.example"
    own = b"List-Unsubscribe: <https://crm.example/" + b"x" * 330 + b">\r\n"
    made = rig()
    made.streams = Streams([(Stream("s" * 63, "policies/streams.toml:1", unsubscribe="replace"), Match())])
    (letter,) = await letters(made, own + LETTER, (long,))
    ticket = ticket_of(letter)
    assert ticket is not None
    assert (ticket.recipient, ticket.calls) == (long, "")
    assert max(map(len, letter.split(b"\r\n"))) <= 998


async def test_an_app_signature_that_says_there_is_none_goes() -> None:
    signature = b"DKIM-Signature: v=1; a=rsa-sha256; d=crm.example; s=1; h=From:List-Unsubscribe; bh=x; b=x\r\n"
    (letter,) = await letters(rig(), signature + LETTER)
    assert not any("crm.example" in value for value in fields_of(letter, "dkim-signature"))


async def test_mail_that_is_marketing_by_our_judgement_alone_gets_none() -> None:
    made = rig()
    made.streams = Streams([(Stream("order", "policies/streams.toml:1", on_contradiction="reroute"), Match())])
    for _ in range(12):
        await accept(submission(), made.acceptance())
    assert [put.put[0][0].contradiction for put in made.spool.puts][-1] == "rerouted"
    assert not any(b"List-Unsubscribe" in put.put[0][1][0].head for put in made.spool.puts)


@pytest.mark.parametrize("page", [PAGE, ""])
async def test_a_brand_that_asks_for_one_click_is_satisfied_by_ours(page: str) -> None:
    made = rig()
    made.pages = {"a": page}
    rule = BUILT_IN["one-click-unsubscribe"]
    made.checks = {"a": Checks([(rule, "refuse", built_in(rule.name, [], []))])}
    answer = await accept(submission(credential=CRM), made.acceptance())
    assert isinstance(answer, Reply) is bool(page)


async def test_without_a_key_it_leaves_unsigned_where_the_brand_lets_it() -> None:
    made = rig()
    made.brands = {"c": replace(made.brands["a"], name="c", domains=frozenset({"c.example"}), unsigned="send")}
    made.pages = {"c": PAGE}
    app = replace(CRM, domains=frozenset({"c.example"}))
    await accept(submission(LETTER.replace(b"a.example", b"c.example"), app), made.acceptance())
    head = made.spool.puts[0].put[0][1][0].head
    assert b"DKIM-Signature" not in head
    assert b"\r\nList-Unsubscribe: <https://mail.a.example/u/" in head


@pytest.mark.parametrize(("unsubscribe", "own"), [("keep", b""), ("replace", OWN)])
async def test_who_can_only_mail_leaves_by_mail_unless_the_app_is_to_be_told(unsubscribe: str, own: bytes) -> None:
    made = rig(unsubscribe)
    made.return_paths = {"a": "bounce.a.example"}
    people = ("dana@b.example", "noa@b.example")
    answer = await accept(submission(own + LETTER, CRM, people), made.acceptance())
    assert isinstance(answer, Reply)
    ((message, deliveries),) = made.spool.puts[0].put
    for index, delivery in enumerate(deliveries):
        letter = delivery.head + (message.content or b"")
        (field,) = fields_of(letter, "list-unsubscribe")
        leaving = f"<mailto:u-{message.id}-{index}@bounce.a.example?subject=unsubscribe>"
        assert (leaving in field) is not bool(own), "an address has no room for the app's URL"
        assert verdicts(letter, both_keys("a.example"), 2) == [True, True]


async def test_of_mail_from_nobody_nothing_is_remembered_so_nobody_leaves_by_mail() -> None:
    made = rig()
    made.return_paths = {"a": "bounce.a.example"}
    handed_in = submission(LETTER, CRM)
    handed_in.envelope.sender = ""
    await accept(handed_in, made.acceptance())
    assert b"mailto:" not in made.spool.puts[0].put[0][1][0].head
