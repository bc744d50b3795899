from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config import units
from relay.config.problems import Wrong
from relay.identity import Rate

READERS = [
    units.duration,
    units.positive_duration,
    units.rate,
    units.size,
    units.address,
    units.maybe_address,
    units.folder,
    units.nameserver,
    units.source_address,
    units.network,
    units.domain,
    units.sending_domain,
    units.maybe_domain,
    units.recipient,
    units.name,
    units.host_and_port,
    units.web_url,
    units.hook_url,
    units.mailbox,
    units.state_url,
    units.timezone,
]
ANYTHING = st.one_of(
    st.text(),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.dates(),
    st.lists(st.text()),
    st.dictionaries(st.text(), st.text()),
    st.from_regex(r"[0-9a-z.:/\[\]@* -]{0,40}", fullmatch=True),
)


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:",
        "redis://h",
        "redis://10.0.0.9:6379/0",
        "rediss://relay@redis.example:6380/1",
        "redis://[2001:db8::1]:6379",
        "redis+sentinel://s1.example/postlane",
        "rediss+sentinel://s1.example:26380,s2.example/postlane/1",
        "redis+sentinel://relay@10.0.0.7:26379,s2.example,s3.example:26380/my-master/1",
    ],
)
def test_places_of_state(text: str) -> None:
    assert units.state_url(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("sqlite:x", "redis://", "redis://h:port", "redis://h:65536", "redis://h/x", "redis://a b", "postgres://h", 5),
        *("redis+sentinel://h", "redis+sentinel://h/", "redis+sentinel://h,/m", "redis+sentinel://h:70000,g/m"),
        *("redis://a,b", "redis+sentinel://h/m/x"),
    ],
)
def test_what_is_no_place_of_state(text: object) -> None:
    with pytest.raises(Wrong, match="no place for state"):
        units.state_url(text)


@pytest.mark.parametrize(
    "text",
    ["redis://relay:geheim@h:6379/0", "rediss://:geheim@h", "redis+sentinel://a:b@h/m", "rediss+sentinel://a:b@h/m"],
)
def test_a_password_in_the_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Wrong, match="set password_file") as refused:
        units.state_url(text)
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@given(value=ANYTHING)
def test_whatever_stands_in_a_file_is_a_value_or_a_message(read: Callable[[object], object], value: object) -> None:
    with suppress(Wrong):
        read(value)


@pytest.mark.parametrize(
    ("text", "ms"), [("90s", 90_000), ("15m", 900_000), ("2h", 7_200_000), ("7d", 604_800_000), ("0d", 0)]
)
def test_durations(text: str, ms: int) -> None:
    assert units.duration(text) == ms


@given(number=st.integers(0, 10**9 - 1), unit=st.sampled_from("smhd"))
def test_every_duration_reads_back(number: int, unit: str) -> None:
    assert units.duration(f"{number}{unit}") == number * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[unit] * 1_000


@pytest.mark.parametrize(
    ("wrong", "such_as"),
    [
        ("24 hours", "24h"),
        ("30", "30m"),
        (30, "30m"),
        ("1 month", "30d"),
        ("2 weeks", "14d"),
        ("1 year", "365d"),
        ("5 MIN", "5m"),
        ("100ms", "100m"),
        ("soon", "15m"),
    ],
)
def test_a_wrong_duration_is_answered_with_a_right_one(wrong: object, such_as: str) -> None:
    with pytest.raises(Wrong) as raised:
        units.duration(wrong)
    assert raised.value.slug == "duration"
    assert raised.value.message.endswith(f'such as "{such_as}"')
    units.duration(such_as)


def test_no_time_is_no_time_to_wait() -> None:
    assert units.positive_duration("1s") == 1_000
    with pytest.raises(Wrong, match='"0s" is no time at all'):
        units.positive_duration("0s")


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("40/second", Rate(40, 1, "", "40/second")),
        ("6/minute", Rate(6, 60, "", "6/minute")),
        ("20000/hour", Rate(20000, 3600, "", "20000/hour")),
        ("2/day", Rate(2, 25 * 3600, "day", "2/day")),
        ("5/week", Rate(5, 169 * 3600, "week", "5/week")),
        ("8/month", Rate(8, 745 * 3600, "month", "8/month")),
        ("4/7d", Rate(4, 7 * 86400, "", "4/7d")),
        ("8/24h", Rate(8, 86400, "", "8/24h")),
    ],
)
def test_rates(text: str, rate: Rate) -> None:
    assert units.rate(text) == rate


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("40/s", '"40/s" is no rate; write "40/second"'),
        ("40/min", '"40/min" is no rate; write "40/minute"'),
        ("40/hours", '"40/hours" is no rate; write "40/hour"'),
        ("40/0d", '"40/0d" is no rate; write "40/second"'),
        ("0/day", '"0/day" would let nothing through; a rate is 1 or more'),
    ],
)
def test_a_wrong_rate_is_answered_with_a_right_one(wrong: str, message: str) -> None:
    with pytest.raises(Wrong) as raised:
        units.rate(wrong)
    assert raised.value.message == message


@pytest.mark.parametrize(("text", "octets"), [("25MB", 26_214_400), ("1 gb", 1 << 30), ("64KB", 65_536), ("9b", 9)])
def test_sizes(text: str, octets: int) -> None:
    assert units.size(text) == octets


