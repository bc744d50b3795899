"""Story 2 over fakes: one attempt, one transaction, whatever it comes to."""

from dataclasses import replace
from datetime import UTC
from email import message_from_bytes
from typing import Any

import pytest

from relay.attempt import LOOK_AGAIN, MOST_SOURCES, Attempting, attempt, pool_for
from relay.egress.pools import Pool, Source
from relay.egress.security import unmet
from relay.identity import Rate
from relay.ids import pack
from relay.message import Delivery, MailClass
from relay.outcome import NO_DOMAIN, NO_MAIL, Outcome, Reply, Scope
from relay.pause import Later, Pause
from relay.person import Engaged, Wish
from relay.policy.caps import Cap, Caps
from relay.policy.engagement import DAY, Engagement, Sunset, Tiers
from relay.policy.health import Standing
from relay.policy.patterns import parse
from relay.policy.routes import AnyOf, Route, RouteMatch, Routes
from relay.policy.streams import Stream, Streams
from relay.policy.suspension import Suspension, Suspensions, given
from relay.policy.windows import Window
from relay.room import mark_of
from relay.schedule.retry import RetryPolicy
from relay.shaping.health import BLOCK_PAUSE, FAULT_PAUSE, PATIENCE
from relay.shaping.shape import ProviderTable, Shapes
from relay.shaping.shaper import Shaper
from relay.spool.errors import SpoolError
from relay.state.places import Person
from relay.tally import Kind
from tests.support.house import LETTER, NOW, Rig, waiting_delivery
from tests.support.signatures import both_keys, verdicts

DONE = Outcome(Reply(250, "2.0.0", "OK"), "END", mx="mx.b.example", source="192.0.2.1")
GONE = Outcome(Reply(550, "5.1.1", "no such user"), "RCPT", Scope.RECIPIENT, "mx.b.example")
BUSY = Outcome(Reply(451, "4.3.0", "not now"), "RCPT", Scope.RECIPIENT, "mx.b.example")


async def test_delivered_ends_the_delivery_in_one_transaction() -> None:
    rig, delivery = Rig(DONE), waiting_delivery()
    house = rig.attempting()
    assert await attempt(delivery, house) is None
    assert rig.courier is not None
    assert rig.courier.sent[0][1:] == (LETTER, house.pools[MailClass.TRANSACTIONAL].sources[0])
    (change,) = rig.spool.settled
    assert (change.finished, change.again, change.put) == ([delivery], [], [])
    assert [event["type"] for event in rig.spool.events()] == ["delivered"]
    assert house.tally == {("delivered", MailClass.TRANSACTIONAL): 1}
    assert rig.went == [delivery], "the schedule heard that there was room"
    assert rig.delivered_to == [delivery.domain]


async def test_mail_that_waits_for_tls_is_known_until_its_domain_takes_some() -> None:
    insecure = Outcome(Reply(451, "4.7.10", "no STARTTLS"), "STARTTLS", Scope.SITE, internal=True)
    waits = []
    for outcome in (insecure, BUSY, replace(insecure, reply=Reply(550, "5.7.30", "no STARTTLS"), scope=Scope.MESSAGE)):
        rig, delivery = Rig(outcome), waiting_delivery()
        for rig.now in (NOW - unmet.PATIENCE, NOW):
            await attempt(delivery, rig.attempting())
        waits.append([state for state, _ in rig.unmet.news(NOW)])
    assert waits == [["firing"], [], []], "what bounces does not wait"
    rig = Rig(DONE)
    for at in (NOW - unmet.PATIENCE, NOW):
        rig.unmet.waits("b.example", "no STARTTLS", at)
    assert [state for state, _ in rig.unmet.news(NOW)] == ["firing"]
    await attempt(waiting_delivery(), rig.attempting())
    assert [state for state, _ in rig.unmet.news(NOW)] == ["resolved"]


async def test_the_event_says_that_it_went_to_the_capture_server() -> None:
    for outcome, said in ((DONE, None), (replace(DONE, captured=True), True)):
        rig = Rig(outcome)
        await attempt(waiting_delivery(), rig.attempting())
        assert [event.get("captured") for event in rig.spool.events()] == [said]


async def test_what_left_by_a_return_path_of_ours_is_kept_for_what_may_come_back() -> None:
    for mail_from, captured, kept in (
        ("b-1@bounce.a.example", False, 1),
        ("b-1@bounce.a.example", True, 0),
        ("", False, 0),
    ):
        left = replace(DONE, captured=captured, source="192.0.2.1")
        rig, delivery = Rig(left), waiting_delivery()
        delivery.mail_from = mail_from or delivery.sender
        await attempt(delivery, rig.attempting())
        assert rig.spool.settled[0].sent == [(delivery, "192.0.2.1", "b.example")] * kept


async def test_a_mailbox_that_does_not_exist_is_learnt_from_a_peers_word_not_from_ours() -> None:
    gone = Outcome(Reply(550, "5.1.1", "no such user"), "RCPT", mx="mx.b.example")
    for outcome, learnt in ((gone, 1), (replace(gone, internal=True), 0), (replace(gone, captured=True), 1)):
        rig, delivery = Rig(outcome), waiting_delivery()
        await attempt(delivery, rig.attempting())
        assert [one["reason"] for _, one in rig.spool.settled[0].learnt] == ["bad-mailbox"] * learnt
        assert rig.spool.events()[0]["suppressed"] == ("all" if learnt else None)
    for dns, site in ((NO_DOMAIN, "dns"), (NO_MAIL, "b.example")):
        ours = Outcome(Reply(550, "5.1.2", "no"), "DNS", Scope.RECIPIENT, internal=True, dns=dns)
        rig, delivery = Rig(DONE), waiting_delivery()
        assert rig.courier is not None
        rig.courier.nowhere = ours
        await attempt(delivery, rig.attempting())
        ((_, entry),) = rig.spool.settled[0].learnt
        assert (entry["reason"], entry["stop"], entry["site"]) == ("bad-domain", "all", site), "DNS may say so, too"
        assert delivery.happened is not None
        assert delivery.happened[0] == "h"
        assert delivery.happened[6] == site
        assert rig.spool.events()[0]["site"] == "b.example", "of people's mail DNS is no site"
    rig = Rig(Outcome(Reply(550, "5.7.1", "blocked for spam"), "RCPT", mx="mx.b.example"))
    await attempt(waiting_delivery(), rig.attempting())
    assert rig.spool.settled[0].learnt == [], "a reputation block says nothing of the address"


