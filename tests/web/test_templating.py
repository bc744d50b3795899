"""Templates that forgive no fault of ours, and repeat no markup of strangers."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from relay.web.templating import environment, versioned


def test_what_strangers_wrote_is_text(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>{{ said }}</p>")
    page = environment(tmp_path).get_template("page.html")
    assert page.render(said="<b>") == "<p>&lt;b&gt;</p>"
    with pytest.raises(UndefinedError):
        page.render()


def test_another_content_has_another_address() -> None:
    first, second = versioned("a.css", b"p {}"), versioned("a.css", b"b {}")
    assert first.startswith("a.css?")
    assert first != second
    assert versioned("a.css", b"p {}") == first