@pytest.mark.parametrize("text", ["0MB", "25", "25 megs", "-1MB", "٢٥MB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(Wrong, match="is no size"):
        units.size(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:2525", "127.0.0.1", 2525),
        ("[::]:587", "::", 587),
        ("localhost:25", "127.0.0.1", 25),
        ("[::1]:0", "::1", 0),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert units.address(text) == (host, port)
    assert str(units.address(text)) == text.replace("localhost", "127.0.0.1")


@pytest.mark.parametrize(
    "text", ["::1:25", "[127.0.0.1]:25", "127.0.0.1", "127.0.0.1:65536", "relay:25", ":25", "[::]:"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(Wrong) as raised:
        units.address(text)
    assert raised.value.slug == "address"


@pytest.mark.parametrize(
    ("text", "normal"), [("127.0.0.1", "127.0.0.1:53"), ("127.0.0.1:5353", "127.0.0.1:5353"), ("::1", "[::1]:53")]
)
def test_name_servers(text: str, normal: str) -> None:
    assert units.nameserver(text) == normal


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Shop.Example", "shop.example"),
        ("shop.example.", "shop.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("דואר.example", "xn--4dbfg1f.example"),
        ("localhost", "localhost"),
        ("_dmarc.shop.example", "_dmarc.shop.example"),
    ],
)
def test_domains_become_a_labels(text: str, normal: str) -> None:
    assert units.domain(text) == normal


@pytest.mark.parametrize(
    "text", ["", "a b", "shop..example", "-a.example", "x" * 64, "ab." * 90 + "c", "\u200d.example"]
)
def test_what_is_no_domain(text: str) -> None:
    with pytest.raises(Wrong, match="is no domain name"):
        units.domain(text)


def test_any_domain_is_for_credentials_only() -> None:
    assert units.sending_domain("*") == "*"
    with pytest.raises(Wrong):
        units.domain("*")


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Dana@Bücher.example", "dana@xn--bcher-kva.example"),
        (" shop.example ", "shop.example"),
        ("*@Shop.example", "*@shop.example"),
        ("*.shop.example", "*.shop.example"),
        ('"d*a"@*', '"d*a"@*'),
        ("*", "*"),
    ],
)
def test_recipients(text: str, normal: str) -> None:
    assert units.recipient(text) == normal


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("@shop.example", 'write "shop.example"'),
        ("dana@", "such as"),
        ("", "such as"),
        ("dana b@shop.example", "such as"),
        ("Dana <dana@shop.example>", "such as"),
        ("dana@shop..example", "such as"),
        (["a"], "such as"),
    ],
)
def test_what_is_no_recipient(value: object, hint: str) -> None:
    with pytest.raises(Wrong, match=f"is no recipient.*{hint}"):
        units.recipient(value)


def test_networks() -> None:
    assert units.network("10.20.0.17") == ip_network("10.20.0.17/32")
    assert units.network("2001:db8::/32") == ip_network("2001:db8::/32")


@pytest.mark.parametrize("text", ["smtp.example.net:587", "192.0.2.1:25", "[2001:db8::1]:25", ""])
def test_relay_hosts(text: str) -> None:
    assert units.host_and_port(text) == text


def test_urls_lose_their_last_slash() -> None:
    assert units.web_url("https://mail.shop.example/") == "https://mail.shop.example"
    assert units.web_url("") == ""


@given(st.text(st.characters(codec="ascii", categories=["Ll", "Nd"]), min_size=1, max_size=63))
def test_names_are_kept(text: str) -> None:
    assert units.name(text) == text


@pytest.mark.parametrize("text", ["Crm", "a+b", "a b", "", "-a", "x" * 64, "קרם"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(Wrong) as raised:
        units.name(text)
    assert raised.value.slug == "name"


@pytest.mark.parametrize(
    "url", ["", "https://chat.shop.example", "https://chat.shop.example/h/?key=a&b=%20", "http://10.0.0.9:9093/alerts"]
)
def test_a_hook_s_url_is_taken_as_it_is(url: str) -> None:
    assert units.hook_url(url) == url


@pytest.mark.parametrize(
    "url", ["chat.shop.example", "ftp://a.example/", "https://a:b@c.example/", "https://a.example/#x", "https://"]
)
def test_what_is_no_hook_s_url(url: str) -> None:
    with pytest.raises(Wrong, match="is no URL"):
        units.hook_url(url)


def test_a_mailbox_is_one_address() -> None:
    assert units.mailbox(" Postmaster@Bücher.example ") == "Postmaster@xn--bcher-kva.example"
    for text in (
        "noa",
        "*@a.example",
        "@a.example",
        "a b@c.example",
        "a,b@c.example",
        "ü@a.example",
        "a@",
        "a@b@c.example",
        5,
    ):
        with pytest.raises(Wrong, match="is no address"):
            units.mailbox(text)


def test_an_address_of_our_own_may_be_its_local_part_alone() -> None:
    assert units.own_address(" FBL@Bücher.example ") == "fbl@xn--bcher-kva.example"
    assert units.own_address(" Complaints+google ") == "complaints+google"
    for text in ("", "a b", "@a.example", "a@", "ü", "(x)", "x" * 65, 5):
        with pytest.raises(Wrong, match="is no address"):
            units.own_address(text)