async def test_a_route_names_another_pool_or_host_than_the_class_s_own() -> None:
    rig = Rig(DONE)
    rig.named = {"slow": Pool("slow", (Source("192.0.2.9", "slow.example"),))}
    here = RouteMatch(streams=AnyOf([parse("order")]))
    rig.routes = Routes([(here, Route("policies/routes.toml:1", pool="slow"))])
    await attempt(waiting_delivery(), rig.attempting())
    rig.routes = Routes([(here, Route("policies/routes.toml:1", next_hop=("10.0.0.9", 2525)))])
    await attempt(waiting_delivery(), rig.attempting())
    assert rig.courier is not None
    assert [source.ehlo for _, _, source in rig.courier.sent] == ["slow.example", "t1.example"]
    assert rig.courier.hops == [None, ("10.0.0.9", 2525)]
    assert rig.spool.events()[0]["pool"] == "slow"


async def test_what_a_route_discards_is_withheld_for_good_and_nobody_is_told() -> None:
    rig, delivery = Rig(DONE), waiting_delivery(quota=True)
    rig.routes = Routes([(RouteMatch(), Route("policies/routes.toml:9", discard=True))])
    assert await attempt(delivery, rig.attempting()) is None
    (change,) = rig.spool.settled
    assert (change.finished, change.put) == ([delivery], [])
    (event,) = rig.spool.events()
    assert (event["type"], event["reason"], event["detail"]) == ("withheld", "discarded", "policies/routes.toml:9")
    assert rig.courier is not None
    assert rig.courier.sent == []
    assert rig.quotas.taken == []


async def test_what_was_rerouted_at_accept_goes_by_that_class_s_pool_and_is_never_discarded() -> None:
    rig, delivery = Rig(DONE), waiting_delivery()
    delivery.message = replace(delivery.message, mail_class=MailClass.MARKETING, contradiction="rerouted")
    rig.routes = Routes([(RouteMatch(frozenset({MailClass.MARKETING})), Route("policies/routes.toml:9", discard=True))])
    assert await attempt(delivery, rig.attempting()) is None
    (event,) = rig.spool.events()
    assert (event["type"], event["class"], event["pool"]) == ("delivered", "marketing", "marketing")


async def test_content_not_in_memory_is_read_back_and_not_kept() -> None:
    rig, delivery = Rig(DONE), waiting_delivery()
    delivery.message.content = None
    await attempt(delivery, rig.attempting())
    assert rig.courier is not None
    assert rig.courier.sent[0][1] == LETTER
    assert delivery.message.content is None


async def test_deferred_goes_again_when_the_policy_says() -> None:
    rig, delivery = Rig(BUSY), waiting_delivery()
    again = await attempt(delivery, rig.attempting())
    assert isinstance(again, int)
    assert NOW + 1000 <= again <= NOW + 1200
    (change,) = rig.spool.settled
    assert (change.finished, change.again) == ([], [delivery])


async def test_a_bounce_and_its_report_are_one_transaction_and_the_report_is_signed_and_offered() -> None:
    rig, delivery = Rig(GONE), waiting_delivery()
    rig.keys_for = lambda domain: both_keys("relay.example")  # type: ignore[method-assign]
    assert await attempt(delivery, rig.attempting()) is None
    (change,) = rig.spool.settled
    assert change.finished == [delivery]
    (message, (note,)) = change.put[0]
    assert rig.offered == [note]
    assert (note.recipient, note.sender, note.mail_from) == ("shop@a.example", "", "")
    assert message.mail_class is MailClass.TRANSACTIONAL
    assert message.content is not None
    letter = note.head + message.content
    assert message_from_bytes(letter).get_content_type() == "multipart/report"
    assert verdicts(letter, both_keys("relay.example"), 2) == [True, True]
    assert [event["type"] for event in rig.spool.events()] == ["bounced", "accepted"]


async def test_given_up_after_its_time() -> None:
    rig, delivery = Rig(BUSY, give_up=500), waiting_delivery()
    assert await attempt(delivery, rig.attempting()) is None
    assert rig.spool.events()[0]["category"] == "expired"


async def test_a_mailbox_that_was_unknown_until_the_message_expired_is_as_gone_as_one_at_once() -> None:
    unknown = Outcome(Reply(450, "4.1.1", "user unknown"), "RCPT", Scope.RECIPIENT, "mx.b.example")
    for give_up, scope, learnt in ((500, Scope.RECIPIENT, 1), (500, Scope.SITE, 0), (DAY, Scope.RECIPIENT, 0)):
        rig, delivery = Rig(replace(unknown, scope=scope), give_up=give_up), waiting_delivery()
        await attempt(delivery, rig.attempting())
        assert [one["reason"] for _, one in rig.spool.settled[0].learnt] == ["bad-mailbox"] * learnt
        if give_up < DAY:
            assert rig.spool.events()[0]["category"] == "expired"
            assert (delivery.happened or ("",))[0] == (Kind.HARD if learnt else Kind.BOUNCED)


async def test_over_quota_takes_its_permit_first() -> None:
    rig, delivery = Rig(DONE), waiting_delivery(quota=True)
    rig.quota = Rate(10, 3600, "", "10/hour")
    rig.quotas.wait = 5000
    house = rig.attempting()
    assert await attempt(delivery, house) == NOW + 5000
    assert rig.courier is not None
    assert not rig.courier.sent
    assert delivery.attempts == 0
    (postponed,) = rig.spool.events()
    assert (postponed["type"], postponed["reason"], postponed["detail"]) == (
        "postponed",
        "quota",
        "shop is over 10/hour",
    )
    assert rig.quotas.urgent, "it is transactional"
    rig.quotas.wait = 0
    assert await attempt(delivery, house) is None
    assert rig.spool.events()[-1]["type"] == "delivered"


async def test_mail_that_never_gets_a_permit_expires() -> None:
    rig, delivery = Rig(DONE, give_up=500), waiting_delivery(quota=True)
    rig.quota = Rate(10, 3600, "", "10/hour")
    rig.quotas.wait = 5000
    assert await attempt(delivery, rig.attempting()) is None
    bounced = rig.spool.events()[0]
    assert (bounced["type"], bounced["category"], bounced["reply"]["text"]) == (
        "bounced",
        "expired",
        "shop is over 10/hour",
    )
    assert rig.courier is not None
    assert not rig.courier.sent


async def test_a_quota_that_was_lifted_lets_waiting_mail_go() -> None:
    rig, delivery = Rig(DONE), waiting_delivery(quota=True)
    assert await attempt(delivery, rig.attempting()) is None
    assert not delivery.quota


RESET = Stream("order", "policies/streams.toml:1", valid_for=1_500)  # it was accepted 1,000 ms ago


