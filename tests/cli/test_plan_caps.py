"""`postlane plan` with other caps: what would have become of mail that went out, or was held up."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY, patch

import pytest

from relay import replay_caps
from relay.cli.main import main
from relay.event import iso
from relay.feedback.eventlog import to_parquet
from relay.masking import pseudonym
from relay.policy.caps import Caps
from relay.recipient import Keys
from relay.replay_caps import CapReplay, affected
from tests.support.company import Node
from tests.test_replay_person import A_DAY, TWO_A_WEEK, cap

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
CAPS = '[cap.marom]\nbrands = ["marom"]\nlimits = [\n  "3/7d",\n]\n'
MAIL = {"stream": "newsletter", "class": "marketing", "headers": {"list-unsubscribe": ["x"]}}


class Planning:
    """A node that took mail in the last hours, and the command."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.now = time.time_ns() // 1_000_000
        self.node = Node(folder, self.now - 10 * HOUR)
        self._capsys = capsys
        self._mails = 0
        self.caps(CAPS)
        self.node.put_in_force()

    def caps(self, text: str) -> None:
        (self.node.folder / "policies" / "caps.toml").write_text(text)

    def accepted(self, *recipients: str, after: int = MINUTE, **facts: Any) -> str:
        """One more newsletter, `after` ms later."""
        self.node.now += after
        return self.node.accepted(*recipients, **MAIL | facts)

    def event(self, kind: str, one: str, recipient: str | None = "dana@gmail.com", **facts: Any) -> None:
        brand, mail_class = facts.pop("brand", "marom"), facts.pop("mail_class", "marketing")
        about = {"rcpt": 0, "recipient": recipient, "brand": brand, "class": mail_class, **facts}
        self.node.event(type=kind, id=one, **about)

    def sent(self, *recipients: str, **facts: Any) -> str:
        """One that was delivered at once."""
        one = self.accepted(*recipients, **facts)
        for number, recipient in enumerate(recipients or ("dana@gmail.com",)):
            self.event("delivered", one, recipient, rcpt=number, mail_class=facts.get("class", "marketing"))
        return one

    def run(self, *words: str) -> tuple[int, list[str]]:
        status = main(["plan", *words])
        out, err = self._capsys.readouterr()
        assert err == ""
        return status, out.splitlines()

    def screen(self, *words: str) -> list[str]:
        """What it says of caps."""
        _, lines = self.run(*words)
        return [line for line in lines[1:-1] if "caps look back" not in line]

    def cap(self) -> dict[str, Any]:
        (found,) = [one for one in map(json.loads, self.run("--json")[1]) if one["kind"] == "cap"]
        return dict(found)


@pytest.fixture
def planning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Planning]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSTLANE_CONFIG", raising=False)
    monkeypatch.delenv("POSTLANE_POLICIES", raising=False)
    with patch.object(replay_caps, "_FLUSH", 100):  # so that heaps are written more than once
        yield Planning(tmp_path, capsys)


def test_caps_that_stay_the_same_are_no_news(planning: Planning) -> None:
    for _ in range(5):
        planning.sent()
    assert planning.run("--fail-on-change")[0] == 0
    assert planning.screen() == []
    planning.caps(CAPS + "# a comment\n")
    assert planning.screen("--since", "7d") == []


def test_what_went_out_would_wait_and_some_become_stale(planning: Planning) -> None:
    first = planning.sent("dana@gmail.com", "noa@example.org")
    second, third = planning.sent(), planning.sent(valid_until=iso(planning.now + HOUR))
    planning.sent("dan@example.org")
    planning.caps(CAPS.replace('"3/7d"', '"1/7d"'))
    assert planning.screen() == [
        "  caps.toml:3  limits of cap.marom: 3/7d -> 1/7d",
        "       2 of 5 marketing messages would be postponed that went out; 1 of them would become stale before their turn",
        f"         such as {second}, {third}",
    ]
    assert planning.run("--fail-on-change")[0] == 1
    cap = planning.cap()
    assert (cap["cap"], cap["place"], cap["asked"]) == ("marom", "policies/caps.toml:3", {"service": 0, "marketing": 5})
    assert (cap["before"]["limits"], cap["after"]["limits"], cap["after"]["over"]) == (["3/7d"], ["1/7d"], "postpone")
    assert cap["changes"] == [
        {"class": "marketing", "before": "went", "after": end, "waits": None, "recipients": 1, "examples": [one]}
        for end, one in (("postponed", second), ("stale", third))
    ]
    assert first not in json.dumps(cap)


