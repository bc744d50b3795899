"""Whose mail it is and what it is, or why it may not enter."""

from dataclasses import replace

from relay.header import split
from relay.identity import Brand, Credential
from relay.message import MailClass
from relay.policy.decide import Decision, Law, Refusal, decide
from relay.policy.letter import Letter
from relay.policy.patterns import parse
from relay.policy.streams import Match, Stream, Streams
from relay.times import LATEST

SHOP = Credential(
    "shop-web", MailClass.TRANSACTIONAL, frozenset({"arava.example"}), streams=("order", "password-reset")
)
CRM = Credential("crm", MailClass.SERVICE, frozenset({"arava.example"}))
AUTO = Credential("crm", None, frozenset({"arava.example"}))
NONE = Streams()
NOW = 1_795_262_400_000  # 2026-11-21T12:00:00Z
BRANDS = {"arava": Brand("arava", domains=frozenset({"arava.example"}))}


STREAMS = Streams(
    [
        (
            Stream("letters", "policies/streams.toml:7", MailClass.MARKETING, "marom", frozenset({"x-shop"})),
            Match(texts={"header.list-unsubscribe": (parse("*"),)}),
        ),
        (
            Stream("rest", "policies/streams.toml:12"),
            Match(frozenset({"crm"}), {"subject": (parse("order", words=True),)}),
        ),
        (Stream("order", "policies/streams.toml:15", MailClass.SERVICE), None),
        (Stream("crm", "policies/streams.toml:18", MailClass.MARKETING, "marom"), None),
    ]
)


def decided(
    header: str, credential: Credential = SHOP, stream: str = "", streams: Streams = NONE
) -> Decision | Refusal:
    fields, _ = split(header.replace("\n", "\r\n").encode() + b"\r\n\r\nbody\r\n")
    subject = next((f.value.decode() for f in fields if f.name == "subject"), "")
    law = Law("abc123", "postmaster@relay.example", BRANDS, streams)
    return decide(Letter(fields, subject=subject), credential, stream, NOW, law)


def accepted(header: str, credential: Credential = SHOP, stream: str = "", streams: Streams = NONE) -> Decision:
    decision = decided(header, credential, stream, streams)
    assert isinstance(decision, Decision), decision
    return decision


def refused(header: str, credential: Credential = SHOP, stream: str = "") -> str:
    decision = decided(header, credential, stream)
    assert isinstance(decision, Refusal), decision
    return f"{decision.reply} [{decision.reason}]"


def test_stream_is_the_credential_unless_the_app_names_one_it_may_use() -> None:
    assert accepted("From: a@arava.example").stream == "shop-web"
    assert accepted("From: a@arava.example\nX-Postlane-Stream: order").stream == "order"
    assert accepted("From: a@arava.example", stream="password-reset").stream == "password-reset"
    assert accepted("From: a@arava.example\nX-Postlane-Stream: order", stream="password-reset").stream == "order"


def test_the_first_rule_that_holds_gives_the_stream_its_class_its_brand_and_its_place() -> None:
    decision = accepted("From: a@arava.example\nList-Unsubscribe: <x>", streams=STREAMS)
    assert (decision.stream, decision.mail_class, decision.brand) == ("letters", MailClass.MARKETING, "marom")
    assert decision.rule == "policies/streams.toml:7"
    assert decision.also_remove == {"x-shop"}


def test_what_a_stream_leaves_open_the_credential_decides() -> None:
    decision = accepted("From: a@arava.example\nSubject: Order 7", CRM, streams=STREAMS)
    assert (decision.stream, decision.mail_class, decision.brand) == ("rest", MailClass.SERVICE, "arava")
    evidence = accepted("From: a@arava.example\nSubject: Order 7\nPrecedence: bulk", AUTO, streams=STREAMS)
    assert (evidence.stream, evidence.mail_class) == ("rest", None)


def test_the_apps_own_word_comes_before_the_rules() -> None:
    decision = accepted("From: a@arava.example\nList-Unsubscribe: <x>", stream="order", streams=STREAMS)
    assert (decision.stream, decision.mail_class, decision.rule) == ("order", MailClass.SERVICE, None)
    # Listed, but not defined: the credential's class.
    assert (
        accepted("From: a@arava.example", stream="password-reset", streams=STREAMS).mail_class
        is MailClass.TRANSACTIONAL
    )


