"""Why a node does not start: told in one sentence with file and cure, before any worker runs; and what it starts with."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from relay import worker
from relay.config import ConfigErrors
from relay.kept import Decision, write_decision
from relay.sockets import StartError
from relay.supervisor import Supervisor
from relay.web import process
from tests.support.certificates import self_signed

LISTENER = '[[listener]]\nbind = "127.0.0.1:0"\n'


def start(folder: Path, *, node: str = "", rest: str = LISTENER) -> None:
    """A supervisor as far as its constructor goes; what is tried here never gets to bind anything."""
    for name in ("config", "policies"):
        (folder / name).mkdir()
    text = f'[node]\nhostname = "relay.test.example"\n{node}\n{rest}'
    (folder / "config" / "postlane.toml").write_text(text)
    Supervisor(folder / "config", folder / "policies", worker.work, process.work)


def with_tls(cert: Path, key: Path) -> str:
    return f'[tls]\ncert = "{cert}"\nkey = "{key}"\n{LISTENER}tls = "starttls"\n'


def test_a_certificate_that_is_not_there(tmp_path: Path) -> None:
    pem = self_signed(tmp_path, "localhost")
    missing = tmp_path / "missing.pem"
    expected = rf"{re.escape(str(missing))} cannot be read: No such file or directory; set cert and key in \[tls\]"
    with pytest.raises(StartError, match=expected):
        start(tmp_path, rest=with_tls(pem, missing))
    assert not (tmp_path / "data").exists()


def test_a_key_that_does_not_fit_its_certificate(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    pem, other = self_signed(tmp_path, "localhost"), self_signed(tmp_path / "other", "localhost")
    expected = f"{re.escape(str(pem))} and {re.escape(str(other))} do not serve TLS: .*mismatch.*; cert in"
    with pytest.raises(StartError, match=expected):
        start(tmp_path, rest=with_tls(pem, other))


def test_a_data_dir_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    expected = f"data_dir {re.escape(str(tmp_path))}/file/data cannot be made: Not a directory; set node.data_dir"
    with pytest.raises(StartError, match=expected):
        start(tmp_path, node='data_dir = "file/data"')


def test_a_data_dir_that_cannot_be_written(tmp_path: Path) -> None:
    """Whose file cannot be opened; a folder in its place hinders root too."""
    (tmp_path / "data" / "postlane.lock").mkdir(parents=True)
    expected = (
        r"data/postlane.lock cannot be opened: Is a directory; give data_dir to the user .*, or set node.data_dir"
    )
    with pytest.raises(StartError, match=expected):
        start(tmp_path)


# What it starts with


@contextlib.contextmanager
def starting(folder: Path) -> Iterator[Supervisor]:
    made = Supervisor(folder / "config", folder / "policies", worker.work, process.work)
    try:
        yield made
    finally:
        made._control.close()
        os.close(made._lock)
        for links in made.sockets.listeners:
            for link in links:
                link.close()


@pytest.fixture
def node(tmp_path: Path) -> Path:
    for name in ("config", "policies"):
        (tmp_path / name).mkdir()
    text = f'[node]\nhostname = "relay.test.example"\nworkers = 1\n[web]\nadmin = ""\npublic = ""\n{LISTENER}'
    (tmp_path / "config" / "postlane.toml").write_text(text)
    return tmp_path


def retry(node: Path, text: str) -> None:
    (node / "policies" / "retry.toml").write_text(text)


def test_files_that_are_broken_from_the_first_day_on(node: Path) -> None:
    retry(node, "[urgent]\n")
    with pytest.raises(ConfigErrors, match="urgent: unknown key"):
        Supervisor(node / "config", node / "policies", worker.work, process.work)
    assert not (node / "data").exists()


def test_it_starts_with_the_last_good_files_where_these_are_broken(node: Path) -> None:
    with starting(node) as first:
        assert first.alert is None
        decision = first.decision
    retry(node, "[urgent]\n")
    with starting(node) as second:
        assert second.decision == decision
        assert second.in_force.place == first.in_force.place
        assert second.alert is not None
        assert second.alert.summary.startswith("policies/ on disk has 1 error (below). Started with the last good ones")
    retry(node, "# mended\n")
    with starting(node) as third:
        assert third.alert is None
        assert third.decision.policies != decision.policies


def test_the_same_files_are_in_force_since_they_were_accepted(node: Path) -> None:
    with starting(node) as first:
        pass
    with starting(node) as second:
        assert second.decision == first.decision


def rolled_back(node: Path) -> Decision:
    """A node whose second version was rolled back to the first; the second is on disk."""
    with starting(node) as first:
        pass
    retry(node, "# second\n")
    with starting(node) as second:
        decision = replace(first.decision, by="noa", how="rollback", instead_of=second.decision.policies)
        write_decision(node / "data", decision)
    return decision


def test_a_rollback_holds_while_the_files_stay(node: Path) -> None:
    decision = rolled_back(node)
    with starting(node) as again:
        assert again.decision == decision
        assert again.in_force.version == decision.policies
    config = node / "config" / "postlane.toml"
    config.write_text(config.read_text() + "# config/ is another matter\n")
    with starting(node) as again:
        assert again.in_force.version == decision.policies
        assert again.decision.config != decision.config
        assert (again.decision.by, again.decision.instead_of) == ("noa", decision.instead_of)


@pytest.mark.parametrize("text", ["# third\n", None])
def test_a_rollback_ends_when_the_files_change(node: Path, text: str | None) -> None:
    decision = rolled_back(node)
    if text is None:
        (node / "policies" / "retry.toml").unlink()  # as it was before
    else:
        retry(node, text)
    with starting(node) as again:
        assert again.in_force.version != decision.instead_of
        assert (again.in_force.version == decision.policies) == (text is None)
        assert again.decision.instead_of == ""


def test_a_rollback_to_what_cannot_be_read_any_more_is_none(node: Path) -> None:
    decision = rolled_back(node)
    (node / "data" / "versions" / "policies" / decision.policies / "retry.toml").write_text("?")
    with starting(node) as again:
        assert again.in_force.version == decision.instead_of


def test_what_cannot_be_kept_is_not_started(node: Path) -> None:
    (node / "data").mkdir()
    (node / "data" / "versions").write_text("in the way")
    with pytest.raises(StartError, match=r"the files in force cannot be kept in .*/data: Not a directory"):
        Supervisor(node / "config", node / "policies", worker.work, process.work)


def test_on_a_full_disk_it_starts_with_the_last_good_files(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits in the queue must leave, or there never is room again."""
    retry(node, '[marketing]\ngive_up = "1d"\n')
    with starting(node) as first:
        good = first.in_force.version

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("relay.kept._write", full)
    with starting(node) as again:
        assert (again.in_force.version, again.alert) == (good, None), "nothing to write where nothing changed"
    retry(node, '[marketing]\ngive_up = "2d"\n')
    with starting(node) as again:
        assert again.in_force.version == good
        assert again.alert is not None
        assert "No space left on device" in again.alert.problems[0]


