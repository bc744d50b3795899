"""What a worker alerts of: told once when it begins and once when it ends, and shown while it stands."""

from collections.abc import Callable
from pathlib import Path

import pytest

from relay.alert import Alert
from relay.egress.security.unmet import PATIENCE as UNMET_PATIENCE
from relay.egress.security.unmet import Unmet
from relay.message import LaneKey, MailClass
from relay.policy.checks import Failed
from relay.policy.contradiction import Ledger
from relay.policy.evidence.classify import Evidence
from relay.policy.flags import QUIET, Flags
from relay.policy.runaway import Runaways
from relay.schedule.watchdog import OVERDUE, PATIENCE, Head, Seen, Watchdog
from relay.shaping.health import FAULT_PAUSE, LINGER, Health, Sign
from relay.state.sqlite import SqliteState
from relay.worker_alerts import POOL_PATIENCE, WorkerAlerts
from tests.support.house import NOW, waiting_delivery

LANE: LaneKey = MailClass.TRANSACTIONAL, "b.example", "order", 0


class Desk:
    """The alerts of one worker, over what they are made of."""

    def __init__(self, folder: Path) -> None:
        self.ledger, self.flags, self.health, self.watchdog = Ledger(), Flags(), Health(), Watchdog()
        self.state = SqliteState(folder / "state.db")
        self.doing, self.runaways = "flag", Runaways()
        self.cared_for: list[Alert] = []
        self.unmet = Unmet()
        self.alerts = WorkerAlerts(
            self.ledger,
            self.flags,
            self.state,
            self.health,
            [self.watchdog],
            lambda stream: self.doing,
            self.runaways,
            lambda: self.cared_for,
            self.unmet,
            lambda: {"marketing": ["192.0.2.1", "192.0.2.2"], "other": ["192.0.2.1", "192.0.2.3"]},
        )

    def news(self, after: int = 0) -> list[tuple[str, str, str]]:
        """State, name and whom it concerns."""
        return [
            (state, alert.name, " ".join(filter(None, alert.what.values())))
            for state, alert in self.alerts.news(NOW + after)
        ]

    def standing(self) -> list[str]:
        return [alert.name for alert in self.alerts.standing()]

    # -- what goes wrong

    def contradict(self) -> None:
        for _ in range(5):
            evidence = Evidence(MailClass.MARKETING, 0.97, "5ce1e7000001")
            self.ledger.count("shop", "order", MailClass.TRANSACTIONAL, evidence, 1, NOW)

    def flag(self) -> None:
        self.flags.count("arava", [Failed("postal-address", "flag", "no address", "CAN-SPAM")], NOW)

    def run_away(self) -> None:
        message = waiting_delivery().message
        self.runaways.count(message, "5ce1e7000001", "6/hour", ["dana@b.example"], NOW)

    def lose_state(self) -> None:
        self.state.trouble = "state.db: the disk is full"

    def lose_source(self) -> None:
        self.health.note("192.0.2.1", "", Sign.FAULT, NOW, "cannot bind")

    def lack_tls(self) -> None:
        for at in (NOW - UNMET_PATIENCE, NOW):
            self.unmet.waits("b.example", "451 4.7.10 mx.b.example does not offer STARTTLS", at)

    def stall(self, at: int = NOW) -> None:
        head = Head(LANE, NOW - OVERDUE - 1, (1, 0))
        for now in (at, at + PATIENCE):
            for mail_class in MailClass:
                mine = (head,) if mail_class is MailClass.TRANSACTIONAL else ()
                seen = Seen(mine, None, ended=0, waiting=10, flies=lambda _: False, paused=lambda _: False)
                self.watchdog.seen(seen, now)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


TROUBLES: list[tuple[Callable[[Desk], None], str, str]] = [
    (Desk.contradict, "contradiction", "shop order 5ce1e7000001"),
    (Desk.flag, "check", "arava postal-address"),
    (Desk.run_away, "runaway", "shop order 5ce1e7000001"),
    (Desk.lose_state, "state", ""),
    (Desk.lose_source, "source", "192.0.2.1"),
    (Desk.stall, "stalled", "transactional"),
    (Desk.lack_tls, "tls", "b.example"),
]


def test_where_all_is_well_nothing_is_told(desk: Desk) -> None:
    assert (desk.news(), desk.standing(), desk.alerts.troubles()) == ([], [], [])
    assert repr(desk.alerts) == "<WorkerAlerts 0 standing>"


@pytest.mark.parametrize(("goes_wrong", "name", "whom"), TROUBLES, ids=[name for _, name, _ in TROUBLES])
def test_each_trouble_is_told_once_and_stands(
    desk: Desk, goes_wrong: Callable[[Desk], None], name: str, whom: str
) -> None:
    goes_wrong(desk)
    assert desk.news() == [("firing", name, whom)]
    assert desk.news(1) == [], "people know"
    assert desk.standing() == [name]