async def test_what_is_worth_nothing_any_more_is_withheld_and_not_sent() -> None:
    rig, delivery = Rig(DONE), waiting_delivery(quota=True)
    rig.streams = Streams([(RESET, None)])
    rig.now += 500
    house = rig.attempting()
    assert await attempt(delivery, house) is None
    assert rig.courier is not None
    assert rig.courier.sent == []
    assert rig.quotas.taken == []
    (change,) = rig.spool.settled
    assert (change.finished, change.put) == ([delivery], []), "nobody asked to be told"
    (event,) = rig.spool.events()
    assert (event["type"], event["reason"], event["at"]) == ("withheld", "stale", "attempt")
    assert event["detail"] == "valid_for of stream order ended 2026-11-21T13:25:31.604Z"


async def test_it_is_sent_until_its_time_is_over_and_whatever_that_is_if_rerouted() -> None:
    for now, contradiction in ((NOW + 499, None), (NOW + 500_000, "rerouted")):
        rig, delivery = Rig(DONE), waiting_delivery()
        delivery.message = replace(delivery.message, contradiction=contradiction, valid_until=NOW + 500)
        rig.streams, rig.now = Streams([(RESET, None)]), now
        await attempt(delivery, rig.attempting())
        assert [event["type"] for event in rig.spool.events()] == ["delivered"]


async def test_who_asked_is_told_of_what_was_withheld_with_the_content_read_back() -> None:
    rig, delivery = Rig(DONE), waiting_delivery(notify="FAILURE")
    delivery.message = replace(delivery.message, content=None, valid_until=NOW)
    await attempt(delivery, rig.attempting())
    (change,) = rig.spool.settled
    ((message, (note,)),) = change.put
    assert rig.offered == [note]
    assert message.content is not None
    assert b"Status: 5.4.7" in message.content
    assert b"Subject: Order 77" in message.content
    assert [event["type"] for event in rig.spool.events()] == ["withheld", "accepted"]


async def test_a_retry_comes_no_later_than_the_end_which_then_withholds_it() -> None:
    rig, delivery = Rig(BUSY), waiting_delivery()
    rig.streams = Streams([(RESET, None)])
    assert await attempt(delivery, rig.attempting()) == delivery.next_attempt == NOW + 500
    assert rig.spool.events()[0]["next_attempt"] == "2026-11-21T13:25:31.604Z"
    rig.now = NOW + 500
    assert await attempt(delivery, rig.attempting()) is None
    assert [event["type"] for event in rig.spool.events()] == ["deferred", "withheld"]


async def test_a_place_in_line_is_no_later_than_the_end_either() -> None:
    rig, delivery = Rig(DONE), waiting_delivery(quota=True)
    rig.quota, rig.quotas.wait, rig.streams = Rate(10, 3600, "", "10/hour"), 5_000, Streams([(RESET, None)])
    assert await attempt(delivery, rig.attempting()) == NOW + 500
    assert rig.spool.events()[0]["until"] == "2026-11-21T13:25:31.604Z"


async def test_a_reload_counts_for_what_waits() -> None:
    rig, delivery = Rig(DONE), waiting_delivery()
    house = rig.attempting()
    house.streams = {"order": RESET}
    rig.now += 500
    assert await attempt(delivery, house) is None
    assert [event["type"] for event in rig.spool.events()] == ["withheld"]


async def test_a_report_says_how_long_it_is_tried_where_it_is_tried_on() -> None:
    late = NOW - 700_000
    for valid_until, given_up in ((None, b"13:13:51"), (NOW + 5_000, b"13:25:36")):
        rig, delivery = Rig(BUSY), waiting_delivery(notify="DELAY,FAILURE")
        delivery.message = replace(delivery.message, accepted_at=late, valid_until=valid_until)
        await attempt(delivery, rig.attempting())
        message = rig.spool.settled[0].put[0][0]
        assert message.content is not None
        assert b"Will-Retry-Until: " in message.content
        assert given_up in message.content.partition(b"Will-Retry-Until: ")[2][:40]
    rig, delivery = Rig(GONE), waiting_delivery()
    await attempt(delivery, rig.attempting())
    message = rig.spool.settled[0].put[0][0]
    assert message.content is not None
    assert b"Retry-Until" not in message.content
    assert b"given up" not in message.content


SHUT = Window("office", UTC, (((840, 1080),),) * 7)  # 14:00-18:00; it is 13:25:31.104
OPENS = 1_795_269_600_000
WINDOWED = Stream("order", "policies/streams.toml:1", window=SHUT)


def windowed(outcome: Outcome, give_up: int = 86_400_000, **changes: Any) -> tuple[Rig, Delivery]:
    rig, delivery = Rig(outcome, give_up), waiting_delivery()
    rig.streams = Streams([(WINDOWED, None)])
    delivery.message = replace(delivery.message, mail_class=MailClass.MARKETING, **changes)
    delivery.notify = "NEVER"
    return rig, delivery


async def test_outside_its_hours_nothing_is_tried() -> None:
    rig, delivery = windowed(DONE)
    delivery.quota, rig.quota = True, Rate(10, 3600, "", "10/hour")
    assert await attempt(delivery, rig.attempting()) == delivery.next_attempt == OPENS
    assert rig.courier is not None
    assert (rig.courier.sent, rig.quotas.taken, delivery.attempts) == ([], [], 0)
    (change,) = rig.spool.settled
    assert (change.finished, change.again) == ([], [delivery])
    (event,) = rig.spool.events()
    assert (event["type"], event["reason"], event["until"]) == ("postponed", "send-window", "2026-11-21T14:00:00.000Z")
    rig.now = OPENS
    assert await attempt(delivery, rig.attempting()) is None
    assert rig.spool.events()[-1]["type"] == "delivered"


async def test_before_its_app_wants_it_sent_nothing_is_tried() -> None:
    rig, delivery = windowed(DONE, send_at=OPENS + 1)
    assert await attempt(delivery, rig.attempting()) == OPENS + 1
    assert rig.spool.events()[0]["reason"] == "send-at"
    rig.now = OPENS + 1
    assert await attempt(delivery, rig.attempting()) is None
    assert rig.spool.events()[1]["type"] == "delivered"


async def test_what_was_rerouted_goes_at_any_hour() -> None:
    rig, delivery = windowed(DONE, contradiction="rerouted", send_at=OPENS)
    assert await attempt(delivery, rig.attempting()) is None
    assert rig.spool.events()[0]["type"] == "delivered"


async def test_a_retry_outside_the_hours_waits_for_them() -> None:
    rig, delivery = windowed(BUSY)
    rig.now = OPENS + 4 * 3_600_000 - 1
    again = await attempt(delivery, rig.attempting())
    assert isinstance(again, int)
    rig.now = again
    assert await attempt(delivery, rig.attempting()) == OPENS + 86_400_000
    assert [event["type"] for event in rig.spool.events()] == ["deferred", "postponed"]


