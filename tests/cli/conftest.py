from pathlib import Path

import pytest

CONFIG = '[node]\nname = "mx-a"\nhostname = "mx-a.arava.example"\n[[listener]]\nbind = "127.0.0.1:2525"\n'


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """The options that name a small node's config/ and policies/."""
    for name in ("config", "policies"):
        (tmp_path / name).mkdir()
    (tmp_path / "config" / "postlane.toml").write_text(CONFIG)
    return ["--config", str(tmp_path / "config"), "--policies", str(tmp_path / "policies")]
