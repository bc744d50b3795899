"""Which names in a command are likely slips."""

from pathlib import Path

import pytest

from relay.config import examine_policies
from relay.config.names import unheard
from relay.config.policies import Policies

FILES = {
    "brands.toml": '[brand.arava]\ndomains = ["arava.example"]\ntopics.offers = "Offers"\n',
    "credentials.toml": '[credential.shop]\nclass = "transactional"\nbrand = "arava"\ndomains = ["arava.example"]\n',
    "streams.toml": '[[stream]]\nname = "news"\nmatch.subject = "news"\nclass = "transactional"\n',
}


@pytest.fixture
def policies(tmp_path: Path) -> Policies:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    examined = examine_policies(tmp_path, None)
    assert [str(problem) for problem in examined.problems if not problem.warning] == []
    assert examined.value is not None
    return examined.value


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"stream": "newz"}, ['no stream "newz" in streams.toml; did you mean "news"?']),
        ({"stream": ["news", "order"]}, ['no stream "order" in streams.toml; there are dsn, news, shop']),
        ({"credential": ["shp"]}, ['no credential "shp" in credentials.toml; did you mean "shop"?']),
        ({"brand": ["arva"]}, ['no brand "arva" in brands.toml; did you mean "arava"?']),
        ({"topic": "ofers"}, ['no topic "ofers" in brands.toml; did you mean "offers"?']),
        ({"site": ["gogle"]}, ['no site "gogle" in shaping.toml, nor a domain; did you mean "google"?']),
        ({"stream": ["x*"]}, ['no stream "x*" in streams.toml; there are dsn, news, shop']),
    ],
)
def test_what_nobody_knows_is_named(policies: Policies, what: dict[str, list[str]], said: list[str]) -> None:
    assert unheard(what, policies) == said


@pytest.mark.parametrize(
    "what",
    [
        {"stream": ["NEWS", "n*", "shop", "dsn"]},
        {"site": ["google", "Goo*", "b.example", "[192.0.2.1]", "127.0.0.1:25", "capture"]},
        {"campaign": ["whatever"], "domain": ["whatever"], "recipient": ["whatever"], "class": ["marketing"]},
        {"stream": "", "brand": "arava"},
        {},
    ],
)
def test_what_is_known_or_may_be_anything_is_not(policies: Policies, what: dict[str, list[str]]) -> None:
    assert unheard(what, policies) == []
