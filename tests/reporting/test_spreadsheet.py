"""Files that a spreadsheet opens."""

import pytest

from relay.reporting.spreadsheet import harmless


@pytest.mark.parametrize("said", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_a_spreadsheet_runs_no_strangers_words(said: str) -> None:
    assert harmless(said) == f"'{said}"
    assert harmless(-1) == -1
