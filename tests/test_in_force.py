"""Copies are what runs: taken from the files on disk, read by every process, the same whatever becomes of the disk."""

from dataclasses import replace
from pathlib import Path

import pytest

from relay import in_force
from relay.config import ConfigErrors, Deployment, load_deployment
from relay.config.reader import contents
from relay.in_force import FilesChanged, accept, examine_files, last_good, load, until_restart
from relay.kept import Decision, write_decision
from relay.message import MailClass
from relay.signing.keyfile import write_private_key
from tests.support.signatures import ed25519_private

LISTENER = '[[listener]]\nbind = "127.0.0.1:{port}"\n{more}'
CREDENTIAL = '[credential.shop]\nclass = "transactional"\ndomains = ["shop.example"]\nnetworks = ["10.0.0.1"]\n'


class Disk:
    """config/ and policies/ of a node, as its admin edits them."""

    def __init__(self, folder: Path) -> None:
        self.config, self.policies, self.data = folder / "config", folder / "policies", folder / "data"
        self.policies.mkdir()
        (self.config / "dkim").mkdir(parents=True)
        self.write()
        (self.policies / "credentials.toml").write_text(CREDENTIAL)

    def write(self, node: str = "", rest: str = LISTENER.format(port=2525, more="")) -> None:
        text = f'[node]\nhostname = "relay.test.example"\n{node}\n{rest}'
        (self.config / "postlane.toml").write_text(text)

    def accept(self, started: str = "") -> in_force.InForce:
        found = examine_files(self.config, self.policies).accepted().policies
        return accept(self.config, self.policies, self.data, found, started)

    def deployment(self) -> Deployment:
        return load_deployment(self.config, {})


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_what_was_accepted_is_read_from_its_copy_whatever_becomes_of_the_disk(disk: Disk) -> None:
    write_private_key(disk.config / "dkim" / "shop.example" / "a.pem", ed25519_private())
    (disk.config.parent / "password").write_text("secret\n")
    disk.write(rest=LISTENER.format(port=2525, more='[delivery]\nrelay_password_file = "password"\n'))
    accepted = disk.accept()
    assert Path(accepted.place.policies) == disk.data / "versions" / "policies" / accepted.version
    (disk.config / "postlane.toml").write_text("half an ed")
    (disk.policies / "credentials.toml").unlink()
    write_private_key(disk.config / "dkim" / "shop.example" / "b.pem", ed25519_private())
    again = load(accepted.place)
    assert again.version == accepted.version
    assert again.policies.credentials == accepted.policies.credentials
    assert again.deployment.home == disk.config.parent
    assert again.deployment.relay_password == "secret"
    assert [key.selector for key in again.keys.for_domain("shop.example")] == ["a"]


def test_a_version_is_named_by_what_it_says(disk: Disk) -> None:
    first = disk.accept()
    assert disk.accept().place == first.place
    disk.write(node='timezone = "Europe/Berlin"')
    second = disk.accept()
    assert second.version == first.version
    assert second.place.versions["config"] != first.place.versions["config"]
    (disk.policies / "retry.toml").write_text("# new\n")
    assert disk.accept().version != first.version


def test_the_states_of_keys_are_part_of_config(disk: Disk) -> None:
    write_private_key(disk.config / "dkim" / "shop.example" / "a.pem", ed25519_private())
    active = disk.accept()
    (disk.config / "dkim" / "keys.toml").write_text('[key."shop.example".a]\nstate = "retired"\n')
    retired = disk.accept()
    assert retired.place.config != active.place.config
    assert retired.keys.for_domain("shop.example") == ()
    assert len(load(active.place).keys.for_domain("shop.example")) == 1


def test_all_errors_of_all_files_are_found(disk: Disk) -> None:
    disk.write(rest='[[listener]]\nbimd = "127.0.0.1:2525"\n')
    (disk.policies / "retry.toml").write_text("[urgent]\n")
    (disk.config / "dkim" / "keys.toml").write_text("x = 1\n")
    problems = examine_files(disk.config, disk.policies).problems
    assert [Path(problem.file).name for problem in problems if not problem.warning] == [
        "postlane.toml",
        "postlane.toml",
        "keys.toml",
        "retry.toml",
    ]


