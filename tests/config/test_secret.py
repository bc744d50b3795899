import base64
import stat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from relay.config import (
    ConfigErrors,
    Deployment,
    hook_secret_path,
    load_deployment,
    load_hook_secret,
    load_secret,
    load_secrets,
    load_webhook_secret,
    rotate_hook_secret,
)
from relay.identity import Credential, HookSecret, Webhook


def deployment(folder: Path, more: str = "") -> Deployment:
    (folder / "config").mkdir(exist_ok=True)
    text = f'[node]\nhostname = "a.example"\n[[listener]]\nbind = "127.0.0.1:2525"\n{more}'
    (folder / "config" / "postlane.toml").write_text(text)
    return load_deployment(folder / "config", {})


def _load(folder: Path) -> bytes:
    return load_secret(load_deployment(folder / "config", {}))


def test_it_is_made_once_for_all_processes(tmp_path: Path) -> None:
    deployment(tmp_path)
    with get_context("spawn").Pool(3) as pool:
        secrets = set(pool.map(_load, [tmp_path] * 6))
    assert len(secrets) == 1
    assert len(secrets.pop()) == 32
    path = tmp_path / "data" / "secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path], "nothing is left beside it"


def test_a_named_file_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "master"
    path.write_bytes(b"x" * 40 + b"\n")
    path.chmod(0o640)
    assert load_secret(deployment(tmp_path, '[secrets]\nfile = "master"\n')) == b"x" * 40 + b"\n"


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [(b"short", 0o600, "holds 5 octets"), (b"x" * 32, 0o644, "open to everybody"), (None, 0, "cannot be read")],
)
def test_what_is_refused(tmp_path: Path, content: bytes | None, mode: int, why: str) -> None:
    path = tmp_path / "master"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(ConfigErrors, match=why) as raised:
        load_secret(deployment(tmp_path, '[secrets]\nfile = "master"\n'))
    assert raised.value.problems[0].key == "secrets.file"


def listed(folder: Path, text: str) -> tuple[bytes, ...]:
    (folder / "master").write_text(text)
    (folder / "master").chmod(0o600)
    return load_secrets(deployment(folder, '[secrets]\nfile = "master"\n'))


OLD, NEW = base64.b64encode(b"o" * 32).decode(), base64.b64encode(b"n" * 33).decode()


def test_a_list_holds_several_of_which_the_oldest_is_what_people_are_known_by(tmp_path: Path) -> None:
    found = listed(tmp_path, f"# postlane secrets\n{OLD}\n\n# since November\n  {NEW}\n")
    assert found == (b"o" * 32, b"n" * 33)
    assert load_secret(deployment(tmp_path, '[secrets]\nfile = "master"\n')) == b"o" * 32


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is a list without a secret"),
        (f"{OLD}\nno base64\n", "line 3, is no base64"),
        (f"{OLD}\nc2hvcnQ=\n", "holds a secret of 5 octets; 32 at least"),
        (f"{OLD}\n{NEW}\n{OLD}\n", "holds a secret twice"),
    ],
)
def test_a_list_with_a_fault_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigErrors, match=why):
        listed(tmp_path, f"# postlane secrets\n{text}")


HOOK = '[alerts]\nwebhook = "https://chat.a.example/hooks"\n'


def test_that_of_a_webhook_is_made_where_none_is_named(tmp_path: Path) -> None:
    assert load_webhook_secret(deployment(tmp_path)) == (), "nobody needs one"
    (one,) = load_webhook_secret(deployment(tmp_path, HOOK))
    made = one.key
    path = tmp_path / "data" / "alerts-webhook-secret"
    assert len(made) == 32
    assert path.read_text() == f"whsec_{base64.b64encode(made).decode()}\n", "as its receiver wants it"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_webhook_secret(deployment(tmp_path, HOOK)) == (HookSecret(made),)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", 24),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", None),
        ("whsec_c2hvcnQ=", None),
        ("whsec_no base64", None),
        ("", None),
    ],
)
def test_that_of_a_webhook_may_be_named(tmp_path: Path, content: str, found: int | None) -> None:
    path = tmp_path / "hook"
    path.write_text(content)
    path.chmod(0o600)
    said = deployment(tmp_path, f'{HOOK}webhook_secret_file = "hook"\n')
    if found is not None:
        assert [len(one.key) for one in load_webhook_secret(said)] == [found]
        return
    with pytest.raises(ConfigErrors, match=r"holds no secret of a webhook: whsec_ and 24 to 64") as raised:
        load_webhook_secret(said)
    assert raised.value.problems[0].key == "alerts.webhook_secret_file"


