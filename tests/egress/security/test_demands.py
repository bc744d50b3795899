"""The table of demands.py, line by line."""

from itertools import product

import pytest

from relay.egress.security.dane import Anchors, Status, Tlsa, anchors
from relay.egress.security.demands import Demand, Facts, Need, Security, Skipped, Wish, decide, plain, refusal, uniform
from relay.egress.security.sts import Policy
from relay.outcome import Scope

D, H, OTHER = "example.test", "mx.example.test", "mx.evil.test"
TLSA = Tlsa(3, 1, 1, b"1" * 32)
USABLE = anchors([TLSA], H, (D,))
UNUSABLE = anchors([Tlsa(1, 1, 1, b"1" * 32)], H, ())
FAILED = Anchors(Status.FAILED, base=H, detail="the name servers answer with an error")
NOTHING = Facts()
LEVELS = (Need.CLEAR, Need.TRY, Need.ENCRYPT, Need.VERIFY)


def policy(mode: str, *patterns: str) -> Policy:
    return Policy(mode, 86400, patterns or (H,), ("version: STSv1", f"mode: {mode}"))


def of(facts: Facts = NOTHING, level: Need = Need.TRY, wish: Wish = Wish.NONE, host: str = H) -> Demand | Skipped:
    security = decide(D, [host], level, wish, facts)
    return security.by_host.get(host) or security.skipped[host]


def ladder(facts: Facts = NOTHING, level: Need = Need.TRY, wish: Wish = Wish.NONE) -> tuple[Need, ...]:
    demand = of(facts, level, wish)
    assert isinstance(demand, Demand), demand
    return demand.ladder


def kind(facts: Facts) -> str:
    applied = of(facts).applied
    assert applied is not None
    return applied.kind


def dane(found: Anchors, sts: Policy | None = None) -> Facts:
    return Facts(True, {H: found}, sts)


def test_the_admins_word_where_the_domain_says_nothing() -> None:
    assert [ladder(level=level) for level in LEVELS] == [
        (Need.CLEAR,),
        (Need.TRY, Need.CLEAR),
        (Need.ENCRYPT,),
        (Need.VERIFY,),
    ]
    assert ladder(Facts(policy=policy("none"))) == (Need.TRY, Need.CLEAR)
    assert kind(Facts()) == "no-policy-found"
    assert of(level=Need.CLEAR).applied is None, "no report tells of sessions in which nothing was tried"


@pytest.mark.parametrize("level", LEVELS)
def test_mta_sts_enforced_whatever_the_admin_says(level: Need) -> None:
    demand = of(Facts(policy=policy("enforce")), level)
    assert isinstance(demand, Demand)
    assert (demand.ladder, demand.why) == ((Need.VERIFY,), f"the MTA-STS policy of {D}")
    assert demand.applied is not None
    assert (demand.applied.kind, demand.applied.mx, demand.applied.strings) == (
        "sts",
        (H,),
        ("version: STSv1", "mode: enforce"),
    )
    skipped = of(Facts(policy=policy("enforce")), level, host=OTHER)
    assert isinstance(skipped, Skipped)
    assert (skipped.failure.result, skipped.final) == ("validation-failure", False)


def test_mta_sts_in_testing_is_tried_and_told() -> None:
    facts = Facts(policy=policy("testing"))
    assert [ladder(facts, level) for level in LEVELS] == [
        (Need.CLEAR,),
        (Need.VERIFY, Need.TRY, Need.CLEAR),
        (Need.VERIFY, Need.ENCRYPT),
        (Need.VERIFY,),
    ]
    assert kind(facts) == "sts"
    demand = of(facts, host=OTHER)
    assert isinstance(demand, Demand)
    assert demand.ladder == (Need.TRY, Need.CLEAR)
    assert demand.breach is not None
    assert demand.breach.reason == "mx-mismatch"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "sts", [None, policy("none"), policy("testing"), policy("enforce"), policy("enforce", "mx.other.test")]
)
def test_dane_comes_first(level: Need, sts: Policy | None) -> None:
    demand = of(dane(USABLE, sts), level)
    assert isinstance(demand, Demand)
    assert (demand.ladder, demand.anchors) == ((Need.DANE,), USABLE)
    assert demand.applied is not None
    assert (demand.applied.kind, demand.applied.domain, demand.applied.strings) == ("tlsa", H, (str(TLSA),))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("sts", [None, policy("enforce")])
def test_a_failed_dane_look_up_is_not_overridden(level: Need, sts: Policy | None) -> None:
    skipped = of(dane(FAILED, sts), level)
    assert isinstance(skipped, Skipped)
    assert (skipped.failure.result, skipped.final) == ("dnssec-invalid", False)


