"""Rules of the road: what passes, and what a message lacks."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.header import split
from relay.message import MailClass
from relay.policy.checks import (
    BUILT_IN,
    OVERLAP,
    WINDOW,
    Case,
    Checks,
    Failed,
    Own,
    Phrase,
    Rule,
    built_in,
    own,
    phrase,
    windows,
)
from relay.policy.letter import Letter
from relay.policy.patterns import parse
from relay.rewrite import subject_of


def phrases(*texts: str) -> list[Phrase]:
    return [found for text in texts if (found := phrase(text)) is not None]


NAMES = phrases("Arava Home", "ערבה לבית")
ADDRESSES = phrases("Arava Ltd, 12 HaNegev St, Beer Sheva 8410001, Israel", "ערבה בע״מ, רח׳ הנגב 12, באר שבע")
FILLING = "Nothing of it here. " * 3000


def case(
    content: str | bytes, mail_class: MailClass = MailClass.MARKETING, domain: str = "arava.example", signer: str = ""
) -> Case:
    octets = content.replace("\n", "\r\n").encode() if isinstance(content, str) else content
    fields, rest = split(octets)
    letter = Letter(fields, octets, rest, subject_of(fields))
    return Case(letter, domain, mail_class, lambda of: signer if of == signer or of.endswith(f".{signer}") else "")


def lacks(name: str, content: str, mail_class: MailClass = MailClass.MARKETING, signer: str = "") -> str:
    return built_in(name, NAMES, ADDRESSES)(case(content, mail_class, signer=signer))


# --- alignment


def test_from_under_a_domain_whose_key_we_hold_is_aligned() -> None:
    test = built_in("alignment", [], [])
    letter = "From: Arava <news@news.arava.example>\n\nhi"
    assert test(case(letter, domain="arava.example", signer="arava.example")) == ""
    assert test(case(letter, domain="news.arava.example", signer="arava.example")) == ""
    assert test(case(letter, domain="arava.example")) == "no active DKIM key for arava.example or a domain above it"


@pytest.mark.parametrize("other", ["b@arava.example", "b@news.arava.example", "b@ARAVA.example"])
def test_several_authors_whom_one_signature_stands_for(other: str) -> None:
    assert lacks("alignment", f"From: a@arava.example, {other}\n\nhi", signer="arava.example") == ""


def test_several_authors_of_different_domains() -> None:
    said = lacks("alignment", 'From: "A, B" <a@arava.example>, c@marom.example\n\nhi', signer="arava.example")
    assert said == "From has an address in marom.example too, and d=arava.example signs"


# --- one-click-unsubscribe

POST = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\n"


@pytest.mark.parametrize(
    "header",
    [
        "List-Unsubscribe: <https://u.arava.example/x>\n",
        "List-Unsubscribe: <mailto:u@arava.example>,\n <HTTPS://u.arava.example/x>\n",
        "List-Unsubscribe: <https://u.arava.exam\n ple/x>\n",
    ],
)
def test_one_click(header: str) -> None:
    assert lacks("one-click-unsubscribe", f"{header}{POST}\nhi") == ""
    assert lacks("one-click-unsubscribe", f"{header}{POST.replace('=O', '=o')}\nhi") == ""


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        (POST, "there is no List-Unsubscribe with an https address"),
        (f"List-Unsubscribe: <mailto:u@a.example>\n{POST}", "there is no List-Unsubscribe with an https address"),
        (f"List-Unsubscribe: https://u.example/\n{POST}", "there is no List-Unsubscribe with an https address"),
        (f"List-Unsubscribe: <http://u.example/>\n{POST}", "there is no List-Unsubscribe with an https address"),
        (f"List-Unsubscribe: <https://>\n{POST}", "there is no List-Unsubscribe with an https address"),
        ("List-Unsubscribe: <https://u.example/>\n", "there is no List-Unsubscribe-Post: List-Unsubscribe=One-Click"),
        (
            "List-Unsubscribe-Post: yes\n",
            "there is no List-Unsubscribe with an https address and no List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        ),
    ],
)
def test_no_one_click(header: str, missing: str) -> None:
    assert lacks("one-click-unsubscribe", f"{header}\nhi") == missing


# --- postal-address


@pytest.mark.parametrize(
    "text",
    [
        "Arava Ltd, 12 HaNegev St, Beer Sheva 8410001, Israel",
        "ARAVA LTD. | 12 Hanegev St. | Beer Sheva 8410001 | Israel",
        "Arava Ltd - 12 HaNegev St - Beer Sheva: 8410001\n\n(Israel)",
        "ערבה בע\"מ · רח' הנגב 12 · באר שבע",
    ],
)
def test_the_address_however_it_is_set(text: str) -> None:
    assert lacks("postal-address", f"Subject: x\n\nHello.\n{text}\nBye.") == ""


def test_the_address_between_the_windows_of_a_long_page() -> None:
    page = f"<html><body>{FILLING}<td>Arava Ltd</td><td>12&nbsp;HaNegev St,<br>Beer Sheva 8410001 &bull; Israel</td>{FILLING}"
    assert lacks("postal-address", f"Content-Type: text/html\n\n{page}</body></html>") == ""


def test_the_address_that_only_the_html_part_has() -> None:
    plain = f"--b\nContent-Type: text/plain\n\n{FILLING[:2000]}\n"
    page = "--b\nContent-Type: text/html\n\n<p>ערבה בע״מ, רח׳ הנגב 12, באר שבע</p>\n--b--\n"
    assert lacks("postal-address", f"Content-Type: multipart/alternative; boundary=b\n\n{plain}{page}") == ""


def test_an_address_with_signs_is_found_at_once() -> None:
    test = built_in("postal-address", [], phrases("Smith & Sons, D-10827 Berlin, c/o O'Hara #2"))
    one = case("Subject: x\n\nHello. Smith & Sons · D-10827 Berlin · c/o O’Hara #2. Bye.")
    assert test(one) == ""
    assert one.shows(phrases("Smith & Sons, D-10827 Berlin, c/o O'Hara #2"))
    assert test(case("Subject: x\n\nSmith + Sons, D 10827 Berlin, c/o OHara 2")) != ""
    assert test(case("Subject: x\n\nSmith, Sons, D 10827 Berlin, c/o O Hara No: 2")) != ""
    assert test(case("Subject: x\n\nSmith, Sons, D 10827 Berlin, c/o O Hara (2)")) == ""


@pytest.mark.parametrize("text", ["", "12 HaNegev St", "Arava Ltd, 112 HaNegev St, Beer Sheva 8410001, Israel"])
def test_no_address(text: str) -> None:
    assert lacks("postal-address", f"Subject: x\n\nHello {text}") == "the brand's postal_address is not in the text"


# --- israel-30a


@pytest.mark.parametrize(
    "subject",
    [
        "פרסומת: מבצע",
        "פרסומת",
        "  [פרסומת] מבצע",
        "(פרסומת) מבצע",
        "\u200f\u202bפרסומת - מבצע",
        '"פרסומת" מבצע',
        "פִּרְסוֹמֶת מבצע",  # with vowel points
        "=?utf-8?B?16TXqNeh15XXnteqOiDXnteR16bXog==?=",
    ],
)
def test_an_advertisement_in_israel(subject: str) -> None:
    assert lacks("israel-30a", f"Subject: {subject}\n\nhi") == ""


@pytest.mark.parametrize("subject", ["", "Sale", "מבצע פרסומת", "פרסומתי", "הפרסומת", "[מבצע] פרסומת", "🎁 פרסומת"])
def test_no_advertisement_by_its_subject(subject: str) -> None:
    assert "does not open with the Hebrew word" in lacks("israel-30a", f"Subject: {subject}\n\nhi")


# --- sender-identified


@pytest.mark.parametrize(
    "header",
    [
        "Arava Home <news@arava.example>",
        '"Dana of ARAVA-HOME" <news@arava.example>',
        "=?utf-8?B?157Xoteo15HXlCDXnNeR15nXqg==?= <news@arava.example>",  # from Arava, in one word with the preposition
        "news@arava.example (Arava Home)",
    ],
)
def test_from_names_the_brand(header: str) -> None:
    assert lacks("sender-identified", f"From: {header}\n\nhi") == ""


def test_the_text_may_name_the_brand_in_any_of_its_languages() -> None:
    assert lacks("sender-identified", "From: Dana <d@arava.example>\n\nYours, Arava Home.") == ""
    assert lacks("sender-identified", f"From: Dana <d@arava.example>\n\n{FILLING} שלכם, מערבה לבית {FILLING}") == ""
    missing = "the brand's name is neither in From nor in the text"
    assert lacks("sender-identified", "From: Dana <d@arava.example>\n\nYours, Arava Homes.") == missing


def test_only_what_advertises_says_for_whom() -> None:
    letter = "From: Dana <d@arava.example>\n\nYours"
    assert lacks("sender-identified", letter, MailClass.TRANSACTIONAL) == ""
    assert lacks("sender-identified", letter, MailClass.SERVICE) == ""


@pytest.mark.parametrize("value", ["d@arava.example", "<d@arava.example>", '"d@arava.example" <d@arava.example>', "()"])
@pytest.mark.parametrize("mail_class", MailClass)
def test_from_without_a_name(value: str, mail_class: MailClass) -> None:
    assert lacks("sender-identified", f"From: {value}\n\nhi", mail_class) == "From has no name beside the address"


# --- one's own


def of_own(content: str, must: str = "have", **looks: Sequence[str]) -> str:
    words = {key: [parse(one, words=True) for one in value] for key, value in looks.items() if key != "x_job"}
    headers = {"x-job": [parse(one) for one in looks["x_job"]]} if "x_job" in looks else {}
    return own(Own(headers, words.get("subject", ()), words.get("body", ()), "lack" if must == "lack" else "have"))(
        case(content)
    )


LETTER = "Subject: Winter sale\nX-Job: sale-7\n\nOnly this week: 20 % off. Unsubscribe here."


def test_all_that_is_looked_at_must_fit() -> None:
    assert of_own(LETTER, x_job=["sale-*"], subject=["winter"], body=["unsubscribe"]) == ""
    assert of_own(LETTER, x_job=["club-*", "sale-*"]) == ""
    assert of_own(LETTER, x_job=["club-*"]) == "the field x-job is not as it must be"
    assert of_own(LETTER, subject=["summer"]) == "the subject is not as it must be"
    assert of_own(LETTER, x_job=["*"], body=["re:terms and conditions"]) == "the text is not as it must be"
    assert of_own("Subject: x\n\nhi", x_job=["*"]) == "the field x-job is not as it must be"


def test_what_must_not_be_there() -> None:
    assert of_own(LETTER, must="lack", body=["guaranteed"]) == ""
    assert of_own(LETTER, must="lack", subject=["winter"], body=["guaranteed"]) == ""
    said = "the subject and the text must not be as found"
    assert of_own(LETTER, must="lack", subject=["winter"], body=["only this week"]) == said


def test_the_text_is_looked_at_in_pieces_that_overlap() -> None:
    pieces = windows(case(f"Subject: x\n\n{'word ' * 250}first thing {'word ' * 1000}last thing").letter)
    assert len(pieces) == 2
    assert all(len(piece) <= WINDOW for piece in pieces)
    assert pieces[1][:OVERLAP] == pieces[0][-OVERLAP:]
    assert pieces[0].startswith("word")
    assert any("first thing" in piece for piece in pieces)
    assert pieces[1].endswith("last thing")
    assert windows(case(b"").letter) == [""]


# --- together


def checks(**levels: str) -> Checks:
    asked: Mapping[str, str] = {name.replace("_", "-"): level for name, level in levels.items()}
    return Checks(
        [(rule, asked[name], built_in(name, NAMES, ADDRESSES)) for name, rule in BUILT_IN.items() if name in asked]  # type: ignore[misc]
    )


def test_a_check_is_asked_of_the_classes_it_concerns() -> None:
    asked = checks(alignment="flag", postal_address="refuse", one_click_unsubscribe="warn")
    assert repr(asked) == "<Checks alignment=flag, one-click-unsubscribe=warn, postal-address=refuse>"
    assert [one.name for one in asked.failed(case("From: a\n\nhi", MailClass.SERVICE))] == ["alignment"]
    assert asked.failed(case(f"{POST}From: a\n\nhi", signer="arava.example")) == (
        Failed("one-click-unsubscribe", "warn", "there is no List-Unsubscribe with an https address", "RFC 8058 3.1"),
        Failed(
            "postal-address",
            "refuse",
            "the brand's postal_address is not in the text",
            "CAN-SPAM, 15 U.S.C. 7704(a)(5)(A)(iii)",
        ),
    )


def test_an_own_check_of_one_class() -> None:
    rule = Rule("terms", "house rule 7", frozenset({MailClass.SERVICE}))
    asked = Checks([(rule, "warn", own(Own({}, body=[parse("terms", words=True)])))])
    assert asked.failed(case("\nhi")) == ()
    assert asked.failed(case("\nhi", MailClass.SERVICE)) == (
        Failed("terms", "warn", "the text is not as it must be", "house rule 7"),
    )


def test_what_no_word_is_in_is_no_phrase() -> None:
    assert phrase(" - & ...") is None
    assert phrase("Arava-Home & Co!") == (b" arava-home & co ", b" arava home co ")
    assert phrase("ערבה") == ("ערבה ".encode(), "ערבה ".encode())


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"From", b"Subject", b"List-Unsubscribe", b"List-Unsubscribe-Post", b"Content-Type", b"X-Job"]
        ),
        st.one_of(st.binary(max_size=60), st.sampled_from([b"a@b.example, c@d.example", b"text/html; charset=gbk"])),
    ),
    max_size=6,
).map(lambda fields: b"".join(name + b": " + value + b"\r\n" for name, value in fields))


@given(HEADERS, st.binary(max_size=400), st.sampled_from(MailClass), st.sampled_from(["", "arava.example"]))
def test_any_octets(header: bytes, body: bytes, mail_class: MailClass, signer: str) -> None:
    asked = checks(**{name.replace("-", "_"): "warn" for name in BUILT_IN}).asked
    ours = own(Own({"x-job": [parse("re:a+")]}, [parse("b", words=True)], [parse("*c*")], "lack"))
    found = Checks([*asked, (Rule("ours", "us"), "flag", ours)]).failed(
        case(header + b"\r\n" + body, mail_class, signer=signer)
    )
    assert all(one.lacks and one.source for one in found)