def test_mail_of_no_rule_belongs_to_the_stream_named_as_the_credential_with_its_class() -> None:
    decision = accepted("From: a@arava.example", CRM, streams=STREAMS)
    assert (decision.stream, decision.mail_class, decision.brand) == ("crm", MailClass.SERVICE, "marom")
    assert decision.rule is None


def test_unlisted_stream_is_refused_and_names_the_listed_ones() -> None:
    assert refused("From: a@arava.example\nX-Postlane-Stream: newsletters") == (
        '550 5.7.1 No stream "newsletters" for shop-web; it may use: order, password-reset [stream]'
    )


def test_from_outside_the_domains_names_the_domain_and_whom_to_ask() -> None:
    assert refused("From: wordpress@blog.example") == (
        "550 5.7.1 From domain blog.example is not one of shop-web's: arava.example. "
        "Ask postmaster@relay.example [from-domain]"
    )


def test_every_mailbox_of_from_and_sender_is_checked() -> None:
    assert "blog.example" in refused("From: a@arava.example, b@blog.example")
    assert "[sender-domain]" in refused("From: a@arava.example\nSender: b@blog.example")
    assert accepted("From: a@arava.example\nSender: b@arava.example").author == "a@arava.example"


def test_exactly_one_from_field() -> None:
    assert refused("Subject: x") == "550 5.6.0 The message has no From field [from]"
    assert "2 From fields" in refused("From: a@arava.example\nFrom: b@arava.example")
    assert "2 Sender fields" in refused("From: a@arava.example\nSender: a@arava.example\nSender: b@arava.example")
    assert "no list of addresses" in refused("From: ceo@bank.example <a@arava.example>")


def test_a_loop_is_refused() -> None:
    hops = "\n".join(["Received: from a by b"] * 51)
    assert refused(f"{hops}\nFrom: a@arava.example").startswith("554 5.4.6")
    assert accepted("Received: from a by b\nFrom: a@arava.example")


def test_brand_comes_from_the_from_domain_or_its_parent() -> None:
    anyone = Credential("local", None, frozenset({"*"}))
    assert accepted("From: a@arava.example", anyone).brand == "arava"
    assert accepted("From: a@news.arava.example", anyone).brand == "arava"
    assert accepted("From: a@other.example", anyone).brand == ""
    assert accepted("From: a@arava.example", Credential("x", None, frozenset({"*"}), brand="marom")).brand == "marom"


def test_class_auto_is_left_to_the_evidence() -> None:
    assert accepted("From: a@b.example", Credential("local", None, frozenset({"*"}))).mail_class is None


def test_what_is_done_about_a_claim_is_the_stream_s_word_else_the_default() -> None:
    rule = Match(texts={"subject": (parse("order", words=True),)})
    streams = Streams(
        [
            (Stream("order", "policies/streams.toml:3", on_contradiction="reroute"), rule),
            (Stream("password-reset", "policies/streams.toml:9", on_contradiction="trust"), None),
            (Stream("crm", "policies/streams.toml:12", on_contradiction="refuse"), None),
        ],
        "enforce",
    )
    assert accepted("From: a@arava.example\nSubject: Your order", streams=streams).on_contradiction == "reroute"
    assert accepted("From: a@arava.example", stream="password-reset", streams=streams).on_contradiction == "trust"
    assert accepted("From: a@arava.example", CRM, streams=streams).on_contradiction == "refuse"
    assert accepted("From: a@arava.example", streams=streams).on_contradiction == "enforce"
    assert accepted("From: a@arava.example").on_contradiction == "flag"
    assert [streams.doing(name) for name in ("order", "crm", "other")] == ["reroute", "refuse", "enforce"]
    assert streams.ask
    assert Streams([(Stream("order", "", on_contradiction="flag"), None)], "trust").ask
    assert not Streams((), "trust").ask


def test_campaign_and_metadata_are_kept_and_bounded() -> None:
    many = "\n".join(f"X-Postlane-Metadata-K{i}: v{i}" for i in range(12))
    decision = accepted(f"From: a@arava.example\nX-Postlane-Campaign: weekend-47\n{many}")
    assert decision.campaign == "weekend-47"
    assert len(decision.metadata) == 10
    assert decision.metadata["k0"] == "v0"


