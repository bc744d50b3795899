"""policies/shaping.toml compiled: providers, pools, domains."""

from pathlib import Path

import pytest

from relay.config import load_deployment, load_policies
from relay.config.schema_shaping import ShapingFile, shipped_providers
from relay.config.shaping import Shaping
from relay.identity import Rate

ROOT = Path(__file__).parents[2]


def shaping(folder: Path, text: str) -> Shaping:
    (folder / "shaping.toml").write_text(text)
    return load_policies(folder, load_deployment(ROOT / "config", {}), checked=False).shaping


@pytest.mark.parametrize(
    ("domain", "mx", "site"),
    [
        ("firma.example", "aspmx.l.google.com", "google"),
        ("firma.example", "firma-example.mail.protection.outlook.com", "microsoft365"),
        ("firma.example", "firma-example.a-v1.mx.microsoft", "microsoft365"),
        ("hotmail.example", "hotmail-com.olc.protection.outlook.com", "microsoft"),
        ("outlook.com", "outlook-com.olc.protection.outlook.com", "microsoft"),
        ("yahoo.com", "mta5.am0.yahoodns.net", "yahoo"),
        ("comcast.net", "mx1.comcast.net", "comcast"),
        ("comcast.net", "mta6.am0.yahoodns.net", "yahoo"),
        ("web.de", "mx-ha02.web.de", "gmx"),
        ("walla.co.il", "mx1.walla.co.il", "walla"),
        ("zahav.net.il", "mx.012.net.il", "partner"),
        ("firma.example", "mx07-00123456.pphosted.com", "proofpoint"),
        ("firma.example", "eu-smtp-inbound-1.mimecast.com", "mimecast"),
        ("firma.example", "notgoogle.com", "notgoogle.com"),
    ],
)
def test_the_providers_that_ship(tmp_path: Path, domain: str, mx: str, site: str) -> None:
    assert shaping(tmp_path, "").sites.of(domain, ((10, mx),)) == site


def test_a_provider_without_mx_is_its_domains_alone(tmp_path: Path) -> None:
    sites = shaping(tmp_path, '[provider.house]\ndomains = ["shop.example"]\nrate = "1/second"\n').sites
    assert sites.of("shop.example", ((10, "mx.hoster.example"),)) == "house"
    assert sites.of("other.example", ((10, "mx.hoster.example"),)) == "mx.hoster.example"
    assert sites.of("third.example", ((10, "aspmx.l.google.com"),)) == "google"


def test_every_figure_that_ships_is_right_by_itself() -> None:
    file = ShapingFile.model_validate({})
    assert set(file.provider) == set(shipped_providers())
    for name, table in file.provider.items():
        assert table.mx, name
        assert (table.reserved or 0) < (table.connections or 2), name


def test_no_domain_is_shipped_twice() -> None:
    domains = [domain for table in shipped_providers().values() for domain in table.get("domains", ())]
    assert len(domains) == len(set(domains))


def test_a_provider_of_the_file_comes_before_what_ships(tmp_path: Path) -> None:
    made = shaping(
        tmp_path,
        '[provider.ours]\nmx = "re:^mx[0-9]\\.google\\.com$"\ndomains = "Gmail.com"\nconnections = 3\n'
        '[provider.google]\nconnections = 8\n[provider.google.pool.service]\nrate = "40/second"\n'
        '[domain."shop.example"]\nrate = "5/minute"\n'.replace("\\.", "\\\\."),
    )
    assert made.sites.expected("gmail.com") == "ours"
    assert made.sites.of("x.example", ((1, "mx1.google.com"),)) == "ours"
    assert made.sites.of("x.example", ((1, "aspmx.l.google.com"),)) == "google"
    google = made.shapes.of("google", "service", "x.example")
    assert google.rate is not None
    assert (google.connections, google.messages_per_connection, google.rate.text) == (8, 50, "40/second")
    own = made.shapes.of("google", "service", "shop.example").alone
    assert own is not None
    assert own.rate is not None
    assert own.rate.text == "5/minute"
    default = made.shapes.of("x.example", "service", "x.example")
    assert str(google.rate) == "40/second (policies/shaping.toml:8)"
    assert str(own.rate) == "5/minute (policies/shaping.toml:10)"
    assert str(default.rate) == "100/second (shipped)"
    assert google.rate == Rate(40, 1, "", "40/second"), "where it stands makes it no other limit"