def test_all_of_them_stand_beside_each_other(desk: Desk) -> None:
    for goes_wrong, _, _ in TROUBLES:
        goes_wrong(desk)
    assert [name for _, name, _ in desk.news()] == [name for _, name, _ in TROUBLES]
    assert sorted(desk.standing()) == sorted(name for _, name, _ in TROUBLES)


def test_a_contradiction_in_a_stream_that_is_trusted_by_now_is_over(desk: Desk) -> None:
    desk.contradict()
    assert [one.stream for one in desk.alerts.troubles()] == ["order"]
    desk.news()
    desk.doing = "trust"
    assert desk.alerts.troubles() == []
    assert desk.news() == [("resolved", "contradiction", "shop order 5ce1e7000001")]
    assert desk.standing() == []


def test_what_is_done_about_a_contradiction_stands_in_it(desk: Desk) -> None:
    desk.contradict()
    said = []
    for desk.doing in ("flag", "refuse"):
        (alert,) = desk.alerts.standing()
        said.append((alert.summary, alert.advice))
    assert said[0] != said[1]


def test_a_check_that_all_mail_passes_again_is_over(desk: Desk) -> None:
    desk.flag()
    desk.news()
    assert desk.news(QUIET) == [("resolved", "check", "arava postal-address")]
    assert desk.standing() == []


def test_a_domain_whose_mail_waits_for_tls_is_told_until_it_takes_some(desk: Desk) -> None:
    desk.lack_tls()
    desk.news()
    (alert,) = desk.alerts.standing()
    assert alert.summary.endswith("cannot be had: 451 4.7.10 mx.b.example does not offer STARTTLS")
    assert "mail to b.example waits since Sat 21 Nov 13:15 UTC" in alert.summary
    desk.unmet.arrived("b.example")
    assert desk.news() == [("resolved", "tls", "b.example")]
    assert desk.standing() == []


def test_state_that_is_back_ends_the_alert_that_is_shown(desk: Desk) -> None:
    desk.lose_state()
    desk.news()
    assert "the disk is full" in desk.alerts.standing()[0].summary
    desk.state.trouble = ""
    assert desk.news() == [("resolved", "state", "")]
    assert desk.standing() == []


def test_what_state_forgot_of_people_is_said_with_what_brings_it_back(desk: Desk) -> None:
    desk.lose_state()
    assert [name for _, name, _ in desk.news()] == ["state"]
    desk.state.forgot = "redis lost what it knew of people"
    assert desk.news() == []
    desk.state.trouble = ""
    ((state, name, _),) = desk.news()
    assert (state, name) == ("firing", "state")
    assert desk.news() == []
    (alert,) = desk.alerts.standing()
    assert "marketing" in alert.summary
    assert "postlane suppress restore --done" in alert.advice
    desk.state.forgot = ""
    assert desk.news() == [("resolved", "state", "")]


def test_a_source_is_back_when_it_has_carried_mail_or_nobody_asked_for_long(desk: Desk) -> None:
    desk.lose_source()
    desk.news()
    desk.health.note("192.0.2.1", "b.example", Sign.GOOD, NOW + 1)
    assert desk.news(1) == [("resolved", "source", "192.0.2.1")]
    desk.lose_source()
    desk.news()
    assert desk.news(FAULT_PAUSE[0] + LINGER) == [("resolved", "source", "192.0.2.1")]


def test_a_pool_without_any_source_stalls_when_that_lasts(desk: Desk) -> None:
    def fault(source: str, after: int) -> None:
        desk.health.note(source, "", Sign.FAULT, NOW + after, "cannot bind")

    fault("192.0.2.1", 0)
    fault("192.0.2.2", 0)
    assert {name for _, name, _ in desk.news()} == {"source"}
    assert desk.news(POOL_PATIENCE - 1) == []
    assert desk.news(POOL_PATIENCE) == [("firing", "stalled", "marketing")]
    assert desk.news(POOL_PATIENCE + 1) == []
    stalled = next(alert for alert in desk.alerts.standing() if alert.name == "stalled")
    assert "since Sat 21 Nov 13:25 UTC: none of its sources can be used (cannot bind)" in stalled.summary
    assert "postlane queue move --pool marketing --to" in stalled.advice
    desk.health.note("192.0.2.2", "b.example", Sign.GOOD, NOW + POOL_PATIENCE + 2)
    back = [("resolved", "source", "192.0.2.2"), ("resolved", "stalled", "marketing")]
    assert desk.news(POOL_PATIENCE + 2) == back
    assert [alert.name for alert in desk.alerts.standing()] == ["source"]


def test_mail_that_moves_again_is_told(desk: Desk) -> None:
    desk.stall()
    desk.news()
    for _ in MailClass:
        desk.watchdog.seen(Seen((), None, 9, 0, lambda _: False, lambda _: False), NOW + 2 * PATIENCE)
    assert desk.news() == [("resolved", "stalled", "transactional")]
