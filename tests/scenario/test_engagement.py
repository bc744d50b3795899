"""Who still reads: cold people's marketing goes by a pool of its own, then ends; a person's own word begins it again; and where
nobody tells any more who reads, it ends for nobody. The days are simulated (tests/support/simulated.py)."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.node import CREDENTIALS, Event, Node
from tests.support.simulated import Simulated, until
from tests.support.sink import Sink

pytestmark = pytest.mark.scenario

BULK = "127.0.0.9"  # the network of the credential of marketing mail
WARM, COLD = "127.0.0.4", "127.0.0.5"
FILES = {
    "policies/credentials.toml": CREDENTIALS.replace('["*"]', '["test.example"]'),
    "policies/brands.toml": """\
[brand.arava]
name = { en = "Arava" }
domains = ["test.example"]
public_url = "https://mail.test.example"
""",
    "config/pools.toml": f"""\
[pool.transactional]
sources = [{{ address = "127.0.0.2" }}]
[pool.service]
sources = [{{ address = "127.0.0.3" }}]
[pool.marketing]
sources = [{{ address = "{WARM}" }}]
[pool.marketing-cold]
sources = [{{ address = "{COLD}" }}]
""",
    "policies/routes.toml": """\
[[route]]
match.class = "marketing"
match.engagement = "cold"
pool = "marketing-cold"
""",
    "policies/recipients.toml": """\
[engagement]
sunset = { after = 2, unanswered_for = "365d" }
""",
}


class Days:
    """Each with one newsletter to everybody."""

    def __init__(self, here: Simulated) -> None:
        self.here = here
        self.start = here.moment

    async def ends(self, day: int, *people: str) -> dict[str, str]:
        """Which source carried it to whom, or why none did."""
        node = self.here.node
        await self.here.at(self.start + timedelta(days=day))
        sent = {
            who: await asyncio.to_thread(node.send, f"{who}@reader.example", subject=f"Day {day}", source=BULK)
            for who in people
        }
        await self.here.settle()
        found: dict[str, Event] = {}

        def over() -> bool:
            ended = node.events(type="delivered") + node.events(type="withheld")
            found.update({event["id"]: event for event in ended})
            return all(identifier in found for identifier in sent.values())

        await until(over)
        return {who: found[one].get("source") or found[one]["reason"] for who, one in sent.items()}


async def test_who_does_not_read_is_told_less_and_then_no_more(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    read = {"dana": 400, "lior": 400, "noa": 5}  # days ago
    lines = [f"{who}@reader.example,arava,{(now - timedelta(days=ago)).date()}" for who, ago in read.items()]
    (tmp_path / "readers.csv").write_text("\n".join(["address,brand,date", *lines]))
    with Sink() as sink:
        delivery = f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"'
        node = Node(tmp_path / "node", delivery=delivery, key_for=("test.example",), files=FILES)
        async with Simulated(node, now) as here:
            days, everybody = Days(here), (*read, "stranger")
            assert set((await days.ends(0, *everybody)).values()) == {WARM}, "nobody told who reads"
            told = await here.run("engagement", "import", str(tmp_path / "readers.csv"))
            assert (told.returncode, told.stdout) == (0, "3 of 3 dates are news.\n"), told.stderr
            apart = {"dana": COLD, "lior": COLD, "noa": WARM, "stranger": WARM}
            assert await days.ends(1, *everybody) == apart
            assert await days.ends(2, *everybody) == apart
            shown = (await here.run("recipient", "dana@reader.example")).stdout
            assert f"arava: cold, last on {(now - timedelta(days=400)).date()}; 2 unanswered since" in shown
            assert await days.ends(3, "dana", "noa") == {"dana": "sunset", "noa": WARM}
            reset = await asyncio.to_thread(node.send, "dana@reader.example")
            await here.settle()
            assert [message.source for message in sink.messages if reset in message.header("Received")] == ["127.0.0.2"]

            await here.ask(what="wish", recipient="dana@reader.example", brand="arava", at_most="1/day", via="page")
            assert await days.ends(4, "dana") == {"dana": WARM}
            assert await days.ends(41, "lior") == {"lior": COLD}, "nobody told for weeks who reads"
            again = await here.run("engagement", "import", str(tmp_path / "readers.csv"))
            assert again.stdout == "0 of 3 dates are news.\n"
            assert await days.ends(42, "lior") == {"lior": "sunset"}
