"""AUTH and the doors that are closed without it."""

import base64
from ipaddress import ip_network

import pytest

from relay.edge.guesses import Guesses
from relay.edge.limits import Limits
from relay.edge.session import ehlo_answer, protocol_word
from tests.edge.conftest import SECRET, Opener, credential, plain

BEGIN = "S: 220 *\nC: EHLO app\nS: ...\n"
SEND = """
    C: MAIL FROM:<app@example.com>
    C: RCPT TO:<jo@example.net>
    C: DATA
    S: 250 2.1.0 *
    S: 250 2.1.5 *
    S: 354 *
    C: x
    C: .
    S: 250 2.0.0 *
"""


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_plain_with_initial_response(open_house: Opener) -> None:
    async with open_house(trusted=False) as house:
        await house.play(BEGIN + f"C: AUTH PLAIN {plain('local+order', SECRET)}\nS: 235 2.7.0 *" + SEND)
        submission = house.door.submissions[0]
        assert (submission.credential.name, submission.stream) == ("local", "order")
        assert submission.peer.protocol == "ESMTPA"


async def test_plain_in_two_steps(open_house: Opener) -> None:
    async with open_house(trusted=False) as house:
        await house.play(BEGIN + f"C: auth plain\nS: 334*\nC: {plain('local', SECRET)}\nS: 235 2.7.0 *" + SEND)


async def test_login(open_house: Opener) -> None:
    async with open_house(trusted=False) as house:
        await house.play(
            BEGIN
            + f"""
            C: AUTH LOGIN
            S: 334 {encoded("Username:")}
            C: {encoded("local")}
            S: 334 {encoded("Password:")}
            C: {encoded(SECRET)}
            S: 235 2.7.0 *
            """
            + SEND
        )


async def test_login_with_initial_user_and_everything_pipelined(open_house: Opener) -> None:
    async with open_house(trusted=False) as house:
        await house.play(
            f"""
            C: EHLO app
            C: AUTH LOGIN {encoded("local")}
            C: {encoded(SECRET)}
            C: NOOP
            S: 220 *
            S: ...
            S: 334 *
            S: 235 2.7.0 *
            S: 250 2.0.0 *
            """
            + SEND
        )


async def test_long_initial_responses_are_read(open_house: Opener) -> None:
    """aiosmtpd 1.4.6 refuses a line over 512 octets; RFC 4954 allows 12,288."""
    secret = "x" * 9000
    async with open_house(trusted=False) as house:
        await house.play(BEGIN + f"C: AUTH PLAIN {plain('local', secret)}\nS: 535 5.7.8 *")
        await house.play(BEGIN + f"C: AUTH PLAIN\nS: 334*\nC: {plain('local', secret)}\nS: 535 5.7.8 *")
        await house.play(BEGIN + f"C: AUTH PLAIN {plain('local', secret + secret)}\nS: 500 5.5.2 *")
        await house.play(BEGIN + f"C: AUTH PLAIN\nS: 334*\nC: {plain('local', secret + secret)}\nS: 500 5.5.6 *")


@pytest.mark.parametrize(
    ("exchange", "answer"),
    [
        ("C: AUTH PLAIN !", "501 5.5.2 *"),
        ("C: AUTH PLAIN =", "501 5.5.2 *"),
        (f"C: AUTH PLAIN {encoded('no separators')}", "501 5.5.2 *"),
        ("C: AUTH PLAIN\nS: 334*\nC: *", "501 5.7.0 *"),
        ("C: AUTH LOGIN\nS: 334 *\nC: !", "501 5.5.2 *"),
        ("C: AUTH LOGIN =\nS: 334 *\nC: *", "501 5.7.0 *"),
        ("C: AUTH CRAM-MD5", "504 5.5.4 *"),
        ("C: AUTH", "501 5.5.4 *"),
        (f"C: AUTH PLAIN {base64.b64encode(bytes([0, 255, 0, 255])).decode()}", "535 5.7.8 *"),
    ],
)
async def test_malformed_exchanges_leave_a_stranger(open_house: Opener, exchange: str, answer: str) -> None:
    async with open_house(trusted=False) as house:
        await house.play(BEGIN + f"{exchange}\nS: {answer}\nC: MAIL FROM:<a@example.com>\nS: 530 5.7.0 *")
        assert house.door.submissions == []


