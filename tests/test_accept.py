"""Story 1 over fakes: what is put when 250 is said, and why not."""

from dataclasses import replace
from datetime import UTC

import dkim
import pytest

from relay.accept import accept
from relay.edge.submission import Submission
from relay.event import iso
from relay.fate import Files
from relay.identity import Brand, Rate
from relay.message import RUNAWAY, MailClass
from relay.outcome import Reply
from relay.person import Wish
from relay.policy.caps import Cap, Caps
from relay.policy.checks import BUILT_IN, Checks, Level, built_in
from relay.policy.decide import Refusal
from relay.policy.evidence.classify import Evidence
from relay.policy.feedback_id import FeedbackIds
from relay.policy.patterns import parse
from relay.policy.runaway import Guard
from relay.policy.streams import Match, Stream, Streams
from relay.policy.suspension import Suspension, given
from relay.policy.windows import Window
from relay.replay import Undecided, again, answer, for_the_past, messages
from relay.room import mark_of
from relay.state.places import Person
from tests.support.house import LETTER, NOW, SHOP, Rig, submission
from tests.support.signatures import both_keys, verdicts


async def taken(rig: Rig, one: Submission) -> str:
    answer = await accept(one, rig.acceptance())
    assert isinstance(answer, Reply), answer
    return str(answer)


async def refused(rig: Rig, one: Submission) -> str:
    answer = await accept(one, rig.acceptance())
    assert isinstance(answer, Refusal), answer
    assert not rig.spool.puts
    assert not rig.offered
    return f"{answer.reply} [{answer.reason}]"


async def test_the_answer_names_id_stream_and_class_and_the_message_is_put_and_offered() -> None:
    rig = Rig()
    answer = await taken(rig, submission(LETTER.replace(b"Subject", b"X-Postlane-Stream: order\r\nSubject")))
    (message, deliveries), *_ = rig.spool.puts[0].put
    assert answer == f"250 2.0.0 OK {message.id} stream=order class=transactional"
    assert rig.offered == deliveries
    assert [event["type"] for event in rig.spool.events()] == ["accepted"]
    assert message.content is not None
    assert b"X-Postlane" not in message.content


async def test_what_leaves_is_signed_by_every_active_key_over_all_that_was_added() -> None:
    rig = Rig()
    await taken(rig, submission())
    message, deliveries = rig.spool.puts[0].put[0]
    assert message.content is not None
    letter = deliveries[0].head + message.content
    assert verdicts(letter, both_keys("a.example"), 2) == [True, True]
    assert dkim.DKIM(letter).headers[0][0] == b"X-Postlane-Trace"
    assert b"\r\nDate: " in letter
    assert b"\r\nMessage-ID: <" in letter
    assert [s["a"] for s in message.signed] == [key.algorithm for key in both_keys("a.example")]


async def test_mail_says_by_what_google_may_tell_its_complaints_and_that_is_signed() -> None:
    rig = Rig()
    house = rig.acceptance()
    house.law = replace(house.law, feedback_ids=FeedbackIds(["a"], ["shop"]))
    assert isinstance(
        await accept(submission(LETTER.replace(b"To:", b"X-Postlane-Campaign: May 7\r\nTo:")), house), Reply
    )
    ((message, (delivery,)),) = rig.spool.puts[0].put
    assert message.content is not None
    letter = delivery.head + message.content
    assert f"\r\nFeedback-ID: May-7:shop:{'a' if message.brand else ''}:postlane\r\n".encode() in letter
    assert verdicts(letter, both_keys("a.example"), 2) == [True, True]
    forged = letter.replace(b"Feedback-ID: May-7", b"Feedback-ID: May-8")
    assert verdicts(forged, both_keys("a.example"), 2) == [False, False]


async def test_one_message_many_deliveries_each_with_its_own_trace() -> None:
    rig = Rig()
    await taken(rig, submission(recipients=["a@b.example", "c@d.example", "e@f.example"]))
    message, deliveries = rig.spool.puts[0].put[0]
    assert message.many
    assert [d.site for d in deliveries] == ["b.example", "d.example", "f.example"]
    assert len({d.head for d in deliveries}) == 3
    assert len({d.head.partition(b"\r\n")[2] for d in deliveries}) == 1  # one signature serves all
    assert [event["rcpt"] for event in rig.spool.events()] == [0, 1, 2]


async def test_mail_leaves_by_a_return_path_of_ours_where_its_brand_has_one() -> None:
    rig = Rig()
    rig.return_paths["a"] = "bounce.a.example"
    await accept(submission(recipients=["x@b.example", "y@b.example"]), rig.acceptance())
    ((message, deliveries),) = rig.spool.puts[0].put
    assert [one.mail_from for one in deliveries] == [f"b-{message.id}-{n}@bounce.a.example" for n in range(2)]
    assert {one.sender for one in deliveries} == {submission().envelope.sender}
    assert all(one.ours for one in deliveries)
    null = submission()
    null.envelope.sender = ""
    await accept(null, rig.acceptance())
    ((_, (delivery,)),) = rig.spool.puts[1].put
    assert (delivery.mail_from, delivery.ours) == ("", False), "what comes back to nobody comes back to nobody"


async def test_a_full_disk_is_452_and_nothing_is_offered() -> None:
    rig = Rig()
    rig.spool.full = True
    assert (await taken(rig, submission())).startswith("452 4.3.1")
    assert not rig.offered


async def test_no_key_no_mail_unless_the_brand_sends_unsigned() -> None:
    rig = Rig()
    foreign = submission(LETTER.replace(b"a.example", b"c.example"), replace(SHOP, domains=frozenset({"*"})))
    assert "postlane keys generate c.example [unsigned]" in await refused(rig, foreign)
    rig.brands = {"c": Brand("c", domains=frozenset({"c.example"}), unsigned="send")}
    assert (await taken(rig, foreign)).startswith("250 ")
    message, deliveries = rig.spool.puts[0].put[0]
    assert message.signed == []
    assert b"DKIM-Signature" not in deliveries[0].head


