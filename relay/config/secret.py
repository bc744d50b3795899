"""The secret that signs tokens in mail, return paths and recipient keys: read, or made at first start."""

import secrets

from relay.config.deployment import Deployment
from relay.config.problems import ConfigErrors
from relay.durable import make_once

SECRET_BYTES = 32  # the key of HMAC-SHA-256 (RFC 2104 3: as long as the hash)


def load_secret(deployment: Deployment) -> bytes:
    """The file's octets, as they are; raises ConfigErrors where it cannot be used.

    Without `[secrets] file` it is `data_dir/secret`, made by whichever process comes first; all others read that one.
    """
    named = deployment.secrets.file
    path = deployment.home / named if named else deployment.node.data_dir / "secret"
    try:
        if not named and not path.exists():
            make_once(path, secrets.token_bytes(SECRET_BYTES))
        secret = path.read_bytes()
        strangers = path.stat().st_mode & 0o007
    except OSError as error:
        raise _refused(deployment, f'"{path}" cannot be read or made: {error.strerror}') from None
    if len(secret) < SECRET_BYTES:
        raise _refused(deployment, f'"{path}" holds {len(secret)} octets; {SECRET_BYTES} at least')
    if strangers:
        raise _refused(deployment, f'"{path}" is open to everybody on this machine; chmod o-rwx')
    return secret


def _refused(deployment: Deployment, message: str) -> ConfigErrors:
    return ConfigErrors([deployment.document.problem(("secrets", "file"), message, "file")])
