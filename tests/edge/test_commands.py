"""The parsers: what is taken exactly as it came, and what is refused with which code."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.edge import commands
from relay.message import Envelope, RcptTo
from relay.outcome import Reply


def recipient(argument: str, *, utf8: bool = False) -> RcptTo:
    value = commands.rcpt(argument, utf8)
    assert isinstance(value, RcptTo), value
    return value


def envelope(argument: str) -> Envelope:
    value = commands.mail(argument)
    assert isinstance(value, Envelope), value
    return value


def refusal(value: object) -> str:
    assert isinstance(value, Reply), value
    return f"{value.code} {value.enhanced}"


@pytest.mark.parametrize(
    ("argument", "address", "domain"),
    [
        ("TO:<jo@example.com>", "jo@example.com", "example.com"),
        ("to:<Jo@Example.COM>", "Jo@Example.COM", "example.com"),
        ("TO: <jo@example.com>", "jo@example.com", "example.com"),
        ("TO:<jo+tag=x/y@sub.example.com>", "jo+tag=x/y@sub.example.com", "sub.example.com"),
        ('TO:<"jo smith"@example.com>', '"jo smith"@example.com', "example.com"),
        (r'TO:<"a\"b>c@d"@example.com>', r'"a\"b>c@d"@example.com', "example.com"),
        ("TO:<@one.example,@two.example:jo@example.com>", "jo@example.com", "example.com"),
        ("TO:<jo@[192.0.2.1]>", "jo@[192.0.2.1]", "[192.0.2.1]"),
        ("TO:<jo@[IPv6:2001:DB8::1]>", "jo@[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
        ("TO:<jo@xn--bcher-kva.example>", "jo@xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_an_address_is_kept_as_it_came(argument: str, address: str, domain: str) -> None:
    assert recipient(argument) == RcptTo(address, domain)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("jo@example.com", "501 5.5.4"),
        ("TO:jo@example.com", "501 5.5.4"),
        ("TO:", "501 5.5.4"),
        ("TO:<>", "553 5.1.3"),
        ("TO:<jo>", "553 5.1.3"),
        ("TO:<postmaster>", "553 5.1.3"),
        ("TO:<jo@localhost>", "553 5.1.3"),
        ("TO:<jo@example.com", "553 5.1.3"),
        ("TO:<jo@@example.com>", "553 5.1.3"),
        ("TO:<jo..x@example.com>", "553 5.1.3"),
        ("TO:<.jo@example.com>", "553 5.1.3"),
        ("TO:<jo smith@example.com>", "553 5.1.3"),
        ("TO:<jo@-example.com>", "553 5.1.3"),
        ("TO:<jo@example..com>", "553 5.1.3"),
        ("TO:<jo@example.com.>", "553 5.1.3"),
        ("TO:<jo@exam_ple.com>", "553 5.1.3"),
        ("TO:<jo@[192.0.2.256]>", "553 5.1.3"),
        ("TO:<jo@[IPv6:::g]>", "553 5.1.3"),
        ("TO:<jo@" + "a" * 64 + ".com>", "553 5.1.3"),
        ("TO:<" + "a" * 65 + "@example.com>", "553 5.1.3"),
        ("TO:<" + "a" * 64 + "@" + "b.c" * 63 + ".com>", "553 5.1.3"),
        ("TO:<jo@example.com>x", "501 5.5.4"),
        ("TO:<jo@example.com> NOTIFY=MAYBE", "501 5.5.4"),
        ("TO:<jo@example.com> NOTIFY=NEVER,FAILURE", "501 5.5.4"),
        ("TO:<jo@example.com> NOTIFY=DELAY,DELAY", "501 5.5.4"),
        ("TO:<jo@example.com> NOTIFY", "501 5.5.4"),
        ("TO:<jo@example.com> NOTIFY=NEVER NOTIFY=NEVER", "501 5.5.4"),
        ("TO:<jo@example.com> ORCPT=jo@example.com", "501 5.5.4"),
        ("TO:<jo@example.com> ORCPT=rfc822;a+2", "501 5.5.4"),
        ("TO:<jo@example.com> ORCPT=rfc822;" + "a" * 500, "501 5.5.4"),
        ("TO:<jo@example.com> =x", "501 5.5.4"),
        ("TO:<jo@example.com> HELLO=x", "555 5.5.4"),
    ],
)
def test_a_bad_recipient_is_refused(argument: str, expected: str) -> None:
    assert refusal(commands.rcpt(argument, False)) == expected


def test_dsn_parameters_of_a_recipient_keep_their_case() -> None:
    found = recipient("TO:<jo@example.com> notify=Success,delay ORCPT=rfc822;Jo+2BSmith@Example.com")
    assert (found.notify, found.orcpt) == ("SUCCESS,DELAY", "rfc822;Jo+2BSmith@Example.com")


def test_addresses_outside_ascii_need_smtputf8_and_get_an_a_label() -> None:
    assert refusal(commands.rcpt("TO:<jo@bücher.example>", False)) == "553 5.6.7"
    assert recipient("TO:<jörg@Bücher.example>", utf8=True) == RcptTo("jörg@Bücher.example", "xn--bcher-kva.example")
    assert recipient("TO:<יוסי@דוגמה.example>", utf8=True).domain == "xn--6dbbec0c.example"
    assert refusal(commands.rcpt("TO:<jo@\u2028.example>", True)) == "553 5.1.3"
    assert refusal(commands.rcpt("TO:<" + "ö" * 33 + "@example.com>", True)) == "553 5.1.3"


def test_orcpt_of_type_utf8_may_come_unencoded_with_smtputf8() -> None:
    argument = "TO:<jo@example.com> ORCPT=utf-8;jörg@example.com"
    assert recipient(argument, utf8=True).orcpt == "utf-8;jörg@example.com"
    assert refusal(commands.rcpt(argument, False)) == "501 5.5.4"


def test_mail_with_everything() -> None:
    argument = (
        "FROM:<App@Example.com> SIZE=1234 body=8bitmime SMTPUTF8 RET=hdrs ENVID=QQ+2B314159 AUTH=jo+3D1@example.com"
        " mt-priority=-3"
    )
    assert envelope(argument) == Envelope(
        "App@Example.com", ret="HDRS", envid="QQ+2B314159", size=1234, utf8=True, priority=-3
    )


@pytest.mark.parametrize("priority", range(-9, 10))
def test_every_priority_can_be_asked_for(priority: int) -> None:
    assert envelope(f"FROM:<a@example.com> MT-PRIORITY={priority}").priority == priority
    assert envelope("FROM:<a@example.com>").priority is None


@pytest.mark.parametrize("value", ["", "=", "=10", "=-10", "=+3", "=-0", "=03", "=3.0", "=x", "=3x", "=\u0663"])
def test_what_is_no_priority_is_refused(value: str) -> None:
    assert refusal(commands.mail(f"FROM:<a@example.com> SMTPUTF8 MT-PRIORITY{value}")) == "501 5.5.4"


def test_a_priority_given_twice_is_refused() -> None:
    assert refusal(commands.mail("FROM:<a@example.com> MT-PRIORITY=1 MT-PRIORITY=1")) == "501 5.5.4"


@pytest.mark.parametrize(
    ("value", "by", "trace"),
    [
        ("120;N", 120, False),
        ("+120;n", 120, False),
        ("0;N", 0, False),
        ("-5;NT", -5, True),
        ("999999999;nt", 999_999_999, True),
        ("-999999999;N", -999_999_999, False),
    ],
)
def test_by_when_it_should_be_delivered(value: str, by: int, trace: bool) -> None:
    found = envelope(f"FROM:<a@example.com> by={value}")
    assert (found.by, found.by_trace) == (by, trace)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "501 5.5.4"),
        ("=", "501 5.5.4"),
        ("=120", "501 5.5.4"),
        ("=;N", "501 5.5.4"),
        ("=1234567890;N", "501 5.5.4"),
        ("=1.5;N", "501 5.5.4"),
        ("=٣;N", "501 5.5.4"),
        ("=120;X", "501 5.5.4"),
        ("=120;NX", "501 5.5.4"),
        ("=--1;N", "501 5.5.4"),
        ("=0;R", "501 5.5.4"),
        ("=-1;RT", "501 5.5.4"),
        ("=1;R", "555 5.5.4"),
        ("=999999999;r", "555 5.5.4"),
        ("=1;N BY=1;N", "501 5.5.4"),
    ],
)
def test_mode_r_and_what_is_no_time_are_refused(value: str, said: str) -> None:
    assert refusal(commands.mail(f"FROM:<a@example.com> SMTPUTF8 BY{value}")) == said


def test_requiretls_is_known_under_tls_only() -> None:
    argument = "FROM:<a@example.com> requiretls"
    asked = commands.mail(argument, True)
    assert isinstance(asked, Envelope)
    assert asked.requiretls
    assert refusal(commands.mail(argument)) == "555 5.5.4"
    assert refusal(commands.mail("FROM:<a@example.com> REQUIRETLS=1", True)) == "501 5.5.4"
    assert not envelope("FROM:<a@example.com>").requiretls


def test_the_null_return_path_is_empty() -> None:
    assert envelope("FROM:<>").sender == ""
    assert envelope("FROM:<> RET=FULL AUTH=<>").ret == "FULL"


def test_smtputf8_counts_wherever_it_stands() -> None:
    assert envelope("FROM:<jörg@bücher.example> SMTPUTF8").sender == "jörg@bücher.example"


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("", "501 5.5.4"),
        ("FROM:app@example.com", "501 5.5.4"),
        ("FROM:<app>", "553 5.1.7"),
        ("FROM:<app@localhost>", "553 5.1.7"),
        ("FROM:<jörg@example.com>", "553 5.6.7"),
        ("FROM:<a@example.com> SIZE", "501 5.5.4"),
        ("FROM:<a@example.com> SIZE=x", "501 5.5.4"),
        ("FROM:<a@example.com> SIZE=-1", "501 5.5.4"),
        ("FROM:<a@example.com> SIZE=" + "1" * 21, "501 5.5.4"),
        ("FROM:<a@example.com> BODY=BINARYMIME", "501 5.5.4"),
        ("FROM:<a@example.com> SMTPUTF8=1", "501 5.5.4"),
        ("FROM:<a@example.com> RET=ALL", "501 5.5.4"),
        ("FROM:<a@example.com> ENVID=" + "x" * 101, "501 5.5.4"),
        ("FROM:<a@example.com> ENVID=a+zz", "501 5.5.4"),
        ("FROM:<a@example.com> AUTH=a=b", "501 5.5.4"),
        ("FROM:<a@example.com> FOO=1", "555 5.5.4"),
    ],
)
def test_a_bad_mail_is_refused(argument: str, expected: str) -> None:
    assert refusal(commands.mail(argument)) == expected


@pytest.mark.parametrize("name", ["app.example.com", "localhost", "WIN_PC", "[127.0.0.1]", "[IPv6:::1]"])
def test_names_that_may_introduce_themselves(name: str) -> None:
    assert commands.helo(name) == name


@pytest.mark.parametrize("name", ["", "a b", "a\tb", "büro", "a(b)", "x" * 256])
def test_names_that_a_received_field_cannot_bear(name: str) -> None:
    assert refusal(commands.helo(name)) == "501 5.5.4"


def test_bdat() -> None:
    assert commands.bdat("100") == commands.Chunk(100, False)
    assert commands.bdat("0 last") == commands.Chunk(0, True)
    for bad in ("", "x", "-1", "1 LAST x", "1LAST", "1" * 21, "١"):
        assert refusal(commands.bdat(bad)) == "501 5.5.4", bad


def test_auth() -> None:
    assert commands.auth("plain") == ("PLAIN", None)
    assert commands.auth("PLAIN AGEAYg==") == ("PLAIN", "AGEAYg==")
    assert commands.auth("LOGIN =") == ("LOGIN", "")
    assert refusal(commands.auth("")) == "501 5.5.4"
    assert refusal(commands.auth("PLAIN a b")) == "501 5.5.4"


def test_controls() -> None:
    assert not commands.has_controls("FROM:<a@b.example> שלום \u00ad")
    for control in ("\0", "\t", "\r", "\x7f", "\x85"):
        assert commands.has_controls(f"a{control}b")


@given(st.text(max_size=600))
def test_nothing_raises(text: str) -> None:
    assert isinstance(commands.mail("FROM:" + text), Envelope | Reply)
    assert isinstance(commands.rcpt("TO:<" + text, True), RcptTo | Reply)
    assert isinstance(commands.rcpt("TO:<a@example.com> " + text, True), RcptTo | Reply)
    assert isinstance(commands.bdat(text), commands.Chunk | Reply)
    assert isinstance(commands.auth(text), tuple | Reply)
    assert isinstance(commands.helo(text), str | Reply)
    assert commands.canonical_domain(text) is None or "." in text or "[" in text or not text.isascii()


_WORD = st.text(string.ascii_letters + string.digits + "!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=20)
_LABEL = st.text(string.ascii_letters + string.digits, min_size=1, max_size=20)


@given(st.lists(_WORD, min_size=1, max_size=3), st.lists(_LABEL, min_size=2, max_size=4))
def test_every_dot_string_address_passes_unchanged(words: list[str], labels: list[str]) -> None:
    local, domain = ".".join(words), ".".join(labels)
    found = recipient(f"TO:<{local}@{domain}>")
    assert (found.address, found.domain) == (f"{local}@{domain}", domain.lower())


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=25))
def test_every_quoted_local_part_passes_unchanged(text: str) -> None:
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert recipient(f"TO:<{quoted}@example.com>").address == f"{quoted}@example.com"