ONE, TWO = (f"whsec_{base64.b64encode(sign * 32).decode()}" for sign in (b"1", b"2"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            f"# the shop's\n{ONE}\n\n{TWO} until=2026-11-23T12:00:00Z\n",
            [(b"1" * 32, 0), (b"2" * 32, 1_795_435_200_000)],
        ),
        (f"{ONE}\n{TWO}\n", [(b"1" * 32, 0), (b"2" * 32, 0)]),
        (f"{ONE} until=2026-11-23T12:00:00Z\n", "every secret in it ends"),
        (f"{ONE}\n{TWO} until=soon\n", "holds no secret of a webhook"),
        (f"{ONE}\n{TWO} until=2026-11-23T12:00:00Z more\n", "holds no secret of a webhook"),
        (f"{ONE} {TWO}\n", "holds no secret of a webhook"),
        (f"{ONE}\nother\n", "holds no secret of a webhook"),
        (f"{ONE}\n" * 5, "holds 5 secrets; 4 at most"),
        ("# nothing\n", "holds no secret of a webhook"),
        ("\xff\n", "holds no secret of a webhook"),
    ],
)
def test_of_a_webhook_several_may_sign(tmp_path: Path, text: str, found: Any) -> None:
    path = tmp_path / "hook"
    path.write_text(text, encoding="latin-1")
    path.chmod(0o600)
    said = deployment(tmp_path, f'{HOOK}webhook_secret_file = "hook"\n')
    if isinstance(found, str):
        with pytest.raises(ConfigErrors, match=found):
            load_webhook_secret(said)
        return
    assert [(one.key, one.until) for one in load_webhook_secret(said)] == found


def test_a_new_one_takes_the_place_of_those_before_in_the_time_they_have(tmp_path: Path) -> None:
    path, link = tmp_path / "hook", tmp_path / "link"
    path.write_text(f"{ONE}\n{TWO} until=2026-11-23T12:00:00Z\n")
    path.chmod(0o640)
    link.symlink_to(path)
    said = deployment(tmp_path, f'{HOOK}webhook_secret_file = "hook"\n')
    now, day = 1_795_435_200_000 - 1, 86_400_000
    new, until = rotate_hook_secret(link, now, day)
    assert path.read_text() == f"{new}\n{ONE} until=2026-11-24T11:59:59.999Z\n{TWO} until=2026-11-23T12:00:00.000Z\n"
    assert (until, stat.S_IMODE(path.stat().st_mode), link.is_symlink()) == (now + day, 0o640, True)
    assert [one.until for one in load_webhook_secret(said)] == [0, now + day, now + 1]
    for _ in range(4):
        newer, _ = rotate_hook_secret(path, now + 2 * day, 0)
    assert [one.until for one in load_webhook_secret(said)] == [0, now + 2 * day], "what has ended goes"
    assert path.read_text().startswith(f"{newer}\n")
    with pytest.raises(ConfigErrors, match="cannot be read"):
        rotate_hook_secret(tmp_path / "none", now, day)


def test_each_credential_has_its_own(tmp_path: Path) -> None:
    node, hook = deployment(tmp_path), Webhook("https://shop.example/hook")
    shop, crm = (Credential(name, None, frozenset(), webhook=hook) for name in ("shop", "crm"))
    assert load_hook_secret(node, shop) == load_hook_secret(node, shop) != load_hook_secret(node, crm)
    assert hook_secret_path(node, shop) == tmp_path / "data" / "webhooks" / "shop.secret"
    assert stat.S_IMODE(hook_secret_path(node, shop).stat().st_mode) == 0o600
    named = Credential(
        "shop", None, frozenset(), webhook=Webhook("https://shop.example/hook", secret_file="secrets/shop")
    )
    assert hook_secret_path(node, named) == tmp_path / "secrets" / "shop"
    with pytest.raises(ConfigErrors, match="cannot be read or made") as raised:
        load_hook_secret(node, named)
    assert raised.value.problems[0].key == "credential.shop.webhook.secret_file"
