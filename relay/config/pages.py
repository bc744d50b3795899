"""Where recipients find the pages of a brand, and what is wrong where marketing could be sent that leads to none.

RFC 8058 3.1 asks for https. In capture mode nothing leaves, so there a page on this machine will do.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from relay.config.deployment import Deployment
from relay.config.problems import Problem
from relay.config.reader import Document
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
        shared = f"http://{deployment.web.public}"
    urls = {"": shared} | {name: brand.public_url for name, brand in brands.items()}
    good = {name: url for name, url in urls.items() if url.startswith("https:") or (url and deployment.capture)}
    return MappingProxyType(good)


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
