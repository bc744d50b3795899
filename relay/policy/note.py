"""Facts that stand in State as a note, JSON by name. Pure."""

from dataclasses import Field, asdict, fields
from typing import Any, ClassVar, Self

import orjson


class Note:
    """Of a dataclass whose fields JSON can hold."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def dump(self) -> str:
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def load(cls, text: str) -> Self:
        """What a newer Postlane says beside is passed over. Raises ValueError, TypeError."""
        facts = orjson.loads(text)
        return cls(**{one.name: facts[one.name] for one in fields(cls) if one.name in facts})