def test_what_people_got_before_counts_whatever_their_spelling(planning: Planning) -> None:
    planning.node.now = planning.now - 6 * DAY
    planning.run()  # makes the secret by which people are known
    key = Keys([(planning.node.folder / "data" / "secret").read_bytes()]).key("dana@gmail.com")
    for spelling in ("da.na+news@googlemail.com", pseudonym(key, "gmail.com")):
        planning.sent(spelling)
    to_parquet(planning.node.folder / "data" / "events", planning.now)
    planning.node.now = planning.now - 8 * DAY
    planning.sent(after=MINUTE)  # longer ago than the cap looks back
    planning.node.now = planning.now - HOUR
    one = planning.sent()
    planning.caps(CAPS.replace('"3/7d"', '"2/7d"'))
    assert planning.screen()[1:] == [
        "       1 of 1 marketing message would be postponed that went out",
        f"         such as {one}",
    ]
    planning.caps(CAPS.replace('"3/7d"', '"2/24h"'))
    assert planning.screen() == [
        "  caps.toml:3  limits of cap.marom: 3/7d -> 2/24h",
        "       no recorded message would meet it otherwise",
    ]


def test_older_mail_under_way_counts_once_it_arrives_and_what_waits_does_not(planning: Planning) -> None:
    planning.caps(CAPS.replace('"3/7d"', '"9/7d"'))
    planning.node.put_in_force()
    planning.node.now = planning.now - 30 * HOUR
    under_way, waiting, over, still, bounced = (planning.accepted() for _ in range(5))
    planning.event("bounced", bounced)
    for one, until in ((waiting, -20), (over, -26), (still, 20)):
        planning.event("postponed", one, reason="capped", until=iso(planning.now + until * HOUR))
    planning.node.now = planning.now - 21 * HOUR
    early = planning.sent()
    planning.node.now = planning.now - 20 * HOUR
    for one in (under_way, waiting):
        planning.event("delivered", one)
    late = planning.sent()
    for over_cap, refused in (('"2/7d"', [late]), ('"1/7d"', [early, late])):
        planning.caps(CAPS.replace('"3/7d"', over_cap) + 'over = "drop"\n')
        told = [
            f"       {len(refused)} of 2 marketing messages would be withheld that went out",
            f"         such as {', '.join(refused)}",
        ]
        assert planning.screen()[1:] == told, "of those three one was under way all the time"


def test_a_cap_that_is_loosened_lets_out_what_it_held(planning: Planning) -> None:
    planning.caps(CAPS.replace('"3/7d"', '"1/7d"'))
    planning.node.put_in_force()
    planning.sent()
    planning.event("delivered", "forgotten", recipient=None)
    planning.event("delivered", "x", recipient="noa@gmail.com", rcpt=None)
    waits, stale, cancelled = (planning.accepted() for _ in range(3))
    until = iso(planning.node.now + 7 * DAY)
    for one in (waits, stale, cancelled):
        planning.event("postponed", one, reason="capped", detail="cap marom: 1/7d", until=until)
    planning.node.now += MINUTE
    planning.event("withheld", stale, reason="stale")
    planning.event("withheld", cancelled, reason="cancelled")
    planning.caps(CAPS)
    assert planning.screen() == [
        "  caps.toml:3  limits of cap.marom: 1/7d -> 3/7d",
        "       1 of 4 marketing messages would go out at once that ended while they waited",
        f"         such as {stale}",
        "       1 of 4 marketing messages would go out at once that were postponed",
        f"         such as {waits}",
    ]
    planning.caps("")
    head, *lines = planning.screen()
    assert head == "  cap.marom is gone: 1/7d, postpone"
    assert lines[0] == "       2 of 4 marketing messages would go out at once that ended while they waited"


def test_what_was_dropped_or_refused_would_go_out(planning: Planning) -> None:
    planning.caps(CAPS.replace('"3/7d"', '"1/7d"') + 'over = "drop"\n')
    planning.node.put_in_force()
    planning.sent()
    dropped = planning.accepted()
    planning.event("withheld", dropped, reason="capped", at="accept")
    suppressed = planning.accepted()
    planning.event("withheld", suppressed, reason="suppressed", at="accept")
    planning.caps(CAPS)
    assert planning.screen() == [
        "  caps.toml:3  limits of cap.marom: 1/7d -> 3/7d; over of cap.marom: drop -> postpone",
        "       1 of 2 marketing messages would go out at once that were withheld",
        f"         such as {dropped}",
    ]
    planning.caps(CAPS.replace('"3/7d"', '"1/7d"') + 'over = "reject"\n')
    planning.node.put_in_force()
    refused = {"brand": "marom", "stream": "newsletter", "class": "marketing", "recipients": ["dana@gmail.com"]}
    planning.node.event(type="rejected", reason="capped", **refused)
    planning.node.event(type="rejected", reason="capped")  # of an older version, which did not say of what
    planning.caps(CAPS)
    (shift,) = planning.cap()["changes"]
    assert (shift["before"], shift["after"], shift["recipients"]) == ("refused", "went", 2)


