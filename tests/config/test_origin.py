"""Each value of a file, and where it comes from."""

from pathlib import Path

import pytest

from relay.config import ConfigErrors
from relay.config.origin import Places, settings_of
from relay.config.policies import MODELS


def origins(folder: Path, file: str, text: str | None = None) -> dict[str, tuple[object, int]]:
    if text is not None:
        (folder / file).write_text(text)
    return {setting.key: (setting.value, setting.line) for setting in settings_of(folder, file)}


def test_what_the_file_does_not_say_is_shipped_key_by_key(tmp_path: Path) -> None:
    found = origins(tmp_path, "retry.toml", '# quick\n[transactional]\nwait = ["5s"]\n')
    assert found["transactional.wait"] == (["5s"], 3)
    assert found["transactional.give_up"] == ("1d", 0)
    assert found["service.wait"] == (["5m", "20m", "1h", "3h"], 0)
    assert found["marketing.warn_after"] == (None, 0)
    assert len(found) == 9


def test_named_tables(tmp_path: Path) -> None:
    text = (
        '[credential.shop-web]\nclass = "auto"\ndomains = ["a.example"]\nquota = "5/minute"\n'
        'webhook = { url = "https://a.example/hook" }\n[credential."x.y"]\nclass = "service"\ndomains = ["*"]\n'
    )
    found = origins(tmp_path, "credentials.toml", text)
    assert found["credential.shop-web.class"] == ("auto", 2)
    assert found["credential.shop-web.quota"] == ("5/minute", 4)
    assert found["credential.shop-web.webhook.url"] == ("https://a.example/hook", 5)
    assert found["credential.shop-web.webhook.events"] == ([], 0)
    assert found["credential.shop-web.over_quota"] == ("pace", 0)
    assert found['credential."x.y".domains'] == (["*"], 8)
    assert found['credential."x.y".webhook'] == (None, 0)


def test_texts_by_language_and_what_has_no_schema_yet(tmp_path: Path) -> None:
    found = origins(tmp_path, "brands.toml", '[brand.a]\nname = { en = "A", de = "Ah" }\n')
    assert found["brand.a.name.de"] == ("Ah", 2)
    found = origins(tmp_path, "shaping.toml", '[provider.google]\nmx = ["*.google.com"]\npool.x.rate = "1/second"\n')
    assert found["provider.google.mx"] == (["*.google.com"], 2)
    assert found["provider.google.pool.x.rate"] == ("1/second", 3)
    assert found["default.connections"] == (10, 0)


def test_back_off_rules_that_ship_stand_behind_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "shaping.toml").write_text('[[backoff]]\nreply = "x"\naction = "slow"\nto = "25%"\n')
    rules = [one for one in settings_of(tmp_path, "shaping.toml") if one.key == "backoff"]
    assert [one.line for one in rules] == [1, 0]
    google = [one for one in settings_of(tmp_path, "shaping.toml") if one.key == "provider.google.backoff"]
    assert any("suspend" in str(one.value) for one in google)


@pytest.mark.parametrize("file", MODELS)
def test_without_the_file_all_is_shipped(tmp_path: Path, file: str) -> None:
    assert {line for _, line in origins(tmp_path, file).values()} <= {0}


def test_a_file_that_does_not_parse_has_no_values(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors):
        origins(tmp_path, "retry.toml", "[half")


def test_places_of_keys(tmp_path: Path) -> None:
    (tmp_path / "brands.toml").write_text('[brand.a]\ndomains = ["a.example",\n  "bücher.example"]\n')
    (tmp_path / "streams.toml").write_text('[[stream]]\nname = "x"\n\n[[stream]]\nname = "y"\nclass = "service"\n')
    places = Places(tmp_path)
    assert places.of("brands.toml", "brand", "a") == "policies/brands.toml:1"
    assert places.of("brands.toml", "brand", "a", "timezone") == ""
    assert places.of("credentials.toml", "credential", "a") == ""
    assert places.of_domain("a", "xn--bcher-kva.example") == "policies/brands.toml:3"
    assert places.of_domain("a", "b.example") == ""
    assert places.of_domain("b", "a.example") == ""
    assert places.of_stream("y") == "policies/streams.toml:4"
    assert places.of_stream("y", "class") == "policies/streams.toml:6"
    assert places.of_stream("x", "class") == ""
    assert places.of_stream("z") == ""
    assert repr(places) == f"<Places in {tmp_path}, 3 files read>"
    assert Places(None).of_stream("y") == ""
    assert Places(None).of_domain("a", "a.example") == ""


def test_what_a_table_of_shaping_does_not_say_is_shown_with_where_it_is_said(tmp_path: Path) -> None:
    text = (
        '[default]\nrate = "50/second"\n[provider.google]\nconnections = 8\n[provider.google.pool.marketing]\n'
        'rate = "40/second"\n[domain."bank.example"]\ntls = "required"\n'
    )
    found = origins(tmp_path, "shaping.toml", text)
    assert found["provider.google.connections"] == (8, 4)
    assert found["provider.google.messages_per_connection"] == (50, 0), "shipped for google"
    assert found["provider.google.rate"] == ("50/second", 2)
    assert found["provider.google.reserved"] == (2, 0)
    assert found["provider.google.mx"] == (["*.google.com", "*.googlemail.com"], 0)
    assert found["provider.google.site_rate"] == (None, 0)
    assert found["provider.google.pool.marketing.rate"] == ("40/second", 6)
    assert found["provider.google.pool.marketing.connections"] == (8, 4)
    assert found["provider.walla.connections"] == (2, 0)
    assert found['domain."bank.example".rate'] == ("50/second", 2)
    assert found['domain."bank.example".tls'] == ("required", 8)


def test_keys_that_admins_name(tmp_path: Path) -> None:
    (tmp_path / "recipients.toml").write_text('[address-check]\ndefault = "off"\nshop = "refuse"\n')
    found = {one.key: (one.value, one.line) for one in settings_of(tmp_path, "recipients.toml")}
    assert found["address-check.default"] == ("off", 2)
    assert found["address-check.shop"] == ("refuse", 3)
    assert found["address-check.known"] == ([], 0)