def test_somebody_writes_while_it_is_copied(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    def changing(folder: Path) -> dict[str, bytes]:
        return contents(folder) | ({"retry.toml": b"[half an ed"} if folder == disk.policies else {})

    monkeypatch.setattr(in_force, "contents", changing)
    with pytest.raises(FilesChanged):
        disk.accept()


def test_a_copy_that_was_accepted_is_not_checked_again_but_read_as_strictly(disk: Disk) -> None:
    accepted = disk.accept()
    routes = Path(accepted.place.policies) / "routes.toml"
    routes.write_text('[default]\nmarketing = "gone"\n')
    assert load(accepted.place, checked=False).policies.routes[MailClass.MARKETING] == "gone"
    with pytest.raises(ConfigErrors, match="gone"):
        load(accepted.place)
    routes.write_text("[default]\nmarketing = 5\n")
    with pytest.raises(ConfigErrors):
        load(accepted.place, checked=False)


# What needs a restart


def test_the_node_its_binds_and_state_stay_until_a_restart(disk: Disk) -> None:
    started = disk.accept()
    disk.write(
        node='name = "other"\nworkers = 7',
        rest=LISTENER.format(port=2525, more='max_size = "1MB"\n[web]\nadmin = "127.0.0.1:9999"\n')
        + '[state]\nurl = "redis://127.0.0.1:6379/0"\n',
    )
    changed = disk.accept(started.place.started)
    assert changed.deployment.node == started.deployment.node
    assert changed.deployment.state == started.deployment.state
    assert changed.deployment.web.admin == started.deployment.web.admin
    assert changed.deployment.listeners[0].max_size == 1024 * 1024
    told = [f"{Path(problem.file).name}:{problem.line} {problem.key}: {problem.message}" for problem in changed.waits]
    assert told == [
        'postlane.toml:3 node.name: needs a restart; "relay-1" until then',
        'postlane.toml:4 node.workers: needs a restart; "0" until then',
        'postlane.toml:11 state.url: needs a restart; "sqlite:" until then',
        'postlane.toml:9 web.admin: needs a restart; "127.0.0.1:8025" until then',
    ]
    assert all(problem.warning for problem in changed.waits)
    assert disk.accept().waits == (), "after a restart nothing waits"


def test_listeners_are_known_by_their_address(disk: Disk) -> None:
    disk.write(rest=LISTENER.format(port=1, more="") + LISTENER.format(port=2, more='role = "bounces"\n'))
    started = disk.accept()
    disk.write(rest=LISTENER.format(port=3, more="") + LISTENER.format(port=1, more='auth = "optional"\n'))
    changed = disk.accept(started.place.started)
    assert [(one.port, one.auth, one.role) for one in changed.deployment.listeners] == [
        (1, "optional", "submission"),
        (2, "required", "bounces"),
    ]
    assert [(problem.line, problem.key, problem.message) for problem in changed.waits] == [
        (5, "listener.#1.bind", '"127.0.0.1:3" needs a restart; nothing listens there until then'),
        (4, "listener", '"127.0.0.1:2" is listened on until a restart, as it was'),
    ]


def test_two_listeners_on_ports_of_the_kernel_s_choice_are_two(disk: Disk) -> None:
    text = LISTENER.format(port=0, more="") + LISTENER.format(port=0, more='max_size = "{}MB"\n')
    disk.write(rest=text.format(1))
    started = disk.deployment()
    disk.write(rest=text.format(2))
    merged = until_restart(disk.deployment(), started)
    assert [one.max_size // 1024 // 1024 for one in merged.listeners] == [25, 2]


# The last good ones


def decided(accepted: in_force.InForce) -> Decision:
    versions = accepted.place.versions
    return Decision(versions["version"], versions["config"], 1_795_000_000_000, "noa", "reload")


def test_the_last_good_ones_are_found_where_the_files_are_broken(disk: Disk) -> None:
    assert last_good(disk.config) is None
    accepted = disk.accept()
    write_decision(disk.data, decided(accepted))
    (disk.config / "postlane.toml").write_text("half an ed")
    found = last_good(disk.config)
    assert found is not None
    assert found[0] == decided(accepted)
    assert found[1].place == accepted.place
    assert found[1].deployment.listeners[0].port == 2525


@pytest.mark.parametrize("lost", ["config", "policies"])
def test_a_copy_that_cannot_be_read_is_not_good(disk: Disk, lost: str) -> None:
    accepted = disk.accept()
    write_decision(disk.data, decided(accepted))
    folder = Path(accepted.place.config if lost == "config" else accepted.place.policies)
    (folder / ("postlane.toml" if lost == "config" else "credentials.toml")).write_text("?")
    assert last_good(disk.config) is None


def test_another_node_s_data_is_not_ours(disk: Disk) -> None:
    """The files name no data_dir any more, and where they would have it by default, another node's is."""
    disk.write(node='data_dir = "elsewhere"')
    write_decision(disk.data, decided(disk.accept()))
    (disk.config / "postlane.toml").write_text("half an ed")
    assert last_good(disk.config) is None


def test_names_are_looked_up_in_what_is_wanted_not_in_what_waits(disk: Disk) -> None:
    """A listener that is gone from the files may have named a credential that is gone, too."""
    disk.write(rest=LISTENER.format(port=1, more='trust = ["10.0.0.0/8"]\ncredential = "shop"\n'))
    started = disk.accept()
    disk.write(rest=LISTENER.format(port=2, more=""))
    (disk.policies / "credentials.toml").write_text(CREDENTIAL.replace("shop]", "other]"))
    changed = disk.accept(started.place.started)
    assert set(changed.policies.credentials) == {"other"}
    with pytest.raises(ConfigErrors):
        load(replace(changed.place, config=started.place.config))