def test_a_new_cap_of_several_brands_and_of_service_mail(planning: Planning) -> None:
    planning.sent(
        "dana@gmail.com", brand="kinor", credential="kinor", **{"class": "marketing", "from": "n@kinor.example"}
    )
    service = planning.sent(
        stream="kinor", credential="kinor", headers={"list-unsubscribe": []}, **{"class": "service"}
    )
    classes = 'counts = ["marketing", "service"]\nblocks = ["service", "marketing"]\nlimits = "1/30d"\nover = "drop"\n'
    planning.caps(CAPS + '[cap.all]\nbrands = ["kinor", "marom"]\n' + classes)
    assert planning.screen() == [
        "  caps.toml:6  cap.all is new: 1/30d, drop",
        "       1 of 1 service message would be withheld that went out",
        f"         such as {service}",
    ]
    planning.node.put_in_force()
    planning.caps(CAPS + '[cap.all]\nbrands = "marom"\n' + classes.replace('over = "drop"', 'over = "reject"'))
    head, *_ = planning.screen()
    assert head == "  caps.toml:11  over of cap.all: drop -> reject; brands of cap.all: kinor is gone"


def test_what_changes_its_class_meets_other_caps(planning: Planning) -> None:
    planning.caps(CAPS.replace('"3/7d"', '"1/7d"'))
    planning.node.put_in_force()
    ids = [
        planning.sent(**{"stream": "order", "class": "transactional", "headers": {"list-unsubscribe": []}})
        for _ in "12"
    ]
    rerouted = planning.sent(
        stream="woo", contradiction="rerouted", claimed="transactional", subject="x", headers={"list-unsubscribe": []}
    )
    planning.node.edit("policies/streams.toml", 'class = "transactional"', 'class = "marketing"')
    lines = planning.screen()
    assert lines[-3:] == [
        "  caps.toml:1  cap.marom is the same: 1/7d",
        "       1 of 3 marketing messages would be postponed that went out; "
        "1 of them would be given up after the longest window",
        f"         such as {ids[1]}",
    ], "rerouted mail is counted, and goes before the other may"
    assert rerouted not in "\n".join(lines)


def test_a_wait_that_is_longer_or_shorter(planning: Planning) -> None:
    planning.caps(CAPS.replace('"3/7d"', '"1/2d"'))
    planning.node.put_in_force()
    planning.sent()
    one = planning.accepted()
    planning.event("postponed", one, reason="capped", until=iso(planning.now + 38 * HOUR))
    for limit, word in (("1/3d", "longer"), ("1/24h", "less long")):
        planning.caps(CAPS.replace('"3/7d"', f'"{limit}"'))
        assert planning.screen()[1:] == [
            f"       1 of 2 marketing messages would wait {word}",
            f"         such as {one}",
        ]
    assert planning.cap()["changes"][0]["waits"] == "less"


def test_what_the_files_refuse_is_told_as_that_alone(planning: Planning) -> None:
    planning.sent()
    planning.sent()
    planning.caps(CAPS.replace('"3/7d"', '"1/7d"'))
    planning.node.edit(
        "policies/credentials.toml", 'domains = ["marom.example"]\nstreams', 'domains = ["x.example"]\nstreams'
    )
    assert planning.screen()[-1] == "       no recorded message would meet it otherwise"
    planning.node.put_in_force()
    planning.caps(CAPS)
    assert planning.cap()["asked"] == {"service": 0, "marketing": 0}, "nor is anybody asked where both refuse it"