def test_replies_are_ascii_whatever_the_app_wrote() -> None:
    assert refused("From: a@arava.example\nX-Postlane-Stream: מבצע").isascii()


def test_the_decision_tells_who_said_it_and_what_was_looked_at() -> None:
    own = accepted("From: a@arava.example\nX-Postlane-Stream: order\nList-Unsubscribe: <x>", streams=STREAMS)
    assert (own.named, own.said, own.noted) == (True, STREAMS.named["order"], {})
    ruled = accepted("From: a@arava.example\nList-Unsubscribe: <x>", streams=STREAMS)
    assert (ruled.named, ruled.said) == (False, STREAMS.named["letters"])
    assert ruled.noted == {"headers": {"list-unsubscribe": ["<x>"]}}
    left = accepted("From: a@arava.example", CRM, streams=STREAMS)
    assert (left.named, left.said, left.rule) == (False, STREAMS.named["crm"], None)
    assert left.noted == {"headers": {"list-unsubscribe": []}}
    assert accepted("From: a@arava.example").noted == {}


def test_other_domains_that_wrote_it_are_told() -> None:
    both = replace(SHOP, domains=frozenset({"arava.example", "marom.example", "kinor.example"}))
    one = accepted("From: a@arava.example, b@marom.example, c@arava.example\nSender: d@kinor.example", both)
    assert (one.author, one.author_domain) == ("a@arava.example", "arava.example")
    assert one.co_authors == ("marom.example", "kinor.example")
    assert accepted("From: a@arava.example\nSender: b@arava.example", both).co_authors == ()


def test_an_app_may_say_until_when_its_mail_is_worth_sending() -> None:
    assert accepted("From: a@arava.example").valid_until is None
    for written, ms in (("2026-11-21T14:30:00+02:00", 1_800_000), ("30m", 1_800_000), ("2020-01-01T00:00:00Z", None)):
        until = accepted(f"From: a@arava.example\nX-Postlane-Valid-Until: {written}").valid_until
        assert until == (NOW + ms if ms else 1_577_836_800_000)
    assert accepted("From: a@arava.example\nX-Postlane-Valid-Until: 999999999d").valid_until == LATEST


def test_a_time_that_cannot_be_read_is_refused_and_named() -> None:
    assert refused("From: a@arava.example\nX-Postlane-Valid-Until: tomor\trow") == (
        "550 5.6.0 X-Postlane-Valid-Until is no time such as 2026-11-21T12:00:00Z (RFC 3339) or a duration such as 2h: "
        '"tomor?row" [valid-until]'
    )
    assert '(RFC 3339) or a duration such as 2h: "" [' in refused("From: a@arava.example\nX-Postlane-Valid-Until:")


def test_an_app_may_say_when_its_mail_is_to_be_sent() -> None:
    def said(*fields: str) -> tuple[int | None, int | None]:
        header = "".join(f"\nX-Postlane-{field}" for field in fields)
        decision = accepted("From: a@arava.example" + header)
        return decision.send_at, decision.valid_until

    hour = 3_600_000
    assert said() == (None, None)
    assert said("Send-At: 2026-11-21T15:00:00+02:00") == (NOW + hour, None)
    assert said("Valid-Until: 1h", "Send-At: 2026-11-21T13:00:00Z") == (NOW + hour, NOW + 2 * hour)
    assert said("Valid-Until: 1h", "Send-At: 2026-11-21T11:00:00Z") == (NOW - hour, NOW + hour)
    assert said("Valid-Until: 2026-11-21T12:00:00Z", "Send-At: 2026-11-21T13:00:00Z") == (NOW + hour, NOW)
    assert said("Send-At: 2026-12-21T12:00:00Z") == (NOW + 720 * hour, None)


def test_what_is_no_time_or_too_far_ahead_is_refused() -> None:
    assert refused("From: a@arava.example\nX-Postlane-Send-At: 2026-12-21T12:00:00.001Z") == (
        '550 5.6.0 X-Postlane-Send-At is more than 30 days ahead: "2026-12-21T12:00:00.001Z" [send-at]'
    )
    assert refused("From: a@arava.example\nX-Postlane-Send-At: 2h") == (
        '550 5.6.0 X-Postlane-Send-At is no time such as 2026-11-21T12:00:00Z (RFC 3339): "2h" [send-at]'
    )
