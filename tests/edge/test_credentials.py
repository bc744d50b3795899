"""Who logs in as whom, and who is known by his address."""

import hashlib
from ipaddress import ip_network
from typing import Any

from relay.edge.credentials import Directory, Login, is_loopback
from relay.identity import Credential, Password, proof_of

NOW = 1_795_000_000_000


def password(secret: str, until: int = 0) -> Password:
    return Password(b"na", hashlib.sha256(b"na" + secret.encode()).digest(), until)


def credential(name: str, **more: Any) -> Credential:
    return Credential(name, None, frozenset({"example.com"}), **more)


SHOP = credential("shop", passwords=(password("one"),), streams=("order",))


def test_name_and_password() -> None:
    directory = Directory([SHOP])
    assert directory.login("shop", "one", NOW, False) == Login(SHOP, "")
    assert directory.login("shop", "two", NOW, False) is None
    assert directory.login("shop", "", NOW, False) is None
    assert directory.login("", "", NOW, True) is None
    assert directory.login("other", "one", NOW, True) is None


def test_the_user_name_may_name_a_stream() -> None:
    assert Directory([SHOP]).login("shop+order", "one", NOW, False) == Login(SHOP, "order")


def test_two_passwords_are_valid_while_one_is_rotated_and_the_old_one_ends() -> None:
    rotating = credential("shop", passwords=(password("new"), password("old", until=NOW)))
    directory = Directory([rotating])
    assert directory.login("shop", "new", NOW + 1, False) is not None
    assert directory.login("shop", "old", NOW, False) is not None
    assert directory.login("shop", "old", NOW + 1, False) is None


def test_a_disabled_credential_is_nobody() -> None:
    gone = credential("shop", passwords=(password("one"),), disabled=True, networks=(ip_network("192.0.2.0/24"),))
    directory = Directory([gone])
    assert directory.login("shop", "one", NOW, False) is None
    assert directory.by_network("192.0.2.1") is None
    assert directory.by_network("198.51.100.1", [ip_network("198.51.100.0/24")], "shop") is None


def test_any_user_will_do_for_an_open_credential_but_on_loopback_only() -> None:
    sandbox = credential("sandbox", open=True)
    directory = Directory([SHOP, sandbox])
    assert directory.login("anyone+order", "anything", NOW, True) == Login(sandbox, "order")
    assert directory.login("anyone", "anything", NOW, False) is None
    assert directory.login("shop", "one", NOW, True) == Login(SHOP, "")


def test_a_password_is_text_of_any_kind() -> None:
    assert Directory([SHOP]).login("shop", "\udcff", NOW, False) is None


def test_the_narrowest_network_names_the_peer() -> None:
    wide = credential("wide", networks=(ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")))
    narrow = credential("narrow", networks=(ip_network("10.20.0.17/32"),))
    directory = Directory([wide, narrow])
    assert directory.by_network("10.20.0.17") is narrow
    assert directory.by_network("10.20.0.18") is wide
    assert directory.by_network("2001:db8::5") is wide
    assert directory.by_network("::ffff:10.20.0.17") is narrow
    assert directory.by_network("11.0.0.1") is None
    assert directory.by_network("no address") is None


def test_trusted_peers_get_the_listeners_identity_where_no_credential_lists_them() -> None:
    local, listed = credential("local"), credential("listed", networks=(ip_network("127.0.0.2/32"),))
    directory = Directory([local, listed])
    trust = [ip_network("127.0.0.0/8")]
    assert directory.by_network("127.0.0.1", trust, "local") is local
    assert directory.by_network("127.0.0.2", trust, "local") is listed
    assert directory.by_network("::1", trust, "local") is None
    assert directory.by_network("192.0.2.1", trust, "local") is None
    assert directory.by_network("127.0.0.1", trust, "missing") is None


def test_loopback() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]))
    assert not any(map(is_loopback, ["128.0.0.1", "::2", "::ffff:128.0.0.1", ""]))


def test_repr_tells_no_secret() -> None:
    assert repr(Directory([SHOP])) == "<Directory 1 credentials, 0 networks>"


def test_a_token_calls_the_api_and_nothing_else() -> None:
    shop = credential("shop", tokens=(password(proof_of("shop.one")), password(proof_of("shop.old"), until=NOW)))
    directory = Directory([shop, credential("gone", tokens=shop.tokens, disabled=True)])
    assert directory.caller("shop", proof_of("shop.one"), NOW + 1) == shop
    assert directory.caller("shop", proof_of("shop.old"), NOW) == shop
    assert directory.caller("shop", proof_of("shop.old"), NOW + 1) is None
    assert directory.caller("shop", "shop.one", NOW) is None
    assert directory.caller("other", proof_of("shop.one"), NOW) is None
    assert directory.caller("gone", proof_of("shop.one"), NOW) is None
    assert directory.login("shop", "shop.one", NOW, False) is None
    assert directory.login("shop", proof_of("shop.one"), NOW, False) is None
