"""What apps ask and tell of recipients: each for its own brand, and every change by the desk, which records it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay.apps import parse, repaired_form
from relay.egress.mx import Answer, Found
from relay.identity import proof_of
from relay.message import RcptTo
from relay.outcome import Reply
from tests.support.apps import Node, app, token_of
from tests.support.clocks import Clock

ADA = "ada@shop.example"
LATER = "2025-12-24T12:00:00Z"


class Dns:
    """One answer for all."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def mx(self, domain: str) -> Answer:
        return self.answer

    async def look_up(self, name: str, kind: str) -> Answer:
        return self.answer

    def known_mx(self, domain: str) -> Answer | None:
        return self.answer


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(tmp_path, Clock(), Dns(Answer(Found.RECORDS, ((10, "mx.example"),))))
    await node.state.open()
    yield node
    await node.state.close()


async def ask(node: Node, call: str, *, by: str = "shop", **more: Any) -> dict[str, Any]:
    """The body of a 200, else what was answered."""
    question = {"do": "api", "call": call, "credential": by, "proof": proof_of(token_of(by)), **more}
    answer = await node.apps.answer(question)
    body: dict[str, Any] = answer["body"] if answer["status"] == 200 else answer
    return body


def kinds(node: Node) -> list[str]:
    return [kind for kind, _ in node.said]


class TestWhoMay:
    async def test_nobodys_token(self, node: Node) -> None:
        for name, proof in (
            ("shop", proof_of("shop.wrong")),
            ("nobody", proof_of("x")),
            ("gone", proof_of(token_of("gone"))),
        ):
            answer = await node.apps.answer({"call": "show", "credential": name, "proof": proof, "recipient": ADA})
            assert answer["status"] == 401

    @pytest.mark.parametrize(
        ("by", "brand", "status", "code"),
        [
            ("club", None, 400, "which-brand"),
            ("shop", "marom", 403, "brand"),
            ("erp", "arava", 403, "brand"),
            ("stranger", None, 403, "no-brand"),
        ],
    )
    async def test_other_brands_are_none_of_its_business(
        self, node: Node, by: str, brand: str | None, status: int, code: str
    ) -> None:
        answer = await ask(node, "show", by=by, recipient=ADA, **({"brand": brand} if brand else {}))
        assert (answer["status"], answer["code"]) == (status, code)

    async def test_the_sandbox_speaks_for_every_brand(self, node: Node) -> None:
        everybody = app("everybody", "*")
        assert node.apps.brands_of(everybody) == ["arava", "marom"]
        assert repr(node.apps) == "<Apps of <Directory 5 credentials, 0 networks>>"

    async def test_its_own_brand(self, node: Node) -> None:
        assert (await ask(node, "show", recipient=ADA))["brand"] == "arava"
        assert (await ask(node, "show", by="club", recipient=ADA, brand="marom"))["brand"] == "marom"
        assert (await ask(node, "show", by="erp", recipient=ADA))["brand"] == "marom"

    async def test_what_other_brands_know_is_not_told(self, node: Node) -> None:
        await ask(node, "suppress", by="erp", recipient=ADA, body={"note": "angry"})
        await ask(node, "prefer", by="erp", recipient=ADA, body={"at_most": "1/week"})
        everywhere = [{"recipient": ADA, "stop": "all", "reason": "bad-mailbox", "note": "seen by noa"}]
        await node.people.answer({"do": "people", "what": "block", "entries": everywhere, "by": "noa", "via": "cli"})
        told = await ask(node, "show", recipient=ADA)
        assert told["preferences"]["at_most"] == "each"
        assert told["marketing"] is False
        ((block),) = told["suppressions"]
        assert (block["reason"], block["every_brand"], block["note"]) == ("bad-mailbox", True, "")

    async def test_what_is_pending_is_told_to_no_app(self, node: Node) -> None:
        entries = [{"recipient": ADA, "stop": "pending:all", "reason": "bad-mailbox"}]
        done = await node.people.answer({"do": "people", "what": "block", "entries": entries, "via": "feedback"})
        assert done["changed"] == 1
        told = await ask(node, "show", recipient=ADA)
        assert (told["marketing"], told["suppressions"]) == (True, [])


