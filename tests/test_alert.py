"""What a person reads of what needs one: files that are not in force, claims that do not stand."""

from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

from relay.alert import (
    SOURCES,
    Alert,
    at_fault,
    contradiction,
    contradiction_over,
    files_refused,
    flagged,
    flagged_over,
    moving,
    not_taken,
    one_each,
    reviews,
    source_aside,
    source_back,
    sources_aside,
    stalled,
    started_with_last_good,
    state_back,
    state_lost,
)
from relay.config import Problem
from relay.kept import Decision
from relay.message import MailClass
from relay.policy.contradiction import Trouble
from relay.policy.faults import Fault
from relay.policy.flags import Flag
from relay.policy.streams import Stream
from relay.schedule.watchdog import Stall
from relay.shaping.health import Aside

POLICIES = Path("policies")
DECISION = Decision("3f9a1c", "7be210", 1_795_186_920_000, "noa", "reload")  # Fri 20 Nov 2026 17:02 in Jerusalem
OF_POLICIES = Problem("policies/streams.toml", 26, "stream.order.valid_fro", "unknown key", "unknown-key")
OF_CONFIG = Problem("config/postlane.toml", 3, "node", "unknown key", "unknown-key")
WARNING = Problem("policies/caps.toml", 0, "", "not yet supported", "not-yet", warning=True)


def test_a_start_with_broken_files() -> None:
    alert = started_with_last_good([OF_POLICIES, WARNING, OF_POLICIES], DECISION, "Asia/Jerusalem", POLICIES)
    assert alert.summary == (
        "policies/ on disk has 2 errors (below). Started with the last good ones, 3f9a1c of Fri 20 Nov 17:02. "
        "Fix and reload."
    )
    assert alert.problems == (str(OF_POLICIES), str(OF_POLICIES))


def test_which_folder_is_to_blame() -> None:
    def summary(*problems: Problem) -> str:
        return files_refused(problems, "3f9a1c", POLICIES).summary

    assert summary(OF_CONFIG) == "config/ on disk has 1 error. 3f9a1c stays in force. Fix and reload."
    both = "config/ and policies/ on disk have 2 errors. 3f9a1c stays in force. Fix and reload."
    assert summary(OF_CONFIG, OF_POLICIES) == both


def test_files_that_a_process_could_not_take() -> None:
    alert = not_taken(["worker-1: no answer"], "a77e02", "3f9a1c")
    assert alert.summary == "a77e02 could not be put in force. 3f9a1c stays in force."
    assert alert.problems == ("worker-1: no answer",)


def test_its_events() -> None:
    alert = Alert("policies", "2 errors", ("one", "two"), "fix")
    assert alert.event("firing") == {
        "state": "firing",
        "name": "policies",
        "severity": "critical",
        "what": {},
        "summary": "2 errors",
        "advice": "fix",
        "problems": ["one", "two"],
    }
    assert "problems" not in alert.event("resolved")


OFFERS = Trouble("shop-web", "order", MailClass.TRANSACTIONAL, MailClass.MARKETING, 9, 11, 1, ("0ffe12345678",), False)


def test_claims_that_do_not_stand() -> None:
    alert = contradiction(OFFERS, "reroute")
    assert alert.summary == (
        "order of shop-web says transactional, but 9 of the last 11 messages of template 0ffe12345678 read as marketing, "
        "so it goes by the pool of that class"
    )
    assert alert.advice == (
        "postlane events --json --type accepted --credential shop-web --stream order shows why; "
        "then give that mail a stream of class marketing"
    )
    event = alert.event("firing")
    assert event["what"] == {"credential": "shop-web", "stream": "order", "skeleton": "0ffe12345678"}
    assert (event["name"], event["severity"]) == ("contradiction", "warning")
    over = contradiction_over(OFFERS).event("resolved")
    assert over["what"] == event["what"]
    assert over["summary"] == "order of shop-web says transactional, and nothing lately contradicts it"


def test_which_of_its_mail_it_is() -> None:
    def of(**changes: object) -> str:
        return contradiction(replace(OFFERS, **changes), "flag").summary  # type: ignore[arg-type]

    assert "11 messages of 2 templates (a, b) read" in of(templates=2, skeletons=("a", "b"))
    assert "11 messages of 40 templates (a, b and 38 more) read" in of(templates=40, skeletons=("a", "b"))
    assert "the last 11 messages read as marketing, which is recorded only" in of(whole=True)


def test_what_is_done_about_it_is_never_an_advantage() -> None:
    better = replace(OFFERS, claimed=MailClass.MARKETING, judged_as=MailClass.TRANSACTIONAL)
    for act in ("flag", "reroute", "enforce", "refuse"):
        assert contradiction(better, act).summary.endswith(
            "read as transactional, which is recorded only: nothing makes mail better than its app says"
        )
    assert contradiction(OFFERS, "refuse").summary.endswith("so it is refused")
    assert contradiction(OFFERS, "enforce").summary.endswith("so it is treated as of that class")


def test_limits_that_cannot_be_looked_up() -> None:
    lost, back = state_lost("redis://r:6379/0: no answer in time"), state_back()
    assert "(redis://r:6379/0: no answer in time): transactional mail goes on" in lost.summary
    assert lost.name == back.name
    of_all = [asdict(state_lost("a: no answer in time")), asdict(state_lost("a: connection refused"))]
    assert one_each(of_all) == of_all[:1]
    assert back.event("resolved")["what"] == lost.event("firing")["what"] == {}


