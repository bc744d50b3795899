"""routes.toml as it comes into force."""

from pathlib import Path

from relay.config import examine_policies
from relay.message import MailClass
from relay.policy.routes import Routes
from tests.support.house import waiting_delivery


def compiled(folder: Path, text: str) -> Routes:
    (folder / "routes.toml").write_text(text)
    examined = examine_policies(folder, None)
    assert [str(problem) for problem in examined.problems if not problem.warning] == []
    assert examined.value is not None
    return examined.value.exceptions


def test_each_kind_of_route_is_compiled_and_names_its_place(tmp_path: Path) -> None:
    routes = compiled(
        tmp_path,
        """
[[route]]
match.class = "marketing"
match.engagement = ["cold", "lapsing"]
discard = true

[[route]]
match.class = "marketing"
match.recipient_domain = "b*"
next_hop = "[2001:db8::1]:2525"

[[route]]
match.class = "service"
pool = "slow"

[[route]]
match.class = "marketing"
discard = true
""",
    )
    message = waiting_delivery().message
    assert routes.find(message, "b.example") is None
    message.mail_class = MailClass.MARKETING
    route = routes.find(message, "b.example")
    assert route is not None
    assert (route.next_hop, route.rule) == (("2001:db8::1", 2525), "policies/routes.toml:7")
    cold = routes.find(message, "b.example", "lapsing")
    assert cold is not None
    assert (cold.discard, cold.rule) == (True, "policies/routes.toml:2")
    gone = routes.find(message, "c.example")
    assert gone is not None
    assert gone.discard
    message.mail_class = MailClass.SERVICE
    slow = routes.find(message, "c.example")
    assert slow is not None
    assert (slow.pool, slow.next_hop, slow.discard) == ("slow", None, False)
