"""recipients.toml as it comes into force."""

from pathlib import Path

from relay.config import examine_policies
from relay.policy.engagement import Sunset, Tiers


def examined(folder: Path, text: str) -> tuple[Tiers, list[str]]:
    (folder / "recipients.toml").write_text(text)
    found = examine_policies(folder, None)
    assert found.value is not None
    return found.value.tiers, [str(problem) for problem in found.problems]


def test_tiers_are_known_by_the_day(tmp_path: Path) -> None:
    text = """
[engagement]
engaged = "60d"
lapsing = "36h"
unknown = "lapsing"
fed_within = "8d"
sunset = { after = 7, unanswered_for = "400d" }
"""
    tiers, problems = examined(tmp_path, text.replace("36h", "2400h"))
    assert (tiers, problems) == (Tiers(60, 100, "lapsing", 8, Sunset(7, 400)), [])
    assert examined(tmp_path, "")[0] == Tiers()
    assert examined(tmp_path, "[engagement]\nsunset = {}\n")[0].sunset == Sunset(12, 365)


def test_what_stops_for_who_is_forgotten(tmp_path: Path) -> None:
    for text, stop in (("", "marketing"), ('[forget]\nstop = "all"\n', "all"), ('[forget]\nstop = "nothing"\n', "")):
        (tmp_path / "recipients.toml").write_text(text)
        found = examine_policies(tmp_path, None)
        assert found.value is not None
        assert (found.value.forget, found.problems) == (stop, [])
