"""A credential as people and programs see it: a row of `list`, the lines of `show`, the facts of `--json`."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from relay.identity import Credential


def row(credential: Credential) -> tuple[str, ...]:
    quota = credential.quota.text if credential.quota else "-"
    return (
        credential.name,
        facts(credential)["class"],
        ", ".join(sorted(credential.domains)),
        quota,
        credential.brand or "-",
        _login(credential),
    )


def _login(credential: Credential) -> str:
    ways = []
    passwords = facts(credential)["passwords"]
    if passwords:
        ways.append("password" if passwords == 1 else f"{passwords} passwords")
    if credential.networks:
        ways.append(", ".join(map(str, credential.networks)))
    return "disabled" if credential.disabled else " or ".join(ways) or "-"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def describe(credential: Credential) -> list[str]:
    """One line a key; what is not set is left out."""
    told = {key: value for key, value in facts(credential).items() if value not in ("", None, [], False)}
    width = max(map(len, told))
    return [
        f"{key.ljust(width)}  {', '.join(value) if isinstance(value, list) else 'yes' if value is True else value}"
        for key, value in told.items()
    ]


def facts(credential: Credential) -> dict[str, Any]:
    """A credential for --json: what the file says, and how many passwords are valid; never their hashes."""
    now = int(time.time() * 1000)
    valid = [password for password in credential.passwords if not password.until or password.until > now]
    ends = [password.until for password in valid if password.until]
    return {
        "name": credential.name,
        "class": credential.mail_class.label if credential.mail_class is not None else "auto",
        "domains": sorted(credential.domains),
        "brand": credential.brand,
        "streams": list(credential.streams),
        "networks": list(map(str, credential.networks)),
        "quota": credential.quota.text if credential.quota else None,
        "over_quota": credential.over_quota,
        "dsn": credential.dsn,
        "owner": credential.owner,
        "passwords": len(valid),
        "older_password_until": _iso(min(ends)) if ends else None,
        "tokens": sum(not token.until or token.until > now for token in credential.tokens),
        "disabled": credential.disabled,
    }


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
