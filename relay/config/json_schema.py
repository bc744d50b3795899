"""JSON Schema of every file an admin edits, from the models that read them: editors complete and check with it.

A file's first line, `#:schema ../schema/streams.json`, tells an editor where it is (Taplo's convention for TOML).
"""

from typing import Any

from pydantic import BaseModel

from relay.config.schema_bounces import BouncesFile
from relay.config.schema_brands import BrandsFile
from relay.config.schema_caps import CapsFile
from relay.config.schema_config import PoolsFile, PostlaneFile
from relay.config.schema_policies import CredentialsFile, RetryFile
from relay.config.schema_recipients import RecipientsFile
from relay.config.schema_routes import RoutesFile
from relay.config.schema_shaping import ShapingFile
from relay.config.schema_streams import StreamsFile

_MODELS: dict[str, type[BaseModel]] = {
    "postlane": PostlaneFile,
    "pools": PoolsFile,
    "brands": BrandsFile,
    "bounces": BouncesFile,
    "caps": CapsFile,
    "credentials": CredentialsFile,
    "recipients": RecipientsFile,
    "retry": RetryFile,
    "routes": RoutesFile,
    "shaping": ShapingFile,
    "streams": StreamsFile,
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """By the file's name without .toml."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {name: dialect | model.model_json_schema() for name, model in _MODELS.items()}
