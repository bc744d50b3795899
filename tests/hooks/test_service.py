"""From the event log to the app: signed, again and again, and nobody waits for one that is slow or dead."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from relay.config import load_hook_secret
from relay.event import iso
from relay.feedback.eventlog import read, to_parquet
from relay.hooks.service import Hooks
from relay.hooks.telling import DEAD, GIVE_UP, HOUR
from relay.identity import HookSecret
from relay.in_force import InForce, accept, examine_files
from relay.webhook import signed
from tests.support.clocks import START, Clock
from tests.support.http_peer import OK, HttpPeer, Posted

NO = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
SECRET = "whsec_" + "a2tr" * 8 + "\n"


class Rig:
    """A folder of a node, its event log written by hand, and its webhooks."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, Clock()
        self.events = folder / "data" / "events"
        self.events.mkdir(parents=True)
        for name in ("config", "policies"):
            (folder / name).mkdir()
        text = '[node]\nname = "relay-1"\nhostname = "a.example"\n[[listener]]\nbind = "127.0.0.1:2525"\n'
        (folder / "config" / "postlane.toml").write_text(text)
        (folder / "secret").write_text(SECRET)
        (folder / "secret").chmod(0o600)
        self._count = 0

    def in_force(self, **hooks: str) -> InForce:
        """Credentials with these URLs; "" for none."""
        text = ""
        for name, url in hooks.items():
            hook = f'webhook = {{ url = "{url}", secret_file = "secret", allow_private = true }}' if url else ""
            text += f'[credential.{name}]\nclass = "service"\ndomains = ["{name}.example"]\n{hook}\n'
        (self.folder / "policies" / "credentials.toml").write_text(text)
        return self.accepted()

    def accepted(self) -> InForce:
        config, policies = self.folder / "config", self.folder / "policies"
        found = examine_files(config, policies).accepted()
        return accept(config, policies, self.folder / "data", found.policies)

    def happens(self, *credentials: str, **more: Any) -> None:
        """An event of each, now."""
        with (self.events / "2025-11-21T12.0.open.jsonl").open("ab") as file:
            for name in credentials:
                self._count += 1
                event = {
                    "time": iso(self.clock.now),
                    "type": "bounced",
                    "event_id": f"e{self._count}",
                    "credential": name,
                    **more,
                }
                file.write(orjson.dumps(event) + b"\n")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@contextlib.asynccontextmanager
async def running(rig: Rig, **urls: str) -> AsyncIterator[Hooks]:
    """It has looked once at an empty log: what happens from now on is told."""
    hooks = Hooks(rig.in_force(**urls), rig.clock, lambda: 0.5)
    await hooks.step()
    yield hooks
    await hooks.close()


async def until(ready: Callable[[], Any]) -> None:
    for _ in range(4_000):
        if ready():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited 20 s in vain")


async def settled(hooks: Hooks, ready: Callable[[dict[str, Any]], Any], credential: str = "shop") -> dict[str, Any]:
    """Its row of the list, when that is so."""
    for _ in range(4_000):
        rows = (await hooks.answer({"what": "list"}))["rows"]
        row: dict[str, Any] = next(one for one in rows if one["credential"] == credential)
        if ready(row):
            return row
        await asyncio.sleep(0.005)
    raise AssertionError("waited 20 s in vain")


def ids(posted: Posted) -> list[str]:
    return [event["event_id"] for event in orjson.loads(posted.content)["events"]]


def url(peer: HttpPeer) -> str:
    return f"http://127.0.0.1:{peer.port}/hook"