@pytest.mark.parametrize("changes", [{}, {"send_at": OPENS}], ids=["window", "send-at"])
async def test_how_long_it_is_tried_counts_from_when_it_may_go(changes: dict[str, Any]) -> None:
    rig, delivery = windowed(BUSY, 60_000, **changes)
    rig.now = OPENS + 50_000
    assert await attempt(delivery, rig.attempting()) is not None
    rig.now = OPENS + 60_000
    assert await attempt(delivery, rig.attempting()) is None
    assert [event["type"] for event in rig.spool.events()] == ["deferred", "bounced"]


async def test_nobody_is_told_of_a_delay_that_was_ordered() -> None:
    rig, delivery = windowed(BUSY, send_at=OPENS)
    delivery.notify = "DELAY"
    rig.now = OPENS + 599_999  # of the 600,000 after which it is late
    await attempt(delivery, rig.attempting())
    rig.now += 1
    assert not rig.offered
    await attempt(delivery, rig.attempting())
    assert len(rig.offered) == 1


async def test_waiting_for_a_permit_is_not_held_against_what_waited_for_its_hours() -> None:
    rig, delivery = windowed(DONE, 60_000)
    delivery.quota, rig.quota, rig.quotas.wait = True, Rate(10, 3600, "", "10/hour"), 5_000
    rig.now = OPENS + 59_999
    assert await attempt(delivery, rig.attempting()) == OPENS + 64_999
    rig.now = OPENS + 60_000
    assert await attempt(delivery, rig.attempting()) is None
    assert [event["type"] for event in rig.spool.events()] == ["postponed", "bounced"]


PACED = Stream("order", "policies/streams.toml:1", rate=Rate(10, 3600, "", "10/hour"))


async def test_over_its_stream_s_rate_it_takes_its_permit_first() -> None:
    rig, delivery = Rig(DONE), waiting_delivery(paced=True)
    rig.streams, rig.quotas.wait = Streams([(PACED, None)]), 5_000
    house = rig.attempting()
    assert await attempt(delivery, house) == NOW + 5_000
    (postponed,) = rig.spool.events()
    assert (postponed["type"], postponed["reason"]) == ("postponed", "rate")
    assert postponed["detail"] == "stream order is over 10/hour"
    owed = [delivery.paced]
    rig.quotas.wait = 0
    assert await attempt(delivery, house) is None
    assert [*owed, delivery.paced] == [True, False]
    assert rig.spool.events()[-1]["type"] == "delivered"
    assert rig.quotas.taken == [("stream:order", 1, "UTC")] * 2


async def test_of_two_permits_the_one_it_has_is_not_taken_again() -> None:
    rig, delivery = Rig(DONE), waiting_delivery(paced=True, quota=True)
    rig.streams, rig.quota, rig.quotas.waits = Streams([(PACED, None)]), Rate(5, 3600, "", "5/hour"), {"shop": 5_000}
    house = rig.attempting()
    assert await attempt(delivery, house) == NOW + 5_000
    rig.quotas.waits = {"stream:order": 7_000}
    assert await attempt(delivery, house) == NOW + 7_000
    assert (delivery.quota, delivery.paced) == (False, True)
    assert rig.spool.settled[-1].again == [delivery]
    rig.quotas.waits = {}
    assert await attempt(delivery, house) is None
    assert [name for name, _, _ in rig.quotas.taken] == ["shop", "shop", "stream:order", "stream:order"]


async def test_a_rate_that_was_lifted_and_rerouted_mail_are_not_paced() -> None:
    for streams, contradiction in ((Streams(), None), (Streams([(PACED, None)]), "rerouted")):
        rig, delivery = Rig(DONE), waiting_delivery(paced=True)
        delivery.message = replace(delivery.message, contradiction=contradiction)
        rig.streams = streams
        assert await attempt(delivery, rig.attempting()) is None
        assert (rig.quotas.taken, delivery.paced) == ([], False)


async def test_a_stream_that_its_health_slows_takes_permits_of_that_and_transactional_mail_none() -> None:
    rig, delivery = Rig(DONE), waiting_delivery()
    delivery.message = replace(delivery.message, mail_class=MailClass.MARKETING)
    rig.slow.put([Standing("order", "slow", "complaints 0.2 %", rate=600)])
    rig.quotas.waits = {"health:order": 6_000}
    house = rig.attempting()
    assert await attempt(delivery, house) == NOW + 6_000
    event = rig.spool.events()[-1]
    assert (event["type"], event["reason"], event["detail"]) == (
        "postponed",
        "health",
        "stream order (complaints 0.2 %) is over 600/hour",
    )
    rig.quotas.waits = {}
    assert await attempt(delivery, house) is None
    assert [name for name, _, _ in rig.quotas.taken] == ["health:order"] * 2
    urgent = waiting_delivery()
    urgent.message = replace(urgent.message, mail_class=MailClass.TRANSACTIONAL)
    assert await attempt(urgent, house) is None
    assert len(rig.quotas.taken) == 2


async def test_how_it_ended_counts_for_the_health_of_its_stream_unless_it_was_captured() -> None:
    gone = Outcome(Reply(550, "5.1.1", "no such user"), "RCPT", Scope.RECIPIENT)
    spam = Outcome(Reply(554, "5.7.1", "Message rejected as spam"), "END", Scope.MESSAGE)
    for outcome, kind in ((DONE, "d"), (gone, "h"), (spam, "s"), (replace(DONE, captured=True), None)):
        rig, delivery = Rig(outcome), waiting_delivery()
        await attempt(delivery, rig.attempting())
        assert (delivery.happened[0] if delivery.happened else None) == kind
    own = waiting_delivery(notify="NEVER")
    own.sender = own.mail_from = ""
    await attempt(own, Rig(DONE).attempting())
    assert own.happened is None
    delivery = waiting_delivery()
    assert await attempt(delivery, Rig(DONE).attempting()) is None
    assert delivery.happened == ("d", "order", True, "shop", "a", "", "b.example", NOW)


async def test_who_is_refused_for_a_fault_of_his_own_is_told_of_once() -> None:
    refused = Outcome(Reply(550, "5.7.26", "not authenticated"), "END", Scope.MESSAGE)
    put_off = Outcome(Reply(421, "4.7.26", "not authenticated"), "END", Scope.HOST)
    at_once = ("order", True, "shop", "a", "", "b.example", NOW, 0, "auth-failure")
    rig, delivery = Rig(refused), waiting_delivery()
    await attempt(delivery, rig.attempting())
    assert delivery.happened == ("f", *at_once, "550 5.7.26", "a.example")
    own = waiting_delivery()
    await attempt(own, Rig(replace(refused, internal=True)).attempting())
    assert own.happened is not None
    assert own.happened[0] == "b", "our own words blame nobody"

    rig, delivery = Rig(put_off), waiting_delivery()
    house = rig.attempting()
    assert await attempt(delivery, house) is not None
    told = ("w", *at_once, "421 4.7.26", "a.example")
    assert rig.spool.settled[-1].told_of == [(f"{delivery.message.id}-0-1", told)]
    assert await attempt(delivery, house) is not None
    assert rig.spool.settled[-1].told_of == []
    house.retry = dict.fromkeys(MailClass, RetryPolicy((1,), 1, 1))
    assert await attempt(delivery, house) is None
    assert delivery.happened == ("b", *at_once[:-2])

    for other in (replace(put_off, internal=True), replace(put_off, captured=True), BUSY):
        rig = Rig(other)
        await attempt(waiting_delivery(), rig.attempting())
        assert rig.spool.settled[-1].told_of == []