async def test_three_failures_end_the_session(open_house: Opener) -> None:
    wrong = f"C: AUTH PLAIN {plain('local', 'wrong')}\nS: 535 5.7.8 *\n"
    async with open_house(trusted=False) as house:
        await house.play(BEGIN + wrong * 3 + "S: 421 4.7.0 *\nS: <closed>")
        assert house.listener.counters.auth_failures == 3
        assert [one["reason"] for one in house.door.rejections] == ["auth"] * 3
        assert "wrong" not in repr(house.door.rejections)


WRONG = f"C: AUTH PLAIN {plain('local', 'wrong')}\n"
RIGHT = f"C: AUTH PLAIN {plain('local', SECRET)}\n"


async def test_failures_of_a_peer_count_over_all_its_connections(open_house: Opener) -> None:
    """Then even the right password is not looked at; which is no failure of the peer's, and ends like the others."""
    async with open_house(trusted=False, guesses=Guesses(failures=4)) as house:
        for _ in range(2):
            await house.play(BEGIN + (WRONG + "S: 535 5.7.8 *\n") * 2)
        await house.play(BEGIN + (RIGHT + "S: 454 4.7.0 too many failed logins*\n") * 3 + "S: 421 4.7.0 *\nS: <closed>")
        counters = house.listener.counters
        assert (counters.auth_failures, counters.auth_deferred) == (4, 3)
        assert [one["reason"] for one in house.door.rejections] == ["auth"] * 4 + ["guessing"] * 3
        elsewhere = await house.play(BEGIN, source="127.0.0.9")
        await elsewhere.play(RIGHT + "S: 235 *\n" + SEND)


async def test_after_the_window_a_peer_may_log_in_again(open_house: Opener) -> None:
    limits = Limits(auth_failures=10**6, stranger_seconds=60)
    async with open_house(trusted=False, limits=limits, guesses=Guesses(failures=1, seconds=0.2)) as house:
        client = await house.play(BEGIN + WRONG + "S: 535 *")
        said = ""
        while not said.startswith("235"):
            await client.send(RIGHT[3:-1].encode() + b"\r\n")
            said = await client.line()
            assert said.startswith(("235 2.7.0", "454 4.7.0"))
        await client.play(SEND)


async def test_a_neighbour_s_old_password_stops_nobody_who_was_here_before(open_house: Opener) -> None:
    async with open_house(trusted=False, guesses=Guesses(failures=2)) as house:
        await house.play(BEGIN + RIGHT + "S: 235 *")
        await house.play(
            BEGIN + WRONG.replace(plain("local", "wrong"), plain("old", "wrong")) * 2 + "S: 535 *\nS: 535 *"
        )
        await house.play(
            BEGIN + RIGHT.replace(plain("local", SECRET), plain("local+order", SECRET)) + "S: 235 *\n" + SEND
        )


async def test_trust_needs_no_login_and_is_not_put_off(open_house: Opener) -> None:
    async with open_house(guesses=Guesses(failures=1)) as house:
        await house.play(BEGIN + WRONG + "S: 535 *\n" + RIGHT + "S: 454 *\n" + SEND)


async def test_auth_happens_once_and_not_within_a_transaction(open_house: Opener) -> None:
    auth = f"C: AUTH PLAIN {plain('local', SECRET)}\n"
    async with open_house() as house:
        await house.play(f"S: 220 *\n{auth}S: 503 5.5.1 *\nC: HELO app\nS: 250 *\n{auth}S: 503 5.5.1 *")
        await house.play(BEGIN + f"C: MAIL FROM:<a@example.com>\nS: 250 *\n{auth}S: 503 5.5.1 *")
        await house.play(BEGIN + f"{auth}S: 235 *\n{auth}S: 503 5.5.1 *")


