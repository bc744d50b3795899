"""What a person reads of files that are not in force."""

from dataclasses import asdict
from pathlib import Path

from relay.alert import Alert, files_refused, flagged, flagged_over, not_taken, one_each, started_with_last_good
from relay.config import Problem
from relay.kept import Decision
from relay.policy.flags import Flag

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


def test_what_several_workers_met_is_one_alert() -> None:
    other = Flag("arava", "alignment", "no key", "RFC 7489", messages=2)
    of_files = asdict(Alert("policies", "2 errors"))
    met = [asdict(flagged(flag)) for flag in (FLAG, other, Flag("arava", "postal-address", "no", "x", messages=7))]
    assert one_each([of_files, *met]) == [of_files, *met[:2]]
