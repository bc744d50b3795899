"""What a person reads of files that are not in force."""

from pathlib import Path

from relay.alert import Alert, files_refused, not_taken, started_with_last_good
from relay.config import Problem
from relay.kept import Decision

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
