"""policies/: what may happen to mail, the same on every node.

The schemas know every key of INTERFACE.md in these files; those that later versions act on are checked in type and
reported as not yet supported, so that nobody relies on them unawares.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from relay.config import bounces as bounces_file
from relay.config import caps as caps_file
from relay.config import checks as checks_of_brands
from relay.config import pages as public_pages
from relay.config import recipients as recipients_file
from relay.config import routes as routes_file
from relay.config import shaping as shaping_file
from relay.config import streams as streams_file
from relay.config.deployment import NOBODY_LISTENS, Deployment, takes_returns, unknown_files
from relay.config.problems import IN_CLEAR, Problem, no_such
from relay.config.reader import Document, Examined, M, Section, contents, fingerprint, read, shown_path, toml_files
from relay.config.schema_bounces import BouncesFile
from relay.config.schema_brands import BrandsFile, BrandTable
from relay.config.schema_caps import CapsFile
from relay.config.schema_policies import (
    CredentialsFile,
    CredentialTable,
    RetryFile,
    RetryTable,
)
from relay.config.schema_policies import Webhook as WebhookTable
from relay.config.schema_recipients import RecipientsFile
from relay.config.schema_routes import RoutesFile
from relay.config.schema_shaping import ShapingFile
from relay.config.schema_streams import StreamsFile
from relay.config.shaping import Shaping
from relay.config.trust import doubt
from relay.config.wording import Loc
from relay.feedback.aftermath import Aftermath
from relay.feedback.rulings import Rulings
from relay.identity import Brand, Credential, Face, Webhook
from relay.message import MailClass
from relay.policy.addresses.check import Modes
from relay.policy.caps import Caps
from relay.policy.checks import Checks
from relay.policy.engagement import Tiers
from relay.policy.health import Health
from relay.policy.routes import Routes
from relay.policy.runaway import Guard
from relay.policy.streams import Streams
from relay.schedule.retry import RetryPolicy

MODELS: Mapping[str, type[Section]] = {
    "bounces.toml": BouncesFile,
    "brands.toml": BrandsFile,
    "caps.toml": CapsFile,
    "credentials.toml": CredentialsFile,
    "recipients.toml": RecipientsFile,
    "retry.toml": RetryFile,
    "routes.toml": RoutesFile,
    "shaping.toml": ShapingFile,
    "streams.toml": StreamsFile,
}
FILES = tuple(MODELS)


@dataclass(frozen=True, slots=True)
class Policies:
    """All of policies/, compiled. `version` is the same on every node that has the same files. `routes`: each class's
    own pool, which what `exceptions` finds comes before. `checks`: by brand, of those that ask for some. `forget`: what is not
    sent any more to who asked to be forgotten, a block's stop or ""."""

    version: str
    address_check: Modes
    tiers: Tiers
    forget: str
    brands: Mapping[str, Brand]
    caps: Caps
    checks: Mapping[str, Checks]
    credentials: Mapping[str, Credential]
    retry: Mapping[MailClass, RetryPolicy]
    routes: Mapping[MailClass, str]
    runaway: Guard | None
    rulings: Rulings
    aftermath: Aftermath
    health: Health
    feedback: frozenset[str]
    exceptions: Routes
    shaping: Shaping
    streams: Streams
    warnings: tuple[Problem, ...] = field(repr=False)


@dataclass(slots=True)
class _Folder:
    """policies/ while it is read: its documents by file name, and what was found wrong."""

    path: Path
    files: Mapping[str, bytes]
    problems: list[Problem]
    documents: dict[str, Document]

    def load(self, name: str, model: type[M]) -> M:
        """The file as `model`; the model's defaults where there is no such file, or nothing of it can be used."""
        path = self.path / name
        if name not in self.files and not path.exists():
            return model.model_validate({})
        document, found = read(path, self.files.get(name))
        self.problems += found
        if document is None:
            return model.model_validate({})
        self.documents[name] = document
        valid, found = document.validate(model)
        self.problems += found
        return valid or model.model_validate({})

    def readable(self, name: str) -> bool:
        """Is what we know of the names in this file complete?"""
        return name in self.documents or not (self.path / name).exists()

    def names(self, name: str, kind: str) -> list[str]:
        """All `[kind.NAME]` of a file."""
        return self.documents[name].names(kind) if name in self.documents else []

    def sure(self, name: str) -> bool:
        """Is all that this file says known?"""
        document = self.documents.get(name)
        return self.readable(name) and not (document is not None and document.broken)


