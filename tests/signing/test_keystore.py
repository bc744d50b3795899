"""New keys and changed states, as files: what a crash, a second writer or an admin's comments would meet."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from relay.signing.entries import KeysError, read_entries
from relay.signing.keyfile import ED25519, RSA
from relay.signing.keys import KeyRing, read_keys
from relay.signing.keystore import generate, set_state
from tests.support.signatures import NOW, rsa_private

BOTH = (RSA, ED25519)


@pytest.fixture(autouse=True)
def _one_rsa_key_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making an RSA key costs half a second; that it is made well is cryptography's affair."""
    private = rsa_private()
    monkeypatch.setattr("relay.signing.keyfile.generate_private_key", lambda **_: private)


def made(directory: Path, domain: str = "example.com", **options: str) -> list[tuple[str, str]]:
    return [(key.selector, key.state) for key in generate(directory, domain, BOTH, now=NOW, **options)]


def test_the_first_keys_of_a_domain_sign_at_once(tmp_path: Path) -> None:
    assert made(tmp_path) == [("2026a", "active"), ("2026a-ed", "active")]
    assert [key.selector for key in KeyRing(read_keys(tmp_path)[0]).for_domain("example.com")] == ["2026a-ed", "2026a"]


def test_further_keys_wait_for_their_records(tmp_path: Path) -> None:
    made(tmp_path)
    assert made(tmp_path) == [("2026b", "pending"), ("2026b-ed", "pending")]
    assert [key.selector for key in KeyRing(read_keys(tmp_path)[0]).for_domain("example.com")] == ["2026a-ed", "2026a"]


def test_keys_of_a_subdomain_wait_while_the_parent_signs_for_it(tmp_path: Path) -> None:
    made(tmp_path)
    assert made(tmp_path, "news.example.com") == [("2026a", "pending"), ("2026a-ed", "pending")]
    assert made(tmp_path, "example.net") == [("2026a", "active"), ("2026a-ed", "active")]


def test_the_state_may_be_chosen(tmp_path: Path) -> None:
    assert made(tmp_path, state="pending") == [("2026a", "pending"), ("2026a-ed", "pending")]
    assert made(tmp_path, state="active") == [("2026b", "active"), ("2026b-ed", "active")]


def test_a_selector_is_never_used_twice(tmp_path: Path) -> None:
    """Resolvers may hold the old record, also when its key is gone."""
    made(tmp_path)
    made(tmp_path)
    set_state(tmp_path, "example.com", "2026b", "retired")
    (tmp_path / "example.com" / "2026b.pem").unlink()
    assert made(tmp_path)[0][0] == "2026c"
    for selector in ("2026a", "2026b"):
        with pytest.raises(KeysError, match=f"{selector}.pem: is in use already; choose another selector"):
            made(tmp_path, selector=selector)


def test_a_key_without_entry_takes_its_selector_too(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "keys.toml").unlink()
    assert made(tmp_path) == [("2026b", "pending"), ("2026b-ed", "pending")]


def test_after_z_a_selector_must_be_chosen(tmp_path: Path) -> None:
    entries = "\n".join(f'[key."example.com".2026{letter}-ed]' for letter in "abcdefghijklmnopqrstuvwxyz")
    (tmp_path / "keys.toml").write_text(entries.replace("-ed]", '-ed]\nstate = "retired"'))
    with pytest.raises(KeysError, match="all selectors from 2026a to 2026z are in use; choose one: --selector"):
        made(tmp_path)
    assert made(tmp_path, selector="mail")[0] == ("mail", "active")


@pytest.mark.parametrize(
    ("algorithms", "selector", "expected"),
    [
        (BOTH, "", ["2026a", "2026a-ed"]),
        (BOTH, "mail", ["mail", "mail-ed"]),
        ((RSA,), "", ["2026a"]),
        ((RSA,), "mail", ["mail"]),
        ((ED25519,), "", ["2026a-ed"]),
        ((ED25519,), "mail", ["mail"]),
    ],
)
def test_selectors(tmp_path: Path, algorithms: tuple[str, ...], selector: str, expected: list[str]) -> None:
    keys = generate(tmp_path, "example.com", algorithms, selector=selector, now=NOW)
    assert [key.selector for key in keys] == expected
    assert [key.algorithm for key in keys] == list(algorithms)
    assert sorted(file.stem for file in (tmp_path / "example.com").iterdir()) == sorted(expected)


