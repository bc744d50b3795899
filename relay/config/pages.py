"""Where recipients find the pages of a brand, how these look, and what is wrong where marketing could leave that leads to none.

RFC 8058 3.1 asks for https. In capture mode nothing leaves, so there a page on this machine will do.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from relay.config.deployment import Deployment
from relay.config.problems import Problem
from relay.config.reader import Document
from relay.config.schema_brands import BrandsFile
from relay.config.schema_streams import StreamsFile
from relay.config.streams import Others, brands_of
from relay.identity import Brand
from relay.policy.decide import brand_of

_WHY = "recipients unsubscribe there from what {who} may send"
_SUCH = 'such as "https://mail.shop.example"'


def public_pages(deployment: Deployment, brands: Mapping[str, Brand]) -> Mapping[str, str]:
    """By brand, and "" for those without one of their own: an URL without a final slash. Brands that have none are left out."""
    shared = deployment.web.public_url
    if not shared and deployment.capture and deployment.web.public:
        shared = f"http://{_reachable(deployment.web.public)}"
    urls = {"": shared} | {name: brand.public_url for name, brand in brands.items()}
    good = {name: url for name, url in urls.items() if url.startswith("https:") or (url and deployment.capture)}
    return MappingProxyType(good)


def _reachable(bind: str) -> str:
    """From this machine."""
    return bind.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:")


def problems_of(
    deployment: Deployment, brands: Document | None, brand_urls: Mapping[str, str], streams: StreamsFile, others: Others
) -> Iterator[Problem]:
    """Marketing could leave without an https page to unsubscribe at. `brand_urls`: as brands.toml says."""
    if deployment.capture or deployment.document.broken or others.brands is None or others.credentials is None:
        return
    shared, told = deployment.web.public_url, False
    for name, who in _senders(streams, others).items():
        url = brand_urls.get(name, "")
        if (url or shared).startswith("https:"):
            continue
        message = f"{_wrong(url or shared)}: {_WHY.format(who=who)}; write https, {_SUCH}"
        if brands is not None and name in brand_urls and (url or not shared):
            elsewhere = "" if url else ", or set public_url in [web] of config/postlane.toml"
            yield brands.problem(("brand", name, "public_url"), message + elsewhere, "public-url")
        elif not told:
            told = True
            yield deployment.document.problem(("web", "public_url"), message, "public-url")


def _wrong(url: str) -> str:
    return f'"{url}" is in clear' if url else "is missing"


def _senders(streams: StreamsFile, others: Others) -> dict[str, str]:
    """Brands whose mail may be marketing ("": of no brand), with who may send such."""
    found: dict[str, str] = {}
    for name, table in (others.credentials or {}).items():
        if table.mail_class in ("marketing", "auto") and not table.disabled:
            for domain in table.domains:
                every = ["", *(others.brands or ())] if domain == "*" else [brand_of(domain, others.by_domain)]
                for brand in [table.brand] if table.brand else every:
                    found.setdefault(brand, f"credential {name}")
    for stream in streams.stream:
        if stream.mail_class == "marketing":
            for brand in brands_of(stream, others) or {""}:
                found.setdefault(brand, f"stream {stream.name}")
    return found


# --- how they look

LOGOS = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
MAX_LOGO = 200_000  # octets: it is fetched with the page, on a phone
_CONTRAST = 4.5  # of text on its ground (WCAG 2.2, 1.4.3)


def contrast(one: str, other: str) -> float:
    """Of two colours, 1 to 21 (WCAG 2.2, "contrast ratio")."""
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    """WCAG 2.2, "relative luminance"."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def faces_problems(file: BrandsFile, document: Document, policies: Path) -> Iterator[Problem]:
    for name, brand in file.brand.items():
        colors = brand.colors
        if bool(colors.background) != bool(colors.text):
            lacking = "text" if colors.background else "background"
            message = "is missing; background and text go together, or one of them vanishes on a dark screen"
            yield document.problem(("brand", name, "colors", lacking), message, "missing")
        elif colors.text and (found := contrast(colors.background, colors.text)) < _CONTRAST:
            message = (
                f"has a contrast of {found:.1f} to background; {_CONTRAST} is the least that all can read (WCAG 2.2)"
            )
            yield document.problem(("brand", name, "colors", "text"), message, "contrast")
        if brand.logo and not document.broken and (why := _wrong_logo(policies / brand.logo)):
            yield document.problem(("brand", name, "logo"), f'"{brand.logo}" {why}', "file", warning=True)


def _wrong_logo(path: Path) -> str:
    if path.suffix.lower() not in LOGOS:
        return f"is no picture for a page: {', '.join(LOGOS)}"
    try:
        octets = path.stat().st_size
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return f"has {octets:,} octets; {MAX_LOGO:,} at most" if octets > MAX_LOGO else ""
