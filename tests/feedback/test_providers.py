"""Which provider answered, and what its own codes mean."""

import pytest

from relay.feedback.providers import CODES, HOSTS, MARKS, NAMES, provider_of
from relay.feedback.wording import listed


@pytest.mark.parametrize(
    ("mx", "text", "provider"),
    [
        ("gmail-smtp-in.l.google.com", "", "google"),
        ("firma-example.mail.protection.outlook.com.", "", "microsoft"),
        ("MTA7.AM0.YAHOODNS.NET", "", "yahoo"),
        ("mx01.mail.icloud.com", "", "apple"),
        ("mx.example.com", "as google would say: gsmtp", ""),
        ("localhost", "", ""),
        ("", "no such user x12 - gsmtp", "google"),
        ("", "resolver.adr.recipnotfound", "microsoft"),
        ("", "no", ""),
    ],
)
def test_the_host_tells_the_provider_else_its_words(mx: str, text: str, provider: str) -> None:
    assert provider_of(mx, text) == provider


def test_tables_speak_of_known_providers_in_lower_case() -> None:
    assert set(CODES) <= set(HOSTS.values())
    assert {provider for _, provider in MARKS} <= set(HOSTS.values())
    names = [name for _, text in NAMES for name in listed(text, ";")]
    assert names == [name.lower() for name in names]
    assert len(names) == len(set(names))