def test_the_entry_says_when_and_what(tmp_path: Path) -> None:
    made(tmp_path)
    entry = read_entries(tmp_path / "keys.toml")["example.com", "2026a"]
    assert (entry.state, entry.created) == ("active", NOW)
    text = (tmp_path / "keys.toml").read_text()
    assert text.startswith("# States of DKIM keys")
    assert '[key."example.com".2026a]\nstate = "active"\ncreated = 2026-11-21T12:00:00Z\n' in text


def test_an_admins_comments_and_order_stay(tmp_path: Path) -> None:
    before = (
        "# ours\n"
        '[key."example.net".s1]   # the old one\n'
        'state = "retired"   # since May\n'
        "\n"
        '[key."example.com"."mail.eu"]\n'
        'state = "active"\n'
    )
    (tmp_path / "keys.toml").write_text(before)
    made(tmp_path)
    made(tmp_path, "example.net")
    after = (tmp_path / "keys.toml").read_text()
    assert all(line in after for line in before.splitlines())
    assert set(read_entries(tmp_path / "keys.toml")) == {
        ("example.net", "s1"),
        ("example.net", "2026a"),
        ("example.net", "2026a-ed"),
        ("example.com", "mail.eu"),
        ("example.com", "2026a"),
        ("example.com", "2026a-ed"),
    }


def test_a_crash_between_entry_and_key_leaves_no_key_that_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pending state must be on disk before the key is."""
    made(tmp_path)

    def power_cut(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("relay.signing.keystore.write_private_key", power_cut)
    with pytest.raises(OSError, match="Input/output error"):
        made(tmp_path)
    assert read_entries(tmp_path / "keys.toml")["example.com", "2026b"].state == "pending"
    assert [key.selector for key in KeyRing(read_keys(tmp_path)[0]).for_domain("example.com")] == ["2026a-ed", "2026a"]


def test_writers_take_turns(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        domains = [f"{i}.example" for i in range(8)]
        list(pool.map(lambda domain: generate(tmp_path, domain, (ED25519,), now=NOW), domains))
    assert {domain for domain, _ in read_entries(tmp_path / "keys.toml")} == set(domains)


def test_broken_files_are_not_built_upon(tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text("[key\n")
    with pytest.raises(KeysError, match="toml"):
        made(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["keys.toml"]


def test_a_state_is_changed_and_stays(tmp_path: Path) -> None:
    made(tmp_path)
    changed = set_state(tmp_path, "example.com", "2026a", "retired")
    assert (changed.selector, changed.state, changed.created) == ("2026a", "retired", NOW)
    assert [key.selector for key in KeyRing(read_keys(tmp_path)[0]).for_domain("example.com")] == ["2026a-ed"]


def test_a_key_without_entry_gets_one(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "keys.toml").unlink()
    set_state(tmp_path, "example.com", "2026a-ed", "pending")
    assert [key.selector for key in KeyRing(read_keys(tmp_path)[0]).for_domain("example.com")] == ["2026a"]


def test_what_is_no_key_has_no_state(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="no such key; see postlane keys list"):
        set_state(tmp_path, "example.com", "2026a", "active")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
def test_what_root_makes_the_service_can_read(tmp_path: Path) -> None:
    """Twice: the second time everything is there, and keys.toml is put in the place of one that is the service's."""
    nobody = 65534
    os.chown(tmp_path, nobody, nobody)
    for _ in range(2):
        made(tmp_path / "dkim")
    found = list(tmp_path.rglob("*"))
    assert len(found) == 7  # dkim, keys.toml, example.com and four keys
    assert {(path.stat().st_uid, path.stat().st_gid) for path in found} == {(nobody, nobody)}


def test_an_unfinished_keys_toml_is_no_way_to_other_files(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "dkim").mkdir()
    (tmp_path / "dkim" / ".keys.toml.new").symlink_to(victim)
    made(tmp_path / "dkim")
    assert victim.read_text() == "precious"