async def test_a_review_is_past_when_its_day_is_over_where_the_node_is(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = node / "config" / "postlane.toml"
    config.write_text(config.read_text().replace("[node]\n", '[node]\ntimezone = "Pacific/Auckland"\n'))
    (node / "policies" / "streams.toml").write_text(
        '[[stream]]\nname = "win-back"\nmatch.subject = "miss"\nreview_by = 2027-01-15\n'
    )
    noon = 1_800_014_400_000  # of 15 January 2027 in UTC: 01:00 of the 16th in Auckland
    for at, past in ((noon - 3_600_000 - 1, False), (noon - 3_600_000, True)):
        monkeypatch.setattr("relay.supervisor._now", lambda at=at: at)
        with starting(node) as supervisor:
            stats = await supervisor.stats()
        assert stats["reviews"] == [{"stream": "win-back", "review_by": "2027-01-15", "past": past}]
        assert stats["gauges"]["streams_past_review"] == int(past)
        assert stats["alerts"] == []


HOOK = """[credential.shop]
class = "service"
domains = ["shop.example"]
webhook = { url = "https://shop.example/hook", secret_file = "shop-secret" }
"""


def test_a_secret_of_a_webhook_is_looked_at_by_a_reload_and_hinders_no_start(node: Path) -> None:
    (node / "policies" / "credentials.toml").write_text(HOOK)
    with starting(node) as supervisor:
        assert supervisor.alert is None
        with pytest.raises(ConfigErrors, match=r"credential.shop.webhook.secret_file: .*shop-secret. cannot be read"):
            supervisor._from_disk()
        (node / "shop-secret").write_text("whsec_" + "a2tr" * 8)
        (node / "shop-secret").chmod(0o600)
        assert supervisor._from_disk().policies.credentials["shop"].webhook is not None


async def test_webhooks_are_asked_of_the_web_process(node: Path) -> None:
    with starting(node) as supervisor:
        answer = await supervisor._answer({"do": "webhooks", "what": "list"})
        stats = await supervisor.stats()
    assert answer["error"] == "the web process, which does this: it is not running; try again"
    assert (stats["gauges"]["webhook_waiting"], stats["counters"]) == ([], {"webhook_posts": []})
