"""Secrets that are read, or made at first start: those that seal tokens in mail, return paths and recipient keys, and that
which signs what webhooks get: that of [alerts], and those of credentials.

The file of [secrets] is one secret, its octets as they are, or a list of several:

    # postlane secrets
    3q2+7w8Qf...=       base64, oldest first
    w5Jd0kfV9...=       the last one seals what is sealed from now on

By the first people are known for ever, so it stays. Of the others one may be taken out when nothing that it sealed matters any
more: an unsubscribe link should work for a year and more.
"""

import base64
import binascii
import os
import secrets
from pathlib import Path

from relay.config.deployment import Deployment
from relay.config.problems import ConfigErrors, Problem
from relay.config.wording import Loc
from relay.durable import make_once, sync
from relay.event import iso
from relay.identity import Credential, HookSecret
from relay.times import moment

MIN_WEBHOOK_BYTES, MAX_WEBHOOK_BYTES = 24, 64  # https://www.standardwebhooks.com, "Signature scheme"
MOST_HOOK_SECRETS = 4  # that sign at once: each adds 50 octets to every post
SECRET_BYTES = 32  # the key of HMAC-SHA-256 (RFC 2104 3: as long as the hash)


LIST = b"# postlane secrets"


def load_secret(deployment: Deployment) -> bytes:
    """The oldest, by which people are known and which never changes; raises ConfigErrors where it cannot be used."""
    return load_secrets(deployment)[0]


def load_secrets(deployment: Deployment) -> tuple[bytes, ...]:
    """All of them, oldest first; the last one seals. Raises ConfigErrors.

    Without `[secrets] file` it is `data_dir/secret`, made by whichever process comes first; all others read that one.
    """
    named, key = deployment.secrets.file, ("secrets", "file")
    path = deployment.home / named if named else deployment.node.data_dir / "secret"
    secret = _load(deployment, key, path, None if named else secrets.token_bytes(SECRET_BYTES))
    listed = secret.startswith(LIST)
    found = _listed(deployment, key, path, secret) if listed else (secret,)
    for one in found:
        if len(one) < SECRET_BYTES:
            what = "a secret of " if listed else ""
            raise _refused(deployment, key, f'"{path}" holds {what}{len(one)} octets; {SECRET_BYTES} at least')
    return found


def _listed(deployment: Deployment, key: Loc, path: Path, text: bytes) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith(b"#"):
            try:
                found.append(base64.b64decode(line.strip(), validate=True))
            except binascii.Error:
                raise _refused(deployment, key, f'"{path}", line {number}, is no base64') from None
    if not found:
        raise _refused(deployment, key, f'"{path}" is a list without a secret')
    if len(set(found)) < len(found):
        raise _refused(deployment, key, f'"{path}" holds a secret twice')
    return tuple(found)


def load_webhook_secret(deployment: Deployment) -> tuple[HookSecret, ...]:
    """The key in `whsec_` and base64, as Standard Webhooks write it; raises ConfigErrors. None where there is no webhook.

    While one takes another's place the file has a line for each, the newest first, and the older ones say until when they
    sign: `whsec_... until=2026-11-23T12:00:00Z`.

    Without `webhook_secret_file` it is `data_dir/alerts-webhook-secret`, made at first start: the receiver needs a copy.
    """
    if not deployment.alerts.webhook:
        return ()
    named, key = deployment.alerts.webhook_secret_file, ("alerts", "webhook_secret_file")
    path = deployment.home / named if named else deployment.node.data_dir / "alerts-webhook-secret"
    try:
        return _hook_secret(path, made=not named)
    except _Unusable as error:
        raise _refused(deployment, key, str(error)) from None


def hook_secret_path(deployment: Deployment, credential: Credential) -> Path:
    """The file with the secret of a credential's webhook, which its app needs a copy of."""
    named = credential.webhook.secret_file if credential.webhook is not None else ""
    folder = deployment.node.data_dir / "webhooks"
    return deployment.home / named if named else folder / f"{credential.name}.secret"