async def test_strangers_are_told_to_log_in(open_house: Opener) -> None:
    async with open_house(trusted=False) as house:
        await house.play(
            BEGIN
            + """
            C: MAIL FROM:<app@example.com>
            C: RCPT TO:<jo@example.net>
            C: DATA
            S: 530 5.7.0 *
            S: 530 5.7.0 *
            S: 503 5.5.1 *
        """
        )
        (event,) = house.door.rejections
        assert event["peer"] == "127.0.0.1"
        assert event["reason"] == "relay"
        assert "credential" not in event


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every peer of the test counts as one that is not on this machine."""
    monkeypatch.setattr("relay.edge.session.is_loopback", lambda ip: False)


@pytest.mark.usefixtures("far_away")
async def test_no_password_travels_in_clear_and_no_stranger_relays(open_house: Opener) -> None:
    auth = f"C: AUTH PLAIN {plain('local', SECRET)}\nS: 538 5.7.11 *\n"
    async with open_house(trusted=False) as house:
        await house.play("S: 220 *\nC: EHLO app\n" + "S: 250-*\n" * 9 + "S: 250 MT-PRIORITY\n" + auth)
        await house.play(BEGIN + "C: MAIL FROM:<app@example.com>\nS: 550 5.7.1 relaying denied")
        await house.play(BEGIN + "C: RCPT TO:<jo@example.net>\nS: 550 5.7.1 relaying denied")


@pytest.mark.usefixtures("far_away")
async def test_starttls_comes_before_auth(open_house: Opener) -> None:
    async with open_house(trusted=False, tls="starttls") as house:
        await house.play(
            """
            S: 220 *
            C: EHLO app
            """
            + "S: 250-*\n" * 10
            + f"""
            S: 250 STARTTLS
            C: MAIL FROM:<app@example.com>
            S: 530 5.7.0 STARTTLS first
            C: AUTH PLAIN {plain("local", SECRET)}
            S: 538 5.7.11 *
            C: STARTTLS
            S: 220 2.0.0 *
            C: <tls>
            C: MAIL FROM:<app@example.com>
            S: 503 5.5.1 EHLO first
            C: EHLO app
            """
            + "S: 250-*\n" * 11
            + f"""
            S: 250 AUTH PLAIN LOGIN
            C: MAIL FROM:<app@example.com>
            S: 530 5.7.0 authentication required
            C: AUTH PLAIN {plain("local", SECRET)}
            S: 235 2.7.0 *
            """
            + SEND
        )
        peer = house.door.submissions[0].peer
        assert (peer.protocol, peer.tls) == ("ESMTPSA", "TLSv1.3")


@pytest.mark.usefixtures("far_away")
async def test_under_implicit_tls_auth_is_taken_and_starttls_is_not_offered(open_house: Opener) -> None:
    """aiosmtpd 1.4.6 answers 538 and offers STARTTLS again."""
    async with open_house(trusted=False, tls="implicit") as house:
        client = await house.connect(tls=True)
        await client.play("S: 220 *\nC: EHLO app\n" + "S: 250-*\n" * 11 + "S: 250 AUTH PLAIN LOGIN")
        await client.play(f"C: STARTTLS\nS: 503 5.5.1 *\nC: AUTH PLAIN {plain('local', SECRET)}\nS: 235 *\n{SEND}")
        assert house.door.submissions[0].peer.protocol == "ESMTPSA"


async def test_a_listener_that_requires_auth_knows_nobody_by_his_address(open_house: Opener) -> None:
    trust = (ip_network("127.0.0.0/8"),)
    async with open_house(trusted=False, auth="required", trust=trust, credential="local") as house:
        await house.play(BEGIN + "C: MAIL FROM:<app@example.com>\nS: 530 5.7.0 *")
    async with open_house(trusted=False, auth="optional", trust=trust, credential="local") as house:
        await house.play(BEGIN + SEND)


async def test_a_listener_for_bounces_takes_no_login(open_house: Opener) -> None:
    async with open_house(role="bounces") as house:
        await house.play(BEGIN + f"C: AUTH PLAIN {plain('local', SECRET)}\nS: 502 5.5.1 *")
        house.door.by_network = lambda *_: None  # type: ignore[method-assign]
        await house.play(BEGIN + "C: MAIL FROM:<app@example.com>\nS: 550 5.7.1 *")


async def test_at_a_listener_for_bounces_the_door_says_who_anybody_is(open_house: Opener) -> None:
    async with open_house(role="bounces", auth="required", trusted=False) as house:
        house.door.by_network = lambda *_: credential("returned")  # type: ignore[method-assign]
        await house.play(BEGIN + SEND)
        assert [one.credential.name for one in house.door.submissions] == ["returned"]


async def test_a_login_counts_more_than_an_address(open_house: Opener) -> None:
    shop = credential("shop")
    async with open_house() as house:
        house.door.directory = type(house.door.directory)([shop])
        await house.play(BEGIN + SEND.replace("jo@", "a@") + f"C: AUTH PLAIN {plain('shop', SECRET)}\nS: 235 *" + SEND)
        assert [one.credential.name for one in house.door.submissions] == ["local", "shop"]


async def test_errors_before_the_login_are_forgiven(open_house: Opener) -> None:
    async with open_house(trusted=False, limits=Limits(errors=3)) as house:
        await house.play(
            BEGIN
            + "C: FOO\nS: 500 *\nC: FOO\nS: 500 *\n"
            + f"C: AUTH PLAIN {plain('local', SECRET)}\nS: 235 *\n"
            + "C: FOO\nS: 500 *\nC: FOO\nS: 500 *\nC: FOO\nS: 500 *\nS: 421 4.7.0 *\nS: <closed>"
        )


def test_protocol_words() -> None:
    def word(**which: bool) -> str:
        return protocol_word(**{"extended": True, "utf8": False, "tls": False, "auth": False} | which)

    assert [word(), word(tls=True), word(auth=True), word(tls=True, auth=True)] == [
        "ESMTP",
        "ESMTPS",
        "ESMTPA",
        "ESMTPSA",
    ]
    assert word(utf8=True, tls=True, auth=True) == "UTF8SMTPSA"
    assert word(extended=False, tls=True) == "SMTP"


def test_ehlo_ends_with_a_blank_after_the_last_code() -> None:
    lines = ehlo_answer("relay.test", 10, True, True).split(b"\r\n")
    assert lines[-1] == b""
    assert lines[-2] == b"250 AUTH PLAIN LOGIN"
    assert all(line.startswith(b"250-") for line in lines[:-2])


async def test_requiretls_is_offered_and_taken_under_tls_only(open_house: Opener) -> None:
    """RFC 8689 3."""
    async with open_house(tls="implicit") as house:
        client = await house.connect(tls=True)
        await client.play("S: 220 *\nC: EHLO app\nS: 250-relay.test\nS: ...")
        await client.play("C: MAIL FROM:<app@example.com> REQUIRETLS\nS: 250 2.1.0 *")
        await client.play("C: RCPT TO:<jo@example.net>\nS: 250 2.1.5 *\nC: DATA\nS: 354 *\nC: x\nC: .\nS: 250 2.0.0 *")
        assert house.door.submissions[0].envelope.requiretls
    async with open_house(tls="starttls") as house:
        await house.play(BEGIN + "C: MAIL FROM:<app@example.com> REQUIRETLS\nS: 555 5.5.4 *")
    offer = b"REQUIRETLS\r\n"
    assert ehlo_answer("relay.test", 10, False, False, True).endswith(b"250 " + offer)
    assert offer not in ehlo_answer("relay.test", 10, True, True)
