"""What would become of a message to each of its recipients by what is known of them, as the running node says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from relay.control import NodeDown, request
from relay.policy.weigh import Weighed

Json = dict[str, Any]


class Knowing:
    """Asks the node of `data_dir`; one that does not run, or cannot say, is not asked again. None: there is none."""

    def __init__(self, data_dir: Path | None = None) -> None:
        self._data_dir = data_dir

    def __repr__(self) -> str:
        return f"<Knowing by {self._data_dir}>"

    def stands(self, recipients: Sequence[str], weighed: Weighed) -> Mapping[str, Json]:
        """By recipient, of those to whom it would not go now: decision, reason, detail, until (ms)."""
        if self._data_dir is None:
            return {}
        decision = weighed.decision
        question = {
            "do": "would",
            "recipients": list(recipients),
            "brand": decision.brand,
            "stream": decision.stream,
            "class": weighed.mail_class.label,
            "contradiction": weighed.contradiction,
            "valid_until": decision.valid_until,
        }
        try:
            answer = request(self._data_dir, question, timeout=10)
        except NodeDown:
            answer = {}
        if "stands" not in answer:
            self._data_dir = None
            return {}
        pairs = zip(recipients, answer["stands"], strict=True)
        return {recipient: stands for recipient, stands in pairs if stands is not None}


def words(recipient: str, stands: Json) -> str:
    """suppressed: all, manual, cli on 2026-11-03; postlane recipient dana@shop.example tells what undoes it"""
    said = f"{stands['reason']}: {stands['detail']}"
    undo = stands["reason"] in ("suppressed", "unsubscribed")
    return f"{said}; postlane recipient {recipient} tells what undoes it" if undo else said