def load_hook_secret(deployment: Deployment, credential: Credential) -> tuple[HookSecret, ...]:
    """The same for the webhook of a credential; where `secret_file` names none it is made in data_dir/webhooks."""
    assert credential.webhook is not None
    try:
        return _hook_secret(hook_secret_path(deployment, credential), made=not credential.webhook.secret_file)
    except _Unusable as error:
        key = f"credential.{credential.name}.webhook.secret_file"
        raise ConfigErrors([Problem("policies/credentials.toml", 0, key, str(error), "file")]) from None


def rotate_hook_secret(path: Path, now: int, overlap: int) -> tuple[str, int]:
    """Puts a new secret into the file; those there are sign beside it for `overlap` ms more at most. The new one as its receiver
    wants it, and until when the others sign (ms). Raises ConfigErrors where the file cannot be read or written."""
    end = now + overlap
    try:
        there = _hook_secret(path, made=False)
        new = _new_hook_secret()
        older = [(one.key, min(one.until or end, end)) for one in there if not one.until or one.until > now]
        lines = [new, *(f"{_written(key)} until={iso(until)}" for key, until in older[: MOST_HOOK_SECRETS - 1])]
        _replace(path, "".join(f"{line}\n" for line in lines).encode())
    except _Unusable as error:
        raise ConfigErrors([Problem(str(path), 0, "", str(error), "file")]) from None
    return new, end


def _replace(path: Path, content: bytes) -> None:
    """The file's content, whole or not at all, for the same eyes as before."""
    path = path.resolve()  # what a link leads to
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        mode = path.stat().st_mode & 0o777
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
        aside.chmod(mode)
        sync(aside)
        aside.rename(path)
        sync(path.parent)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise _Unusable(f'"{path}" cannot be written: {error.strerror}; put a new line on top of it yourself') from None


def _new_hook_secret() -> str:
    return _written(secrets.token_bytes(SECRET_BYTES))


def _written(key: bytes) -> str:
    return f"whsec_{base64.b64encode(key).decode()}"


def _hook_secret(path: Path, *, made: bool) -> tuple[HookSecret, ...]:
    text = _read(path, f"{_new_hook_secret()}\n".encode() if made else None).decode(errors="replace")
    found = [_hook_line(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    known = tuple(one for one in found if one is not None)
    if not known or len(known) < len(found):
        size = f"{MIN_WEBHOOK_BYTES} to {MAX_WEBHOOK_BYTES} octets in base64"
        raise _Unusable(f'"{path}" holds no secret of a webhook: whsec_ and {size}')
    if all(one.until for one in known):
        raise _Unusable(f'"{path}": every secret in it ends; one has to stay, without until=')
    if len(known) > MOST_HOOK_SECRETS:
        raise _Unusable(f'"{path}" holds {len(known)} secrets; {MOST_HOOK_SECRETS} at most')
    return known


def _hook_line(line: str) -> HookSecret | None:
    """`whsec_...`, and perhaps `until=` and a time; None: it is something else."""
    text, *rest = line.split()
    until = moment(rest[0].removeprefix("until=")) if len(rest) == 1 and rest[0].startswith("until=") else None
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:  # no base64, or not even ASCII
        return None
    fits = text.startswith("whsec_") and MIN_WEBHOOK_BYTES <= len(key) <= MAX_WEBHOOK_BYTES
    return HookSecret(key, until or 0) if fits and (not rest or until) else None


class _Unusable(Exception):
    """A file that holds no secret, or not for us alone; the words are for the admin."""


def _load(deployment: Deployment, key: Loc, path: Path, made: bytes | None) -> bytes:
    try:
        return _read(path, made)
    except _Unusable as error:
        raise _refused(deployment, key, str(error)) from None


def _read(path: Path, made: bytes | None) -> bytes:
    """What the file holds; with `made`, which it then holds, where there is none."""
    try:
        if made is not None and not path.exists():
            make_once(path, made)
        secret = path.read_bytes()
        strangers = path.stat().st_mode & 0o007
    except OSError as error:
        raise _Unusable(f'"{path}" cannot be read or made: {error.strerror}') from None
    if strangers:
        raise _Unusable(f'"{path}" is open to everybody on this machine; chmod o-rwx')
    return secret


def _refused(deployment: Deployment, key: Loc, message: str) -> ConfigErrors:
    return ConfigErrors([deployment.document.problem(key, message, "file")])