async def test_refusals_of_policy_put_nothing() -> None:
    assert "[from-domain]" in await refused(Rig(), submission(LETTER.replace(b"a.example", b"c.example")))


async def test_the_rule_that_chose_the_stream_is_in_the_event_and_its_fields_do_not_leave() -> None:
    rig = Rig()
    rule = Stream("order", "policies/streams.toml:38", MailClass.SERVICE, also_remove=frozenset({"x-shop"}))
    several = {
        "subject": (parse("order", words=True),),
        "recipient_domain": (parse("d.example"),),
        "sender": (parse("a.example"),),
    }
    rig.streams = Streams([(rule, Match(texts=several))])
    one = submission(LETTER.replace(b"To:", b"X-Shop: 7\r\nTo:"), recipients=["a@b.example", "c@d.example"])
    assert (await taken(rig, one)).endswith("stream=order class=service")
    message, deliveries = rig.spool.puts[0].put[0]
    assert message.content is not None
    assert b"X-Shop" not in message.content
    assert [event["rule"] for event in rig.spool.events()] == ["policies/streams.toml:38"] * 2
    assert verdicts(deliveries[0].head + message.content, both_keys("a.example"), 2) == [True, True]
    await taken(rig, submission())
    assert rig.spool.events()[-1]["rule"] is None


QUOTA = replace(SHOP, quota=Rate(10, 3600, "", "10/hour"))


async def test_over_quota_is_paced_in_the_order_it_came() -> None:
    rig = Rig()
    rig.quotas.wait = 60_000
    await taken(rig, submission(credential=QUOTA, recipients=["a@b.example", "c@d.example"]))
    rig.quotas.wait = 0  # there would be a permit again, but older mail stands in line
    await taken(rig, submission(credential=QUOTA))
    due = [d.next_attempt - NOW for change in rig.spool.puts for _, ds in change.put for d in ds]
    assert due == [60_000, 420_000, 780_000]
    assert all(d.quota for d in rig.offered)
    assert rig.quotas.taken == [("shop", 2, "Asia/Jerusalem")]
    assert rig.spool.events()[0]["over_quota"] is True
    assert rig.spool.events()[0]["until"] == "2026-11-21T13:26:31.104Z"


async def test_over_quota_is_refused_where_the_credential_says_so() -> None:
    rig = Rig()
    rig.quotas.wait = 339_001
    strict = replace(QUOTA, over_quota="refuse")
    assert await refused(rig, submission(credential=strict)) == "450 4.7.1 shop is over 10/hour; again in 340 s [quota]"
    many = submission(credential=strict, recipients=[f"r{i}@b.example" for i in range(11)])
    assert (await refused(rig, many)).startswith("550 5.5.3 11 recipients are more than shop may have at all: 10/hour")


@pytest.mark.parametrize("mail_class", [MailClass.TRANSACTIONAL, MailClass.SERVICE, MailClass.MARKETING])
async def test_only_transactional_mail_asks_for_a_permit_that_cannot_wait(mail_class: MailClass) -> None:
    rig = Rig()
    await taken(rig, submission(credential=replace(QUOTA, mail_class=mail_class)))
    assert rig.quotas.urgent is (mail_class is MailClass.TRANSACTIONAL)


async def test_within_quota_goes_now() -> None:
    rig = Rig()
    await taken(rig, submission(credential=QUOTA))
    assert rig.offered[0].next_attempt == NOW
    assert not rig.offered[0].quota


OFFER = Evidence(
    MailClass.MARKETING,
    0.8349,
    "0ffe12345678",
    (("percentage", "text", "", (0.0, 0.0, 0.7)), ("discount", "subject", "", (0.0, 0.0, 3.6))),
)


async def test_where_the_class_is_said_the_event_says_what_it_looks_like() -> None:
    rig = Rig()
    rig.evidence = OFFER
    assert (await taken(rig, submission())).endswith("class=transactional")
    event = rig.spool.events()[0]
    assert (event["class"], event["claimed"], event["contradiction"]) == ("transactional", "transactional", None)
    assert (event["judged"], event["confidence"], event["skeleton"]) == ("marketing", 0.83, "0ffe12345678")
    assert event["evidence"] == ["discount", "percentage"]
    assert "remembered" not in event


async def test_where_the_app_is_trusted_the_evidence_is_not_asked() -> None:
    rig = Rig()
    rig.streams = Streams((), "trust")
    await taken(rig, submission())
    assert rig.asked == []
    event = rig.spool.events()[0]
    assert (event["claimed"], event["contradiction"]) == ("transactional", None)
    assert not {"judged", "confidence", "skeleton", "evidence"} & set(event)


async def test_what_was_passed_over_is_marked_in_its_event() -> None:
    rig = Rig()
    for _ in range(13):
        await taken(rig, submission())
    assert [event.get("remembered", False) for event in rig.spool.events()] == [False] * 12 + [True]
    last = rig.spool.events()[-1]
    assert (last["judged"], last["confidence"], last["skeleton"]) == ("transactional", 0.98, "5ce1e7000001")
    assert last["evidence"] == []


@pytest.mark.parametrize(
    ("act", "done", "mail_class"),
    [("flag", "flagged", "transactional"), ("reroute", "rerouted", "marketing"), ("enforce", "enforced", "marketing")],
)
async def test_the_answer_the_message_and_its_events_have_the_class_that_counts(
    act: str, done: str, mail_class: str
) -> None:
    rig = Rig()
    rig.evidence, rig.streams = OFFER, Streams((), act)
    for _ in range(4):
        assert (await taken(rig, submission())).endswith("class=transactional")
    assert (await taken(rig, submission(recipients=["a@b.example", "c@d.example"]))).endswith(f"class={mail_class}")
    message, deliveries = rig.spool.puts[-1].put[0]
    assert (message.mail_class.label, message.contradiction) == (mail_class, done)
    assert {delivery.lane[0] for delivery in deliveries} == {message.mail_class}
    for event in rig.spool.events()[-2:]:
        assert (event["class"], event["claimed"], event["contradiction"]) == (mail_class, "transactional", done)


