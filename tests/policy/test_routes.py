"""Which route holds for a recipient of a message."""

from typing import Any

from relay.message import MailClass, Message
from relay.policy.patterns import parse
from relay.policy.routes import AnyOf, Route, RouteMatch, Routes, pool_of


def any_of(*written: str) -> AnyOf:
    return AnyOf([parse(one) for one in written])


def message(**facts: Any) -> Message:
    about: dict[str, Any] = {
        "credential": "crm",
        "brand": "arava",
        "stream": "offers",
        "mail_class": MailClass.MARKETING,
    }
    return Message(
        id="0" * 16, accepted_at=0, author="a@a.example", message_id="", subject="", size=0, **(about | facts)
    )  # fmt: skip


def test_first_match_wins_and_all_conditions_must_hold() -> None:
    bulk = frozenset({MailClass.MARKETING})
    cold = Route("policies/routes.toml:1", pool="cold")
    host = Route("policies/routes.toml:5", next_hop=("10.0.0.9", 25))
    gone = Route("policies/routes.toml:9", discard=True)
    routes = Routes(
        [
            (
                RouteMatch(
                    bulk, streams=any_of("offers"), brands=any_of("arava", "marom"), domains=any_of("*.b.example")
                ),
                cold,
            ),
            (RouteMatch(bulk, domains=any_of("b.example")), host),
            (RouteMatch(credentials=any_of("c*")), gone),
        ]
    )
    assert routes.find(message(), "x.b.example") is cold
    assert routes.find(message(brand="kinor"), "b.example") is host
    assert routes.find(message(mail_class=MailClass.SERVICE), "b.example") is gone
    assert routes.find(message(stream="news"), "x.b.example") is gone
    assert routes.find(message(credential="erp"), "x.example") is None
    assert routes.find(message(), "x.b.example") is cold  # remembered
    assert repr(routes) == "<Routes 3>"


def test_nothing_discards_what_is_marketing_by_our_own_judgement_alone() -> None:
    gone, cold = Route("policies/routes.toml:1", discard=True), Route("policies/routes.toml:5", pool="cold")
    routes = Routes([(RouteMatch(frozenset({MailClass.MARKETING})), gone), (RouteMatch(), cold)])
    assert routes.find(message(), "b.example") is gone
    assert routes.find(message(contradiction="enforced"), "b.example") is gone
    assert routes.find(message(contradiction="rerouted"), "b.example") is cold
    assert Routes([(RouteMatch(), gone)]).find(message(contradiction="rerouted"), "b.example") is None


def test_without_routes_nothing_is_looked_at() -> None:
    assert Routes().find(None, "a.example") is None  # type: ignore[arg-type]


def test_the_pool_is_the_class_s_own_unless_the_route_names_one() -> None:
    own, named = {c: c.label for c in MailClass}, {"cold": "cold"}
    assert pool_of(None, MailClass.SERVICE, own, named) == "service"
    assert pool_of(Route("", next_hop=("a", 25)), MailClass.MARKETING, own, named) == "marketing"
    assert pool_of(Route("", pool="cold"), MailClass.MARKETING, own, named) == "cold"


def test_a_route_by_tier_holds_for_those_who_are_of_it_and_who_is_unknown_counts_as_engaged() -> None:
    cold = Route("policies/routes.toml:1", pool="cold")
    keen = Route("policies/routes.toml:5", pool="keen")
    routes = Routes(
        [(RouteMatch(tiers=frozenset({"cold", "lapsing"})), cold), (RouteMatch(tiers=frozenset({"engaged"})), keen)]
    )
    found = [routes.find(message(), "b.example", tier) for tier in ("cold", "lapsing", "engaged", "")]
    assert found == [cold, cold, keen, keen]
    assert routes.by_tier
    assert not Routes([(RouteMatch(), cold)]).by_tier
