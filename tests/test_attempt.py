"""Story 2 over fakes: one attempt, one transaction, whatever it comes to."""

from dataclasses import replace
from email import message_from_bytes

from relay.attempt import attempt
from relay.egress.pools import Pool, Source
from relay.identity import Rate
from relay.message import MailClass
from relay.outcome import Outcome, Reply, Scope
from relay.policy.patterns import parse
from relay.policy.routes import AnyOf, Route, RouteMatch, Routes
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


async def test_the_event_says_that_it_went_to_the_capture_server() -> None:
    for outcome, said in ((DONE, None), (replace(DONE, captured=True), True)):
        rig = Rig(outcome)
        await attempt(waiting_delivery(), rig.attempting())
        assert [event.get("captured") for event in rig.spool.events()] == [said]


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
    assert again is not None
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
