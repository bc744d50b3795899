"""From an outcome to what follows: events, next attempt, report. The one table of consequences."""

import json
from collections.abc import Collection
from typing import Any

import pytest

from relay.event import Recorder
from relay.feedback.aftermath import Aftermath, kind_of
from relay.feedback.consequences import (
    Report,
    Retry,
    Verdict,
    blames_source,
    follows,
    judge,
    owes_withheld_report,
    put_off,
    understand,
)
from relay.feedback.rulings import NO_RULINGS, Ruling, Rulings
from relay.feedback.taxonomy import MEANINGS, Category
from relay.message import Delivery, MailClass, Message
from relay.outcome import Outcome, Reply, Scope
from relay.person import REFUSED
from relay.tally import Kind

NOW = 1_795_267_531_104


def delivery(
    sender: str = "app@a.example", notify: str = "", dsn: str = "headers", by: int | None = None, trace: bool = False
) -> Delivery:
    message = Message(
        "0" * 16, NOW - 500, "shop", "", "shop", MailClass.TRANSACTIONAL, "app@a.example", "<1@a>", "Hi", 9, dsn=dsn
    )
    message.by, message.by_trace = by, trace
    return Delivery(message, 0, "dana@b.example", "b.example", "b.example", sender, sender, b"", notify=notify)


class Bench:
    """`doubts`: sites whose word is not taken."""

    def __init__(self, doubts: Collection[str] = ()) -> None:
        self.recorder = Recorder("n", lambda: NOW, lambda: "e", "p")
        self.aftermath = Aftermath()
        self._doubts = doubts

    def doubts(self, site: str) -> bool:
        return site in self._doubts


def judged(
    one: Delivery, outcome: Outcome, retry: Retry | None = None, doubts: Collection[str] = ()
) -> tuple[Verdict, dict[str, Any]]:
    understand(outcome, one.site)
    return found(one, outcome, retry, doubts)


def found(
    one: Delivery, outcome: Outcome, retry: Retry | None = None, doubts: Collection[str] = ()
) -> tuple[Verdict, dict[str, Any]]:
    """The same of an outcome that has its category."""
    plan = retry or Retry(NOW + 1000, warn=False)
    verdict = judge(one, outcome, lambda: plan, "transactional", NOW, Bench(doubts))
    assert len(verdict.events) == 1
    return verdict, json.loads(verdict.events[0])


def refused(code: int, enhanced: str, text: str, scope: Scope = Scope.RECIPIENT, command: str = "RCPT") -> Outcome:
    return Outcome(Reply(code, enhanced, text), command, scope, mx="mx.b.example", source="192.0.2.1")


def test_delivered() -> None:
    verdict, event = judged(delivery(), Outcome(Reply(250, "2.0.0", "OK"), "END", mx="mx.b.example", tls="TLSv1.3"))
    assert (verdict.again, verdict.report, event["type"]) == (None, None, "delivered")
    assert (event["attempt"], event["delay_ms"], event["mx"], event["tls"]) == (1, 500, "mx.b.example", "TLSv1.3")


def test_success_is_reported_where_asked_and_not_already_the_next_hosts_duty() -> None:
    done = Outcome(Reply(250, "2.0.0", "OK"), "END")
    assert judged(delivery(notify="SUCCESS,FAILURE"), done)[0].report is Report.RELAYED
    assert judged(delivery(notify="FAILURE"), done)[0].report is None
    assert judged(delivery(sender="", notify="SUCCESS"), done)[0].report is None
    done.relayed_dsn = True
    assert judged(delivery(notify="SUCCESS"), done)[0].report is None