async def test_mail_that_arrives_settles_what_was_pending_of_its_recipient() -> None:
    rig, delivery = Rig(DONE), waiting_delivery()
    rig.people.block(delivery.recipient, "pending:all", "bad-mailbox")
    assert await attempt(delivery, rig.attempting()) is None
    assert rig.spool.settled[-1].learnt == [(delivery, {"recipient": delivery.recipient, "arrived": True})]


# -- where to, and within which limits


async def test_where_there_is_no_way_nobody_is_asked_for_permits() -> None:
    rig = Rig(DONE)
    assert rig.courier is not None
    rig.courier.nowhere = Outcome(Reply(550, "5.1.2", "no such domain"), "DNS", Scope.RECIPIENT, internal=True)
    rig.shapes = Shapes({"connections": 1, "messages_per_connection": 1, "rate": Rate(1, 1, "", "1/second")})
    assert await attempt(waiting_delivery(), rig.attempting()) is None
    assert [event["type"] for event in rig.spool.events()] == ["bounced", "accepted"]
    assert (rig.quotas.taken, rig.courier.sent) == ([], [])


async def test_over_a_rate_of_its_site_nothing_is_written_and_nothing_is_tried() -> None:
    rig, delivery = Rig(DONE), waiting_delivery()
    assert rig.courier is not None
    rig.courier.sites["b.example"] = "hoster"
    ten = Rate(10, 1, "", "10/second")
    rig.shapes = Shapes({"connections": 1, "messages_per_connection": 1}, {"hoster": ProviderTable({"rate": ten}, {})})
    rig.quotas.wait = 70
    house = rig.attempting()
    assert await attempt(delivery, house) == Pause(
        NOW + 70, "hoster: 10/second from 192.0.2.1", "hoster", "transactional"
    )
    assert (rig.spool.settled, rig.courier.sent, delivery.attempts) == ([], [], 0)
    rig.quotas.wait = 0
    assert await attempt(delivery, house) is None
    assert rig.spool.events()[0]["site"] == "hoster", "where its limits count, whatever lane it waited in"
    assert rig.courier.terms == [rig.shapes.of("hoster", "transactional", "b.example")]


async def test_a_permit_is_used_when_the_message_goes_and_given_back_when_it_never_does() -> None:
    ten = Rate(10, 1, "", "10/second")
    down = Outcome(Reply(421, "4.4.1", "no answer"), "CONNECT", Scope.SITE, internal=True)
    for outcome, departed, back in (
        (DONE, ["rate/192.0.2.1/b.example"], []),
        (down, [], [("rate/192.0.2.1/b.example", 1)]),
    ):
        rig = Rig(outcome)
        rig.shapes = Shapes({"connections": 1, "messages_per_connection": 1, "rate": ten})
        await attempt(waiting_delivery(), rig.attempting())
        assert (rig.quotas.departed, rig.quotas.back) == (departed, back)


async def test_what_cannot_be_read_back_gives_its_permits_back(monkeypatch: pytest.MonkeyPatch) -> None:
    rig, delivery = Rig(DONE), waiting_delivery()
    rig.shapes = Shapes({"connections": 1, "messages_per_connection": 1, "rate": Rate(10, 1, "", "10/second")})
    delivery.message.content = None

    async def broken(message: object) -> bytes:
        raise SpoolError("the disk cannot be read")

    monkeypatch.setattr(rig.spool, "content", broken)
    with pytest.raises(SpoolError):
        await attempt(delivery, rig.attempting())
    assert (rig.quotas.departed, rig.quotas.back) == ([], [("rate/192.0.2.1/b.example", 1)])


# -- sources that do not do

DEAD = Outcome(Reply(451, "4.4.0", "cannot send from 192.0.2.1"), "CONNECT", Scope.SOURCE, internal=True)
BLOCKED = Outcome(Reply(554, "5.7.1", "blocked using zen.spamhaus.org"), "CONNECT", Scope.SITE, "mx.b.example")
PAIR = Pool("p", (Source("192.0.2.1", "t1.example"), Source("192.0.2.2", "t2.example")))


async def test_a_dead_source_costs_no_attempt_where_it_has_a_sibling() -> None:
    rig = Rig(DONE)
    assert rig.courier is not None
    rig.courier.by["192.0.2.1"] = DEAD
    house = rig.attempting()
    house.pools = {MailClass.TRANSACTIONAL: PAIR}
    for _ in range(20):
        assert await attempt(waiting_delivery(), house) is None
    tried = [source.address for _, _, source in rig.courier.sent]
    assert tried.count("192.0.2.1") == 1
    assert tried[-1] == "192.0.2.2"
    assert {event["type"] for event in rig.spool.events()} <= {"delivered", "accepted"}


async def test_a_source_that_may_open_no_connection_leaves_it_to_its_sibling_or_the_lane_waits() -> None:
    """Nobody stands in line for a minute, with places that other mail could use."""
    rig = Rig(DONE)
    assert rig.courier is not None
    rig.shapes = Shapes({"connections": 1, "messages_per_connection": 1, "rate": Rate(10, 1, "", "10/second")})
    rig.courier.later = {"192.0.2.1": Later(60_000, "1/hour")}
    house = rig.attempting()
    house.pools = {MailClass.TRANSACTIONAL: PAIR}
    for _ in range(20):
        assert await attempt(waiting_delivery(), house) is None
    tried = [source.address for _, _, source in rig.courier.sent]
    assert tried.count("192.0.2.2") == 20, "that one delivered all of it"
    assert rig.quotas.back == [("rate/192.0.2.1/b.example", 1)] * tried.count("192.0.2.1"), "what it held goes back"
    rig.courier.later["192.0.2.2"] = Later(20_000, "2/hour")
    settled, delivery = len(rig.spool.settled), waiting_delivery()
    pause = Pause(NOW + 20_000, "2/hour", "b.example", "p")
    assert await attempt(delivery, house) == pause, "until the first of them may"
    assert (len(rig.spool.settled), delivery.attempts) == (settled, 0)


