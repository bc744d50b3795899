"""Which messages get our List-Unsubscribe, by INTERFACE's table of header fields."""

import pytest

from relay.header import split
from relay.message import MailClass
from relay.policy.unsubscribe import MAX_CALLS, Offer, header, offered

PAGES = {"": "https://mail.relay.example", "arava": "https://mail.arava.example"}
OWN = b"List-Unsubscribe: <mailto:u@a.example>,\r\n\t<https://crm.example/u?\r\n\tid=7>\r\n"
POST = b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"


def of(
    header: bytes = b"", brand: str = "arava", mail_class: MailClass = MailClass.MARKETING, replace: bool = False
) -> Offer | None:
    fields, _ = split(b"From: a@arava.example\r\n" + header + b"\r\nText\r\n")
    return offered(fields, brand, mail_class, PAGES, replace=replace)


def test_marketing_without_it_gets_ours_at_its_brands_page_else_at_that_of_all() -> None:
    assert of() == Offer("arava", "https://mail.arava.example")
    assert of(brand="marom") == Offer("marom", "https://mail.relay.example")
    assert offered([], "arava", MailClass.MARKETING, {}, replace=True) is None, "there is no page"


@pytest.mark.parametrize("mail_class", [MailClass.TRANSACTIONAL, MailClass.SERVICE])
@pytest.mark.parametrize("replace", [False, True])
def test_other_mail_never_does(mail_class: MailClass, replace: bool) -> None:
    assert of(OWN, mail_class=mail_class, replace=replace) is None
    assert of(mail_class=mail_class, replace=replace) is None


def test_the_apps_own_is_kept_unless_its_stream_says_otherwise() -> None:
    assert of(OWN + POST) is None
    assert of(OWN + POST, replace=True) == Offer("arava", PAGES["arava"], "https://crm.example/u?id=7")
    assert of(b"List-Unsubscribe: <mailto:u@a.example>\r\n", replace=True) == Offer("arava", PAGES["arava"])
    clear = b"List-Unsubscribe: <http://crm.example/u>\r\n"
    assert of(clear, replace=True) == Offer("arava", PAGES["arava"]), "in clear nobody is told"


def test_one_that_the_app_has_signed_is_kept_whatever_its_stream_says() -> None:
    signed = b"DKIM-Signature: v=1; d=crm.example; h=From:List-Unsubscribe; b=x\r\n"
    assert of(signed + OWN, replace=True) is None
    assert of(signed.replace(b":List-Unsubscribe", b":Subject") + OWN, replace=True) is not None
    assert of(signed) is not None, "that it has none is no wish to have none"


def test_one_too_long_for_a_token_is_kept() -> None:
    long = b"List-Unsubscribe: <https://crm.example/" + b"x" * MAX_CALLS + b">\r\n"
    assert of(long, replace=True) is None


def test_a_post_field_alone_offers_nothing() -> None:
    assert of(POST) == Offer("arava", PAGES["arava"])


def test_who_can_only_mail_finds_an_address_behind_the_page() -> None:
    assert header("https://mail.arava.example", "TOKEN", "u-1@bounce.arava.example").startswith(
        b"List-Unsubscribe: <https://mail.arava.example/u/TOKEN>,\r\n\t<mailto:u-1@bounce.arava.example?subject=unsubscribe>\r\n"
    )


def test_the_fields_as_rfc_8058_has_them() -> None:
    assert header("https://mail.arava.example", "TOKEN") == (
        b"List-Unsubscribe: <https://mail.arava.example/u/TOKEN>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    )