async def test_what_an_app_is_refused_for_its_claim_takes_no_place() -> None:
    rig = Rig()
    rig.evidence, rig.streams = OFFER, Streams((), "refuse")
    for _ in range(4):
        await taken(rig, submission())
    answer = await accept(submission(credential=QUOTA), rig.acceptance())
    assert isinstance(answer, Refusal)
    assert (answer.reply.code, answer.reply.enhanced, answer.reason) == (550, "5.7.1", "contradiction")
    assert len(rig.spool.puts) == len(rig.offered) == 4
    assert rig.quotas.taken == []


async def test_class_auto_is_what_the_evidence_says_asked_once_for_all_recipients() -> None:
    rig = Rig()
    rig.evidence = OFFER
    everybody = submission(recipients=["a@b.example", "c@d.example"], credential=replace(SHOP, mail_class=None))
    assert (await taken(rig, everybody)).endswith("class=marketing")
    assert rig.asked == [("shop", 2, NOW)]
    for event in rig.spool.events():
        assert (event["class"], event["confidence"], event["skeleton"]) == ("marketing", 0.83, "0ffe12345678")
        assert event["evidence"] == ["discount", "percentage"]


def asking(level: Level) -> Rig:
    """For a name beside the address, which it has not, and for a DKIM key, which there is."""
    rig = Rig()
    names = ("alignment", "sender-identified")
    rig.checks = {"a": Checks([(BUILT_IN[name], level, built_in(name, [], [])) for name in names])}
    return rig


NAMELESS = LETTER.replace(b"Shop <shop@a.example>", b"shop@a.example")


@pytest.mark.parametrize(("level", "flagged"), [("warn", {}), ("flag", {("a", "sender-identified"): 1})])
async def test_a_check_that_is_not_passed_stands_in_the_event_and_counts_if_it_is_to(
    level: Level, flagged: dict[tuple[str, str], int]
) -> None:
    rig = asking(level)
    house = rig.acceptance()
    assert (await accept(submission(NAMELESS, recipients=["a@b.example", "c@d.example"]), house)).code == 250  # type: ignore[union-attr]
    assert [event["checks"] for event in rig.spool.events()] == 2 * [[{"name": "sender-identified", "level": level}]]
    assert rig.flags.totals == flagged
    assert (await accept(submission(), house)).code == 250  # type: ignore[union-attr]
    assert "checks" not in rig.spool.events()[2]


async def test_what_could_not_be_saved_counts_when_it_comes_again() -> None:
    rig = asking("flag")
    rig.spool.full = True
    house = rig.acceptance()
    await accept(submission(NAMELESS), house)
    assert rig.flags.totals == {}


async def test_a_check_may_refuse() -> None:
    said = await refused(asking("refuse"), submission(NAMELESS))
    assert said == (
        "550 5.7.1 Check sender-identified of brand a, transactional mail: From has no name beside the address "
        "(CAN-SPAM, 15 U.S.C. 7704(a)(1); Israel, Communications Law 1982, 30A(e)) [check]"
    )


async def test_the_event_tells_what_plan_needs_to_decide_again() -> None:
    rig = Rig()
    rules = Match(texts={"header.x-job": (parse("points-*"),), "header.x-new": (parse("*"),)})
    rig.streams = Streams([(Stream("points", "policies/streams.toml:1"), rules), (Stream("order", ""), None)])
    await taken(
        rig, submission(LETTER.replace(b"Subject", b"X-Job: points-7\r\nSubject"), recipients=["a@b.example"] * 2)
    )
    first, second = rig.spool.events()
    assert first["headers"] == second["headers"] == {"x-job": ["points-7"], "x-new": []}
    assert not {"named", "co_authors", "attachments"} & first.keys()
    await taken(rig, submission(LETTER.replace(b"Subject", b"X-Postlane-Stream: order\r\nSubject")))
    *_, named = rig.spool.events()
    assert named["named"] is True
    assert "headers" not in named


async def test_other_domains_in_from_are_in_the_event() -> None:
    rig = Rig()
    wide = replace(SHOP, domains=frozenset({"*"}))
    await taken(rig, submission(LETTER.replace(b"\r\nSubject", b"\r\nSender: x@c.example\r\nSubject"), wide))
    (event,) = rig.spool.events()
    assert event["co_authors"] == ["c.example"]
    assert "headers" not in event


async def test_what_was_recorded_decides_the_same_again() -> None:
    rig = Rig()
    rules = Match(texts={"header.x-job": (parse("points-*"),), "recipient_domain": (parse("d.example"),)})
    rig.streams = Streams([(Stream("points", "policies/streams.toml:1", MailClass.SERVICE), rules)])
    one = submission(
        LETTER.replace(b"Subject", b"X-Job: points-7\r\nSubject"), recipients=["a@b.example", "c@d.example"]
    )
    await taken(rig, one)
    (message,) = messages(rig.spool.events())
    files = Files("v", rig.acceptance().law, {"shop": SHOP}, rig.keys_for, {}, {}, rig.routes)
    found = again(message, for_the_past(files))
    assert not isinstance(found, Undecided)
    assert answer(found) == ("points", "service", "a", "")


STALE = Stream("shop", "policies/streams.toml:1", valid_for=60_000)


def saying(field: str) -> bytes:
    return LETTER.replace(b"Subject", b"X-Postlane-" + field.encode() + b"\r\nSubject")


