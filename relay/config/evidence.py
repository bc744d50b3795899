"""The evidence model as it ships: lexicons and weights, read from the files beside the code that uses them."""

import tomllib
from functools import lru_cache
from pathlib import Path

import relay.policy.evidence
from relay.policy.evidence.classify import Model

_FOLDER = Path(relay.policy.evidence.__file__).parent


@lru_cache(maxsize=1)  # half a second to compile, and it never changes while a process lives
def load_model() -> Model:
    """The one model of this process."""
    lexicons = {file.stem: tomllib.loads(file.read_text("utf-8")) for file in sorted(_FOLDER.glob("lexicon/*.toml"))}
    return Model(lexicons, tomllib.loads((_FOLDER / "weights.toml").read_text("utf-8")))