@pytest.mark.parametrize(
    ("about", "relayed_dsn", "told"),
    [
        ({}, False, True),
        ({"notify": "FAILURE"}, False, True),
        ({"notify": "NEVER"}, False, False),
        ({"sender": ""}, False, False),
        ({"dsn": "none"}, False, False),
        ({}, True, False),
        ({"trace": True}, True, True),
        ({"trace": True, "notify": "NEVER"}, True, False),
    ],
)
def test_who_set_a_time_hears_where_nobody_will_tell_of_a_delay_or_of_each_hand_over(
    about: dict[str, Any], relayed_dsn: bool, told: bool
) -> None:
    done = Outcome(Reply(250, "2.0.0", "OK"), "END", relayed_dsn=relayed_dsn)
    assert judged(delivery(by=NOW, **about), done)[0].report is (Report.RELAYED if told else None)


@pytest.mark.parametrize(
    ("notify", "dsn", "told"),
    [
        ("", "headers", True),
        ("DELAY", "full", True),
        ("FAILURE", "headers", False),
        ("NEVER", "full", False),
        ("", "none", False),
    ],
)
def test_who_set_a_time_is_told_of_a_delay_unless_he_asked_for_other_news(notify: str, dsn: str, told: bool) -> None:
    late = Retry(NOW + 1000, warn=True)
    found = judged(delivery(notify=notify, dsn=dsn, by=NOW), refused(451, "4.3.0", "not now"), late)[0]
    assert found.report is (Report.DELAYED if told else None)


def test_a_recipients_permanent_refusal_bounces_and_is_reported() -> None:
    verdict, event = judged(delivery(), refused(550, "5.1.1", "no such user"))
    assert (verdict.again, verdict.report) == (None, Report.FAILED)
    assert (event["type"], event["category"], event["permanent"]) == ("bounced", "bad-mailbox", True)


@pytest.mark.parametrize(
    ("sender", "notify", "dsn", "owed"),
    [
        ("app@a.example", "", "headers", True),
        ("app@a.example", "FAILURE", "headers", True),
        ("app@a.example", "NEVER", "headers", False),
        ("app@a.example", "DELAY", "headers", False),
        ("app@a.example", "", "none", False),
        ("", "", "headers", False),  # a bounce of a bounce is never sent
    ],
)
def test_who_is_owed_a_failure_report(sender: str, notify: str, dsn: str, owed: bool) -> None:
    verdict, _ = judged(delivery(sender, notify, dsn), refused(550, "5.1.1", "no such user"))
    assert (verdict.report is Report.FAILED) is owed


@pytest.mark.parametrize(
    ("sender", "notify", "dsn", "owed"),
    [
        ("app@a.example", "", "headers", False),
        ("app@a.example", "", "full", True),
        ("app@a.example", "FAILURE", "headers", True),
        ("app@a.example", "SUCCESS,FAILURE", "none", False),
        ("app@a.example", "NEVER", "full", False),
        ("app@a.example", "DELAY", "full", False),
        ("", "FAILURE", "full", False),
    ],
)
def test_who_is_told_that_mail_was_withheld(sender: str, notify: str, dsn: str, owed: bool) -> None:
    assert owes_withheld_report(delivery(sender, notify, dsn)) is owed


@pytest.mark.parametrize("scope", [Scope.HOST, Scope.SITE, Scope.SOURCE])
def test_a_hosts_or_sources_refusal_however_hard_is_tried_again(scope: Scope) -> None:
    verdict, event = judged(delivery(), refused(554, "5.7.1", "not from you", scope, "CONNECT"))
    assert (verdict.again, event["type"], event["permanent"]) == (NOW + 1000, "deferred", False)


def test_deferred_tells_when_it_goes_again_and_keeps_the_reply() -> None:
    one = delivery()
    verdict, event = judged(one, refused(452, "4.2.2", "mailbox full"))
    assert (verdict.again, verdict.report, event["type"]) == (NOW + 1000, None, "deferred")
    assert event["next_attempt"] == "2026-11-21T13:25:32.104Z"
    assert (one.attempts, one.next_attempt, one.last_reply) == (1, NOW + 1000, "452 4.2.2 mailbox full")


