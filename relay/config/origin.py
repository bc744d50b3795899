"""Every value of a file of policies/, and where it comes from: a line of the file, or what the program ships."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

import relay.shaping
from relay.config.policies import MODELS
from relay.config.problems import ConfigErrors
from relay.config.reader import Document, read
from relay.config.wording import Loc
from relay.domain import a_label


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, as an admin would write it. `line` 0: shipped with the program."""

    loc: Loc
    key: str
    value: Any
    line: int


def settings_of(folder: Path, file: str) -> list[Setting]:
    """What `file` of an accepted version says, defaults included; raises ConfigErrors where it cannot be read."""
    document: Document | None = Document(file, "", {})
    if (folder / file).exists():
        document, problems = read(folder / file)
        if document is None:
            raise ConfigErrors(problems)
    assert document is not None
    found = list(_table(document, MODELS[file], document.data, ()))
    if file == "bounces.toml":
        return list(_inherited(found))
    return [*_inherited(found), *_shipped_rules()] if file == "shaping.toml" else found


def _inherited(settings: list[Setting]) -> Iterator[Setting]:
    """What a provider, its block for a pool, a domain, or a stream's health does not say is what holds above it, and stands where
    that is said."""
    known = {one.loc: one for one in settings}
    for one in settings:
        above: list[Loc] = []
        if one.value is None and one.loc[0] in ("provider", "domain"):
            above = [(*one.loc[:2], one.loc[-1]), ("default", one.loc[-1])]
        elif one.value is None and one.loc[:2] == ("health", "stream"):
            above = [("health", "default", *one.loc[3:])]
        if above:
            says = (known[loc] for loc in above if loc in known and known[loc].value is not None)
            if source := next(says, None):
                yield replace(one, value=source.value, line=source.line)
                continue
        yield one


def _shipped_rules() -> Iterator[Setting]:
    """Back-off rules come after those of the file, whatever that says."""
    known = read(Path(relay.shaping.__file__).parent / "backoff.toml")[0]
    assert known is not None
    for name, provider in known.data["provider"].items():
        yield Setting(("provider", name, "backoff"), f"provider.{name}.backoff", provider["backoff"], 0)
    yield Setting(("backoff",), "backoff", known.data["backoff"], 0)


def _table(document: Document, model: type[BaseModel], data: Any, loc: Loc) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        key = field.alias or name
        yield from _field(document, field, data.get(key, field.default), (*loc, key))
    if model.model_config.get("extra") == "allow":  # keys that admins name: [address-check] has credentials
        known = {field.alias or name for name, field in model.model_fields.items()}
        for key in (key for key in data if key not in known):
            yield from _value(document, data[key], (*loc, key))


def _field(document: Document, field: FieldInfo, value: Any, loc: Loc) -> Iterator[Setting]:
    table, named = _tables(field.annotation)
    if table is not None and value is not None:
        value = {} if isinstance(value, BaseModel) else value  # its own defaults
    if (table is not None and value is not None) or named is not None:
        for validator in field.metadata:
            if isinstance(validator, BeforeValidator):  # puts the shipped values under those of the file
                value = validator.func(value)  # type: ignore[call-arg]
    if table is not None and value is not None:
        yield from _table(document, table, value, loc)
    elif named is not None:
        for name, inside in value.items():
            yield from _table(document, named, inside, (*loc, name))
    else:
        yield from _value(document, value, loc)


def _tables(annotation: Any) -> tuple[type[BaseModel] | None, type[BaseModel] | None]:
    """(the model of a table, the model of each of the tables [kind.NAME])"""
    if get_origin(annotation) is dict:
        return None, _model(get_args(annotation)[1])
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((found for found in map(_model, kinds) if found is not None), None), None


def _model(kind: Any) -> type[BaseModel] | None:
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _value(document: Document, value: Any, loc: Loc) -> Iterator[Setting]:
    """What has no schema of its own yet is shown key by key."""
    if isinstance(value, dict) and value:
        for key, inside in value.items():
            yield from _value(document, inside, (*loc, key))
        return
    line = document.line(loc) if loc in document.places else 0
    yield Setting(loc, document.label(loc), value, line)


class Places:
    """Where keys of a policies/ stand that was accepted, as "policies/brands.toml:16". Files are read when somebody asks,
    and once. Without a folder nothing stands anywhere."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._documents: dict[str, Document | None] = {}

    def __repr__(self) -> str:
        return f"<Places in {self._folder}, {len(self._documents)} files read>"

    def of(self, file: str, *loc: str | int) -> str:
        """ "" where the file does not say: then it is shipped with the program."""
        document = self._document(file)
        return f"policies/{file}:{document.line(loc)}" if document is not None and loc in document.places else ""

    def of_stream(self, name: str, *keys: str) -> str:
        """Of the `[[stream]]` of that name."""
        document = self._document("streams.toml")
        names = document.titles("stream") if document is not None else []
        return self.of("streams.toml", "stream", names.index(name), *keys) if name in names else ""

    def of_domain(self, brand: str, domain: str) -> str:
        """Of a domain (A-label) in a brand's list."""
        document = self._document("brands.toml")
        brands = document.data.get("brand", {}) if document is not None else {}
        listed = [a_label(one) for one in brands.get(brand, {}).get("domains", ())]
        return self.of("brands.toml", "brand", brand, "domains", listed.index(domain)) if domain in listed else ""

    def _document(self, file: str) -> Document | None:
        if file not in self._documents:
            path = self._folder / file if self._folder is not None else None
            self._documents[file] = read(path)[0] if path is not None and path.exists() else None
        return self._documents[file]
