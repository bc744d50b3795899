"""Colours that read well, logos that can be shown."""

from pathlib import Path

import pytest

from relay.config.pages import MAX_LOGO, contrast
from relay.identity import Brand, Face
from relay.web.public.faces import css, looks_of


@pytest.mark.parametrize("accent", ["#000000", "#ffffff", "#767676", "#0b6e4f", "#ffd400", "#e4002b", "#ff7f50"])
def test_what_stands_on_a_button_can_be_read_whatever_its_colour(accent: str) -> None:
    on = css({"accent": accent}).decode().partition("--on-accent:")[2][:7]
    assert contrast(accent, on) >= 4.5


def test_a_brand_that_says_nothing_has_no_file() -> None:
    assert css({}) == b""
    assert css({"background": "#ffffff"}) == b"", "half of a pair is none"
    assert b"--ground:#fff8e7" in css({"background": "#fff8e7", "text": "#222222"})


def test_contrast_as_wcag_has_it() -> None:
    assert contrast("#000000", "#ffffff") == contrast("#ffffff", "#000000") == 21
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)


def test_logos_that_cannot_be_shown_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text("<svg/>")
    (tmp_path / "a.txt").write_text("no picture")
    (tmp_path / "big.png").write_bytes(bytes(MAX_LOGO + 1))
    brands = [Brand(name, face=Face(logo=name)) for name in ("a.svg", "a.txt", "big.png", "missing.png", "")]
    found = looks_of(brands, tmp_path, {})
    assert [looks.logo is not None for looks in found.values()] == [True, False, False, False, False]
    assert found["a.svg"].key != found[""].key, "another file has another name"
