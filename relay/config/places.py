"""Where config/ and policies/ are: what was said, else the environment, else here, else /etc/postlane."""

from collections.abc import Mapping
from os import environ as _process_environ
from pathlib import Path

SYSTEM = Path("/etc/postlane")


class MissingDirectory(Exception):
    """No such folder; the text says what to do. Commands print it and exit 2."""


def find_directories(
    config: Path | str | None = None, policies: Path | str | None = None, environ: Mapping[str, str] = _process_environ
) -> tuple[Path, Path]:
    """(config/, policies/); None: nobody said where. Raises MissingDirectory."""
    return _find("config", config, environ), _find("policies", policies, environ)


def find_policies(said: Path | str | None, environ: Mapping[str, str] = _process_environ) -> Path | None:
    """policies/ for what can do without; raises MissingDirectory only where somebody said where it is."""
    try:
        return _find("policies", said, environ)
    except MissingDirectory:
        if said:
            raise
        return None


def _find(name: str, said: Path | str | None, environ: Mapping[str, str]) -> Path:
    variable = f"POSTLANE_{name.upper()}"
    explicit = said or environ.get(variable)
    if explicit:
        if Path(explicit).is_dir():
            return Path(explicit)
        raise MissingDirectory(f"{explicit} is no folder. Say --{name} DIR, or set {variable}.")
    for candidate in (Path(name), SYSTEM / name):
        if candidate.is_dir():
            return candidate
    raise MissingDirectory(f"no {name}/ here nor {SYSTEM / name}. Say --{name} DIR, or set {variable}.")