def test_other_waits_are_waited_for_again(planning: Planning) -> None:
    planning.caps(CAPS.replace('"3/7d"', '"9/7d"'))
    planning.node.put_in_force()
    paced = planning.accepted(over_quota=True, until=iso(planning.node.now + 3 * HOUR), priority=200)
    early = planning.accepted("noa@gmail.com", over_quota=True, until=iso(planning.node.now + 3 * HOUR))
    planning.event("delivered", early, recipient="noa@gmail.com")  # the line was shorter than it seemed
    planning.sent("noa@gmail.com")
    held = planning.accepted()
    planning.event("postponed", held, reason="held", until=None)
    never = planning.accepted()
    planning.event("postponed", never, reason="held", until=None)
    planning.sent()  # which goes at once
    bounced = planning.accepted()
    planning.event("bounced", bounced)
    planning.node.now += 4 * HOUR
    for one in (paced, held):
        planning.event("delivered", one)
    planning.caps(CAPS.replace('"3/7d"', '"1/7d"') + 'over = "drop"\n')
    (told,) = changes = planning.cap()["changes"]
    assert changes == [
        {
            "class": "marketing", "before": "went", "after": "dropped", "waits": None, "recipients": 4,
            "examples": ANY,
        }
    ]  # fmt: skip
    assert early not in told["examples"], "it was first"
    assert {paced, held, bounced} & {*told["examples"]}


def test_what_other_nodes_sent_counts_where_their_events_are_at_hand(planning: Planning, tmp_path: Path) -> None:
    node, key = planning.node, '[state]\nurl = "redis://127.0.0.1:6379"\n\n[web]'
    planning.sent()
    (node.folder / "data" / "events").rename(tmp_path / "other")
    one = planning.sent()
    node.edit("config/postlane.toml", "[web]", key)
    node.put_in_force()
    planning.caps(CAPS.replace('"3/7d"', '"1/7d"'))
    _, lines = planning.run()
    assert "       no recorded message would meet it otherwise" in lines
    assert lines[-1].startswith("  (other nodes' events are not here: --events DIR;")
    _, lines = planning.run("--events", str(tmp_path / "other"))
    assert "       1 of 2 marketing messages would be postponed that went out" in lines
    assert f"         such as {one}" in lines
    assert not lines[-1].startswith("  (other")


def test_what_a_person_wished_holds_on_both_sides(planning: Planning) -> None:
    planning.sent()
    wished = planning.accepted()
    detail, until = "the recipient's own wish: at most 1/week, used up by marom marketing 1", planning.now + 100 * HOUR
    planning.event("postponed", wished, reason="preference", detail=detail, until=iso(until))
    planning.caps(CAPS.replace('"3/7d"', '"2/7d"'))
    assert planning.screen()[1:] == ["       no recorded message would meet it otherwise"]
    planning.caps(CAPS.replace('"3/7d"', '"1/7d"') + 'over = "drop"\n')
    assert planning.screen()[1:] == [
        "       1 of 2 marketing messages would be withheld that were postponed",
        f"         such as {wished}",
    ]
    planning.node.edit("policies/brands.toml", "unsigned", 'timezone = "Asia/Tokyo"\nunsigned')  # which holds for kinor
    planning.caps(CAPS.replace('"3/7d"', '"9/7d"'))
    planning.node.edit(
        "policies/brands.toml",
        'domains = ["marom.example"]',
        'domains = ["marom.example"]\ntimezone = "Pacific/Kiritimati"',
    )
    head, what, _ = planning.screen()[2:]
    assert head == "  what people wished themselves"
    assert what.startswith("       1 of 2 marketing messages would wait "), "until Monday comes there"


def test_events_that_do_not_reach_back_far_enough_are_said(planning: Planning) -> None:
    planning.sent()
    planning.caps(CAPS.replace('"3/7d"', '"2/30d"'))
    _, lines = planning.run()
    assert "caps look back to " in lines[-2]
    assert lines[-2].endswith(": what people got before that is not counted")
    assert planning.cap()["counted_since"] is not None


def test_it_shows_what_it_compares(tmp_path: Path) -> None:
    files: Any = SimpleNamespace(caps=Caps())
    replay = CapReplay(files, files, 0, 1, tmp_path, lambda _: b"")
    assert repr(replay) == "<CapReplay of <Caps > and <Caps >, <_Heaps of 0 rows>>"


def test_brands_that_share_a_cap_are_looked_at_together() -> None:
    zones = {"a": "UTC", "b": "UTC", "c": "UTC"}
    shared, alone = cap(A_DAY, brands=("b", "c")), cap(TWO_A_WEEK)
    assert affected(Caps([alone, shared], zones), Caps([alone, shared], zones)) == frozenset()
    assert affected(Caps([shared], zones), Caps([alone, shared], zones)) == {"a"}
    assert affected(Caps([shared, cap(TWO_A_WEEK, brands=("a", "b"))], zones), Caps([shared], zones)) == {"a", "b", "c"}
    assert affected(Caps([shared], zones), Caps([shared], zones | {"c": "Asia/Jerusalem"})) == {"b", "c"}
    assert affected(Caps([shared], zones), Caps([shared], zones), {"b", "none"}) == {"b", "c"}