def load_policies(policies_dir: Path, deployment: Deployment, *, checked: bool = True) -> Policies:
    """policies/ as it may come into force; raises ConfigErrors. Not `checked`: what only the whole shows to be wrong is not
    looked for, because that was done before; it takes as long as all the rest."""
    return examine_policies(policies_dir, deployment, checked=checked).accepted()


def examine_policies(
    policies_dir: Path,
    deployment: Deployment | None,
    overlay: Mapping[str, str] = MappingProxyType({}),
    *,
    checked: bool = True,
) -> Examined[Policies]:
    """Everything that is wrong with policies/; with `overlay`, as if these files held these texts.

    Without a deployment (config/ is too broken for one), names that only config/ defines are not looked up.
    """
    paths = toml_files(policies_dir)
    files = contents(policies_dir) | {name: text.encode() for name, text in overlay.items()}
    folder = _Folder(policies_dir, files, list(unknown_files(paths, FILES)), {})
    bounces = folder.load("bounces.toml", BouncesFile)
    brands = folder.load("brands.toml", BrandsFile)
    caps = folder.load("caps.toml", CapsFile)
    credentials = folder.load("credentials.toml", CredentialsFile)
    recipients = folder.load("recipients.toml", RecipientsFile)
    retry = folder.load("retry.toml", RetryFile)
    routes = folder.load("routes.toml", RoutesFile)
    shaping = folder.load("shaping.toml", ShapingFile)
    streams = folder.load("streams.toml", StreamsFile)
    if checked:
        folder.problems += _of_bounces(folder, bounces, credentials, deployment)
        folder.problems += _of_brands(folder, brands, deployment)
        folder.problems += _of_caps(folder, caps)
        folder.problems += _of_credentials(folder, credentials, deployment)
        folder.problems += _of_recipients(folder, recipients, deployment)
        folder.problems += _of_routes(folder, routes, deployment)
        folder.problems += _of_exceptions(folder, routes, deployment)
        folder.problems += _of_shaping(folder, shaping, deployment)
        folder.problems += _of_streams(folder, streams, brands, credentials)
    if checked and deployment is not None:
        folder.problems += _of_listeners(folder, deployment)
        folder.problems += _of_pages(folder, brands, credentials, streams, deployment)
    warnings = tuple(problem for problem in folder.problems if problem.warning)
    apps = {name: _credential(name, table) for name, table in credentials.credential.items()}
    named = _brands(brands)
    policies = Policies(
        version=fingerprint(files),
        address_check=recipients_file.modes(recipients),
        tiers=recipients_file.tiers(recipients),
        forget=recipients.forget.stop.replace("nothing", ""),
        brands=MappingProxyType(named),
        caps=caps_file.compiled(caps, named),
        runaway=caps_file.guard(caps),
        checks=MappingProxyType(checks_of_brands.compiled(brands, folder.documents.get("brands.toml"))),
        credentials=MappingProxyType(apps),
        retry=MappingProxyType({kind: _retry(getattr(retry, kind.label)) for kind in MailClass}),
        routes=MappingProxyType({kind: getattr(routes.default, kind.label) for kind in MailClass}),
        rulings=bounces_file.compiled(bounces, folder.documents.get("bounces.toml")),
        aftermath=bounces_file.aftermath(bounces),
        health=bounces_file.health(bounces),
        feedback=frozenset(bounces.feedback_addresses),
        exceptions=routes_file.compiled(routes, folder.documents.get("routes.toml")),
        shaping=shaping_file.compiled(shaping, folder.documents.get("shaping.toml")),
        streams=streams_file.compiled(streams, folder.documents.get("streams.toml"), apps),
        warnings=warnings,
    )
    return Examined(policies, folder.problems, len(paths))


