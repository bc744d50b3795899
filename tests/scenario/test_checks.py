"""Rules of the road in a live node: refused, flagged with an alert, or only recorded, as the brand says."""

import smtplib
from functools import partial
from pathlib import Path

import pytest

from tests.support.node import Event, Node, wait_for

pytestmark = pytest.mark.scenario

BRANDS = """\
[brand.arava]
name = { en = "Arava Home", he = "ערבה לבית" }
domains = ["arava.example"]
postal_address = "12 HaNegev St, Beer Sheva"
checks = { one-click-unsubscribe = "refuse", postal-address = "flag", house-style = "warn" }

[check.house-style]
match.subject = "free"
must = "lack"
source = "house style, page 4"
"""
ONE_CLICK = {
    "List-Unsubscribe": "<https://u.arava.example/1>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
}


def of(node: Node, **wanted: object) -> Event:
    """The one event with these values, as soon as it is there."""
    events: list[Event] = wait_for("the event", partial(node.events, **wanted))
    assert len(events) == 1
    return events[0]


def test_each_level_does_what_it_says(tmp_path: Path) -> None:
    with Node(tmp_path, files={"policies/brands.toml": BRANDS}) as node:
        checked = node.run("check")
        assert checked.stdout == "0 errors, 0 warnings in 5 files.\n"
        send = partial(node.send, "dana@example.com", sender="Arava Home <news@arava.example>")

        with pytest.raises(smtplib.SMTPResponseException) as refused:
            # Credential bulk, whose mail is marketing; what it sets is kept, and one cannot click it.
            send(source="127.0.0.9", headers={"List-Unsubscribe": "<mailto:leave@arava.example>"})
        assert refused.value.smtp_code == 550
        assert bytes(refused.value.smtp_error).startswith(  # type: ignore[arg-type]
            b"5.7.1 Check one-click-unsubscribe of brand arava, marketing mail: there is no List-Unsubscribe with an https"
        )
        rejected = of(node, type="rejected")
        assert (rejected["reason"], rejected["detail"]) == ("check", "one-click-unsubscribe")

        plain = send(subject="Your order")
        assert "checks" not in of(node, id=plain, type="accepted")
        bare = send(subject="All free!", headers=ONE_CLICK, source="127.0.0.9")
        assert of(node, id=bare, type="accepted")["checks"] == [
            {"name": "postal-address", "level": "flag"},
            {"name": "house-style", "level": "warn"},
        ]
        assert node.final(bare)["type"] == "delivered"

        alert = of(node, type="alert")
        assert (alert["state"], alert["what"]) == ("firing", {"brand": "arava", "check": "postal-address"})
        assert 'postlane_checks_flagged_total{worker="worker-0",brand="arava",check="postal-address"} 1' in node.page(
            "/metrics"
        )
        status = node.run("status")
        assert status.returncode == 1
        assert "1 message does not pass postal-address of brand arava: the brand's postal_address is not in" in (
            status.stdout
        )

        good = send(
            subject="Tents", headers=ONE_CLICK, body="Arava Home\n12 HaNegev St.\nBeer Sheva\n", source="127.0.0.9"
        )
        assert "checks" not in of(node, id=good, type="accepted")