class TestOfOneRecipient:
    async def test_nothing_is_known(self, node: Node) -> None:
        assert await ask(node, "show", recipient=ADA) == {
            "recipient": ADA,
            "brand": "arava",
            "marketing": True,
            "suppressions": [],
            "preferences": {"topics_off": [], "at_most": "each", "paused_until": None},
            "engagement": {"last_engaged": None, "unanswered": 0, "tier": ""},
        }

    async def test_consent_is_withdrawn_and_given(self, node: Node) -> None:
        told = await ask(node, "consent", recipient=ADA, body={"marketing": False})
        assert told["marketing"] is False
        assert told["suppressions"][0]["reason"] == "unsubscribed"
        assert (await ask(node, "consent", recipient=ADA, body={"marketing": True}))["marketing"] is True
        assert (await ask(node, "withdraw", recipient=ADA))["marketing"] is False
        assert kinds(node) == ["unsubscribed", "unsuppressed", "unsubscribed"]
        assert node.said[0][1]["brand"] == "arava"
        assert node.said[0][1]["via"] == "api"
        assert node.said[0][1]["by"] == "shop"

    async def test_topics_are_changed_one_by_one(self, node: Node) -> None:
        await ask(node, "prefer", recipient=ADA, body={"topics_off": ["offers"], "paused_until": LATER})
        told = await ask(node, "consent", recipient=ADA, body={"topics": {"news": False, "offers": True}})
        assert told["preferences"] == {
            "topics_off": ["news"],
            "at_most": "each",
            "paused_until": "2025-12-24T12:00:00.000Z",
        }
        node.clock.now += 90 * 86_400_000
        told = await ask(node, "consent", recipient=ADA, body={"topics": {"news": True}})
        assert told["preferences"] == {"topics_off": [], "at_most": "each", "paused_until": None}

    async def test_consent_does_not_undo_a_complaint(self, node: Node) -> None:
        await ask(node, "suppress", recipient=ADA, body={"reason": "complaint"})
        answer = await ask(node, "consent", recipient=ADA, body={"marketing": True})
        assert (answer["status"], answer["code"]) == (409, "still-stopped")
        assert "complaint" in answer["detail"]

    async def test_consent_that_cannot_be_given_changes_nothing(self, node: Node) -> None:
        await ask(node, "consent", recipient=ADA, body={"marketing": False})
        await ask(node, "suppress", recipient=ADA, body={"reason": "complaint"})
        before = await ask(node, "show", recipient=ADA)
        answer = await ask(node, "consent", recipient=ADA, body={"marketing": True, "topics": {"news": False}})
        assert (answer["status"], answer["code"]) == (409, "still-stopped")
        assert "unsubscribed" not in answer["detail"], "that is what he would take back"
        assert await ask(node, "show", recipient=ADA) == before

    async def test_consent_is_one_change(self, node: Node) -> None:
        body = {"reason": "unsubscribed", "stop": "topic:news"}
        await ask(node, "suppress", recipient=ADA, body=body)
        await ask(node, "consent", recipient=ADA, body={"marketing": False, "topics": {"offers": False}})
        told = await ask(node, "consent", recipient=ADA, body={"marketing": True, "topics": {"news": True}})
        assert (told["marketing"], told["suppressions"]) == (True, []), "who agrees to a topic has not left it any more"
        assert told["preferences"]["topics_off"] == ["offers"]
        assert kinds(node) == ["unsubscribed", "preferences-changed", "unsubscribed", "unsuppressed", "unsuppressed"]
        assert node.said[-1][1]["reason"] == "agreed to marketing"

    @pytest.mark.parametrize(
        ("reason", "first"),
        [("complaint", "Only operators can take that off"), ("manual", "Take that suppression off first")],
    )
    async def test_a_topic_that_stays_stopped_for_another_reason(self, node: Node, reason: str, first: str) -> None:
        await ask(node, "suppress", recipient=ADA, body={"reason": reason, "stop": "topic:news"})
        before = await ask(node, "show", recipient=ADA)
        answer = await ask(node, "consent", recipient=ADA, body={"topics": {"news": True, "offers": False}})
        assert (answer["status"], answer["code"]) == (409, "still-stopped")
        assert answer["detail"] == f"Stays stopped: topic:news by {reason}. {first}"
        assert await ask(node, "show", recipient=ADA) == before
        told = await ask(node, "consent", recipient=ADA, body={"topics": {"offers": False}})
        assert told["preferences"]["topics_off"] == ["offers"], "what he turns off is not asked about"

    async def test_consent_to_nothing(self, node: Node) -> None:
        assert (await ask(node, "consent", recipient=ADA, body={}))["status"] == 422

    async def test_preferences_are_replaced_and_forgotten(self, node: Node) -> None:
        wanted = {"topics_off": ["news"], "at_most": "1/week", "paused_until": LATER}
        told = await ask(node, "prefer", recipient=ADA, body=wanted)
        assert told["preferences"] == wanted | {"paused_until": "2025-12-24T12:00:00.000Z"}
        told = await ask(node, "prefer", recipient=ADA, body={"at_most": "1/day"})
        assert told["preferences"] == {"topics_off": [], "at_most": "1/day", "paused_until": None}
        told = await ask(node, "forget-preferences", recipient=ADA)
        assert told["preferences"]["at_most"] == "each"
        assert kinds(node) == ["preferences-changed"] * 3

    async def test_a_suppression_and_its_end(self, node: Node) -> None:
        told = await ask(
            node, "suppress", recipient=ADA, body={"stop": "topic:news", "until": LATER, "note": "by phone"}
        )
        assert told["marketing"] is True
        (block,) = told["suppressions"]
        assert (block["stop"], block["until"], block["note"]) == ("topic:news", "2025-12-24T12:00:00.000Z", "by phone")
        await ask(node, "suppress", recipient=ADA, body={})
        told = await ask(node, "unsuppress", recipient=ADA, stop="topic:news")
        assert [one["stop"] for one in told["suppressions"]] == ["marketing"]
        assert (await ask(node, "unsuppress", recipient=ADA))["suppressions"] == []
        assert kinds(node) == ["suppressed", "suppressed", "unsuppressed", "unsuppressed"]

    async def test_what_other_brands_stop_stays(self, node: Node) -> None:
        for by in ("shop", "erp"):
            await ask(node, "suppress", by=by, recipient=ADA, body={})
            await ask(node, "withdraw", by=by, recipient=ADA)
        await ask(node, "consent", recipient=ADA, body={"marketing": True})
        await ask(node, "unsuppress", recipient=ADA)
        assert (await ask(node, "show", recipient=ADA))["suppressions"] == []
        told = await ask(node, "show", by="erp", recipient=ADA)
        assert sorted(one["reason"] for one in told["suppressions"]) == ["manual", "unsubscribed"]

    async def test_what_only_operators_take_off(self, node: Node) -> None:
        await ask(node, "suppress", recipient=ADA, body={"reason": "complaint"})
        answer = await ask(node, "unsuppress", recipient=ADA)
        assert (answer["status"], answer["code"]) == (409, "operators-only")
        await ask(node, "suppress", recipient=ADA, body={"reason": "imported"})
        told = await ask(node, "unsuppress", recipient=ADA)
        assert [one["reason"] for one in told["suppressions"]] == ["complaint"]

    async def test_a_topic_that_the_brand_does_not_have(self, node: Node) -> None:
        for call, body, pointer in (
            ("prefer", {"topics_off": ["nwes"]}, "/topics_off"),
            ("consent", {"topics": {"nwes": True}}, "/topics"),
            ("suppress", {"stop": "topic:nwes"}, "/stop"),
        ):
            answer = await ask(node, call, recipient=ADA, body=body)
            assert (answer["status"], answer["code"]) == (422, "topic")
            assert answer["detail"] == "Brand arava has no topic nwes; there are news, offers"
            assert answer["errors"][0]["pointer"] == pointer
        answer = await ask(node, "prefer", by="erp", recipient=ADA, body={"topics_off": ["news"]})
        assert answer["detail"] == "Brand marom has no topic news; it has none"
        assert node.said == []

    async def test_what_is_over_already(self, node: Node) -> None:
        for call, body in (
            ("suppress", {"until": "2020-01-01T00:00:00Z"}),
            ("prefer", {"paused_until": "2020-01-01T00:00:00Z"}),
        ):
            answer = await ask(node, call, recipient=ADA, body=body)
            assert answer["status"] == 422
            assert "is over already" in answer["detail"]
        assert node.said == []

    @pytest.mark.parametrize(
        "address", ["ada", "ada@", "@x.example", "a b@x.example", "a@b.example> NOTIFY=NEVER", "a\x00@b.example"]
    )
    async def test_what_is_no_address(self, node: Node, address: str) -> None:
        answer = await ask(node, "show", recipient=address)
        assert (answer["status"], answer["code"]) == (422, "address")

    async def test_state_that_is_down(self, node: Node) -> None:
        await node.state.close()
        answer = await ask(node, "show", recipient=ADA)
        assert (answer["status"], answer["code"]) == (503, "not-now")
        await node.state.open()


