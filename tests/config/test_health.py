"""[health] of bounces.toml: over what ships, key by key; what is wrong with it; and what it shows."""

from pathlib import Path

import pytest

from relay.config import examine_policies
from relay.config.origin import settings_of
from relay.policy.health import DAY, Health, Limit, Limits

STREAMS = '[[stream]]\nname = "win-back"\nmatch.credential = "crm"\n'
APPS = '[credential.crm]\nclass = "marketing"\ndomains = ["a.example"]\nstreams = ["digest"]\n'
TEXT = """
[health.default]
complaints = { suspend = "0.4%" }
spam_blocks = { slow = "1%", suspend = "4%" }
[health.stream.win-back]
over = "7d"
min_messages = 100
hard_bounces = { slow = "1%" }
complaints = { slow = "off" }
[health.stream.digest]
[health.stream.crm]
unsubscribes = { alert = "1 %" }
"""


def folder(tmp_path: Path, text: str) -> Path:
    (tmp_path / "streams.toml").write_text(STREAMS)
    (tmp_path / "credentials.toml").write_text(APPS)
    (tmp_path / "bounces.toml").write_text(text)
    return tmp_path


def problems(tmp_path: Path, text: str) -> list[tuple[str, str, str]]:
    found = examine_policies(folder(tmp_path, text), None).problems
    return [(one.key, one.slug, one.message) for one in found if one.file.endswith("bounces.toml")]


def test_a_stream_has_what_it_says_else_the_default_else_what_ships(tmp_path: Path) -> None:
    examined = examine_policies(folder(tmp_path, TEXT), None)
    assert [one for one in examined.problems if one.file.endswith("bounces.toml")] == []
    assert examined.value is not None
    default = Limits(complaints=Limit(None, 0.001, 0.004), spam_blocks=Limit(None, 0.01, 0.04))
    back = Limits(7 * DAY, 100, Limit(None, None, 0.004), Limit(None, 0.01, 0.05), Limit(None, 0.01, 0.04))
    assert examined.value.health == Health(
        default,
        {
            "win-back": back,
            "digest": default,
            "crm": Limits(complaints=default.complaints, spam_blocks=default.spam_blocks, unsubscribes=Limit(0.01)),
        },
    )


def test_without_a_word_all_is_as_it_ships(tmp_path: Path) -> None:
    examined = examine_policies(tmp_path, None)
    assert examined.value is not None
    assert examined.value.health == Health()


@pytest.mark.parametrize(
    ("text", "key", "slug", "says"),
    [
        ('default.complaints = { slow = "0.3" }', "health.default.complaints.slow", "share", '"0.3" is no share'),
        ("default.complaints = { slow = 0.3 }", "health.default.complaints.slow", "share", "0.3 is no share"),
        ('default.complaints = { slow = "101%" }', "health.default.complaints.slow", "share", '"101%" is no share'),
        ('default.complaints = { slow = "0%" }', "health.default.complaints.slow", "share", '"0%" is no share'),
        ('default.over = "1m"', "health.default.over", "range", '"1m" is too short; 1h to 14d'),
        ('default.over = "30d"', "health.default.over", "range", '"30d" is too long; 1h to 14d'),
        ('default.hard_bounces = { slow = "9%" }', "health.default.hard_bounces", "range", "suspends at 5 % already"),
        ('stream.crm.complaints = { suspend = "0.05%" }', "health.stream.crm.complaints", "range", "slows at 0.1 %, but"),
        ("stream.winback.min_messages = 1", "health.stream.winback", "unknown-name", 'no stream "winback"'),
        ("default.min_mesages = 1", "health.default.min_mesages", "unknown-key", "did you mean min_messages?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, text: str, key: str, slug: str, says: str) -> None:
    (found,) = problems(tmp_path, f"[health]\n{text}\n")
    assert found[:2] == (key, slug)
    assert says in found[2]


def test_names_of_streams_that_cannot_be_read_are_not_missed(tmp_path: Path) -> None:
    folder(tmp_path, "[health.stream.gone]\nmin_messages = 1\n")
    (tmp_path / "streams.toml").write_text("[[stream")
    found = examine_policies(tmp_path, None).problems
    assert not [one for one in found if one.file.endswith("bounces.toml")]


def test_each_value_and_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "bounces.toml").write_text(TEXT)
    found = {one.key: (one.value, one.line) for one in settings_of(tmp_path, "bounces.toml")}
    assert found["health.default.over"] == ("24h", 0)
    assert found["health.default.min_messages"] == (500, 0)
    assert found["health.default.complaints.slow"] == ("0.1%", 0)
    assert found["health.default.complaints.suspend"] == ("0.4%", 3)
    assert found["health.default.hard_bounces.suspend"] == ("5%", 0)
    assert found["health.default.unsubscribes.alert"] == ("off", 0)
    assert found["health.stream.win-back.over"] == ("7d", 6)
    assert found["health.stream.win-back.complaints.suspend"] == ("0.4%", 3), "as the default has it"
    assert found["health.stream.digest.hard_bounces.suspend"] == ("5%", 0)


def test_what_bounces_stop_is_shown_whole(tmp_path: Path) -> None:
    (tmp_path / "bounces.toml").write_text("[suppress]\nquota = { after = 5 }\n")
    found = {one.key: (one.value, one.line) for one in settings_of(tmp_path, "bounces.toml")}
    assert found["suppress.quota.after"] == (5, 2)
    assert found["suppress.quota.for"] == ("30d", 0)
    assert found["suppress.bad-mailbox.stop"] == ("all", 0)
    assert found["suppress.complaint.brand"] == ("same", 0)