def test_records_that_cannot_be_used_want_tls_with_whomever() -> None:
    assert [ladder(dane(UNUSABLE), level) for level in LEVELS] == [
        (Need.ENCRYPT,),
        (Need.ENCRYPT,),
        (Need.ENCRYPT,),
        (Need.VERIFY,),
    ]
    assert ladder(dane(UNUSABLE, policy("enforce"))) == (Need.VERIFY,)
    assert ladder(dane(UNUSABLE, policy("testing"))) == (Need.VERIFY, Need.ENCRYPT)
    assert kind(dane(UNUSABLE)) == "tlsa"


@pytest.mark.parametrize(
    "facts", [Facts(), dane(USABLE), dane(FAILED), Facts(policy=policy("enforce", "mx.other.test"))]
)
def test_tls_required_no_leaves_the_admins_word_alone(facts: Facts) -> None:
    assert [ladder(facts, level, Wish.WAIVED) for level in LEVELS] == [ladder(level=level) for level in LEVELS]
    assert of(facts, wish=Wish.WAIVED).applied is None, "and no report tells of it"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (dane(USABLE), (Need.DANE,)),
        (Facts(True), (Need.VERIFY,)),
        (dane(UNUSABLE), (Need.VERIFY,)),
        (Facts(policy=policy("enforce")), (Need.VERIFY,)),
        (Facts(policy=policy("testing")), (Need.VERIFY,)),
    ],
)
def test_requiretls_wants_a_host_that_proves_itself(facts: Facts, expected: tuple[Need, ...]) -> None:
    for level in LEVELS:
        demand = of(facts, level, Wish.REQUIRED)
        assert isinstance(demand, Demand)
        assert (demand.ladder, demand.requiretls) == (expected, True)


def test_requiretls_without_a_host_beyond_doubt_is_refused_for_good() -> None:
    for facts in (Facts(), Facts(policy=policy("none"))):
        skipped = of(facts, Need.VERIFY, Wish.REQUIRED)
        assert isinstance(skipped, Skipped)
        assert skipped.final
        assert skipped.applied is None, "the recipient has not failed"
    for facts in (Facts(policy=policy("testing", "mx.other.test")), dane(FAILED)):
        skipped = of(facts, wish=Wish.REQUIRED)
        assert isinstance(skipped, Skipped)
        assert not skipped.final


def test_equal_labels_mean_equal_terms() -> None:
    facts = [
        Facts(s, {H: a}, p)
        for s, a, p in product((False, True), (USABLE, UNUSABLE), (None, policy("enforce"), policy("testing")))
    ]
    decided = [
        decide(D, hosts, level, wish, each)
        for each, level, wish, hosts in product(facts, LEVELS, Wish, ([H], [OTHER], [H, OTHER]))
    ]
    guarantees: dict[str, set[object]] = {}
    for security in decided:
        proven = {need for demand in security.by_host.values() for need in demand.ladder} & {Need.VERIFY, Need.DANE}
        hosts = frozenset(security.by_host) if proven else None
        told = {(t.ladder, t.requiretls, t.anchors) for t in security.by_host.values()}
        if security.by_host:
            guarantees.setdefault(security.label, set()).add((hosts, frozenset(told)))
    assert all(len(each) == 1 for each in guarantees.values()), guarantees
    assert len(guarantees) > 10


def test_a_label_does_not_depend_on_the_order_of_hosts_nor_on_the_domain() -> None:
    facts = Facts(policy=policy("enforce", H, OTHER))
    one = decide(D, [H, OTHER], Need.TRY, Wish.NONE, facts)
    two = decide("other.test", [OTHER, H], Need.TRY, Wish.NONE, facts)
    assert one.label == two.label
    assert one.label.startswith("verify-")
    assert decide(D, [H], Need.TRY, Wish.NONE, Facts()).label == "opportunistic"
    assert uniform(Need.TRY).label == "opportunistic"


def test_what_is_said_where_no_host_is_left() -> None:
    waits = refusal(D, decide(D, [OTHER], Need.TRY, Wish.NONE, Facts(policy=policy("enforce"))))
    assert (waits.reply.code, waits.reply.enhanced, waits.scope, waits.permanent) == (451, "4.7.10", Scope.SITE, False)
    assert waits.reply.text == f"{OTHER} is no host that the MTA-STS policy of {D} allows ({H})"
    final = refusal(D, decide(D, [H, OTHER], Need.TRY, Wish.REQUIRED, Facts()))
    assert (final.reply.code, final.reply.enhanced, final.permanent) == (550, "5.7.30", True)
    assert refusal(D, Security("")).reply.text == f"{D} has no host"


def test_of_all_hosts() -> None:
    security = uniform(Need.ENCRYPT)
    assert security.of("any") == plain(Need.ENCRYPT)
    assert not plain(Need.ENCRYPT).optional
    assert plain(Need.TRY).optional
    assert decide(D, [H], Need.TRY, Wish.NONE, Facts()).of("other") is None
