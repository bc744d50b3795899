import pytest

from relay.policy.addresses.roles import is_role


@pytest.mark.parametrize("local", ["info", "Postmaster", "abuse+list", "no-reply", "KONTAKT"])
def test_a_task(local: str) -> None:
    assert is_role(local)


@pytest.mark.parametrize("local", ["ada", "infos.ada", "ada+info", '"info"', ""])
def test_a_person(local: str) -> None:
    assert not is_role(local)
