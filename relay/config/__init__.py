"""Config: the only reader of config/ and policies/; turns files into plain, frozen values or into a list of problems.

    files --reader--> Document --schema--> sections --deployment, policies--> Deployment, Policies
                 \\______________________ problems ______________________/

Nothing comes into force that has an error: `load_deployment` and `load_policies` raise ConfigErrors with all of them.
"""

from relay.config.deployment import Deployment, examine_deployment, load_deployment
from relay.config.pages import public_pages
from relay.config.places import MissingDirectory, find_directories
from relay.config.policies import Policies, everybody, examine_policies, load_policies, sandbox_credential
from relay.config.problems import ConfigErrors, Problem
from relay.config.schema_config import Listener
from relay.config.secret import (
    hook_secret_path,
    load_hook_secret,
    load_secret,
    load_secrets,
    load_webhook_secret,
    rotate_hook_secret,
)
from relay.config.whereabouts import Whereabouts, whereabouts

__all__ = [
    "ConfigErrors",
    "Deployment",
    "Listener",
    "MissingDirectory",
    "Policies",
    "Problem",
    "Whereabouts",
    "everybody",
    "examine_deployment",
    "examine_policies",
    "find_directories",
    "hook_secret_path",
    "load_deployment",
    "load_hook_secret",
    "load_policies",
    "load_secret",
    "load_secrets",
    "load_webhook_secret",
    "public_pages",
    "rotate_hook_secret",
    "sandbox_credential",
    "whereabouts",
]
