from ipaddress import ip_network
from pathlib import Path

import pytest

from relay.config import (
    ConfigErrors,
    Deployment,
    examine_policies,
    load_deployment,
    load_policies,
    sandbox_credential,
)
from relay.message import MailClass

ROOT = Path(__file__).parents[2]
CREDENTIAL = '[credential.a]\nclass = "auto"\ndomains = ["a.example"]\nbrand = "arava"\nnetworks = ["10.1.2.3"]\n'
WEB = '[web]\npublic_url = "https://mail.arava.example"\n'
CONFIG = WEB + '[node]\nhostname = "relay-1.arava.example"\n[[listener]]\nbind = "127.0.0.1:2525"\n'


@pytest.fixture
def live(tmp_path: Path) -> Deployment:
    (tmp_path / "config").mkdir()
    (tmp_path / "policies").mkdir()
    (tmp_path / "config" / "postlane.toml").write_text(CONFIG)
    return load_deployment(tmp_path / "config", {})


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / "policies" / f"{name}.toml").write_text(text)
    return folder / "policies"


def test_an_empty_folder_is_what_the_program_ships(tmp_path: Path, live: Deployment) -> None:
    policies = load_policies(tmp_path / "policies", live)
    assert policies.credentials == {}
    assert policies.retry[MailClass.TRANSACTIONAL].wait[0] == 15_000
    assert policies.retry[MailClass.MARKETING].warn_after is None
    assert policies.routes == {kind: kind.label for kind in MailClass}
    elsewhere = policies.shaping.shapes.of("b.example", "marketing", "b.example")
    assert (elsewhere.connections, elsewhere.messages_per_connection, elsewhere.reserved) == (10, 100, 2)
    assert policies.shaping.sites.expected("gmail.com") == "google"


def test_what_is_shipped_is_overridden_key_by_key(tmp_path: Path, live: Deployment) -> None:
    policies = load_policies(write(tmp_path, retry='[service]\ngive_up = "3d"\n'), live)
    service = policies.retry[MailClass.SERVICE]
    assert service.give_up == 3 * 86_400_000
    assert service.wait == (300_000, 1_200_000, 3_600_000, 10_800_000)


def test_a_credential_with_every_key(tmp_path: Path, live: Deployment) -> None:
    folder = write(
        tmp_path,
        brands='[brand.arava]\nname = "Arava"\ndomains = ["arava.example"]\nunsigned = "send"\n',
        credentials="""
[credential.shop-web]
class = "transactional"
brand = "arava"
owner = "shop-dev@arava.example"
domains = ["Arava.example", "עברית.example"]
streams = ["order", "password-reset"]
networks = ["10.20.0.17"]
quota = "20000/hour"
over_quota = "refuse"
on_suppressed = "withhold"
dsn = "none"
line_endings = "fix"
long_lines = "allow"
password = ["sha256:c2hvcC13ZWI:4pRE1Ij1YfXHLZoMTN0tPqK8N_EVG2mLIGcyY8Hc2sE:2026-12-01T00:00:00Z",
            "sha256:c2hvcC13ZWI:4pRE1Ij1YfXHLZoMTN0tPqK8N_EVG2mLIGcyY8Hc2sE"]
disabled = true
[credential.crm]
class = "auto"
domains = ["arava.example"]
networks = ["10.20.0.18"]
""",
    )
    policies = load_policies(folder, live)
    shop, crm = policies.credentials["shop-web"], policies.credentials["crm"]
    assert shop.mail_class is MailClass.TRANSACTIONAL
    assert crm.mail_class is None
    assert shop.domains == {"arava.example", "xn--5dbqzzl.example"}
    assert shop.streams == ("order", "password-reset")
    assert shop.networks == (ip_network("10.20.0.17/32"),)
    assert shop.quota is not None
    assert (shop.quota.count, shop.quota.window) == (20_000, 3_600)
    assert (shop.over_quota, shop.dsn, shop.line_endings, shop.long_lines) == ("refuse", "none", "fix", "allow")
    assert [password.until for password in shop.passwords] == [1_796_083_200_000, 0]
    assert shop.disabled
    assert not shop.open
    assert policies.brands["arava"].unsigned == "send"
    assert policies.brands["arava"].title == "Arava"


def test_the_version_is_that_of_the_texts(tmp_path: Path, live: Deployment) -> None:
    folder = write(tmp_path, routes='[default]\nservice = "service"\n', shaping="")
    first = load_policies(folder, live).version
    assert len(first) == 6
    assert load_policies(folder, live).version == first
    write(tmp_path, shaping="# a comment is a change too: what is on disk is what has this version\n")
    second = load_policies(folder, live).version
    assert second != first
    assert examine_policies(folder, live, {"shaping.toml": ""}).accepted().version == first


def test_nothing_with_an_error_is_loaded(tmp_path: Path, live: Deployment) -> None:
    folder = write(tmp_path, routes='[default]\nservice = "cold"\n', brands="x = 1\n")
    with pytest.raises(ConfigErrors) as raised:
        load_policies(folder, live)
    assert [problem.slug for problem in raised.value.problems] == ["unknown-key", "unknown-name"]


def test_a_broken_file_is_not_blamed_on_those_that_name_it(tmp_path: Path, live: Deployment) -> None:
    folder = write(
        tmp_path,
        brands="[brand.arava\n",
        credentials=CREDENTIAL,
    )
    assert [problem.slug for problem in examine_policies(folder, live).problems] == ["toml"]


def test_the_sandbox_takes_anybody_as_the_listener_s_credential() -> None:
    deployment = load_deployment(ROOT / "config", {})
    policies = load_policies(ROOT / "policies", deployment)
    assert policies.warnings == ()
    anybody = sandbox_credential(deployment, policies)
    assert anybody is not None
    assert (anybody.name, anybody.open, anybody.domains) == ("local", True, frozenset({"*"}))
    assert anybody.mail_class is None
    assert not policies.credentials["local"].open


def test_live_takes_nobody_unknown(tmp_path: Path, live: Deployment) -> None:
    assert sandbox_credential(live, load_policies(tmp_path / "policies", live)) is None