async def test_what_its_app_wants_sent_no_more_is_taken_and_withheld_at_once() -> None:
    rig = Rig()
    one = submission(saying("Valid-Until: 2026-11-21T13:25:00Z"), recipients=["a@b.example", "c@d.example"])
    assert (await taken(rig, one)).startswith("250 2.0.0 OK ")
    assert (rig.spool.puts[0].put, rig.offered) == ([], [])
    events = rig.spool.events()
    assert [(event["type"], event["rcpt"]) for event in events] == [
        ("accepted", 0), ("accepted", 1), ("withheld", 0), ("withheld", 1),
    ]  # fmt: skip
    assert events[0]["valid_until"] == "2026-11-21T13:25:00.000Z"
    assert (events[3]["reason"], events[3]["at"]) == ("stale", "accept")
    assert events[3]["detail"] == "X-Postlane-Valid-Until ended 2026-11-21T13:25:00.000Z"


async def test_who_asked_is_told_that_it_was_withheld_in_the_same_transaction() -> None:
    rig = Rig()
    one = submission(saying("Valid-Until: 0s"), recipients=["a@b.example", "c@d.example"])
    one.envelope.recipients[1].notify = "FAILURE"
    await taken(rig, one)
    ((message, (note,)),) = rig.spool.puts[0].put
    assert (message.stream, note.recipient, note.sender) == ("dsn", "shop@a.example", "")
    assert rig.offered == [note]
    assert message.content is not None
    assert b"rfc822; c@d.example" in message.content
    assert b"Subject: Order 77" in message.content
    assert [event["type"] for event in rig.spool.events()] == [
        "accepted",
        "accepted",
        "withheld",
        "withheld",
        "accepted",
    ]


async def test_a_full_disk_is_452_for_what_would_be_withheld_too() -> None:
    rig = Rig()
    rig.spool.full = True
    assert (await taken(rig, submission(saying("Valid-Until: 0s")))).startswith("452 4.3.1")


async def test_what_still_makes_sense_is_sent_and_keeps_its_app_s_word() -> None:
    rig = Rig()
    rig.streams = Streams([(STALE, None)])
    await taken(rig, submission(saying("Valid-Until: 1s")))
    ((message, (delivery,)),) = rig.spool.puts[0].put
    assert (message.valid_until, delivery.next_attempt) == (NOW + 1_000, NOW)
    assert message.content is not None
    assert b"Valid-Until" not in message.content


async def test_what_is_paced_is_looked_at_again_when_its_time_is_over_at_the_latest() -> None:
    rig = Rig()
    rig.streams = Streams([(STALE, None)])
    rig.quotas.wait = 59_000
    await taken(rig, submission(credential=QUOTA, recipients=["a@b.example", "c@d.example"]))
    assert [d.next_attempt - NOW for d in rig.offered] == [59_000, 60_000]
    assert all(d.quota for d in rig.offered)
    assert rig.spool.events()[1]["until"] == "2026-11-21T13:26:31.104Z"


async def test_rerouted_mail_is_not_withheld() -> None:
    rig = Rig()
    rig.evidence, rig.streams = OFFER, Streams([(replace(STALE, on_contradiction="reroute", valid_for=1), None)])
    for _ in range(5):
        await taken(rig, submission(saying("Valid-Until: 0s")))
    assert [event["type"] for event in rig.spool.events()] == ["accepted", "withheld"] * 4 + ["accepted"]
    assert rig.offered[0].message.contradiction == "rerouted"


async def test_a_time_that_cannot_be_read_is_refused() -> None:
    assert (await refused(Rig(), submission(saying("Valid-Until: soon")))).endswith('such as 2h: "soon" [valid-until]')


SHUT = Window("office", UTC, (((840, 1080),),) * 7)  # 14:00-18:00; it is 13:25:31.104
CRM = replace(SHOP, mail_class=MailClass.SERVICE)
WINDOWED = Stream("shop", "policies/streams.toml:1", window=SHUT)


async def test_what_comes_outside_its_hours_is_kept_until_they_begin() -> None:
    rig = Rig()
    rig.streams = Streams([(WINDOWED, None)])
    await taken(rig, submission(credential=CRM, recipients=["a@b.example", "c@d.example"]))
    ((_, deliveries),) = rig.spool.puts[0].put
    assert rig.offered == deliveries
    assert {delivery.next_attempt for delivery in deliveries} == {1_795_269_600_000}
    assert not any(delivery.quota for delivery in deliveries)
    events = rig.spool.events()
    assert [(event["type"], event["rcpt"]) for event in events] == [
        ("accepted", 0), ("accepted", 1), ("postponed", 0), ("postponed", 1),
    ]  # fmt: skip
    assert (events[2]["reason"], events[2]["until"]) == ("send-window", "2026-11-21T14:00:00.000Z")


async def test_what_its_app_wants_sent_later_is_kept_with_its_word() -> None:
    rig = Rig()
    await taken(rig, submission(saying("Send-At: 2026-11-23T09:00:00+02:00")))
    ((message, (delivery,)),) = rig.spool.puts[0].put
    assert message.send_at == delivery.next_attempt == 1_795_417_200_000
    accepted, postponed = rig.spool.events()
    assert accepted["send_at"] == postponed["until"] == "2026-11-23T07:00:00.000Z"
    assert (postponed["type"], postponed["reason"]) == ("postponed", "send-at")
    assert message.content is not None
    assert b"Send-At" not in message.content


async def test_of_a_place_in_line_and_a_window_the_later_counts() -> None:
    for wait, at in ((1_000, 1_795_269_600_000), (9_000_000, NOW + 9_000_000)):
        rig = Rig()
        rig.streams, rig.quotas.wait = Streams([(WINDOWED, None)]), wait
        await taken(rig, submission(credential=replace(CRM, quota=QUOTA.quota)))
        assert [(d.next_attempt, d.quota) for d in rig.offered] == [(at, True)]


