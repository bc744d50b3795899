"""A folder of bad configurations, each with exactly the lines it must produce.

A case is laid over `tests/bad_config/_good`; its `expected` holds all problems, errors and warnings alike.
"""

import shutil
from pathlib import Path

import pytest

from relay.config import examine_deployment, examine_policies
from relay.in_force import in_order

CASES = Path(__file__).parent.parent / "bad_config"
GOOD = CASES / "_good"


def problems(folder: Path) -> str:
    deployment = examine_deployment(folder / "config", {})
    policies = examine_policies(folder / "policies", deployment.value)
    return "".join(f"{problem}\n" for problem in in_order([*deployment.problems, *policies.problems]))


@pytest.mark.parametrize("case", sorted(path for path in CASES.iterdir() if path != GOOD), ids=lambda path: path.name)
def test_every_problem_is_reported_as_expected(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(GOOD, tmp_path, dirs_exist_ok=True)
    shutil.copytree(case, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    assert problems(tmp_path) == (case / "expected").read_text("utf-8")


def test_what_the_cases_are_laid_over_is_good(tmp_path: Path) -> None:
    assert problems(shutil.copytree(GOOD, tmp_path, dirs_exist_ok=True)) == ""