async def test_a_dead_source_that_is_alone_is_told_once_and_then_waited_for() -> None:
    rig = Rig(DEAD)
    house, delivery = rig.attempting(), waiting_delivery()
    assert isinstance(await attempt(delivery, house), int)
    assert rig.spool.events()[0]["reply"]["text"] == "cannot send from 192.0.2.1"
    assert await attempt(delivery, house) == Pause(
        NOW + FAULT_PAUSE[0], "192.0.2.1 stands aside", "b.example", "transactional"
    )
    assert delivery.attempts == 1


async def test_a_source_that_the_site_blocks_is_not_used_there_for_a_while() -> None:
    rig = Rig(BLOCKED)
    house, delivery = rig.attempting(), waiting_delivery()
    assert isinstance(await attempt(delivery, house), int)
    assert await attempt(delivery, house) == Pause(
        NOW + BLOCK_PAUSE[0], "192.0.2.1 stands aside", "b.example", "transactional"
    )
    assert rig.courier is not None
    rig.courier.sites["b.example"] = "elsewhere.example"
    assert isinstance(await attempt(delivery, house), int)


LISTED = Outcome(Reply(550, "5.7.1", "our IP [192.0.2.1] is on our block list (S3140)"), "RCPT", mx="mx.outlook.com")


def of_many(rig: Rig, count: int) -> Attempting:
    house = rig.attempting()
    house.pools = {c: Pool("p", tuple(Source(f"192.0.2.{n + 1}", "") for n in range(count))) for c in MailClass}
    return house


async def test_a_block_of_one_source_bounces_nothing_that_another_delivers() -> None:
    rig = Rig(LISTED)
    assert rig.courier is not None
    rig.courier.by["192.0.2.2"] = DONE
    house = of_many(rig, 2)
    for _ in range(20):
        assert await attempt(waiting_delivery(), house) is None
    assert house.tally == {("delivered", MailClass.TRANSACTIONAL): 20}
    tried = [source.address for _, _, source in rig.courier.sent]
    assert tried.count("192.0.2.1") <= PATIENCE, "then it steps aside"


async def test_what_the_site_refuses_from_all_sources_or_for_another_reason_bounces() -> None:
    rig = Rig(LISTED)
    assert rig.courier is not None
    assert await attempt(waiting_delivery(), of_many(rig, 2)) is None
    assert {source.address for _, _, source in rig.courier.sent} == {"192.0.2.1", "192.0.2.2"}
    assert [event["type"] for event in rig.spool.events()] == ["bounced", "accepted"]
    spam = Rig(replace(LISTED, reply=Reply(550, "5.7.1", "message content rejected as spam")))
    assert spam.courier is not None
    assert await attempt(waiting_delivery(), of_many(spam, 2)) is None
    assert len(spam.courier.sent) == 1


async def test_a_block_ends_nothing_while_another_source_could_try_later() -> None:
    rig = Rig(LISTED)
    assert rig.courier is not None
    house = of_many(rig, 2)
    rig.courier.later = {"192.0.2.2": Later(60_000, "1/hour")}
    assert isinstance(await attempt(waiting_delivery(), house), int)
    (event,) = rig.spool.events()
    assert (event["type"], event["category"], event["permanent"]) == ("deferred", "reputation-block", False)
    many = Rig(LISTED)
    assert many.courier is not None
    assert isinstance(await attempt(waiting_delivery(), of_many(many, 9)), int)
    assert len(many.courier.sent) == MOST_SOURCES
    full = Rig(LISTED)
    full.shapes = Shapes({"connections": 1, "messages_per_connection": 1, "rate": Rate(10, 1, "", "10/second")})
    full.quotas.waits = {"rate/192.0.2.2/b.example": 500}
    delivery = waiting_delivery(source="192.0.2.1")
    assert isinstance(await attempt(delivery, of_many(full, 2)), int)
    assert delivery.next_attempt > NOW + 500, "it was refused, and comes by the times of retries"


async def test_who_waits_for_room_for_as_long_as_any_mail_may_is_given_up() -> None:
    rig = Rig(BLOCKED)
    house, delivery = rig.attempting(), waiting_delivery()
    await attempt(waiting_delivery(), house)
    house.retry = {kind: replace(policy, give_up=1) for kind, policy in house.retry.items()}
    rig.now += 1_000
    assert await attempt(delivery, house) is None
    ended = next(event for event in rig.spool.events() if event["type"] == "bounced")
    assert (ended["category"], ended["reply"]["text"]) == ("expired", "192.0.2.1 stands aside")


async def test_only_pools_of_both_families_ask_what_the_hosts_have() -> None:
    rig = Rig(DONE)
    house = rig.attempting()
    await attempt(waiting_delivery(), house)
    assert rig.courier is not None
    assert rig.courier.families_asked == 0
    house.pools = {MailClass.TRANSACTIONAL: Pool("p", (Source("192.0.2.1", ""), Source("2001:db8::1", "", 1000)))}
    rig.courier.families_there = frozenset({4})
    for _ in range(20):
        await attempt(waiting_delivery(), house)
    assert rig.courier.families_asked == 20
    assert {source.address for _, _, source in rig.courier.sent} == {"192.0.2.1"}


async def test_the_shaper_learns_what_a_refusal_means() -> None:
    rig = Rig(Outcome(Reply(421, "4.7.28", "rate limited"), "MAIL", Scope.HOST, "mx.google.com"))
    house = rig.attempting()
    assert isinstance(await attempt(waiting_delivery(), house), int)
    assert isinstance(house.shaper, Shaper)
    (row,) = house.shaper.pacemaker.shown(NOW)
    assert (row["site"], row["direction"], row["why"]) == ("b.example", "down", "421 4.7.28")


async def test_what_is_suspended_is_held_in_its_row_and_nobody_is_asked() -> None:
    rig, delivery = Rig(DONE), waiting_delivery()
    news = Suspension(77, given({"stream": "order", "class": "*"}), NOW, reason="look")
    rig.suspensions.put([news])
    assert await attempt(delivery, rig.attempting()) is None
    (change,) = rig.spool.settled
    assert (change.again, change.finished, delivery.held) == ([delivery], [], 77)
    (event,) = rig.spool.events()
    assert (event["type"], event["reason"], event["detail"]) == (
        "postponed", "held", "suspended: stream order, class * (look)",
    )  # fmt: skip
    assert rig.courier is not None
    assert rig.courier.sent == []
    rig.suspensions.put([])
    assert await attempt(waiting_delivery(), rig.attempting()) is None
    assert rig.courier.sent


async def test_until_suspensions_are_known_only_transactional_mail_goes() -> None:
    rig, news = Rig(DONE), waiting_delivery()
    rig.suspensions.known = False
    assert await attempt(waiting_delivery(), rig.attempting()) is None
    assert rig.courier is not None
    assert len(rig.courier.sent) == 1
    news.message = replace(news.message, mail_class=MailClass.MARKETING)
    assert await attempt(news, rig.attempting()) == Pause(NOW + LOOK_AGAIN, "State has not told yet what is suspended")
    assert len(rig.courier.sent) == len(rig.spool.settled) == 1, "nothing is tried, nothing written"