async def test_transactional_and_rerouted_mail_goes_at_any_hour() -> None:
    rig = Rig()
    rig.streams = Streams([(replace(WINDOWED, on_contradiction="reroute", rate=PACED.rate), None)])
    await taken(rig, submission())
    rig.evidence = OFFER
    for _ in range(6):
        await taken(rig, submission(saying("Send-At: 2026-11-23T09:00:00Z")))
    assert [d.message.contradiction for d in rig.offered][-1] == "rerouted"
    assert [rig.offered[n].next_attempt > NOW for n in (0, 1, -1)] == [False, True, False]
    assert rig.spool.events()[-1]["type"] == "accepted"
    assert len(rig.quotas.taken) == 1, "the first; the others wait, or are rerouted"


async def test_a_day_too_far_ahead_is_refused() -> None:
    assert (await refused(Rig(), submission(saying("Send-At: 2027-11-23T09:00:00Z")))).endswith("[send-at]")


PACED = Stream("shop", "policies/streams.toml:1", rate=Rate(10, 3600, "", "10/hour"))


async def test_over_its_stream_s_rate_mail_is_paced_in_the_order_it_came() -> None:
    rig = Rig()
    rig.streams, rig.quotas.wait = Streams([(PACED, None)]), 60_000
    await taken(rig, submission(recipients=["a@b.example", "c@d.example"]))
    rig.quotas.wait = 0  # there would be a permit again, but older mail stands in line
    await taken(rig, submission())
    assert [d.next_attempt - NOW for d in rig.offered] == [60_000, 420_000, 780_000]
    assert [(d.paced, d.quota) for d in rig.offered] == [(True, False)] * 3
    assert rig.quotas.taken == [("stream:shop", 2, "Asia/Jerusalem")]
    first = rig.spool.events()[0]
    assert (first["over_rate"], first["until"]) == (True, "2026-11-21T13:26:31.104Z")
    assert "over_quota" not in first


async def test_within_its_stream_s_rate_it_goes_now() -> None:
    rig = Rig()
    rig.streams = Streams([(PACED, None)])
    await taken(rig, submission(credential=QUOTA))
    assert [name for name, _, _ in rig.quotas.taken] == ["shop", "stream:shop"]
    assert [(d.next_attempt, d.paced, d.quota) for d in rig.offered] == [(NOW, False, False)]
    assert not {"over_rate", "over_quota", "until"} & set(rig.spool.events()[0])


async def test_what_waits_for_something_else_takes_its_stream_s_permit_when_it_goes() -> None:
    for stream, credential, quota in ((PACED, QUOTA, True), (replace(PACED, window=SHUT), CRM, False)):
        rig = Rig()
        rig.streams, rig.quotas.waits = Streams([(stream, None)]), {"shop": 1_000}
        await taken(rig, submission(credential=credential))
        assert [(d.next_attempt > NOW, d.paced, d.quota) for d in rig.offered] == [(True, True, quota)]
        assert [name for name, _, _ in rig.quotas.taken] == ["shop"] * quota
        assert "over_rate" not in rig.spool.events()[0]


async def test_transactional_mail_does_not_stand_behind_marketing_of_its_stream() -> None:
    rig = Rig()
    rig.streams, rig.quotas.wait = Streams([(PACED, None)]), 60_000
    await taken(rig, submission(credential=replace(SHOP, mail_class=MailClass.MARKETING)))
    rig.quotas.wait = 0
    await taken(rig, submission())
    assert [d.next_attempt - NOW for d in rig.offered] == [60_000, 0]


async def test_a_place_in_its_stream_s_line_is_no_later_than_its_end() -> None:
    rig = Rig()
    rig.streams, rig.quotas.wait = Streams([(replace(PACED, valid_for=30_000), None)]), 60_000
    await taken(rig, submission())
    assert [(d.next_attempt - NOW, d.paced) for d in rig.offered] == [(30_000, True)]


async def test_what_is_suspended_is_kept_from_the_start() -> None:
    rig = Rig()
    rig.suspensions.put([Suspension(77, given({"domain": "c.example", "class": "transactional"}), NOW, reason="look")])
    await taken(rig, submission(recipients=["dana@b.example", "eve@c.example"]))
    ((_, deliveries),) = rig.spool.puts[0].put
    assert [delivery.held for delivery in deliveries] == [0, 77]
    *_, postponed = rig.spool.events()
    assert [event["type"] for event in rig.spool.events()] == ["accepted", "accepted", "postponed"]
    assert (postponed["rcpt"], postponed["reason"], postponed["until"]) == (1, "held", None)


async def test_where_subjects_are_not_kept_no_event_tells_one() -> None:
    rig = Rig()
    rule = Stream("news", "policies/streams.toml:3", MailClass.MARKETING)
    texts = {"header.subject": (parse("re:.*"),), "header.x-app": (parse("*"),)}
    rig.streams = Streams([(rule, Match(texts=texts))])
    for kept in (True, False):
        house = rig.acceptance()
        house.law = replace(house.law, subjects=kept)
        assert str(await accept(submission(), house)).startswith("250 ")
        event = rig.spool.events()[-1]
        assert ("subject" in event, "subject" in event["headers"]) == (kept, kept)
        assert "x-app" in event["headers"]


