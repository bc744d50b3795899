"""Streams and routes in a live node: what mail claims to be decides by whom and whence it is carried."""

from functools import partial
from pathlib import Path

import pytest

from tests.scenario.test_queue import POOLS, live
from tests.support.node import CREDENTIALS, wait_for
from tests.support.sink import Sink

pytestmark = pytest.mark.scenario

STREAMS = """\
[[stream]]
name = "receipts"
match.credential = "local"
match.subject = "your order"
class = "transactional"

[[stream]]
name = "offers"
match.credential = "bulk"
match.subject = "your order"
class = "marketing"
also_remove = ["X-Campaign"]
"""
ROUTES = """\
[[route]]
match.class = "marketing"
match.recipient_domain = "discard.example"
discard = true

[[route]]
match.class = "marketing"
match.stream = "offers"
next_hop = "127.0.0.1:{port}"
"""


def test_the_same_subject_with_different_claims_is_routed_apart(tmp_path: Path) -> None:
    with Sink() as sink, Sink() as other:
        files = {
            "config/pools.toml": POOLS,
            "policies/streams.toml": STREAMS,
            "policies/routes.toml": ROUTES.format(port=other.port),
            "policies/credentials.toml": CREDENTIALS,
        }
        with live(tmp_path, sink, files=files) as node:
            checked = node.run("check")
            assert checked.returncode == 0, checked.stdout
            subject, headers = "Your order is waiting", {"X-Campaign": "47"}
            receipt = node.send("dana@example.com", subject=subject, headers=headers)
            offer = node.send("dana@example.com", subject=subject, headers=headers, source="127.0.0.9")
            gone = node.send("dana@discard.example", subject=subject, source="127.0.0.9")
            assert node.final(receipt)["pool"] == "transactional"
            assert node.final(offer)["pool"] == "marketing"
            discarded = node.final(gone)
            assert (discarded["type"], discarded["reason"]) == ("withheld", "discarded")
            assert discarded["detail"] == "policies/routes.toml:1"
            assert [(m.source, m.header("X-Campaign")) for m in sink.messages] == [("127.0.0.2", "47")]
            assert [(m.source, m.header("X-Campaign")) for m in other.messages] == [("127.0.0.4", "")]
            accepted = wait_for("the event", partial(node.events, id=offer, type="accepted"))[0]
            assert (accepted["stream"], accepted["class"]) == ("offers", "marketing")
            assert accepted["rule"] == "policies/streams.toml:7"

            (tmp_path / "policies" / "routes.toml").unlink()
            (tmp_path / "policies" / "streams.toml").write_text(STREAMS.replace('name = "offers"', 'name = "later"'))
            assert "version" in node.ask({"do": "reload"})
            late = node.send("dana@example.com", subject=subject, source="127.0.0.9")
            assert node.final(late)["stream"] == "later"
            assert [m.source for m in sink.messages] == ["127.0.0.2", "127.0.0.4"]
