"""Where recipients find the pages of each brand. What is refused stands in tests/bad_config (public-url, faces, logo)."""

from pathlib import Path

import pytest

from relay.config import Deployment, load_deployment, public_pages
from relay.identity import Brand

BRANDS = {
    "own": Brand("own", public_url="https://mail.own.example"),
    "clear": Brand("clear", public_url="http://mail.clear.example"),
    "none": Brand("none"),
}


def deployment(folder: Path, mode: str, web: str) -> Deployment:
    text = f'[node]\nhostname = "a.example"\n[[listener]]\nbind = "127.0.0.1:2525"\n[delivery]\nmode = "{mode}"\n[web]\n{web}'
    (folder / "postlane.toml").write_text(text)
    return load_deployment(folder, {})


def pages(folder: Path, mode: str, web: str = "") -> dict[str, str]:
    return dict(public_pages(deployment(folder, mode, web), BRANDS))


def test_each_brand_has_its_own_else_that_of_all(tmp_path: Path) -> None:
    own = {"own": "https://mail.own.example"}
    assert pages(tmp_path, "live") == own
    assert pages(tmp_path, "live", 'public_url = "https://m.a.example/"') == own | {"": "https://m.a.example"}
    assert pages(tmp_path, "live", 'public_url = "http://m.a.example"') == own, "in clear there is none"


@pytest.mark.parametrize(
    ("public", "url"),
    [
        ("127.0.0.1:8026", "http://127.0.0.1:8026"),
        ("0.0.0.0:8026", "http://127.0.0.1:8026"),
        ("[::]:8026", "http://[::1]:8026"),
        ("[::1]:8026", "http://[::1]:8026"),
        ("", None),
    ],
)
def test_in_the_sandbox_the_link_leads_to_this_machine(tmp_path: Path, public: str, url: str | None) -> None:
    found = pages(tmp_path, "capture", f'public = "{public}"')
    assert found.get("") == url
    assert found["clear"] == "http://mail.clear.example", "nothing leaves"
    assert "none" not in found


def test_what_is_set_counts_in_the_sandbox_too(tmp_path: Path) -> None:
    assert pages(tmp_path, "capture", 'public_url = "https://m.a.example"')[""] == "https://m.a.example"
