"""Who is told of what, how it looks, and when it is tried again."""

import base64
import json
import re
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest

from relay.config.schema_policies import EventType
from relay.hooks.telling import GIVE_UP, HOUR, SECOND, WAITS, Endpoint, body, example, told, wait, wants
from relay.identity import HookSecret
from relay.webhook import signed
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
        ({"type": "unsubscribed", "brand": "arava", "credential": "crm"}, True, True),
        ({"type": "unsubscribed", "brand": None, "credential": "shop"}, True, True),
        ({"type": "unsubscribed", "brand": "marom", "credential": "crm"}, False, False),
        ({"type": "suppressed", "brand": None}, False, False),
        ({"type": "alert", "brand": "arava"}, False, False),
        ({"type": "audit"}, False, False),
    ],
)
def test_an_app_hears_of_its_own_mail_and_its_brand(event: dict[str, object], all_of_them: bool, some: bool) -> None:
    assert (wants(SHOP, event), wants(BOUNCES, event)) == (all_of_them, some)


def test_what_a_person_chose_by_another_apps_mail_is_told_without_that_mail() -> None:
    left = {
        "type": "unsubscribed",
        "brand": "arava",
        "recipient": "dana@b.example",
        "stream": "news",
        "via": "one-click",
    }
    mail = {"id": "01kaj2n1c0b30000", "rcpt": 0, "credential": "shop", "campaign": "may", "metadata": {"user": "8"}}
    mail |= {"skeleton": "0ffe12345678"}
    line = orjson.dumps(left | mail)
    assert told(left | mail, SHOP, line) == line
    assert orjson.loads(told(left | mail | {"credential": "crm"}, SHOP, line)) == left
    assert told(left, SHOP, b"as it is") == b"as it is"


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


def test_the_page_for_apps_is_right() -> None:
    """Its post parses, its code takes what we sign, and it names every type and every wait."""
    page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
    post = json.loads(re.findall(r"```json\n(.*?)```", page, re.S)[0])
    assert set(post) == set(json.loads(body([], "n", 0)))
    assert post["events"][0]["type"] in get_args(EventType)
    for kind in get_args(EventType):
        assert f"`{kind}`" in page
    named: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", page, re.S)[0], named)  # noqa: S102 - our own page
    secret, other = (f"whsec_{base64.b64encode(key * 32).decode()}" for key in (b"k", b"o"))
    fields = signed("msg_1", b"{}", [HookSecret(b"n" * 32), HookSecret(b"k" * 32)], 1_795_262_400_000)
    assert named["is_ours"](secret, fields, b"{}")
    assert not named["is_ours"](secret, fields, b"{ }")
    assert not named["is_ours"](other, fields, b"{}")
    assert "5 s, 30 s, 2 min, 10 min, 30 min" in page
    assert WAITS == (5_000, 30_000, 120_000, 600_000, 1_800_000, HOUR)


def test_waits_grow_to_an_hour_and_last_for_days() -> None:
    assert [wait(tries, 0.5) for tries in (1, 2, 6, 60)] == [5 * SECOND, 30 * SECOND, HOUR, HOUR]
    assert wait(1, 0.0) < wait(1, 0.5) < wait(1, 1.0) < 2 * wait(1, 0.0)
    assert GIVE_UP == 72 * HOUR


@pytest.mark.parametrize("kind", ["delivered", "bounced", "unsubscribed"])
def test_an_example_is_an_event_that_the_app_would_get(kind: str) -> None:
    event = orjson.loads(example(kind, SHOP, "relay-1", "msg_1-0", START))
    assert wants(SHOP, event)
    assert (event["type"], event["event_id"], event["test"]) == (kind, "msg_1-0", True)
    assert (event["credential"], event["rcpt"], event["class"]) == ("shop", 0, "marketing")