@pytest.mark.parametrize(
    ("asked", "stream", "code", "priority"),
    [
        (None, 0, "250 2.0.0 OK", 0),
        (None, 7, "250 2.0.0 OK", 7),
        (7, 7, "250 2.0.0 OK", 7),
        (-9, 7, "250 2.0.0 OK", -9),
        (9, 7, "250 2.3.6 7 OK", 7),
        (9, 0, "250 2.3.6 0 OK", 0),
        (0, -5, "250 2.3.6 -5 OK", -5),
    ],
)
async def test_a_priority_is_what_the_app_asks_for_within_what_its_stream_may_have(
    asked: int | None, stream: int, code: str, priority: int
) -> None:
    rig = Rig()
    rule = Stream("news", "policies/streams.toml:3", MailClass.MARKETING, priority=stream)
    rig.streams = Streams([(rule, Match(texts={"subject": (parse("order", words=True),)}))])
    one = submission()
    one.envelope.priority = asked
    answer = await taken(rig, one)
    message, deliveries = rig.spool.puts[0].put[0]
    assert answer == f"{code} {message.id} stream=news class=marketing", "it raises no class"
    assert deliveries[0].lane == (MailClass.MARKETING, "b.example", "news", priority)
    (event,) = rig.spool.events()
    assert event.get("priority", 0) == priority
    assert event.get("asked_priority") == asked
    letter = deliveries[0].head + (message.content or b"")
    assert (f"PRIORITY {priority}".encode() in letter) == (priority != 0)


async def test_mail_of_no_stream_in_the_file_may_ask_for_less_than_the_usual_priority_alone() -> None:
    rig = Rig()
    one = submission()
    one.envelope.priority = 3
    assert (await taken(rig, one)).startswith("250 2.3.6 0 OK ")
    one = submission()
    one.envelope.priority = -3
    assert (await taken(rig, one)).startswith("250 2.0.0 OK ")
    assert [put.put[0][0].priority for put in rig.spool.puts] == [0, -3]


@pytest.mark.parametrize(
    ("requiretls", "header", "tls"),
    [
        (False, b"", ""),
        (True, b"", "required"),
        (False, b"TLS-Required: No\r\n", "waived"),
        (False, b"tls-required:  NO \r\n", "waived"),
        (True, b"TLS-Required: No\r\n", "required"),
        (False, b"TLS-Required: Yes\r\n", ""),
        (False, b"TLS-Required: No\r\nTLS-Required: No\r\n", ""),
    ],
)
async def test_what_a_message_says_of_tls_on_its_way(requiretls: bool, header: bytes, tls: str) -> None:
    """RFC 8689: REQUIRETLS counts more than the field; a report of such mail has the header alone (5)."""
    rig, one = Rig(), submission(header + LETTER)
    one.envelope.requiretls, one.envelope.ret = requiretls, "FULL"
    await taken(rig, one)
    message, _ = rig.spool.puts[0].put[0]
    assert (message.tls, message.ret) == (tls, "HDRS" if requiretls else "FULL")
    assert message.content is not None
    assert header in message.content


MARKETER = replace(SHOP, mail_class=MailClass.MARKETING)


async def test_who_must_not_be_sent_it_is_left_out_and_the_others_are_sent_theirs() -> None:
    rig = Rig()
    rig.people.block("c@d.example", "marketing", "unsubscribed", "a", source="one-click")
    rig.people.wish("e@f.example", "a", Wish(paused_until=NOW + 60_000))
    everyone = ["a@b.example", "C@D.example", "e@f.example"]
    assert (await taken(rig, submission(credential=MARKETER, recipients=everyone))).startswith("250 2.0.0 OK")
    ((_, deliveries),) = rig.spool.puts[0].put
    assert [d.recipient for d in deliveries] == ["a@b.example", "e@f.example"]
    assert [d.index for d in deliveries] == [0, 2]
    assert [d.next_attempt for d in deliveries] == [NOW, NOW + 60_000]
    events = [(event["type"], event["rcpt"], event.get("reason")) for event in rig.spool.events()]
    assert events == [
        ("accepted", 0, None), ("accepted", 1, None), ("accepted", 2, None),
        ("withheld", 1, "unsubscribed"), ("postponed", 2, "preference"),
    ]  # fmt: skip


async def test_mail_for_nobody_is_taken_and_withheld_unsigned_and_who_asked_is_told() -> None:
    rig = Rig()
    rig.people.block("dana@b.example", reason="complaint")
    one = submission(recipients=["dana@b.example"])
    one.envelope.recipients[0].notify = "FAILURE"
    assert (await taken(rig, one)).startswith("250 ")
    ((report, (note,)),) = rig.spool.puts[0].put
    assert (report.stream, note.recipient) == ("dsn", "shop@a.example")
    assert report.content is not None
    assert b"Status: 5.7.1" in report.content
    assert b"on the list of those that mail is not sent to" in report.content
    accepted, withheld, _ = rig.spool.events()
    assert accepted["signed"] == []
    assert (withheld["reason"], withheld["detail"], withheld["at"]) == (
        "suppressed", "all, complaint, cli on 2026-11-21", "accept",
    )  # fmt: skip


async def test_of_two_times_to_wait_for_the_later_holds() -> None:
    for paused, reason in ((30_000, "send-at"), (90_000, "preference")):
        rig = Rig()
        rig.people.wish("dana@b.example", "a", Wish(paused_until=NOW + paused))
        later = LETTER.replace(b"Subject", f"X-Postlane-Send-At: {iso(NOW + 60_000)}\r\nSubject".encode())
        await taken(rig, submission(later, MARKETER))
        ((_, (delivery,)),) = rig.spool.puts[0].put
        assert delivery.next_attempt == NOW + max(paused, 60_000)
        assert rig.spool.events()[1]["reason"] == reason


async def test_whom_it_does_not_go_to_takes_no_permit_of_the_streams_rate() -> None:
    rig = Rig()
    rig.streams = Streams([(Stream("shop", "x", rate=Rate(10, 60, "", "10/minute")), Match())])
    rig.people.block("c@d.example")
    rig.people.wish("e@f.example", "a", Wish(paused_until=NOW + 60_000))
    everyone = ["a@b.example", "c@d.example", "e@f.example", "g@h.example"]
    await taken(rig, submission(credential=MARKETER, recipients=everyone))
    assert [count for _, count, _ in rig.quotas.taken] == [2]
    ((_, deliveries),) = rig.spool.puts[0].put
    assert [d.paced for d in deliveries] == [False, True, False], "who waits takes his when it goes"