def _brands(file: BrandsFile) -> dict[str, Brand]:
    return {name: _brand(name, table) for name, table in file.brand.items()}


def _brand(name: str, table: BrandTable) -> Brand:
    return Brand(
        name=name,
        title=table.name.get("en") or next(iter(table.name.values())),
        domains=frozenset(table.domains),
        timezone=table.timezone,
        public_url=table.public_url,
        return_path_domain=table.return_path_domain,
        unsigned=table.unsigned,
        face=_face(name, table),
    )


def _face(name: str, table: BrandTable) -> Face:
    colors, texts = table.colors.model_dump(), table.texts.model_dump()
    return Face(
        names=table.name if any(table.name.values()) else {"en": name},
        topics=table.topics,
        logo=table.logo,
        colors={key: color for key, color in colors.items() if color},
        texts={key: said for key, said in texts.items() if said},
    )


def _credential(name: str, table: CredentialTable) -> Credential:
    return Credential(
        name=name,
        mail_class=None if table.mail_class == "auto" else MailClass[table.mail_class.upper()],
        domains=frozenset(table.domains),
        brand=table.brand,
        streams=tuple(table.streams),
        networks=tuple(table.networks),
        quota=table.quota,
        over_quota=table.over_quota,
        on_suppressed=table.on_suppressed,
        dsn=table.dsn,
        line_endings=table.line_endings,
        long_lines=table.long_lines,
        owner=table.owner,
        passwords=tuple(table.password),
        tokens=tuple(table.token),
        webhook=_webhook(table.webhook) if table.webhook is not None else None,
        disabled=table.disabled,
    )


def _webhook(table: WebhookTable) -> Webhook:
    return Webhook(table.url, frozenset(table.events), table.secret_file, table.allow_private)


def _retry(table: RetryTable) -> RetryPolicy:
    return RetryPolicy(tuple(table.wait), table.give_up, table.warn_after)


def sandbox_credential(deployment: Deployment, policies: Policies) -> Credential | None:
    """In capture mode, who an app is that logs in on loopback as anybody, with any password; None in live mode.

    It is the first listener's own credential, else `local`, else made up here: the sandbox takes mail as it is.
    """
    if not deployment.capture:
        return None
    name = next((listener.credential for listener in deployment.listeners if listener.credential), "local")
    own = policies.credentials.get(name) or Credential(name, None, frozenset({"*"}))
    return replace(own, open=True)


def everybody(deployment: Deployment, policies: Policies) -> dict[str, Credential]:
    """All that may hand in mail, by name: the credentials of the policies, and in the sandbox whoever comes."""
    stranger = sandbox_credential(deployment, policies)
    return {**policies.credentials, **({stranger.name: stranger} if stranger else {})}


# What no single key shows. Where a document has errors already, warnings are left out: they may follow from those.


def _of_brands(folder: _Folder, brands: BrandsFile, deployment: Deployment | None) -> Iterator[Problem]:
    document = folder.documents.get("brands.toml")
    if document is None:
        return
    owners: dict[str, str] = {}
    for name, brand in brands.brand.items():
        for number, domain in enumerate(brand.domains):
            if domain in owners:
                message = f'"{domain}" belongs to brand {owners[domain]} already; the From domain decides the brand'
                yield document.problem(("brand", name, "domains", number), message, "duplicate")
            owners.setdefault(domain, name)
    yield from checks_of_brands.problems_of(brands, document)
    yield from public_pages.faces_problems(brands, document, folder.path)
    if deployment is not None and not takes_returns(deployment.listeners):
        for name, brand in brands.brand.items():
            if brand.return_path_domain:
                yield document.problem(("brand", name, "return_path_domain"), NOBODY_LISTENS, "no-effect", warning=True)


