"""policies/bounces.toml: what only the whole of it shows to be wrong, and its rules compiled."""

from collections.abc import Iterator, Sequence

from relay.config.problems import Problem, no_such
from relay.config.reader import Document, Section
from relay.config.schema_bounces import OFF, BouncesFile, DefaultHealthTable, HealthTable, LimitTable, ReplyTable
from relay.config.streams import boundary
from relay.config.wording import Loc
from relay.feedback.aftermath import DAY, SHIPPED, Aftermath, Rule
from relay.feedback.rulings import Ruling, Rulings
from relay.policy.health import MEASURES, Health, Limit, Limits, percent
from relay.policy.patterns import Matcher, Pattern
from relay.policy.routes import AnyOf


def compiled(file: BouncesFile, document: Document | None) -> Rulings:
    patterns: list[Pattern] = []
    rules = [
        _ruling(table, f"policies/bounces.toml:{document.line(('reply', number)) if document else 0}", patterns)
        for number, table in enumerate(file.reply)
    ]
    return Rulings(rules, Matcher(patterns).matches)


def aftermath(file: BouncesFile) -> Aftermath:
    """[suppress], over what ships."""
    said = {
        kind: Rule(table.stop, table.brand == "same", table.after, table.within, table.span)
        for kind, table in file.suppress.items()
    }
    return Aftermath({**SHIPPED, **said})


def health(file: BouncesFile) -> Health:
    """[health], streams over the default, key by key."""
    default = _limits(file.health.default)
    return Health(default, {name: _limits(table, default) for name, table in file.health.stream.items()})


def _limits(table: HealthTable | DefaultHealthTable, default: Limits | None = None) -> Limits:
    measures = {
        name: _limit(getattr(table, name), getattr(default, name) if default is not None else None) for name in MEASURES
    }
    over, few = table.over, table.min_messages
    if default is not None:
        over, few = default.over if over is None else over, default.min_messages if few is None else few
    assert over is not None
    assert few is not None
    return Limits(over, few, **measures)


def _limit(table: LimitTable, default: Limit | None) -> Limit:
    """What is off is None."""
    said = [getattr(table, name) for name in Limit._fields]
    if default is not None:
        said = [above if one is None else one for one, above in zip(said, default, strict=True)]
    return Limit(*(None if one == OFF else one for one in said))


def health_problems(file: BouncesFile, document: Document, streams: Sequence[str] | None) -> Iterator[Problem]:
    """`streams`: all there are, None where that is not known."""
    found = health(file)
    for name in file.health.stream:
        if streams is not None and name not in streams:
            yield document.problem(
                ("health", "stream", name), no_such("stream", name, streams, "streams.toml"), "unknown-name"
            )
    said: list[tuple[Loc, Section, Limits]] = [(("health", "default"), file.health.default, found.default)]
    said += [(("health", "stream", name), table, found.of(name)) for name, table in file.health.stream.items()]
    for loc, table, limits in said:
        for measure in MEASURES:
            limit: Limit = getattr(limits, measure)
            if limit.slow is not None and limit.suspend is not None and limit.slow > limit.suspend:
                message = f"slows at {percent(limit.slow)}, but suspends at {percent(limit.suspend)} already"
                own = measure in table.model_fields_set
                yield document.problem((*loc, measure) if own else loc, message, "range")


def _ruling(table: ReplyTable, place: str, patterns: list[Pattern]) -> Ruling:
    """`patterns` of all rules so far grows by those of this one."""
    match = table.match
    first = len(patterns)
    patterns += match.text or ()
    return Ruling(
        table.category,
        place,
        AnyOf(match.site) if match.site is not None else None,
        frozenset(range(first, len(patterns))) if match.text is not None else None,
        frozenset(match.code) if match.code is not None else None,
        frozenset(match.command) if match.command is not None else None,
    )


def nobody_there(document: Document, *, listens: bool, read: bool) -> Iterator[Problem]:
    """Of feedback_addresses: is there a listener that takes what comes, and somebody who reads what no report is?"""
    if not listens:
        message = 'no listener here has role = "bounces": unless another node has, what comes there reaches nobody'
        yield document.problem(("feedback_addresses",), message, "no-effect", warning=True)
    if not read:
        message = "what a provider asks there, before it sends complaints, goes to [alerts] mail, and that names nobody"
        yield document.problem(("feedback_addresses",), message, "no-effect", warning=True)


def problems_of(file: BouncesFile, document: Document) -> Iterator[Problem]:
    for kind, said in file.suppress.items():
        if said.after > 1 and said.after * DAY > said.within + DAY:
            message = f"failures on {said.after} days are more than within can hold; nobody would ever be suppressed"
            yield document.problem(("suppress", kind, "after"), message, "range")
    for number, table in enumerate(file.reply):
        match = table.match
        if not (match.site or match.text or match.code or match.command):
            message = "names nothing: it would hold for every failure; add match.text, match.code or match.site"
            yield document.problem(("reply", number, "match"), message, "empty")
        for at, pattern in enumerate(match.text or ()):
            if cure := boundary(pattern):
                yield document.problem(("reply", number, "match", "text", at), cure, "pattern", warning=True)