async def test_without_state_mail_is_taken_and_asked_about_later() -> None:
    rig = Rig()
    rig.people.down = True
    assert (await taken(rig, submission(credential=MARKETER))).startswith("250 ")
    assert len(rig.offered) == 1


async def test_what_was_found_of_an_address_is_in_its_event() -> None:
    rig = Rig()
    message = submission(recipients=("info@b.example", "dana@b.example"))
    message.envelope.recipients[0].found = {"tags": ["role"]}
    await accept(message, rig.acceptance())
    first, second = rig.spool.events()
    assert first["address"] == {"tags": ["role"]}
    assert "address" not in second


KEPT = LETTER.replace(b"Subject", b"Message-ID: <77@a.example>\r\nSubject")


async def told(rig: Rig) -> None:
    """State has heard what it was to be told."""
    await rig.copies.close()


async def test_what_was_handed_in_before_is_acknowledged_and_not_sent_again() -> None:
    rig = Rig()
    first = (await taken(rig, submission(KEPT))).split()[3]
    await told(rig)
    rig.quotas.wait = 339_001  # what is not sent needs no permit
    again = await taken(rig, submission(KEPT.replace(b"Subject", b"Date: later\r\nsubject"), QUOTA))
    assert again.split()[3] != first
    assert again.endswith(f"stream=shop class=transactional duplicate_of={first}")
    assert len(rig.offered) == 1
    *_, accepted, withheld = rig.spool.events()
    assert (accepted["type"], withheld["type"]) == ("accepted", "withheld")
    assert withheld["id"] == accepted["id"] == again.split()[3]
    assert [withheld[name] for name in ("reason", "duplicate_of", "at")] == ["duplicate", first, "accept"]


@pytest.mark.parametrize(
    "other",
    [
        KEPT.replace(b"<77@", b"<78@"),
        KEPT.replace(b"Order 77", b"Order 78"),
        KEPT.replace(b"Thank you.", b"Thank you!"),
        KEPT.replace(b"From: Shop", b"From: Shop 2"),
        KEPT.replace(b"Message-ID", b"X-Postlane-Idempotency-Key: k\r\nMessage-ID"),
    ],
)
async def test_what_differs_in_what_is_read_or_in_its_name_is_no_copy(other: bytes) -> None:
    rig = Rig()
    for letter in (KEPT, other):
        assert "duplicate" not in await taken(rig, submission(letter))
        await told(rig)
    assert len(rig.offered) == 2


async def test_without_a_name_of_its_own_no_message_is_a_copy() -> None:
    rig = Rig()
    for _ in range(2):
        assert "duplicate" not in await taken(rig, submission())
    assert rig.marks.stand == {}


async def test_of_another_credential_or_to_another_recipient_it_is_no_copy() -> None:
    rig = Rig()
    await taken(rig, submission(KEPT))
    await told(rig)
    assert "duplicate" not in await taken(rig, submission(KEPT, replace(SHOP, name="other")))
    both = submission(KEPT, recipients=["eve@b.example", "DANA@b.example"])
    assert "duplicate" not in await taken(rig, both)
    assert [delivery.recipient for delivery in rig.offered] == ["dana@b.example", "dana@b.example", "eve@b.example"]
    assert rig.spool.events()[-1]["reason"] == "duplicate"


async def test_a_first_copy_that_was_not_saved_is_none() -> None:
    rig = Rig()
    rig.spool.full = True
    assert (await taken(rig, submission(KEPT))).startswith("452 ")
    await told(rig)
    rig.spool.full = False
    rig.quotas.wait = 339_001
    assert "[quota]" in await refused(rig, submission(KEPT, replace(QUOTA, over_quota="refuse")))
    await told(rig)
    rig.quotas.wait = 0
    assert "duplicate" not in await taken(rig, submission(KEPT))


async def test_a_first_copy_that_is_withheld_is_none() -> None:
    rig = Rig()
    stale = KEPT.replace(b"Subject", b"X-Postlane-Valid-Until: 0s\r\nSubject")
    await taken(rig, submission(stale))
    await told(rig)
    assert rig.spool.events()[-1]["reason"] == "stale"
    assert "duplicate" not in await taken(rig, submission(KEPT))
    assert len(rig.offered) == 1


async def test_while_state_is_down_nothing_is_a_copy() -> None:
    rig = Rig()
    await taken(rig, submission(KEPT))
    await told(rig)
    rig.marks.down = True
    assert "duplicate" not in await taken(rig, submission(KEPT))
    assert len(rig.offered) == 2


@pytest.mark.parametrize("name", [b"X-Postlane-Idempotency-Key", b"X-Postlane-Collapse-Key"])
async def test_a_key_that_is_too_long_is_refused_rather_than_cut(name: bytes) -> None:
    longest = KEPT.replace(b"Subject", name + b": " + b"k" * 200 + b"\r\nSubject")
    assert (await taken(Rig(), submission(longest))).startswith("250 ")
    answer = await refused(Rig(), submission(longest.replace(b"k\r\n", b"kk\r\n")))
    assert answer == f"550 5.6.0 {name.decode()} is longer than 200 octets [key]"


async def test_a_message_with_a_collapse_key_tells_which_older_one_it_takes_the_place_of() -> None:
    rig, replaced = Rig(), []
    rig.copies.replaced = lambda *said: replaced.append(said)
    letter = KEPT.replace(b"Subject", b"X-Postlane-Collapse-Key: balance\r\nSubject")
    ids = []
    for number in range(2):
        answer = await taken(rig, submission(letter.replace(b"77", b"%d" % number)))
        ids.append(answer.split()[3])
        await told(rig)
    assert replaced == [(ids[0], "dana@b.example", ids[1])]
    message, _ = rig.spool.puts[-1].put[0]
    assert b"Collapse" not in (message.content or b"")