async def test_what_an_operator_moved_goes_by_that_pool_before_any_route() -> None:
    rig = Rig(DONE)
    rig.named = {name: Pool(name, (Source(name, ""),)) for name in ("slow", "cold")}
    rig.routes = Routes([(RouteMatch(), Route("policies/routes.toml:1", pool="slow"))])
    for pool in ("cold", "gone", ""):
        await attempt(waiting_delivery(pool=pool), rig.attempting())
    assert [event["pool"] for event in rig.spool.events()] == ["cold", "slow", "slow"]


async def test_whom_mail_may_not_go_to_is_asked_again_before_each_attempt() -> None:
    rig, delivery = Rig(DONE), waiting_delivery(notify="FAILURE")
    rig.people.block("dana@b.example", reason="bad-mailbox")
    assert await attempt(delivery, rig.attempting()) is None
    (change,) = rig.spool.settled
    assert change.finished == [delivery]
    withheld, report = rig.spool.events()
    assert (withheld["type"], withheld["reason"], withheld["at"]) == ("withheld", "suppressed", "attempt")
    assert withheld["detail"] == "all, bad-mailbox, cli on 2026-11-21"
    assert report["type"] == "accepted"
    ((message, (note,)),) = change.put
    assert rig.offered == [note]
    assert message.content is not None
    assert b"Status: 5.1.1" in message.content
    assert rig.courier is not None
    assert rig.courier.sent == []


async def test_marketing_waits_for_state_and_for_the_end_of_a_pause() -> None:
    rig, delivery = Rig(DONE), waiting_delivery()
    delivery.message = replace(delivery.message, mail_class=MailClass.MARKETING)
    rig.people.down = True
    assert await attempt(delivery, rig.attempting()) == Pause(
        NOW + 1_000, "State cannot say whether its recipients still want it"
    )
    assert rig.spool.settled == []
    rig.people.down = False
    rig.people.wish("dana@b.example", "a", Wish(paused_until=NOW + 60_000))
    assert await attempt(delivery, rig.attempting()) == NOW + 60_000
    (event,) = rig.spool.events()
    assert (event["type"], event["reason"]) == ("postponed", "preference")
    rig.people.wish("dana@b.example", "a", Wish())
    assert await attempt(delivery, rig.attempting()) is None
    assert rig.spool.events()[-1]["type"] == "delivered"


async def test_transactional_mail_goes_without_state() -> None:
    rig = Rig(DONE)
    rig.people.down = True
    assert await attempt(waiting_delivery(), rig.attempting()) is None
    assert rig.spool.events()[-1]["type"] == "delivered"


def known_copy(rig: Rig, **about: str) -> Delivery:
    """One that State knows as the first of its kind."""
    delivery = waiting_delivery()
    delivery.message.copy = "c"
    delivery.message.collapse = about.get("collapse", "")
    rig.marks.stand[rig.copies.hashes.key("c", delivery.recipient)] = pack(delivery.message.id)
    return delivery


@pytest.mark.parametrize(("outcome", "left"), [(DONE, 1), (BUSY, 1), (GONE, 0)])
async def test_what_bounced_is_no_first_copy_any_more(outcome: Outcome, left: int) -> None:
    rig = Rig(outcome)
    await attempt(known_copy(rig), rig.attempting())
    assert len([one for one in rig.marks.stand.values() if one]) == left


async def test_nor_is_what_was_withheld_or_discarded() -> None:
    rig = Rig(DONE)
    delivery = known_copy(rig)
    delivery.message.valid_until = NOW
    await attempt(delivery, rig.attempting())
    assert not any(rig.marks.stand.values())
    delivery = known_copy(rig)
    rig.routes = Routes([(RouteMatch(), Route("policies/routes.toml:9", discard=True))])
    await attempt(delivery, rig.attempting())
    assert not any(rig.marks.stand.values())


async def test_an_older_message_of_a_collapse_key_is_withheld_and_its_late_copy_stays_one() -> None:
    rig = Rig(DONE)
    delivery = known_copy(rig, collapse="k")
    rig.marks.stand[rig.copies.hashes.key("k", delivery.recipient)] = pack("z" * 16)
    delivery.notify = "FAILURE"
    assert await attempt(delivery, rig.attempting()) is None
    withheld, report = rig.spool.events()
    assert [withheld[name] for name in ("type", "reason", "superseded_by")] == ["withheld", "superseded", "z" * 16]
    assert report["report_of"] == delivery.message.id
    assert rig.courier is not None
    assert rig.courier.sent == []
    assert rig.marks.stand[rig.copies.hashes.key("c", delivery.recipient)]


async def test_the_newest_of_a_collapse_key_goes() -> None:
    rig = Rig(DONE)
    delivery = known_copy(rig, collapse="k")
    rig.marks.stand[rig.copies.hashes.key("k", delivery.recipient)] = pack("0" * 16)
    await attempt(delivery, rig.attempting())
    assert [event["type"] for event in rig.spool.events()] == ["delivered"]


async def test_when_its_time_is_over_its_sender_is_told_once_and_it_is_tried_on() -> None:
    rig = Rig(BUSY)
    delivery = waiting_delivery(last_reply="451 4.3.0 not now", next_attempt=NOW)
    delivery.message.by = NOW + 400
    again = await attempt(delivery, rig.attempting())
    assert again == NOW + 400, "and is looked at then"
    rig.now = again
    following = await attempt(delivery, rig.attempting())
    assert isinstance(following, int)
    assert following > again
    rig.now = following
    await attempt(delivery, rig.attempting())
    (report,) = [message for change in rig.spool.settled for message, _ in change.put]
    told = message_from_bytes(report.content or b"").as_string()
    assert "Action: delayed\n" in told
    assert "Status: 4.4.7\n" in told
    assert "the last answer was: 451 4.3.0 not now" in " ".join(told.split())
    assert "Will-Retry-Until: " in told
    assert [event["type"] for event in rig.spool.events()] == ["deferred", "accepted", "deferred", "deferred"]


async def test_what_waits_for_its_hours_or_is_late_at_its_failure_is_told_of_too() -> None:
    rig, delivery = windowed(BUSY, by=NOW + 400)
    delivery.notify = ""
    assert await attempt(delivery, rig.attempting()) == NOW + 400
    rig.now += 400
    await attempt(delivery, rig.attempting())
    assert [len(change.put) for change in rig.spool.settled] == [0, 1, 0]
    rig = Rig(BUSY)
    delivery = waiting_delivery(notify="NEVER")
    delivery.message.by = NOW
    await attempt(delivery, rig.attempting())
    assert delivery.warned
    assert [event["type"] for event in rig.spool.events()] == ["deferred"]