@pytest.mark.parametrize(
    ("reply", "command", "source"),
    [
        ((451, "4.7.1", "Greylisted, try again in 5 minutes"), "RCPT", "192.0.2.1"),
        ((452, "4.2.2", "mailbox full"), "RCPT", "192.0.2.1"),  # greylisting has no code of its own, nor honest words
        ((451, "4.3.0", "try again later"), "END", "192.0.2.1"),
        ((421, "4.7.0", "too many connections"), "CONNECT", ""),
    ],
)
def test_the_source_is_kept_after_what_may_be_greylisting(
    reply: tuple[int, str, str], command: str, source: str
) -> None:
    one = delivery()
    judged(one, refused(*reply, command=command))
    assert one.source == source


def test_giving_up_bounces_as_expired_with_the_last_answer() -> None:
    verdict, event = judged(delivery(), refused(452, "4.2.2", "mailbox full"), Retry(None, warn=False))
    assert (verdict.again, verdict.report) == (None, Report.FAILED)
    assert (event["type"], event["category"], event["permanent"]) == ("bounced", "expired", False)
    assert event["reply"]["code"] == 452
    assert str(verdict.outcome.reply) == (
        "550 5.4.7 Not delivered in time; the last answer was: 452 4.2.2 mailbox full"
    )


@pytest.mark.parametrize(
    ("code", "plan", "kind"),
    [
        (550, Retry(NOW + 1000, warn=False), "bounced"),
        (452, Retry(NOW + 1000, warn=False), "deferred"),
        (452, Retry(None, warn=False), "bounced"),
        (250, Retry(NOW + 1000, warn=False), "delivered"),
    ],
)
def test_a_failure_tells_what_was_said_in_its_session(code: int, plan: Retry, kind: str) -> None:
    outcome = refused(code, "", "words")
    outcome.transcript = ("> RCPT TO:<b@b.example>", "< words")
    event = judged(delivery(), outcome, plan)[1]
    assert event["type"] == kind
    assert event.get("transcript") == (None if kind == "delivered" else list(outcome.transcript))
    outcome.transcript = ()
    assert "transcript" not in judged(delivery(), outcome, plan)[1]


def test_a_delay_is_reported_once_and_only_where_asked() -> None:
    one = delivery(notify="DELAY")
    late = Retry(NOW + 1000, warn=True)
    assert judged(one, refused(452, "4.2.2", "full"), late)[0].report is Report.DELAYED
    assert one.warned
    assert judged(one, refused(452, "4.2.2", "full"))[0].report is None
    assert judged(delivery(), refused(452, "4.2.2", "full"), late)[0].report is None


def test_a_providers_own_code_is_read_as_the_provider_means_it() -> None:
    outcome = refused(550, "5.7.30", "refused", command="END")
    assert judged(delivery(), outcome)[1]["category"] == "tls-failure"
    outcome.mx = "gmail-smtp-in.l.google.com"
    assert judged(delivery(), outcome)[1]["category"] == "auth-failure"


def test_an_event_says_which_rule_decided() -> None:
    gone = refused(550, "5.1.1", "no such user")
    assert judged(delivery(), gone)[1]["rule"] == 'words "no such {person}"'
    later = refused(451, "", "user is unknown, they say")
    assert judged(delivery(), later)[1]["rule"] == 'words "{user} .. {absent}"'
    assert judged(delivery(), later, Retry(None, warn=False))[1]["rule"] == "not delivered in time"


def understood(outcome: Outcome, rulings: Rulings = NO_RULINGS) -> tuple[str, bool]:
    understand(outcome, "b.example", rulings)
    return outcome.category, outcome.permanent


def test_a_failure_has_a_category_and_a_success_has_none() -> None:
    slow = refused(421, "4.7.28", "unusual rate of unsolicited mail", command="MAIL")
    assert understood(slow) == ("rate-limited", False)
    assert understood(Outcome(Reply(250, "2.0.0", "OK"), "END")) == ("", False)