def test_what_several_workers_found_is_one_alert() -> None:
    alerts = [
        asdict(one)
        for one in (
            Alert("policies", "2 errors"),
            contradiction(OFFERS, "flag"),
            contradiction(replace(OFFERS, stream="reset"), "flag"),
            contradiction(replace(OFFERS, contrary=5, skeletons=("other",)), "flag"),
        )
    ]
    assert one_each(alerts) == alerts[:3]


FLAG = Flag("arava", "postal-address", "no address", "CAN-SPAM", messages=1)


def test_mail_that_does_not_pass_a_check() -> None:
    alert = flagged(FLAG)
    assert alert.summary == "1 message does not pass postal-address of brand arava: no address (CAN-SPAM)"
    assert alert.event("firing")["what"] == {"brand": "arava", "check": "postal-address"}
    more = Flag("arava", "postal-address", "no address", "CAN-SPAM", messages=12)
    assert flagged(more).summary.startswith("12 messages do not pass postal-address of brand arava")


def test_its_end() -> None:
    over = flagged_over(FLAG)
    assert over.summary == "For an hour all mail has passed postal-address of brand arava"
    assert over.what == flagged(FLAG).what


def test_what_several_workers_flagged_is_one_alert() -> None:
    other = Flag("arava", "alignment", "no key", "RFC 7489", messages=2)
    of_files = asdict(Alert("policies", "2 errors"))
    met = [asdict(flagged(flag)) for flag in (FLAG, other, Flag("arava", "postal-address", "no", "x", messages=7))]
    assert one_each([of_files, *met]) == [of_files, *met[:2]]


def test_sources_that_stand_aside() -> None:
    everywhere = source_aside(Aside("192.0.2.1", "", 0, "451 4.4.0 cannot send from 192.0.2.1"))
    assert everywhere.summary == "nothing leaves from 192.0.2.1 for a while: 451 4.4.0 cannot send from 192.0.2.1"
    there = source_aside(Aside("192.0.2.1", "google", 0, "550 5.7.1 blocked"))
    assert there.summary == "nothing leaves from 192.0.2.1 to google for a while: 550 5.7.1 blocked"
    over = source_back("192.0.2.1", "google")
    assert (over.summary, over.what) == ("mail leaves from 192.0.2.1 to google again", there.what)
    assert source_back("192.0.2.1", "").what == everywhere.what


def test_of_thousands_of_sites_that_refuse_a_source_some_are_named() -> None:
    """A listed address: 20,000 alerts of a worker were more than the supervisor could read."""
    asides = [Aside("192.0.2.1", f"site{number}", 0, "554 5.7.1 " + "x" * 1000) for number in range(20_000)]
    told = sources_aside(asides)
    assert len(told) == SOURCES + 1
    assert told[:2] == [source_aside(aside) for aside in asides[:2]]
    assert told[-1].summary == "nothing leaves from some sources to 19,800 more sites for a while"
    assert len(one_each(map(asdict, told))) == SOURCES + 1
    assert sum(len(alert.summary) for alert in told) < 100_000
    assert sources_aside(asides[:SOURCES])[-1] == source_aside(asides[SOURCES - 1])
    assert sources_aside([]) == []


def test_streams_are_to_be_reviewed_after_their_day_and_announced_two_weeks_before_it() -> None:
    days = {"late": date(2027, 1, 14), "today": date(2027, 1, 15), "soon": date(2027, 1, 29), "far": date(2027, 1, 30)}
    streams = [Stream(name, "", review_by=day) for name, day in days.items()] + [Stream("order", "")]
    assert reviews(reversed(streams), date(2027, 1, 15)) == [
        {"stream": "late", "review_by": "2027-01-14", "past": True},
        {"stream": "today", "review_by": "2027-01-15", "past": False},
        {"stream": "soon", "review_by": "2027-01-29", "past": False},
    ]


def test_mail_that_stands_still_names_class_and_sites() -> None:
    begun = stalled(Stall(MailClass.MARKETING, 3, ("a.example", "b.example"), 1_763_800_000_000))
    assert begun.summary == (
        "marketing mail to a.example, b.example (3 lanes) has been due since Sat 22 Nov 08:26 UTC, and nothing of it moves"
    )
    assert begun.advice.startswith("postlane queue list --class marketing --site a.example says why")
    ended = moving(Stall(MailClass.MARKETING, 1, ("c.example",), 0))
    assert begun.what == ended.what == {"class": "marketing"}
    assert ended.event("resolved")["summary"] == "marketing mail moves again"


def test_what_an_app_wrote_runs_nothing_in_the_shell_of_who_does_as_he_is_told() -> None:
    """A credential for `*.arava.example` chooses the rest of the domain itself, and RFC 5322 dot-atoms may have backquotes."""
    for category in ("auth-failure", "bad-sender"):
        fault = Fault("news", category, 0, 10, 10, "550 5.7.26", "`id`|\u202e.arava.example")
        assert "'`id`|?.arava.example'" in at_fault(fault).advice
    fault = replace(fault, domain="arava.example")
    assert "do arava.example and" in at_fault(fault).advice