def _of_caps(folder: _Folder, file: CapsFile) -> Iterator[Problem]:
    document = folder.documents.get("caps.toml")
    if document is not None:
        known = folder.names("brands.toml", "brand") if folder.readable("brands.toml") else None
        yield from caps_file.problems_of(file, document, known)
        streams = folder.documents.get("streams.toml")
        sure = folder.readable("streams.toml") and folder.readable("credentials.toml")
        titles = [*(streams.titles("stream") if streams else ()), *folder.names("credentials.toml", "credential")]
        yield from caps_file.runaway_problems(file, document, titles if sure else None)


def _of_credentials(folder: _Folder, file: CredentialsFile, deployment: Deployment | None) -> Iterator[Problem]:
    document = folder.documents.get("credentials.toml")
    if document is None:
        return
    brands = folder.documents["brands.toml"].names("brand") if "brands.toml" in folder.documents else []
    for name, credential in file.credential.items():
        loc: Loc = ("credential", name)
        if credential.brand and credential.brand not in brands and folder.readable("brands.toml"):
            yield document.problem(
                (*loc, "brand"), no_such("brand", credential.brand, brands, "brands.toml"), "unknown-name"
            )
        hook = credential.webhook
        if hook is not None and hook.url.startswith("http:") and not hook.allow_private:
            yield document.problem((*loc, "webhook", "url"), IN_CLEAR, "webhook")
        if not document.broken:
            yield from _of_access(document, loc, credential, deployment)
    yield from _networks_twice(document, file)


def _of_access(
    document: Document, loc: Loc, credential: CredentialTable, deployment: Deployment | None
) -> Iterator[Problem]:
    for number, password in enumerate(credential.password):
        if len(password.digest) < sha256().digest_size:
            message = "is cut short: no password fits it; make a new one with: postlane credentials rotate"
            yield document.problem((*loc, "password", number), message, "password", warning=True)
    for number, network in enumerate(credential.networks):
        why = doubt(network)
        if why:
            yield document.problem((*loc, "networks", number), f'"{network}" {why}', "trust", warning=True)
    sure = deployment is not None and not deployment.document.broken
    trusted = [listener.credential for listener in deployment.listeners] if deployment and sure else [loc[1]]
    if not (credential.password or credential.networks or credential.disabled or loc[1] in trusted):
        message = f"nobody can use it: no password and no networks; postlane credentials rotate {loc[1]}"
        yield document.problem(loc, message, "no-login", warning=True)
    if "*" in credential.domains and deployment and not deployment.capture:
        message = 'lets the app write any From domain; "*" is for the sandbox'
        yield document.problem((*loc, "domains"), message, "any-domain", warning=True)


def _networks_twice(document: Document, file: CredentialsFile) -> Iterator[Problem]:
    owners: dict[object, str] = {}
    for name, credential in file.credential.items():
        for number, network in enumerate(credential.networks):
            if network in owners:
                message = f'"{network}" belongs to credential {owners[network]} already; an address has one identity'
                yield document.problem(("credential", name, "networks", number), message, "duplicate")
            owners.setdefault(network, name)


def _of_routes(folder: _Folder, routes: RoutesFile, deployment: Deployment | None) -> Iterator[Problem]:
    document = folder.documents.get("routes.toml")
    if deployment is not None:
        for kind in MailClass:
            pool = getattr(routes.default, kind.label)
            if pool not in deployment.pools:
                message = no_such("pool", pool, deployment.pools, deployment.pools_file)
                place = document or Document(shown_path(folder.path / "routes.toml"), "", {})
                yield place.problem(("default", kind.label), message, "unknown-name")
    if document is None or document.broken:
        return
    urgent = routes.default.transactional
    for kind in (MailClass.SERVICE, MailClass.MARKETING):
        if getattr(routes.default, kind.label) == urgent:
            message = (
                f'pool "{urgent}" carries transactional mail too: one complaint about {kind.label} mail harms both'
            )
            yield document.problem(("default", kind.label), message, "mixed-pool", warning=True)


