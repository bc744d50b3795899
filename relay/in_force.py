"""What is in force: the supervisor reads the files on disk and keeps a copy, every process reads the copy.

    disk --examine_files--> problems      --accept--> copies in data_dir/versions --load--> InForce, in each process

Of config/, [node], binds and [state] stay as they were at the start of the node (INTERFACE); `until_restart` sees to it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from relay.config import (
    ConfigErrors,
    Deployment,
    Listener,
    Policies,
    Problem,
    examine_deployment,
    examine_policies,
    load_deployment,
    load_policies,
    public_pages,
    whereabouts,
)
from relay.config.reader import Examined, contents, fingerprint, shown_path
from relay.kept import Decision, Store, read_decision
from relay.order import Place
from relay.policy.decide import Law
from relay.policy.feedback_id import FeedbackIds
from relay.signing.entries import KeyProblem, KeysError, states_text
from relay.signing.keys import KeyRing, SigningKey, load_accepted_keys, read_keys

KEYS = "dkim/keys.toml"


def law_of(deployment: Deployment, policies: Policies, keys: KeyRing, hostname: str) -> Law:
    """The policies as one message meets them, on the node of that name. Pure."""
    return Law(
        version=policies.version,
        postmaster=f"postmaster@{hostname}",
        brands=policies.brands,
        streams=policies.streams,
        checks=policies.checks,
        signer_of=keys.signer_of,
        pages=public_pages(deployment, policies.brands),
        subjects=deployment.retention.subjects > 0,
        feedback_ids=FeedbackIds(policies.brands, policies.credentials),
    )


class OnDisk(NamedTuple):
    """What the files say, for looking only: nothing is in force by it."""

    deployment: Deployment
    policies: Policies


class FilesChanged(Exception):
    """What was copied is not what was examined a moment ago: somebody is writing."""


@dataclass(frozen=True, slots=True)
class InForce:
    """One accepted state of all files, read from its copy. `waits`: what of config/ has to wait for a restart."""

    place: Place
    deployment: Deployment
    policies: Policies
    keys: KeyRing
    waits: tuple[Problem, ...] = ()

    @property
    def version(self) -> str:
        return self.policies.version

    @property
    def capture(self) -> bool:
        return self.deployment.capture


def load(place: Place, *, checked: bool = True, known: Policies | None = None) -> InForce:
    """What is in force; raises ConfigErrors, or KeysError, where the copies cannot be read.

    Not `checked`: these very copies have been accepted, by this program. `known`: these policies, if somebody has read
    them already.
    """
    origin = Path(place.origin)
    deployment = load_deployment(Path(place.config), origin=origin)
    policies = known or load_policies(Path(place.policies), deployment, checked=checked)
    waits: tuple[Problem, ...] = ()
    if place.started != place.config:
        # A password file of then may be gone by now: only what stays is taken of it.
        started = examine_deployment(Path(place.started), origin=origin).value
        if started is not None:
            waits = tuple(_waits(deployment, started, shown_path(origin / "postlane.toml")))
            deployment = until_restart(deployment, started)
    sandbox = deployment.node.data_dir if deployment.capture else None
    keys = load_accepted_keys(deployment.dkim_dir, Path(place.config) / KEYS, sandbox)
    return InForce(place, deployment, policies, keys, waits)


# --- from disk


def examine_files(config: Path, policies: Path) -> Examined[OnDisk]:
    """Every error of config/, its keys and policies/, in the order the files were read."""
    deployment = examine_deployment(config)
    keys = examine_keys(config / "dkim")
    rest = examine_policies(policies, deployment.value)
    problems = in_order([*deployment.problems, *keys.problems, *rest.problems])
    found = OnDisk(deployment.value, rest.value) if deployment.value is not None and rest.value is not None else None
    return Examined(found, problems, deployment.files + keys.files + rest.files)


def examine_keys(directory: Path) -> Examined[list[SigningKey]]:
    """config/dkim as it would come into force."""
    files = len([*directory.glob("keys.toml"), *directory.glob("[!.]*/[!.]*.pem")])
    try:
        keys, warnings = read_keys(directory)
    except KeysError as error:
        return Examined(None, [_of_key(one) for one in error.problems], files)
    return Examined(keys, [_of_key(one) for one in warnings], files)


def _of_key(of: KeyProblem) -> Problem:
    return Problem(shown_path(of.file), of.line, of.key, of.message, of.slug, of.warning)


def in_order(problems: list[Problem]) -> list[Problem]:
    """By file, in the order the files were read; within one from top to bottom."""
    files = list(dict.fromkeys(problem.file for problem in problems))
    return sorted(problems, key=lambda problem: (files.index(problem.file), problem.line))


def accept(config: Path, policies: Path, data_dir: Path, found: Policies, started: str = "") -> InForce:
    """A copy of the files on disk, which `examine_files` `found` to be right, and what it says.

    `started`: the kept copy of config/ the node started with; "" at its start. Raises FilesChanged, or OSError where no
    copy can be written. Nothing is in force by this.
    """
    try:
        of_config = contents(config)
        keys, _ = read_keys(config / "dkim")
        of_config[KEYS] = states_text((key.domain, key.selector, key.state) for key in keys).encode()
        kept = _keep(data_dir, "config", of_config)
        of_policies = contents(policies)
        if fingerprint(of_policies) != found.version:
            raise FilesChanged(_CHANGED)
        place = Place(kept, _keep(data_dir, "policies", of_policies), str(config.resolve()), started or kept)
        return load(place, known=found)
    except (ConfigErrors, KeysError) as error:
        raise FilesChanged(_CHANGED) from error


_CHANGED = "the files changed while they were read"


def _keep(data_dir: Path, kind: str, files: dict[str, bytes]) -> str:
    return str(Store(data_dir, kind).keep(fingerprint(files), files))


# --- from the copies


def last_good(config: Path) -> tuple[Decision, InForce] | None:
    """What was last in force on this node; None where nothing was, or it cannot be read any more."""
    data_dir = whereabouts(config).data_dir
    decision = read_decision(data_dir)
    if decision is None:
        return None
    kept = str(Store(data_dir, "config").folder / decision.config)
    policies = str(Store(data_dir, "policies").folder / decision.policies)
    try:
        found = load(Place(kept, policies, str(config.resolve()), kept))
    except (ConfigErrors, KeysError):
        return None
    return (decision, found) if found.deployment.node.data_dir == data_dir else None


# --- what needs a restart


def until_restart(wanted: Deployment, started: Deployment) -> Deployment:
    """`wanted`, with [node], binds and [state] as they were when the node started. Pure.

    A listener is known by its address; one that the files do not have any more stays as it was.
    """
    listeners = tuple(new or old for old, new in _pairs(wanted, started))
    web = wanted.web.model_copy(update={name: getattr(started.web, name) for name in _PAGES})
    return replace(wanted, node=started.node, state=started.state, listeners=listeners, web=web)


_PAGES = ("admin", "public", "api")


def _pairs(wanted: Deployment, started: Deployment) -> list[tuple[Listener, Listener | None]]:
    """Each listener there is, with what the files want of it now."""
    left = list(wanted.listeners)
    pairs: list[tuple[Listener, Listener | None]] = []
    for old in started.listeners:
        new = next((listener for listener in left if listener.bind == old.bind), None)
        if new is not None:
            left.remove(new)
        pairs.append((old, new))
    return pairs


def _waits(wanted: Deployment, started: Deployment, file: str) -> Iterator[Problem]:
    """What is written otherwise than it was at the start, and has no effect before the next one."""

    def waiting(key: str, number: int | None, message: str) -> Problem:
        steps = key.split(".")
        loc: tuple[Any, ...] = tuple(steps) if number is None else (steps[0], number, *steps[1:])
        told = wanted.document.problem(loc, message, "restart", warning=True)
        return replace(told, file=file)

    for section, keys in (
        ("node", type(wanted.node).model_fields),
        ("state", type(wanted.state).model_fields),
        ("web", _PAGES),
    ):
        for key in keys:
            before = getattr(getattr(started, section), key)
            if getattr(getattr(wanted, section), key) != before:
                yield waiting(f"{section}.{key}", None, f'needs a restart; "{before}" until then')
    pairs = _pairs(wanted, started)
    served = [new for _, new in pairs]
    for number, listener in enumerate(wanted.listeners):
        if not any(listener is new for new in served):
            yield waiting(
                "listener.bind", number, f'"{listener.bind}" needs a restart; nothing listens there until then'
            )
    for old, new in pairs:
        if new is None:
            yield waiting("listener", None, f'"{old.bind}" is listened on until a restart, as it was')
