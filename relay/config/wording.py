"""What pydantic found, in the words admins read: one table from its error types to ours. Pure."""

import types
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from relay.config.problems import Wrong, did_you_mean, listing
from relay.config.units import shown

Loc = tuple[str | int, ...]
Rule = Callable[[Any, Any, str], str]  # (value, context of the error, key) -> message


def explain(model: type[BaseModel], error: Any) -> tuple[str, str]:
    """(slug, message) of one of pydantic's ErrorDetails."""
    kind, loc = error["type"], error["loc"]
    context = error.get("ctx", {})
    key = next((str(part) for part in reversed(loc) if isinstance(part, str)), "")
    if kind == "extra_forbidden":
        return "unknown-key", _unknown_key(key, keys_at(model, loc[:-1]))
    if kind == "value_error" and isinstance(context.get("error"), Wrong):
        wrong: Wrong = context["error"]
        return wrong.slug, wrong.message
    slug, rule = _RULES.get(kind, ("value", lambda value, _context, _key: f"{shown(value)}: {error['msg']}"))
    return slug, rule(error["input"], context, key)


def _unknown_key(key: str, known: Sequence[str]) -> str:
    close = did_you_mean(key, known)
    if close:
        return f"unknown key; did you mean {close}?"
    return f"unknown key; there are {listing(known)}" if known else "unknown key"


def misplaced(model: type[BaseModel], loc: Loc, data: Any) -> tuple[str, str] | None:
    """(slug, message) of a key that stands under `[rule.match]` or `[kind.NAME.match]` and is one of the rule's; None: it is
    not known there.

    TOML gives such a table all keys down to the next header, whatever their author meant.
    """
    *rule, table, key = loc
    if key not in keys_at(model, tuple(rule)):
        return None
    whole, inside = ".".join(part for part in rule if isinstance(part, str)), data
    for step in (*rule, table):
        inside = inside[step]
    others = (one for one in inside if one in keys_at(model, loc[:-1]))
    condition = f"{table}.{next(others, 'KEY')} = ..."
    header = f"[{whole}]" if isinstance(rule[-1], str) else f"[[{whole}]]"
    cure = f"write {condition} in the {header} itself, or move {key} above"
    return "misplaced", f"stands under [{whole}.{table}] and so belongs to {table}; {cure}"


def _wanted(expected: str, sample: Callable[[Any], str | None]) -> Rule:
    def message(value: Any, _context: Any, key: str) -> str:
        example = sample(value)
        return f"{shown(value)} is not {expected}" + (f"; write {key} = {example}" if example else "")

    return message


def _quoted(value: Any) -> str | None:
    return None if isinstance(value, (dict, list)) else f'"{shown(value)}"'


def _number(value: Any) -> str | None:
    return value if isinstance(value, str) and value.isascii() and value.isdigit() else None


def _boolean(value: Any) -> str | None:
    return {"true": "true", "yes": "true", "false": "false", "no": "false"}.get(str(value).lower())


def _choice(value: Any, context: Any, _key: str) -> str:
    choices = [choice.strip("'") for choice in context["expected"].replace(" or ", ", ").split(", ")]
    close = did_you_mean(value, choices) if isinstance(value, str) else None
    return f"{shown(value)} is none of {', '.join(choices)}" + (f'; did you mean "{close}"?' if close else "")


_RULES: dict[str, tuple[str, Rule]] = {
    "missing": ("missing", lambda _value, _context, _key: "is missing"),
    "string_type": ("type", _wanted("text", _quoted)),
    "int_type": ("type", _wanted("a whole number", _number)),
    "bool_type": ("type", _wanted("true or false", _boolean)),
    "list_type": ("type", _wanted("a list", lambda value: None if isinstance(value, dict) else f"[{shown(value)}]")),
    "dict_type": ("type", _wanted("a table", lambda _value: None)),
    "model_type": ("type", _wanted("a table", lambda _value: None)),
    "date_type": ("type", _wanted("a date, such as 2026-11-23 (without quotes)", lambda _value: None)),
    "literal_error": ("choice", _choice),
    "too_short": ("empty", lambda _value, _context, _key: "is empty; at least one is expected"),
    "too_long": ("range", lambda _value, context, _key: f"has too many entries; {context['max_length']} at most"),
    "string_too_short": ("empty", lambda _value, _context, _key: "is empty"),
    "greater_than_equal": ("range", lambda value, context, _key: f"{value} is too small; {context['ge']} at least"),
    "less_than_equal": ("range", lambda value, context, _key: f"{value} is too large; {context['le']} at most"),
}


def keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """The keys a table at `loc` may have."""
    here: Any = model
    for step in loc:
        here = _inside(here, step)
    return [field.alias or name for name, field in here.model_fields.items()] if _is_model(here) else []


def _inside(annotation: Any, step: str | int) -> Any:
    """The type of what stands at `step` in a table or list of the type `annotation`."""
    if _is_model(annotation):
        fields = {field.alias or name: field for name, field in annotation.model_fields.items()}
        return _bare(fields[str(step)].annotation) if str(step) in fields else None
    arguments = get_args(annotation)
    return _bare(arguments[-1]) if arguments else None


def _bare(annotation: Any) -> Any:
    """Without Annotated and `| None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return _bare(next(part for part in get_args(annotation) if part is not type(None)))
    return annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