async def test_by_when_its_sender_wants_to_hear_is_kept_and_looked_at_no_later() -> None:
    rig = Rig()
    one = submission(credential=QUOTA)
    one.envelope.by, one.envelope.by_trace, rig.quotas.wait = 30, True, 60_000
    await taken(rig, one)
    (delivery,) = rig.offered
    assert (delivery.message.by, delivery.message.by_trace, delivery.warned) == (NOW + 30_000, True, False)
    assert delivery.next_attempt == NOW + 30_000
    late = submission(credential=QUOTA)
    late.envelope.by = 0
    await taken(rig, late)
    assert rig.offered[-1].warned, "who hands in what is late knows"
    assert rig.offered[-1].next_attempt > NOW + 30_000


CRM = replace(SHOP, mail_class=MailClass.MARKETING)
DAILY = Cap(
    "daily", frozenset({"a"}), frozenset({MailClass.MARKETING}), frozenset({MailClass.MARKETING}),
    (Rate(1, 86_400, "", "1/24h"),), "postpone",
)  # fmt: skip


def capped(over: str = "postpone") -> Rig:
    """Noa got her mail of today."""
    rig = Rig()
    rig.capping.caps = Caps([replace(DAILY, over=over)], {"a": "UTC"})
    rig.places.people[rig.people.keys.key("noa@b.example")] = Person([(NOW // 1000 - 60, mark_of("a", "marketing"))])
    return rig


BOTH = ("dana@b.example", "noa@b.example")


async def test_each_recipient_takes_a_place_and_who_has_none_waits() -> None:
    rig = capped()
    await taken(rig, submission(credential=CRM, recipients=BOTH))
    ((_, (dana, noa)),) = rig.spool.puts[0].put
    assert (dana.counted, dana.next_attempt) == (True, NOW)
    assert (noa.counted, noa.next_attempt) == (False, (NOW // 1000 - 60 + 86_401) * 1000)
    (event,) = [one for one in rig.spool.events() if one["type"] == "postponed"]
    assert (event["recipient"], event["reason"]) == ("noa@b.example", "capped")
    assert event["detail"] == "cap daily: 1/24h, used up by a marketing 1"
    rig.now += 5_000
    await rig.capping.look()
    assert [token for _, token in rig.places.confirmed] == [f"{dana.message.id}/0"]


async def test_a_cap_that_drops_withholds_and_one_that_refuses_says_so_where_it_refuses_all() -> None:
    for over in ("drop", "reject"):
        rig = capped(over)
        await taken(rig, submission(credential=CRM, recipients=BOTH))
        ((_, (dana,)),) = rig.spool.puts[0].put
        assert dana.recipient == "dana@b.example"
        (event,) = [one for one in rig.spool.events() if one["type"] == "withheld"]
        assert (event["recipient"], event["reason"]) == ("noa@b.example", "capped")
    said = await refused(capped("reject"), submission(credential=CRM, recipients=BOTH[1:]))
    assert said == "550 5.7.1 Not sent: cap daily: 1/24h, used up by a marketing 1 [capped]"
    answer = await accept(submission(credential=CRM, recipients=BOTH[1:]), capped("reject").acceptance())
    assert isinstance(answer, Refusal)
    assert answer.about == {"brand": "a", "stream": "shop", "class": "marketing", "recipients": ["noa@b.example"]}


async def test_receipts_are_neither_counted_nor_held() -> None:
    rig = capped("reject")
    await taken(rig, submission(recipients=BOTH))
    ((_, deliveries),) = rig.spool.puts[0].put
    assert [(one.counted, one.next_attempt) for one in deliveries] == [(False, NOW)] * 2


async def test_what_is_suspended_or_not_saved_holds_no_place_for_long() -> None:
    rig = capped()
    rig.suspensions.put([Suspension(5, given({"stream": "shop"}), NOW, reason="no")])
    await taken(rig, submission(credential=CRM))
    ((_, (dana,)),) = rig.spool.puts[0].put
    assert not dana.counted
    rig = capped()
    rig.spool.full = True
    assert "452" in await taken(rig, submission(credential=CRM))
    rig.now += 5_000
    await rig.capping.look()
    assert rig.places.confirmed == []


async def test_one_too_many_of_its_kind_is_held_from_the_start() -> None:
    rig = Rig()
    rig.guarding.guard = Guard(Rate(2, 3600, "", "2/hour"))
    for number in range(3):
        await taken(rig, submission(LETTER.replace(b"77", b"%d" % number)))
    first, second, third = rig.offered
    assert (first.held, second.held, third.held) == (0, 0, RUNAWAY)
    assert third.next_attempt == NOW + 3_600_000
    assert third.message.alike
    (event,) = [one for one in rig.spool.events() if one["type"] == "postponed"]
    assert (event["reason"], event["until"]) == ("runaway", "2026-11-21T14:25:31.104Z")
    rig.suspensions.put([Suspension(5, given({"class": "transactional"}), NOW, reason="no")])
    await taken(rig, submission(LETTER.replace(b"77", b"3")))
    assert rig.offered[-1].held == 5, "whoever suspends it has the last word"


async def test_what_is_withheld_is_not_guarded() -> None:
    rig = Rig()
    rig.guarding.guard = Guard(Rate(2, 3600, "", "2/hour"))
    rig.people.block("dana@b.example")
    for number in range(4):
        await taken(rig, submission(LETTER.replace(b"77", b"%d" % number)))
    assert rig.marks.stand == {}
    assert rig.guarding.runaways.standing() == []
