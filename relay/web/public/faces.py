"""How a brand's pages look: its names, topics, words, colours and logo, ready to be put into a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from relay.config.pages import LOGOS, MAX_LOGO, contrast
from relay.identity import Brand, Face, Texts
from relay.web.public.languages import in_language


@dataclass(frozen=True, slots=True)
class Logo:
    """A picture, and its media type."""

    kind: str
    octets: bytes


@dataclass(frozen=True)
class Looks:
    """`key`: of its files in URLs; it changes with what they hold. `service_topics`: of mail that is no marketing."""

    name: str
    face: Face
    css: bytes
    logo: Logo | None = None
    service_topics: frozenset[str] = frozenset()

    @cached_property
    def key(self) -> str:
        return sha256(self.css + (self.logo.octets if self.logo else b"")).hexdigest()[:12]

    @cached_property
    def topics(self) -> Mapping[str, Texts]:
        """Those that a recipient may choose from."""
        return {topic: texts for topic, texts in self.face.topics.items() if topic not in self.service_topics}

    def title(self, code: str) -> str:
        return in_language(self.face.names, code)


def looks_of(brands: Sequence[Brand], policies: Path, service_topics: Mapping[str, frozenset[str]]) -> dict[str, Looks]:
    """By brand. `policies`: the folder that logos are relative to; one that cannot be used is left out, as `check` says.
    `service_topics`: by brand."""
    return {
        brand.name: Looks(
            brand.name,
            brand.face,
            css(brand.face.colors),
            _logo(policies / brand.face.logo) if brand.face.logo else None,
            service_topics.get(brand.name, frozenset()),
        )
        for brand in brands
    }


def css(colors: Mapping[str, str]) -> bytes:
    """What the brand says, as variables of public.css; nothing where it says nothing."""
    said = []
    if accent := colors.get("accent"):
        on = max("#ffffff", "#000000", key=lambda ink: contrast(accent, ink))
        said += [f"--accent:{accent}", f"--on-accent:{on}"]
    if "background" in colors and "text" in colors:
        ground, ink = colors["background"], colors["text"]
        said += ["color-scheme:only light"]
        said += [f"--ground:{ground}", f"--card:{ground}", f"--ink:{ink}", f"--soft:{ink}", f"--line:{ink}"]
    return f":root{{{';'.join(said)}}}".encode() if said else b""


def _logo(path: Path) -> Logo | None:
    kind = LOGOS.get(path.suffix.lower())
    try:
        octets = path.read_bytes() if kind else b""
    except OSError:
        return None
    return Logo(kind, octets) if kind and 0 < len(octets) <= MAX_LOGO else None
