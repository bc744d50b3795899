"""A large installation's files: all of them load, and what this version does not act on is said, not passed over."""

from collections import Counter
from pathlib import Path

from relay.config import load_deployment, load_policies
from relay.identity import Webhook
from relay.message import MailClass

COMPANY = Path(__file__).parent / "company"


def test_everything_loads() -> None:
    deployment = load_deployment(COMPANY / "config", {})
    policies = load_policies(COMPANY / "policies", deployment)
    assert [str(listener.bind) for listener in deployment.listeners][:2] == ["[::]:587", "[::]:465"]
    assert deployment.dns.nameservers == ["127.0.0.1:53", "[::1]:53"]
    assert str(deployment.node.data_dir) == "/srv/postlane"
    assert deployment.pools["urgent"].sources[1].weight == 3
    assert policies.routes[MailClass.MARKETING] == "letters"
    assert repr(policies.checks["harbour"]) == "<Checks one-click-unsubscribe=refuse, postal-address=flag>"
    assert policies.brands["harbour"].public_url == "https://mail.harbour.example"
    letters = policies.shaping.shapes.of("tide", "letters", "tide.example")
    assert (letters.connections, letters.messages_per_connection, letters.reserved) == (6, 50, 1)
    assert letters.rate is not None
    assert letters.rate.text == "5/second"


def test_what_is_missing_here_is_said() -> None:
    deployment = load_deployment(COMPANY / "config", {})
    warnings = [*deployment.warnings, *load_policies(COMPANY / "policies", deployment).warnings]
    assert Counter(problem.slug for problem in warnings) == {"file": 3}


def test_the_webhook_of_a_credential() -> None:
    policies = load_policies(COMPANY / "policies", load_deployment(COMPANY / "config", {}))
    assert policies.credentials["tickets"].webhook == Webhook(
        "https://tickets.harbour.example/hook", frozenset({"bounced"}), "/srv/secrets/tickets"
    )
    assert policies.credentials["gate"].webhook is None