async def test_an_app_is_told_signed_and_once(rig: Rig) -> None:
    rig.happens("shop")
    async with HttpPeer() as peer, running(rig, shop=url(peer), crm="") as hooks:
        rig.happens("shop", "crm", "shop")
        await hooks.step()
        row = await settled(hooks, lambda row: row["last"] and not row["waiting"])
        await hooks.step()
        answer = await hooks.answer({"what": "list"})
    (post,) = peer.posted
    assert ids(post) == ["e2", "e4"], "nothing of before it was there, nothing of others"
    fields = {name: post.fields[name] for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    assert signed(fields["webhook-id"], post.content, [HookSecret(b"kkk" * 8)], START) == fields
    assert (row["last"]["post"], row["last"]["status"], row["dead"]) == (fields["webhook-id"], 204, False)
    assert answer["counts"] == [{"credential": "shop", "result": "taken", "value": 1}]


async def test_a_failure_is_tried_again_with_the_same_content_over_a_restart(rig: Rig) -> None:
    async with HttpPeer(NO) as peer:
        async with running(rig, shop=url(peer)) as hooks:
            rig.happens("shop")
            await hooks.step()
            row = await settled(hooks, lambda row: row["failing"])
            assert (row["last"]["answer"], row["last"]["status"]) == ("127.0.0.1 answered 500", 500)
            rig.clock.now += DEAD
            assert (await settled(hooks, lambda row: True))["dead"]
        peer.answer = OK
        async with running(rig, shop=url(peer)) as hooks:
            row = await settled(hooks, lambda row: not row["waiting"])
            assert (row["failing"], row["dead"], row["last"]["try"]) == (None, False, 2)
    first, second = peer.posted
    assert first.content == second.content
    assert first.fields["webhook-id"] == second.fields["webhook-id"]
    assert first.fields["webhook-signature"] != second.fields["webhook-signature"], "its time is that of the try"


async def test_what_waits_is_tried_when_its_time_has_come(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.hooks.service.wait", lambda tries, chance: tries)
    async with HttpPeer(NO) as peer, running(rig, shop=url(peer)) as hooks:
        rig.happens("shop")
        await hooks.step()
        await settled(hooks, lambda row: row["failing"])
        peer.answer = OK
        rig.clock.now += 5
        await settled(hooks, lambda row: not row["waiting"])
        assert len({post.fields["webhook-id"] for post in peer.posted}) == 1


async def test_one_that_hangs_keeps_nobody_waiting(rig: Rig) -> None:
    async with HttpPeer(None) as hanging, HttpPeer() as other, running(rig, shop=url(hanging), crm=url(other)) as hooks:
        rig.happens("shop", "crm")
        await hooks.step()
        await settled(hooks, lambda row: row["last"], "crm")
        await until(lambda: hanging.posted)
        assert (await hooks.answer({"what": "log", "credential": "shop"})) == {"rows": []}


async def test_a_redirect_is_not_followed(rig: Rig) -> None:
    async with HttpPeer() as inside:
        away = f"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:{inside.port}/admin\r\n\r\n".encode()
        async with HttpPeer(away) as peer, running(rig, shop=url(peer)) as hooks:
            rig.happens("shop")
            await hooks.step()
            row = await settled(hooks, lambda row: row["failing"])
    assert row["last"]["answer"] == "127.0.0.1 answered 307"
    assert inside.posted == []


async def test_a_private_address_is_refused_unless_allowed(rig: Rig) -> None:
    rig.in_force(shop="https://127.0.0.1:1/hook")
    file = rig.folder / "policies" / "credentials.toml"
    text = (
        file.read_text()
        .replace("allow_private = true", "allow_private = false")
        .replace('secret_file = "secret", ', "")
    )
    file.write_text(text)
    in_force = rig.accepted()
    hooks = Hooks(in_force, rig.clock)
    await hooks.step()
    tested = await hooks.answer({"what": "test", "credential": "shop", "type": "bounced"})
    (row,) = (await hooks.answer({"what": "list"}))["rows"]
    await hooks.close()
    assert tested["answer"] == "127.0.0.1 is 127.0.0.1: private addresses only with allow_private"
    assert row["secret_file"] == str(rig.folder / "data" / "webhooks" / "shop.secret")
    assert load_hook_secret(in_force.deployment, in_force.policies.credentials["shop"])


async def test_an_endpoint_follows_the_files(rig: Rig) -> None:
    async with HttpPeer(NO) as peer, running(rig, shop=url(peer), crm=url(peer)) as hooks:
        rig.happens("shop")
        await hooks.step()
        await settled(hooks, lambda row: row["failing"])
        hooks.apply(rig.in_force(shop="", crm=url(peer)))
        assert [row["credential"] for row in (await hooks.answer({"what": "list"}))["rows"]] == ["crm"]
        rig.happens("shop")
        await hooks.step()
        peer.answer, before = OK, len(peer.posted)
        rig.clock.now += HOUR
        hooks.apply(rig.in_force(shop=url(peer), crm=url(peer)))
        await hooks.step()
        await settled(hooks, lambda row: not row["waiting"])
        assert [ids(post) for post in peer.posted[before:]] == [["e1"]], "of its time without a webhook nothing"
        hooks.apply(rig.in_force(shop="", crm=""))
        await hooks.step()
        rig.happens("shop")
        hooks.apply(rig.in_force(shop=url(peer), crm=""))
        await hooks.step()
        rig.happens("shop")
        await hooks.step()
        await until(lambda: ids(peer.posted[-1]) == ["e4"])


async def test_a_new_secret_signs_at_once_beside_the_old_one_for_a_while(rig: Rig) -> None:
    """Also for who shares its file."""
    async with HttpPeer() as peer, running(rig, shop=url(peer), crm=url(peer)) as hooks:
        answer = await hooks.answer({"what": "rotate", "credential": "shop", "overlap": HOUR})
        new = base64.b64decode(answer["secret"].removeprefix("whsec_"))
        assert (answer["until"], answer["secret_file"]) == (START + HOUR, str(rig.folder / "secret"))
        for now, keys in ((START, [new, b"kkk" * 8]), (START + HOUR, [new])):
            rig.clock.now = now
            await hooks.answer({"what": "test", "credential": "crm"})
            fields = peer.posted[-1].fields
            known = [HookSecret(key) for key in keys]
            assert (
                signed(fields["webhook-id"], peer.posted[-1].content, known, now)["webhook-signature"]
                == (fields["webhook-signature"])
            )
        (row, _) = (await hooks.answer({"what": "list"}))["rows"]
        assert row["secrets"] == [{"until": None}, {"until": START + HOUR}]
        assert answer["secret"] not in str(row)


async def test_a_secret_that_cannot_be_written_stays_as_it_is(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async with HttpPeer() as peer, running(rig, shop=url(peer)) as hooks:

        def no(self: Path, target: Path) -> Path:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "rename", no)
        answer = await hooks.answer({"what": "rotate", "credential": "shop", "overlap": HOUR})
        monkeypatch.undo()
        assert "cannot be written: Permission denied; put a new line on top of it yourself" in answer["error"]
        assert (await hooks.answer({"what": "test", "credential": "shop"}))["ok"]
    assert (rig.folder / "secret").read_text() == SECRET
    assert sorted(path.name for path in rig.folder.glob(".secret*")) == []


async def test_a_secret_that_cannot_be_read_fails_the_posts_and_is_told(rig: Rig) -> None:
    in_force = rig.in_force(shop="http://127.0.0.1:1/")
    (rig.folder / "secret").write_text("shop")
    hooks = Hooks(in_force, rig.clock)
    await hooks.step()
    rig.happens("shop")
    await hooks.step()
    row = await settled(hooks, lambda row: row["failing"])
    await hooks.close()
    assert "holds no secret of a webhook" in row["trouble"]
    assert row["last"]["answer"] == row["trouble"]
    assert row["waiting"] == 1


async def test_a_time_is_told_again_also_from_parquet(rig: Rig) -> None:
    async with HttpPeer() as peer, running(rig, shop=url(peer)) as hooks:
        rig.happens("shop", "crm", "shop")
        await hooks.step()
        await until(lambda: peer.posted)
        (rig.events / "2025-11-21T12.0.open.jsonl").rename(rig.events / "2025-11-21T12.0.jsonl")
        rig.clock.now += HOUR
        assert len(to_parquet(rig.events, rig.clock.now, hooks.read)) == 1
        await hooks.tidy()
        question = {"what": "resend", "credential": "shop", "since": START, "until": START + 2 * HOUR}
        assert "error" not in await hooks.answer(question)
        await hooks.fetch()
        await until(lambda: len(peer.posted) == 2)
        await hooks.fetch()
        await settled(hooks, lambda row: not row["waiting"])
    first, second = peer.posted
    assert ids(first) == ids(second) == ["e1", "e3"]
    assert first.fields["webhook-id"] != second.fields["webhook-id"]


async def test_an_hour_that_was_not_read_stays_lines(rig: Rig) -> None:
    hooks = Hooks(rig.in_force(shop="http://127.0.0.1:1/"), rig.clock)
    rig.happens("shop")
    path = (rig.events / "2025-11-21T12.0.open.jsonl").rename(rig.events / "2025-11-21T12.0.jsonl")
    assert not hooks.read(path), "the queue is not even open"
    hooks.apply(rig.in_force(shop=""))
    assert hooks.read(path), "nobody wants it"
    assert len(list(read(rig.events))) == 1


async def test_an_example_and_the_log(rig: Rig) -> None:
    async with HttpPeer() as peer, running(rig, shop=url(peer)) as hooks:
        good = await hooks.answer({"what": "test", "credential": "shop"})
        peer.answer = NO
        bad = await hooks.answer({"what": "test", "credential": "shop", "type": "bounced"})
        rows = (await hooks.answer({"what": "log", "credential": "shop"}))["rows"]
        older = (await hooks.answer({"what": "log", "credential": "shop", "before": rows[0]["sequence"]}))["rows"]
        assert (await hooks.answer({"what": "list"}))["rows"][0]["failing"] is None, (
            "an example says nothing of the rest"
        )
    assert (good["ok"], good["status"], bad["ok"], bad["answer"]) == (True, 204, False, "127.0.0.1 answered 500")
    assert [row["post"] for row in rows] == [bad["id"], good["id"]]
    assert older == rows[1:]
    sent = orjson.loads(peer.posted[0].content)
    assert (sent["type"], sent["events"][0]["type"], sent["events"][0]["test"]) == ("test", "delivered", True)
    assert good["sent"].encode() == peer.posted[0].content


async def test_what_cannot_be_asked(rig: Rig) -> None:
    hooks = Hooks(rig.in_force(shop="http://127.0.0.1:1/"), rig.clock)
    assert (await hooks.answer({"what": "list"}))["rows"][0]["waiting"] == 0
    assert "just being opened" in (await hooks.answer({"what": "log", "credential": "shop"}))["error"]
    await hooks.fetch()
    await hooks.tidy()
    await hooks.step()
    unknown = await hooks.answer({"what": "log", "credential": "crm"})
    assert unknown["error"] == "crm has no webhook in credentials.toml; those with one: shop"
    assert "knows how to dance" in (await hooks.answer({"what": "dance", "credential": "shop"}))["error"]
    assert repr(hooks) == "<Hooks ['shop'] <Queue {}>>"
    await hooks.close()


async def test_what_is_given_up_is_counted(rig: Rig) -> None:
    async with HttpPeer(NO) as peer, running(rig, shop=url(peer)) as hooks:
        rig.happens("shop")
        await hooks.step()
        await settled(hooks, lambda row: row["failing"])
        rig.clock.now += GIVE_UP
        await hooks.tidy()
        assert {"credential": "shop", "result": "given-up", "value": 1} in (await hooks.answer({"what": "list"}))[
            "counts"
        ]


@pytest.mark.parametrize("bound", ["PERSON_PAGE", "PERSON_FOUND"])
async def test_of_who_is_forgotten_nothing_more_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(f"relay.hooks.service.{bound}", 2)
    key = "0f" * 16
    async with HttpPeer(NO) as peer, running(rig, shop=url(peer)) as hooks:
        for who in ("noa@gmail.com", "Da.Na@gmail.com", f"~{key}@gmail.com", "lea@b.example", ""):
            rig.happens("shop", recipient=who, subject="Hi", detail="of dana@gmail.com")
        await hooks.step()
        await settled(hooks, lambda row: row["waiting"] == 5)
        about = {"do": "webhooks", "what": "person", "recipient": "dana@gmail.com", "key": key}

        async def through(**more: Any) -> list[dict[str, Any]]:
            pages = [await hooks.answer({**about, **more})]
            while pages[-1]["cursor"] is not None:
                pages.append(await hooks.answer({**about, **more, "cursor": pages[-1]["cursor"]}))
            return pages

        pages = await through()
        assert max(len(page["items"]) for page in pages) == 2
        kept = [item for page in pages for item in page["items"]]
        assert [(one["credential"], one["event"]["recipient"][:2]) for one in kept][1:3] == [
            ("shop", "Da"),
            ("shop", "~0"),
        ]
        assert sum(page["changed"] for page in await through(forget=True)) == 5
        assert sum(page["changed"] for page in await through()) == 0
    async with HttpPeer(OK) as taking, running(rig, shop=url(taking)) as again:
        rig.clock.now += HOUR
        await settled(again, lambda row: row["waiting"] == 0)
        told = [event for posted in taking.posted for event in orjson.loads(posted.content)["events"]]
    assert [event["event_id"] for event in told] == [f"e{number}" for number in range(1, 6)]
    assert [event["recipient"] for event in told] == ["noa@gmail.com", None, None, "lea@b.example", ""]
    assert "dana" not in repr(told).lower()
    assert [event.get("subject") for event in told] == ["Hi", None, None, "Hi", "Hi"]


async def test_without_endpoints_nothing_is_told_of_anybody(rig: Rig) -> None:
    async with running(rig) as hooks:
        found = await hooks.answer({"what": "person", "recipient": "dana@gmail.com", "key": "00"})
    assert found == {"items": [], "changed": 0, "cursor": None}


async def test_what_nobody_wants_any_more_is_given_up(rig: Rig) -> None:
    async with HttpPeer(NO) as peer, running(rig, shop=url(peer)) as hooks:
        rig.happens("shop")
        await hooks.step()
        await settled(hooks, lambda row: row["failing"])
    rig.clock.now += GIVE_UP
    async with running(rig, shop="") as hooks:
        await hooks.tidy()
        assert (await hooks.answer({"what": "list"}))["counts"] == [
            {"credential": "shop", "result": "given-up", "value": 1}
        ]


async def test_it_goes_on_after_a_fault_of_ours(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.hooks.service.LOOK", 0.01)
    monkeypatch.setattr("relay.hooks.service.AGAIN", 0.01)
    (rig.folder / "data" / "hooks.db").mkdir()
    ended = rig.events / "2025-11-21T11.0.jsonl"
    ended.touch()
    async with HttpPeer() as peer:
        hooks = Hooks(rig.in_force(shop=url(peer)), rig.clock)
        work = asyncio.create_task(hooks.run())
        with capture_logs() as logs:
            await until(lambda: logs)
        assert logs[0]["event"] == "webhooks stand still; trying again"
        (rig.folder / "data" / "hooks.db").rmdir()
        await until(lambda: "Queue" in repr(hooks))
        await until(lambda: hooks.read(ended))
        rig.happens("shop")
        await until(lambda: peer.posted)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await hooks.close()
    assert ids(peer.posted[0]) == ["e1"]
