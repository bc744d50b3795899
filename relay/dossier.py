"""What a node keeps of one person beside what State knows of him: read for who asks, taken out where he is to be forgotten.

    waiting   mail in the queue              sent      what the spools remember to have delivered, by which reports find it
    captured  mail of the capture server     untold    events that wait to be told to apps
    events    of data_dir/events

It blocks, and may take minutes where there are many events: commands do it, and for other nodes of the cluster the web process,
in a thread (relay/errands.py). What spools and webhooks hold is asked of the processes that own it.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from relay.control import Json, granted
from relay.event import iso
from relay.feedback.eventarchive import read
from relay.feedback.eventforget import forget
from relay.masking import key_in
from relay.person import ERASED, FORGET
from relay.recipient import domains_of, normalised, spellings

KINDS = ("waiting", "sent", "captured", "untold", "events")
MOST_OCTETS = 4_000_000  # of a captured mail: what nodes tell each other has bounds
_OUTBOX = 1.0  # seconds by when an event has left its outbox (feedback/eventlog.py: INTERVAL)
_PASSES = 20  # through the event files: one that is being turned into Parquet may take some


class Dossier:
    """`ask` asks the running node (relay/control.py); `key`: that of the person behind `address`."""

    def __init__(self, data_dir: Path, ask: Callable[[Json], Json], address: str, key: bytes) -> None:
        self._data_dir = data_dir
        self._ask = ask
        self._address, self._who, self._key = address, normalised(address), key

    def __repr__(self) -> str:
        return f"<Dossier of {self._key.hex()}>"

    # -- looking

    def found(self) -> Iterator[tuple[str, Json]]:
        """All of it, each with what it is, of KINDS."""
        for kind, items in zip(
            KINDS, (self.waiting, self._sent, self._captured, self._untold, self.events), strict=True
        ):
            for one in items():
                yield kind, one

    def counted(self) -> Json:
        """How much there is that `forget` ends or changes."""
        return {"events": sum(1 for _ in self.events()), "waiting": sum(1 for _ in self.waiting())}

    def waiting(self) -> Iterator[Json]:
        for page in self._pages({"do": "queue.page", "selector": {"domain": sorted(domains_of(self._who))}}):
            yield from (item for item in page["items"] if normalised(item["recipient"]) == self._who)

    def events(self) -> Iterator[Json]:
        return events_of(self._data_dir / "events", self._address, self._key.hex())

    def _sent(self) -> Iterator[Json]:
        for page in self._pages({"do": "queue.sent", "recipient": self._address}):
            yield from page["items"]

    def _untold(self) -> Iterator[Json]:
        for page in self._pages(self._of_hooks(forget=False)):
            yield from page["items"]

    def _of_hooks(self, *, forget: bool) -> Json:
        about = {"recipient": self._address, "key": self._key.hex()}
        return {"do": "webhooks", "what": "person", **about, "forget": forget}

    def _captured(self) -> Iterator[Json]:
        """What came for him, whomever else it went to."""
        for envelope, facts in self._captures():
            with envelope.with_suffix(".eml").open("rb") as file:
                content = file.read(MOST_OCTETS)
            about = {"time": iso(facts["time"]), "sender": facts["sender"], "size": facts["size"]}
            yield {**about, "content": content.decode(errors="replace")}

    def _captures(self) -> Iterator[tuple[Path, Json]]:
        for envelope in sorted((self._data_dir / "capture").glob("*.json")):
            try:
                facts = json.loads(envelope.read_bytes())
                his = self._who in map(normalised, facts["recipients"])
            except (OSError, ValueError, KeyError, TypeError):  # dropped meanwhile, or none of ours
                continue
            if his:
                yield envelope, facts

    # -- forgetting

    def forget(self, said: Json) -> Json:
        """First nothing more goes, then what was written down is changed; all of it may be done again. `said`: by, via, reason,
        and what is kept of him in State, for the record. How much it was. Raises Refused, NodeDown, OSError."""
        cancelled = sum(self._cancel(item) for item in list(self.waiting()))
        for page in self._pages({"do": "queue.sent", "recipient": self._address}):
            rows = [[item["id"], item["rcpt"]] for item in page["items"]]
            for _ in self._pages({"do": "queue.unsend", "sent": rows}) if rows else ():
                pass
        done = {"cancelled": cancelled, "captures": self._forget_captures(), "events": self._forget_events()}
        # Last, since what was cancelled is told, too.
        done["untold"] = sum(page["changed"] for page in self._pages(self._of_hooks(forget=True)))
        facts = {"action": FORGET, "what": {"key": self._key.hex()}, **said, "cancelled": cancelled}
        self._ask({"do": "record", "kind": "audit", "facts": {**facts, "events": done["events"]}})
        return done

    def _cancel(self, item: Json) -> int:
        question = {"do": "queue.change", "action": "cancel", "reason": ERASED}
        selector = {"id": item["id"], "recipient": item["recipient"]}
        return sum(page["changed"] for page in self._pages({**question, "selector": selector}))

    def _forget_captures(self) -> int:
        """Captured mail that went to him, also with others."""
        count = 0
        for envelope, _ in self._captures():
            envelope.unlink(missing_ok=True)
            envelope.with_suffix(".eml").unlink(missing_ok=True)
            count += 1
        return count

    def _forget_events(self) -> int:
        """Until a pass finds nothing: what was in an outbox comes later, what was being turned into Parquet changes its file."""
        total = 0
        for _ in range(_PASSES):
            time.sleep(_OUTBOX)
            changed = forget(self._data_dir / "events", self._address, self._key)
            total += changed
            if not changed:
                break
        return total

    def _pages(self, question: Json) -> Iterator[Json]:
        """Raises Refused."""
        cursor: Any = None
        while True:
            answer = granted(self._ask({**question, "cursor": cursor}))
            yield answer
            cursor = answer["cursor"]
            if cursor is None:
                return


def events_of(directory: Path, address: str, key: str, since: int = 0) -> Iterator[Json]:
    """His, by whatever spelling, in time order; also those from which addresses were removed, by his key."""
    who, keyed = normalised(address), bytes.fromhex(key)
    for event in read(directory, since=since, match=spellings(who, key)):
        recipient = event.get("recipient")
        if isinstance(recipient, str) and (normalised(recipient) == who or key_in(recipient) == keyed):
            yield event
