"""caps.toml compiled, and the one fault of it that no file can show."""

from pathlib import Path

import pytest

from relay.config import caps as module
from relay.config import examine_policies
from relay.identity import Rate
from relay.message import MailClass
from relay.policy.caps import Cap

BRANDS = "[brand.arava]\n[brand.marom]\n"


def folder(tmp_path: Path, caps: str) -> Path:
    (tmp_path / "brands.toml").write_text(BRANDS)
    (tmp_path / "caps.toml").write_text(caps)
    return tmp_path


def test_a_cap_says_brands_and_limits_and_the_rest_is_what_most_want(tmp_path: Path) -> None:
    caps = folder(tmp_path, '[cap.one]\nbrands = "arava"\nlimits = ["2/week", "8/30d"]\n')
    examined = examine_policies(caps, None)
    assert examined.problems == []
    assert examined.value is not None
    marketing = frozenset({MailClass.MARKETING})
    limits = Rate(2, 608_400, "week", "2/week"), Rate(8, 2_592_000, "", "8/30d")
    assert examined.value.caps.caps == (Cap("one", frozenset({"arava"}), marketing, marketing, limits, "postpone"),)


def test_brands_that_cannot_be_told_apart_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "mark_of", lambda _, mail_class: len(mail_class))
    cap = '[cap.one]\nbrands = ["arava"]\nlimits = ["2/week"]\n'
    problems = examine_policies(folder(tmp_path, cap), None).problems
    assert {(one.line, one.key, one.slug) for one in problems} == {(1, "cap", "duplicate")}
    assert examine_policies(folder(tmp_path, ""), None).problems == []


def test_brands_that_cannot_be_read_are_not_missed(tmp_path: Path) -> None:
    caps = folder(tmp_path, '[cap.one]\nbrands = ["gone"]\nlimits = ["2/week"]\n')
    (caps / "brands.toml").write_text("[brand")
    assert [one.file.rpartition("/")[2] for one in examine_policies(caps, None).problems] == ["brands.toml"]