class TestEngagement:
    async def test_many_at_once(self, node: Node) -> None:
        engaged = [{"recipient": ADA, "on": "2025-11-20"}, {"recipient": "bo@shop.example", "on": "2025-11-22"}]
        assert await ask(node, "engaged", body={"engaged": engaged}) == {"taken": 2, "changed": 2}
        assert (await ask(node, "engaged", body={"engaged": engaged}))["changed"] == 0
        assert (await ask(node, "show", recipient=ADA))["engagement"]["last_engaged"] == "2025-11-20"

    async def test_one_that_is_wrong_and_none_is_taken(self, node: Node) -> None:
        engaged = [
            {"recipient": ADA, "on": "2025-11-20"},
            {"recipient": ADA, "on": "2025-11-23"},
            {"recipient": "ada", "on": "2025-11-20"},
            {"recipient": ADA, "on": "0001-01-01"},
        ]
        answer = await ask(node, "engaged", body={"engaged": engaged})
        assert answer["status"] == 422
        pointers = [one["pointer"] for one in answer["errors"]]
        assert pointers == ["/engaged/1/on", "/engaged/2/recipient", "/engaged/3/on"]
        assert (await ask(node, "show", recipient=ADA))["engagement"]["last_engaged"] is None


class TestValidate:
    @pytest.mark.parametrize(
        ("address", "verdict", "tags", "better"),
        [
            ("ada@shop.example", "good", [], None),
            (" ada@shop.example ", "good", [], None),
            ("info@shop.example", "good", ["role"], None),
            ("ada@gmaill.com", "doubtful", ["typo"], "ada@gmail.com"),
            ("Ada.L@GMAILL.com", "doubtful", ["typo"], "Ada.L@gmail.com"),
            ("ada@mailinator.com", "doubtful", ["disposable"], None),
            ("ada@gmail,com", "bad", ["syntax"], "ada@gmail.com"),
            ("ada@gmial,com", "bad", ["syntax"], "ada@gmail.com"),
            ("ada@gmailcom", "bad", ["syntax"], "ada@gmail.com"),
            ("ada@shop..example", "bad", ["syntax"], "ada@shop.example"),
            ("ada.@shop.example", "bad", ["syntax"], "ada@shop.example"),
            ("ada", "bad", ["syntax"], None),
            ("", "bad", ["syntax"], None),
            ("@", "bad", ["syntax"], None),
            ('"ada l"@shop.example', "good", [], None),
            ("ada@[192.0.2.1]", "good", [], None),
            ("jörg@bücher.example", "good", [], None),
            ("a" * 65 + "@shop.example", "bad", ["syntax"], None),
            ("a" * 64 + "@" + ".".join(["b" * 60] * 3 + ["xample"]), "good", [], None),  # 254 octets
            ("a" * 64 + "@" + ".".join(["b" * 60] * 3 + ["example"]), "bad", ["syntax"], None),  # 255
            ("ada(comment)@shop.example", "bad", ["syntax"], None),
        ],
    )
    async def test_what_somebody_typed(
        self, node: Node, address: str, verdict: str, tags: list[str], better: str | None
    ) -> None:
        found = await ask(node, "validate", body={"address": address})
        assert (found["verdict"], found["tags"], found["did_you_mean"]) == (verdict, tags, better)
        assert bool(found["detail"]) == (verdict == "bad" or bool(better))

    @pytest.mark.parametrize(
        ("dns", "verdict", "tags"),
        [
            (Answer(Found.RECORDS, ((0, ""),)), "bad", ["null-mx"]),
            (Answer(Found.NO_NAME), "bad", ["no-domain"]),
            (Answer(Found.NOTHING), "bad", ["no-host"]),
            (Answer(Found.FAILED), "good", []),
        ],
    )
    async def test_what_dns_says(self, tmp_path: Path, dns: Answer, verdict: str, tags: list[str]) -> None:
        node = Node(tmp_path, Clock(), Dns(dns))
        found = await ask(node, "validate", body={"address": ADA})
        assert (found["verdict"], found["tags"]) == (verdict, tags)

    async def test_any_credential_may_ask(self, node: Node) -> None:
        assert (await ask(node, "validate", by="stranger", body={"address": ADA}))["verdict"] == "good"


def test_addresses_are_read_as_rcpt_to_reads_them() -> None:
    assert isinstance(parse('"a>b"@x.example'), RcptTo)
    for beyond in ("a@x.example> SIZE=1", "a@x.example> ORCPT=rfc822;b", "@hop.example:a@x.example"):
        assert isinstance(parse(beyond), Reply)
    assert repaired_form("a d a@gmail,,com.") == "ada@gmail.com"
