"""Who is told of what, how it looks, and when it is tried again."""

import orjson
import pytest

from relay.hooks.telling import GIVE_UP, HOUR, SECOND, Endpoint, body, example, wait, wants
from tests.support.clocks import START

SHOP = Endpoint("shop", "https://shop.example/hook", brands=frozenset({"arava"}))
BOUNCES = Endpoint(
    "shop", "https://shop.example/hook", events=frozenset({"bounced", "unsubscribed"}), brands=SHOP.brands
)


@pytest.mark.parametrize(
    ("event", "all_of_them", "some"),
    [
        ({"type": "bounced", "credential": "shop"}, True, True),
        ({"type": "delivered", "credential": "shop", "brand": "arava"}, True, False),
        ({"type": "bounced", "credential": "crm", "brand": "arava"}, False, False),
        ({"type": "unsubscribed", "brand": "arava"}, True, True),
        ({"type": "preferences-changed", "brand": "arava"}, True, False),
        ({"type": "unsubscribed", "brand": "marom"}, False, False),
        ({"type": "suppressed", "brand": None}, False, False),
        ({"type": "alert", "brand": "arava"}, False, False),
        ({"type": "audit"}, False, False),
    ],
)
def test_an_app_hears_of_its_own_mail_and_its_brand(event: dict[str, object], all_of_them: bool, some: bool) -> None:
    assert (wants(SHOP, event), wants(BOUNCES, event)) == (all_of_them, some)


def test_a_body_holds_events_as_the_log_has_them() -> None:
    lines = [b'{"type":"bounced","n":1.0}', b'{"type":"delivered"}']
    content = body(lines, "relay-1", START)
    assert b'"events":[{"type":"bounced","n":1.0},{"type":"delivered"}]' in content
    assert {**orjson.loads(content), "events": []} == {
        "type": "events",
        "timestamp": "2025-11-21T12:00:00.000Z",
        "node": "relay-1",
        "events": [],
    }


def test_waits_grow_to_an_hour_and_last_for_days() -> None:
    assert [wait(tries, 0.5) for tries in (1, 2, 6, 60)] == [5 * SECOND, 30 * SECOND, HOUR, HOUR]
    assert wait(1, 0.0) < wait(1, 0.5) < wait(1, 1.0) < 2 * wait(1, 0.0)
    assert GIVE_UP == 72 * HOUR


@pytest.mark.parametrize("kind", ["delivered", "bounced", "unsubscribed"])
def test_an_example_is_an_event_that_the_app_would_get(kind: str) -> None:
    event = orjson.loads(example(kind, SHOP, "relay-1", "msg_1-0", START))
    assert wants(SHOP, event)
    assert (event["type"], event["event_id"], event["test"]) == (kind, "msg_1-0", True)
