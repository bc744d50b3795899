"""What is known of people, put together again from events: where State lost it. Pure.

Of whom addresses were removed ([retention] addresses) his key stands in the events, by which State knows him all the same.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from relay.masking import key_in
from relay.person import FORGET, UNSUBSCRIBED

Json = dict[str, Any]

TYPES = ("suppressed", "unsubscribed", "unsuppressed", "preferences-changed", "audit")
COUNTED = ("service", "marketing")  # classes that caps count (policy/caps.py)


def known(events: Iterable[Json], key_of: Callable[[str], str]) -> tuple[list[Json], list[Json]]:
    """Entries of blocks and questions of wishes for the desk (relay/people.py), as they were after the last of these events,
    which come in time order. `key_of` an address: asked where what is said of an address may end what was said of a key."""
    blocks: dict[tuple[str, ...], Json] = {}
    wishes: dict[tuple[str, str], Json] = {}
    for event in events:
        who, brand = _who(event), event.get("brand") or ""
        match event["type"]:
            case "suppressed" | "unsubscribed" if who:
                block = _block(event, who)
                blocks[_name(block)] = block
            case "unsuppressed" if who:
                gone = {**who, "stop": event["stop"], "brand": brand, "reason": event.get("was")}
                blocks.pop(_name(gone), None)
                if "recipient" in who and any("key" in block and _alike(block, gone) for block in blocks.values()):
                    blocks.pop(_name({**gone, "recipient": "", "key": key_of(who["recipient"])}), None)
            case "preferences-changed" if who:
                wishes[_of(who), brand] = who | _wish(event)
            case "audit" if event.get("action") == FORGET:
                for kept in event.get("kept") or ():
                    block = {**kept, "brand": kept.get("brand") or "", "key": event["what"]["key"]}
                    blocks[_name(block)] = block | {"since": _ms(event["time"])}
    return list(blocks.values()), list(wishes.values())


def got(events: Iterable[Json]) -> Iterator[Json]:
    """Entries of mail that arrived, as caps count it, for the desk."""
    for event in events:
        if (who := _who(event)) and event.get("class") in COUNTED:
            facts = {name: event.get(name) or "" for name in ("brand", "class")}
            yield {**who, **facts, "at": _ms(event["time"])}


def _who(event: Json) -> Json:
    """{"recipient": ...} or {"key": ...}; {}: of nobody."""
    address = event.get("recipient") or ""
    key = key_in(address)
    if key is not None:
        return {"key": key.hex()}
    return {"recipient": address} if address else {"key": event["key"]} if event.get("key") else {}


def _of(who: Json) -> str:
    return str(who.get("recipient") or who.get("key"))


def _alike(one: Json, other: Json) -> bool:
    return all(one[name] == other[name] for name in ("stop", "brand", "reason"))


def _name(block: Json) -> tuple[str, ...]:
    return (_of(block), str(block["stop"]), str(block["brand"]), str(block["reason"]))


def _block(event: Json, who: Json) -> Json:
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
        "brand": event.get("brand") or "",
        "topics_off": after["topics_off"],
        "at_most": "" if after["at_most"] == "each" else after["at_most"],
        "paused_until": _ms(paused) if paused else None,
        "via": event.get("via") or "",
    }


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