@pytest.mark.parametrize(
    ("reply", "command", "category"),
    [
        ((550, "5.4.5", "Daily user sending limit exceeded. gsmtp"), "END", "rate-limited"),
        ((550, "5.7.1", "Greylisted, please try again later"), "RCPT", "greylisted"),
        ((552, "5.2.2", "mailbox full"), "RCPT", "quota"),
        ((550, "4.1.1", "user unknown"), "RCPT", "bad-mailbox"),
    ],
)
def test_what_will_pass_is_tried_again_however_hard_its_code(
    reply: tuple[int, str, str], command: str, category: str
) -> None:
    verdict, event = judged(delivery(), refused(*reply, command=command))
    assert (event["type"], event["category"], event["permanent"]) == ("deferred", category, False)
    assert verdict.again == NOW + 1000
    ours = refused(*reply, command=command)
    ours.internal = True
    assert judged(delivery(), ours)[1]["type"] == "bounced", "our own words mean what their code says"


@pytest.mark.parametrize("text", ["blocked by policy", "message looks like spam", "SPF check failed"])
def test_a_hard_refusal_of_another_kind_is_final(text: str) -> None:
    assert judged(delivery(), refused(550, "5.7.1", text))[1]["type"] == "bounced"


def test_the_admins_word_on_replies_comes_first_and_never_holds_for_ours() -> None:
    dormant = Rulings([Ruling(Category.INACTIVE_MAILBOX, "policies/bounces.toml:1")])
    outcome = refused(550, "5.1.1", "no such user")
    assert understood(outcome, dormant) == ("inactive-mailbox", True)
    assert understood(outcome, Rulings([Ruling(Category.GREYLISTED, "b:1")])) == ("greylisted", False)
    outcome.internal = True
    assert understood(outcome, dormant) == ("bad-mailbox", True)


# -- each category, from a recipient's hard refusal, and from a soft one that lasted until its time was over

GONE, COUNTED, STAYS, FAULT = "all", "counted", None, Kind.FAULT.value
TABLE = {  # what a 5xx comes to, what is suppressed then and for a 4xx until it expired, what it counts as, 5xx
    Category.BAD_MAILBOX: ("bounced", GONE, GONE, "h"),
    Category.INACTIVE_MAILBOX: ("bounced", GONE, GONE, "h"),
    Category.BAD_DOMAIN: ("bounced", GONE, GONE, "h"),
    Category.RECIPIENT_REFUSED: ("bounced", COUNTED, COUNTED, "b"),
    Category.QUOTA: ("bounced", COUNTED, COUNTED, "b"),
    Category.SUPPRESSED: ("bounced", STAYS, STAYS, "b"),
    Category.BAD_SENDER: ("bounced", STAYS, STAYS, FAULT),
    Category.AUTH_FAILURE: ("bounced", STAYS, STAYS, FAULT),
    Category.POLICY_BLOCK: ("bounced", STAYS, STAYS, "b"),
    Category.REPUTATION_BLOCK: ("another source", STAYS, STAYS, "b"),
    Category.RATE_LIMITED: ("deferred", STAYS, STAYS, "b"),
    Category.GREYLISTED: ("deferred", STAYS, STAYS, "b"),
    Category.RELAY_DENIED: ("bounced", STAYS, STAYS, "b"),
    Category.SPAM_BLOCK: ("bounced", STAYS, STAYS, "s"),
    Category.CONTENT_ERROR: ("bounced", STAYS, STAYS, "b"),
    Category.MESSAGE_TOO_LARGE: ("bounced", STAYS, STAYS, "b"),
    Category.EXPIRED: ("bounced", STAYS, STAYS, "b"),
    Category.PROTOCOL_ERROR: ("bounced", STAYS, STAYS, FAULT),
    Category.REMOTE_ERROR: ("bounced", STAYS, STAYS, "b"),
    Category.DNS_FAILURE: ("bounced", STAYS, STAYS, "b"),
    Category.NETWORK_ERROR: ("bounced", STAYS, STAYS, "b"),
    Category.TLS_FAILURE: ("bounced", STAYS, STAYS, "b"),
    Category.OTHER: ("bounced", STAYS, STAYS, "b"),
}


