"""What is known of people, put together again from events: where State lost it. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from relay.person import UNSUBSCRIBED

Json = dict[str, Any]

TYPES = ("suppressed", "unsubscribed", "unsuppressed", "preferences-changed", "audit")
COUNTED = ("service", "marketing")  # classes that caps count (policy/caps.py)
FORGET = "recipient --forget"  # the action of an `audit` event, which tells what goes on to be stopped, by a hash alone


def known(events: Iterable[Json]) -> tuple[list[Json], list[Json]]:
    """Entries of blocks and questions of wishes for the desk (relay/people.py), as they were after the last of these events,
    which come in time order."""
    blocks: dict[tuple[str, ...], Json] = {}
    wishes: dict[tuple[str, str], Json] = {}
    for event in events:
        who, brand = event.get("recipient") or "", event.get("brand") or ""
        match event["type"]:
            case "suppressed" | "unsubscribed" if who or event.get("key"):
                block = _block(event)
                blocks[_name(block)] = block
            case "unsuppressed" if who or event.get("key"):
                gone = {**event, "brand": brand, "reason": event.get("was")}
                blocks.pop(_name(gone), None)
            case "preferences-changed" if who:
                wishes[who, brand] = _wish(event)
            case "audit" if event.get("action") == FORGET:
                for kept in event.get("kept") or ():
                    block = {**kept, "brand": kept.get("brand") or "", "key": event["what"]["key"]}
                    blocks[_name(block)] = block | {"since": _ms(event["time"])}
    return list(blocks.values()), list(wishes.values())


def got(events: Iterable[Json]) -> Iterator[Json]:
    """Entries of mail that arrived, as caps count it, for the desk."""
    for event in events:
        if event.get("recipient") and event.get("class") in COUNTED:
            facts = {name: event.get(name) or "" for name in ("recipient", "brand", "class")}
            yield {**facts, "at": _ms(event["time"])}


def _name(block: Json) -> tuple[str, ...]:
    who = block.get("recipient") or block.get("key")
    return (str(who), str(block["stop"]), str(block["brand"]), str(block["reason"]))


def _block(event: Json) -> Json:
    who = {"recipient": event["recipient"]} if event.get("recipient") else {"key": event["key"]}
    expires = event.get("expires")
    left = event["type"] == "unsubscribed"
    return who | {
        "stop": event["stop"],
        "brand": event.get("brand") or "",
        "reason": UNSUBSCRIBED if left else event["reason"],
        "source": (event.get("via") if left else event.get("source")) or "",
        "since": _ms(event["time"]),
        "until": _ms(expires) if expires else None,
        "note": event.get("note") or "",
        "site": event.get("site") or "",
        "stream": event.get("stream") or "",
    }


def _wish(event: Json) -> Json:
    after = event["after"]
    paused = after.get("paused_until")
    return {
        "recipient": event["recipient"],
        "brand": event.get("brand") or "",
        "topics_off": after["topics_off"],
        "at_most": "" if after["at_most"] == "each" else after["at_most"],
        "paused_until": _ms(paused) if paused else None,
        "via": event.get("via") or "",
    }


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
