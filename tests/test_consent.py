"""What State knows of the recipients, and what follows where it cannot tell."""

from dataclasses import replace

from relay.consent import LOOK_AGAIN, Known, at_accept, at_attempt
from relay.message import MailClass
from relay.pause import Pause
from relay.policy.relevance import Withheld
from relay.recipient import Keys
from tests.support.house import NOW, FakePeople, Rig, waiting_delivery


class House:
    def __init__(self, known: Known) -> None:
        self.known = known


async def test_each_recipient_has_an_answer_of_his_own() -> None:
    people, message = FakePeople(), waiting_delivery().message
    people.block("dana@b.example")
    found = await at_accept(message, ["x@b.example", "Dana@B.example"], None, NOW, House(people))
    assert found[0] is None
    assert isinstance(found[1], Withheld)


async def test_without_state_all_is_taken_transactional_mail_goes_and_the_rest_waits() -> None:
    people, delivery = FakePeople(), waiting_delivery()
    people.block("dana@b.example")
    people.down = True
    assert await at_accept(delivery.message, ["dana@b.example"] * 2, None, NOW, House(people)) == [None, None]
    assert await at_attempt(delivery, None, NOW, House(people)) is None
    for mail_class in (MailClass.SERVICE, MailClass.MARKETING):
        delivery.message = replace(delivery.message, mail_class=mail_class)
        found = await at_attempt(delivery, None, NOW, House(people))
        assert isinstance(found, Pause)
        assert found.until == NOW + LOOK_AGAIN
    delivery.message = replace(delivery.message, contradiction="rerouted")
    assert await at_attempt(delivery, None, NOW, House(people)) is None


async def test_an_attempt_hears_what_was_said_since() -> None:
    people, delivery = FakePeople(), waiting_delivery()
    assert await at_attempt(delivery, None, NOW, House(people)) is None
    people.block("dana@b.example", reason="dead-mailbox")
    found = await at_attempt(delivery, None, NOW, House(people))
    assert isinstance(found, Withheld)
    assert found.status == "5.1.1"


async def test_other_secrets_know_other_people() -> None:
    people = FakePeople()
    people.block("dana@b.example")
    (dana,) = await people.of(["dana@b.example"])
    assert dana.blocks[0].stop == "all"
    people.keys = Keys([b"x" * 32])
    (stranger,) = await people.of(["dana@b.example"])
    assert stranger.blocks == ()
    assert "Known" in repr(Rig().people.__class__.__mro__[1])
