"""The files on disk as mail would meet them, were they in force: what `explain` and `plan` try."""

from pathlib import Path

from relay.config import Deployment, load_deployment, load_policies
from relay.fate import Files, files_of
from relay.signing.keyfile import throwaway_key_of
from relay.signing.keys import KeyRing, read_keys


def on_disk(config: Path, policies: Path) -> tuple[Deployment, Files]:
    """Raises ConfigErrors and KeysError, as a reload would be refused."""
    deployment = load_deployment(config)
    said = load_policies(policies, deployment)
    keys, _ = read_keys(deployment.dkim_dir)
    sandbox = throwaway_key_of(deployment.node.data_dir / "sandbox-dkim.pem") if deployment.capture else None
    return deployment, files_of(deployment, said, KeyRing(keys, throwaway=sandbox))
