"""The schema of policies/brands.toml: who speaks, and what is checked of their mail."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from relay.config.fields import ALONE_OR_LIST, Color, Domain, MaybeDomain, Name, Timezone, Url, text_of
from relay.config.reader import Section, setting
from relay.config.schema_routes import Classes
from relay.config.schema_streams import Exact, HeaderName, Subjects, pattern
from relay.policy.evidence.lexicon import normal
from relay.policy.patterns import BadPattern, Pattern, parse


def _in_english(value: object) -> object:
    """One text stands for the same in every language."""
    return {"en": value} if isinstance(value, str) else value


class _InJsonSchema:
    """Says there that one text may stand for a table of one."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(core)]}


Texts = Annotated[dict[str, str], BeforeValidator(_in_english), _InJsonSchema(), Field(min_length=1)]


def body_pattern(value: object) -> Pattern:
    """Plain text: these words anywhere. A wildcard's text is put as the body is compared: without case and most signs."""
    return pattern(value, _as_compared)


def _as_compared(written: str) -> Pattern:
    if written.startswith("re:"):
        return parse(written)
    if not normal(written.encode()):
        raise BadPattern("holds no word, and signs are gone from what it is compared with")
    if "*" not in written:
        return parse(written, words=True)
    return replace(parse("*".join(normal(part.encode()).decode() for part in written.split("*"))), written=written)


Bodies = Annotated[list[Annotated[Pattern, *text_of(body_pattern, "unsubscribe")]], *ALONE_OR_LIST, Field(min_length=1)]


class ColorsTable(Section):
    """Of its pages for recipients. Without background and text these follow what the reader's screen is set to, light or dark."""

    accent: Color = setting("", "of buttons; what is written on them is black or white, whichever reads better")
    background: Color = ""
    text: Color = ""


class PageTextsTable(Section):
    """Its own words on its pages for recipients, by language."""

    intro: Texts | None = setting(None, "above the choices")
    unsubscribe_intro: Texts | None = setting(None, "above the button of the page that List-Unsubscribe leads to")
    service: Texts | None = setting(None, "which mail still arrives after unsubscribing, and why")
    left: Texts | None = setting(None, "after unsubscribing")


class BrandTable(Section):
    """Who speaks. The From domain decides the brand."""

    name: Texts = setting({"en": ""}, "as recipients read it, by language")
    domains: list[Domain] = setting([], "From domains that are its")
    timezone: Timezone = setting("UTC", "of its calendar days, weeks and months")
    public_url: Url = setting("", "of its unsubscribe and preference pages")
    return_path_domain: MaybeDomain = setting(
        "", description="bounces come back to it; under a domain of the brand's own"
    )
    postal_address: Texts = setting({"en": ""}, "as it stands in mail, by language where that differs")
    logo: str = setting("", "file, relative to policies/: svg, png, jpg or webp")
    colors: ColorsTable = ColorsTable()
    texts: PageTextsTable = PageTextsTable()
    topics: dict[Name, Texts] = setting({}, "what recipients choose from, as they read it, by language")
    checks: dict[str, Literal["warn", "flag", "refuse"]] = setting(
        {}, "of its mail: warn is recorded, flag alerts, refuse answers 550"
    )
    unsigned: Literal["refuse", "send"] = setting("refuse", "mail of a From domain without a DKIM key")


class CheckMatchTable(Section):
    """What a check looks at; all keys must fit. Case never matters."""

    header: dict[HeaderName, Exact] = setting({}, "a field by its name; * alone: it is there")
    subject: Subjects | None = setting(None, "plain text: these words, side by side, anywhere")
    body: Bodies | None = setting(
        None, "the same in the text as people read it, without signs: its beginning and its end, some 3 KB"
    )


class CheckTable(Section):
    """A check of one's own, which brands name in `checks` like those that the program has."""

    mail_class: Classes | None = setting(None, "else of all mail", alias="class")
    match: CheckMatchTable
    must: Literal["have", "lack"] = setting("have", "what match says")
    source: str = setting("", "who asks for it, for people")


class BrandsFile(Section):
    """policies/brands.toml"""

    brand: dict[Name, BrandTable] = setting({})
    check: dict[Name, CheckTable] = setting({})