def _of_exceptions(folder: _Folder, file: RoutesFile, deployment: Deployment | None) -> Iterator[Problem]:
    document = folder.documents.get("routes.toml")
    if document is None:
        return
    apps = folder.names("credentials.toml", "credential")
    streams = folder.documents.get("streams.toml")
    known = {"brand": (folder.names("brands.toml", "brand"), "brands.toml"), "credential": (apps, "credentials.toml")}
    if streams is not None:
        known["stream"] = ([*streams.titles("stream"), *apps, "dsn"], "streams.toml")
    known = {key: one for key, one in known.items() if folder.readable(one[1])}
    pools = deployment.pools if deployment is not None else None
    names = routes_file.Names(known, pools, deployment.pools_file if deployment is not None else "")
    yield from routes_file.problems_of(file, document, names)


def _of_bounces(
    folder: _Folder, file: BouncesFile, credentials: CredentialsFile, deployment: Deployment | None
) -> Iterator[Problem]:
    document = folder.documents.get("bounces.toml")
    if document is None:
        return
    yield from bounces_file.problems_of(file, document)
    if deployment is not None and file.feedback_addresses:
        listens, read = takes_returns(deployment.listeners), bool(deployment.alerts.mail)
        yield from bounces_file.nobody_there(document, listens=listens, read=read)
    streams, apps = folder.documents.get("streams.toml"), folder.documents.get("credentials.toml")
    sure = folder.readable("streams.toml") and folder.readable("credentials.toml")
    known = [*(streams.titles("stream") if streams else ()), *folder.names("credentials.toml", "credential")]
    known += [name for app in credentials.credential.values() for name in app.streams] if apps else []
    yield from bounces_file.health_problems(file, document, list(dict.fromkeys(known)) if sure else None)


def _of_recipients(folder: _Folder, file: RecipientsFile, deployment: Deployment | None) -> Iterator[Problem]:
    document = folder.documents.get("recipients.toml")
    if document is None:
        return
    known = None
    if folder.readable("credentials.toml") and deployment is not None:
        trusted = [listener.credential for listener in deployment.listeners if listener.credential]
        known = {*folder.names("credentials.toml", "credential"), *trusted, *(["local"] if deployment.capture else [])}
    yield from recipients_file.problems_of(file, document, known)


def _of_streams(
    folder: _Folder, file: StreamsFile, brands: BrandsFile, credentials: CredentialsFile
) -> Iterator[Problem]:
    document = folder.documents.get("streams.toml")
    if document is None:
        return
    yield from streams_file.problems_of(file, document, _others(folder, brands, credentials))
    apps = folder.documents.get("credentials.toml")
    if apps is not None:
        yield from streams_file.unknown_streams(apps, credentials.credential, document.titles("stream"))


def _of_shaping(folder: _Folder, file: ShapingFile, deployment: Deployment | None) -> Iterator[Problem]:
    document = folder.documents.get("shaping.toml")
    if document is None:
        return
    pools = shaping_file.Pools(
        deployment.pools if deployment is not None else None, deployment.pools_file if deployment is not None else ""
    )
    yield from shaping_file.problems_of(file, document, pools)


def _others(folder: _Folder, brands: BrandsFile, credentials: CredentialsFile) -> streams_file.Others:
    return streams_file.Others(
        brands=brands.brand if folder.sure("brands.toml") else None,
        credentials=credentials.credential if folder.sure("credentials.toml") else None,
        by_domain=_brands(brands),
    )


def _of_pages(
    folder: _Folder, brands: BrandsFile, credentials: CredentialsFile, streams: StreamsFile, deployment: Deployment
) -> Iterator[Problem]:
    urls = {name: table.public_url for name, table in brands.brand.items()}
    others = _others(folder, brands, credentials)
    yield from public_pages.problems_of(deployment, folder.documents.get("brands.toml"), urls, streams, others)


def _of_listeners(folder: _Folder, deployment: Deployment) -> Iterator[Problem]:
    """Names in config/ that policies/ defines."""
    document = folder.documents.get("credentials.toml")
    names = document.names("credential") if document else []
    if not folder.readable("credentials.toml"):
        return
    for number, listener in enumerate(deployment.listeners):
        if listener.credential and listener.credential not in names:
            message = no_such("credential", listener.credential, names, "credentials.toml")
            yield deployment.document.problem(("listener", number, "credential"), message, "unknown-name")