def suppresses(verdict: Verdict, event: dict[str, Any]) -> str | None:
    """As the event says it, which must be what the desk is asked for."""
    if verdict.learnt is None:
        assert event["suppressed"] is None
        return STAYS
    assert event["suppressed"] == verdict.learnt["told"]
    return COUNTED if verdict.learnt["after"] > 1 else event["suppressed"]


@pytest.mark.parametrize("category", Category)
def test_what_follows_from_each_category(category: Category) -> None:
    what, hard, soft, kind = TABLE[category]
    outcome = refused(550, "5.0.0", "words")
    outcome.category, outcome.passing = category, MEANINGS[category].passes
    verdict, event = found(delivery(), outcome)
    assert blames_source(outcome) is (what == "another source")
    assert event["type"] == ("deferred" if what == "deferred" else "bounced")
    if event["type"] == "bounced":
        assert suppresses(verdict, event) == hard
    assert kind_of(category, permanent=True) == kind
    outcome = refused(450, "4.0.0", "words")
    outcome.category = category
    assert suppresses(*found(delivery(), outcome, Retry(None, warn=False))) == soft
    assert found(delivery(), outcome)[0].learnt is None, "as long as it is tried nothing is known"


def test_our_own_words_and_a_host_s_suppress_nobody() -> None:
    for scope, internal in ((Scope.RECIPIENT, True), (Scope.HOST, False), (Scope.SITE, False)):
        outcome = refused(450, "4.1.1", "no such user", scope)
        outcome.internal = internal
        assert suppresses(*judged(delivery(), outcome, Retry(None, warn=False))) is STAYS


def test_a_bounce_of_a_doubted_site_says_that_its_suppression_is_pending() -> None:
    verdict, event = judged(delivery(), refused(550, "5.1.1", "no such user"), doubts=["b.example"])
    assert event["suppressed"] == "pending:all"
    assert verdict.learnt is not None
    assert verdict.learnt["stop"] == "all", "what is done is settled by who knows for sure (relay/learning.py)"
    waiting = delivery()
    waiting.pending_since = NOW - 1000
    assert judged(waiting, refused(550, "5.1.1", "no such user"))[1]["suppressed"] == "pending:all"


def test_mail_that_arrives_takes_off_what_was_pending() -> None:
    waiting = delivery()
    waiting.pending_since = NOW - 1000
    done = Outcome(Reply(250, "2.0.0", "OK"), "END")
    assert judged(waiting, done)[0].learnt == {"recipient": waiting.recipient, "arrived": True}
    done.captured = True
    assert judged(waiting, done)[0].learnt is None


def test_mail_that_arrives_ends_a_row_of_refusals_of_its_stream() -> None:
    one = delivery()
    own, brands = (f"{REFUSED} stream:{one.message.stream}{more}" for more in ("", " arava"))
    one.refusals = (REFUSED, own, brands, f"{REFUSED} stream:other")
    done = Outcome(Reply(250, "2.0.0", "OK"), "END")
    learnt = {"recipient": one.recipient, "arrived": True, "over": [REFUSED, own, brands]}
    assert judged(one, done)[0].learnt == learnt
    one.refusals = (f"{REFUSED} stream:other",)
    assert judged(one, done)[0].learnt is None


def test_where_sources_are_left_nothing_ends() -> None:
    blocked = refused(550, "5.7.1", "blocked for its reputation")
    blocked.category = Category.REPUTATION_BLOCK
    assert found(delivery(), put_off(blocked))[1]["type"] == "deferred"
    blocked.internal = True
    assert not blames_source(blocked)
    assert blames_source(refused(451, "4.4.0", "cannot bind", Scope.SOURCE, "CONNECT"))


@pytest.mark.parametrize("category", Category)
def test_only_what_condemns_an_address_is_said_to_suppress_it_at_once(category: Category) -> None:
    assert (follows(category, True, "failed") == "suppress the address") == MEANINGS[category].condemns
    assert follows(category, False, "failed") != "suppress the address"
    assert follows(category, False, "delayed").startswith("wait")
