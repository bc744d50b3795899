"""A week of one customer: five departments write to her, none knows of the others, and she wishes for one mail a day.

The week is simulated (tests/support/simulated.py); the worker, its spool, its State, SMTP on both sides are real.
"""

import asyncio
import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.support.node import Event, Node
from tests.support.simulated import Simulated, until
from tests.support.sink import Sink

pytestmark = pytest.mark.scenario

THERE = ZoneInfo("Asia/Jerusalem")
DANA = "dana@customer.example"
BRANDS = """\
[brand.arava]
name = { en = "Arava" }
domains = ["arava.example"]
timezone = "Asia/Jerusalem"
public_url = "https://mail.arava.example"
"""
CREDENTIALS = """\
[credential.local]
class = "transactional"
domains = ["arava.example"]

[credential.account]
class = "transactional"
domains = ["arava.example"]
networks = ["127.0.0.21/32"]
"""
DEPARTMENTS = {"club": "127.0.0.22", "crm": "127.0.0.23", "magazine": "127.0.0.24", "stores": "127.0.0.25"}
MARKETING = """\
[credential.{name}]
class = "marketing"
domains = ["arava.example"]
networks = ["{address}/32"]
"""
CAPS = """\
[cap.arava]
brands = ["arava"]
counts = ["marketing"]
blocks = ["marketing"]
limits = ["2/day", "10/week"]
over = "postpone"
"""
# Who writes when: day and hour of the week, there. Eleven mails, four of them on the first day.
WRITES = [
    (0, 9, "club"), (0, 10, "crm"), (0, 11, "magazine"), (0, 12, "stores"), (1, 10, "crm"), (2, 9, "club"),
    (2, 20, "stores"), (3, 18, "crm"), (4, 9, "club"), (5, 8, "magazine"), (6, 7, "stores"),
]  # fmt: skip
RESETS = [(0, 10), (0, 13), (2, 3), (3, 18), (6, 23)]


def node_of(folder: Path, sink: Sink) -> Node:
    apps = "".join(MARKETING.format(name=name, address=address) for name, address in DEPARTMENTS.items())
    return Node(
        folder,
        delivery=f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"',
        key_for=("arava.example",),
        files={
            "policies/brands.toml": BRANDS,
            "policies/credentials.toml": CREDENTIALS + apps,
            "policies/caps.toml": CAPS,
        },
    )


def day_of(event: Event) -> int:
    """There, counted from the first."""
    return datetime.fromisoformat(event["time"]).astimezone(THERE).date().toordinal()


async def test_a_week_of_five_departments_and_one_customer(tmp_path: Path) -> None:
    today = datetime.now(THERE).date()
    first = datetime(today.year, today.month, today.day, tzinfo=THERE) - timedelta(days=9)
    with Sink() as sink:
        node = node_of(tmp_path, sink)
        steps = [(day, hour, name) for day, hour, name in WRITES] + [(day, hour, "account") for day, hour in RESETS]
        async with Simulated(node, first) as here:
            wish = {"what": "wish", "recipient": DANA, "brand": "arava", "at_most": "1/day", "via": "page"}
            assert (await here.ask(**wish))["after"]["at_most"] == "1/day"
            sent: dict[str, list[str]] = {name: [] for name in ("account", *DEPARTMENTS)}
            for day in range(7):
                await here.at(first + timedelta(days=day, minutes=1))  # a new day, and with it room for one
                for hour, name in sorted((hour, name) for when, hour, name in steps if when == day):
                    await here.at(first + timedelta(days=day, hours=hour))
                    source = DEPARTMENTS.get(name, "127.0.0.21")
                    subject = "Your new password" if name == "account" else f"News of {name}"
                    before = len(sink.messages)
                    sender = f"{name}@arava.example"
                    identifier = await asyncio.to_thread(node.send, DANA, sender=sender, subject=subject, source=source)
                    sent[name].append(identifier)
                    await here.settle()
                    if name == "account":
                        assert len(sink.messages) == before + 1, "a password waits for nothing"
            await until(lambda: len(node.events(type="delivered")) == len(RESETS) + 7)
            report = await here.run("recipient", DANA)

        ends = node.events(type="delivered")
        resets = [event for event in ends if event["credential"] == "account"]
        assert sorted(event["id"] for event in resets) == sorted(sent["account"])
        assert all(event["delay_ms"] < 5_000 for event in resets)

        got = [event for event in ends if event["class"] == "marketing"]
        days = [first.date().toordinal() + day for day in range(7)]
        assert Counter(map(day_of, got)) == dict.fromkeys(days, 1), "one a day, and each day while there is any"
        marketing = sorted(one for name in DEPARTMENTS for one in sent[name])  # ids sort by time
        assert set(marketing[:4]) < {event["id"] for event in got} < set(marketing), (
            "those of the first day did not wait for ever"
        )
        postponed = node.events(type="postponed")
        assert {event["id"] for event in postponed} == set(marketing[1:])
        assert {event["reason"] for event in postponed} <= {"preference", "capped"}
        assert any("the recipient's own wish: at most 1/day" in event["detail"] for event in postponed)

        share = Counter(event["credential"] for event in got)
        assert report.returncode == 0, report.stderr
        (line,) = (line for line in report.stdout.splitlines() if line.startswith("  arava: 7 ("))
        said = {name: int(count) for name, count in (part.split() for part in line[12:-1].split(", "))}
        assert said == dict(share)
        assert set(share) == set(DEPARTMENTS)
        assert "at most 1/day" in report.stdout

        (tmp_path / "policies" / "caps.toml").write_text(CAPS.replace("10/week", "3/7d"))
        planned = node.run("plan", "--since", "20d", "--json")
        assert planned.returncode == 0, planned.stderr
        (cap,) = [one for one in map(json.loads, planned.stdout.splitlines()) if one["kind"] == "cap"]
        assert {change["after"] for change in cap["changes"]} <= {"postponed", "given-up"}
        assert (sum(change["recipients"] for change in cap["changes"]), cap["asked"]["marketing"]) == (8, 11), (
            "three go"
        )
        in_turn = [event["id"] for event in sorted(got, key=lambda event: str(event["time"]))]
        assert not {one for change in cap["changes"] for one in change["examples"]} & set(in_turn[:3])