MARKETING = frozenset({MailClass.MARKETING})
DAILY = Cap("daily", frozenset({"a"}), MARKETING, MARKETING, (Rate(1, 86_400, "", "1/24h"),), "postpone")


def newsletter(rig: Rig, *sent_before: int, over: str = "postpone", **changes: Any) -> Delivery:
    """To dana, who got others so many ms ago."""
    rig.capping.caps = Caps([replace(DAILY, over=over)], {"a": "UTC"})
    sends = [((NOW - ago) // 1000, mark_of("a", "marketing")) for ago in sent_before]
    rig.places.people[rig.people.keys.key("dana@b.example")] = Person(sends)
    delivery = waiting_delivery(**changes)
    delivery.message = replace(delivery.message, mail_class=MailClass.MARKETING)
    return delivery


async def test_what_is_delivered_tells_when_and_that_it_held_a_place() -> None:
    rig = Rig(DONE)
    delivery = newsletter(rig)
    assert await attempt(delivery, rig.attempting()) is None
    assert (delivery.counted, delivery.arrived) == (True, NOW)
    assert rig.spool.settled[0].finished == [delivery]


async def test_over_a_cap_it_waits_or_ends() -> None:
    rig = Rig(DONE)
    delivery = newsletter(rig, 3_600_000, counted=True)
    opens = ((NOW - 3_600_000) // 1000 + 86_401) * 1000
    assert await attempt(delivery, rig.attempting()) == opens
    assert (delivery.counted, delivery.next_attempt) == (False, opens)
    (event,) = rig.spool.events()
    assert (event["type"], event["reason"]) == ("postponed", "capped")
    rig = Rig(DONE)
    assert await attempt(newsletter(rig, 3_600_000, over="drop"), rig.attempting()) is None
    assert [(event["type"], event["reason"]) for event in rig.spool.events()] == [("withheld", "capped")]


async def test_mail_that_waits_for_something_else_gives_its_place_up() -> None:
    hold = Suspension(5, given({"stream": "order"}), NOW, reason="no")
    for stopped in (True, False):
        rig = Rig(DONE)
        delivery = newsletter(rig, counted=True)
        if stopped:
            rig.suspensions.put([hold])
        else:
            delivery.message.send_at = NOW + 3_600_000
        await attempt(delivery, rig.attempting())
        (change,) = rig.spool.settled
        assert (change.again, change.given_up, delivery.counted) == ([delivery], [delivery], False)


@pytest.mark.parametrize("on_disk", [True, False])
async def test_a_place_that_the_disk_does_not_know_of_is_handed_back_where_its_site_has_no_room(on_disk: bool) -> None:
    rig = Rig(DONE)
    delivery = newsletter(rig, counted=on_disk)
    house = rig.attempting()
    assert rig.courier is not None
    rig.courier.later["192.0.2.1"] = Later(20_000, "2/hour")
    assert isinstance(await attempt(delivery, house), Pause)
    places = rig.places.people[rig.people.keys.key("dana@b.example")].places
    assert (delivery.counted, len(places)) == (on_disk, int(on_disk))
    rig.courier.later.clear()
    assert await attempt(delivery, house) is None
    assert delivery.counted


async def test_what_a_cap_let_go_late_has_all_its_tries() -> None:
    rig = Rig(BUSY, give_up=3_600_000)
    delivery = newsletter(rig)
    delivery.message.accepted_at = NOW - 5 * 86_400_000
    again = await attempt(delivery, rig.attempting())
    assert isinstance(again, int)
    assert delivery.freed == NOW
    assert [event["type"] for event in rig.spool.events()] == ["deferred"]
    assert (delivery.counted, delivery.arrived) == (True, 0), "it holds its place while it is tried"


def marketing_to(tier_of: str, rig: Rig) -> Delivery:
    """Mail of brand a to somebody who is `tier_of` there; a route carries what is cold."""
    delivery = waiting_delivery()
    delivery.message.mail_class = MailClass.MARKETING
    silent = {"cold": 200, "lapsing": 100, "engaged": 1}[tier_of]
    rig.people.engaged(delivery.recipient, "a", Engaged(NOW // DAY - silent))
    rig.engaging.table = Engagement(Tiers(), {"a": NOW // DAY})
    rig.named = {"slow": Pool("slow", (Source("192.0.2.9", "slow.example"),))}
    return delivery


COLD_ALONE = RouteMatch(frozenset({MailClass.MARKETING}), tiers=frozenset({"cold"}))


@pytest.mark.parametrize(
    ("tier", "source"), [("cold", "192.0.2.9"), ("lapsing", "192.0.2.1"), ("engaged", "192.0.2.1")]
)
async def test_mail_to_the_cold_goes_by_a_pool_of_its_own(tier: str, source: str) -> None:
    rig = Rig(DONE)
    delivery = marketing_to(tier, rig)
    rig.routes = Routes([(COLD_ALONE, Route("policies/routes.toml:1", pool="slow"))])
    assert await attempt(delivery, rig.attempting()) is None
    assert rig.courier is not None
    assert rig.courier.sent[0][2].address == source


async def test_what_is_discarded_or_suspended_for_the_cold_is_so_when_that_is_known() -> None:
    rig = Rig(DONE)
    delivery = marketing_to("cold", rig)
    rig.routes = Routes([(COLD_ALONE, Route("policies/routes.toml:1", discard=True))])
    assert await attempt(delivery, rig.attempting()) is None
    assert [event["reason"] for event in rig.spool.events()] == ["discarded"]

    rig = Rig(DONE)
    delivery = marketing_to("cold", rig)
    rig.routes = Routes([(COLD_ALONE, Route("policies/routes.toml:1", pool="slow"))])
    house = rig.attempting()
    house.suspensions = Suspensions(lambda one: pool_for(one, house).name)
    slow = given({"pool": ["slow"]})
    house.suspensions.put([Suspension(4711, slow, NOW, reason="listed")])
    assert await attempt(delivery, house) is None
    assert (delivery.held, delivery.tier) == (4711, "cold")
    assert rig.courier is not None
    assert rig.courier.sent == []


async def test_sunset_ends_marketing_and_says_why() -> None:
    rig = Rig(DONE)
    delivery = marketing_to("cold", rig)
    rig.engaging.apply(Tiers(sunset=Sunset(3, 200)))
    rig.people.engaged(delivery.recipient, "a", Engaged(NOW // DAY - 200, 0, 3, NOW))
    assert await attempt(delivery, rig.attempting()) is None
    (event,) = rig.spool.events()
    assert (event["type"], event["reason"], event["at"]) == ("withheld", "sunset", "attempt")
    assert event["detail"] == "last engaged 200 days ago, 3 unanswered since"
