"""Templates and static files, as the pages of both sites have them."""

from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def environment(folder: Path) -> Environment:
    """What strangers wrote is escaped, and a name that is missing is a fault of ours. Files are read once."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def versioned(name: str, data: bytes) -> str:
    """With the content's hash in its address: it may be kept for ever, and a new version is fetched at once."""
    return f"{name}?{sha256(data).hexdigest()[:12]}"
