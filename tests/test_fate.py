"""What becomes of a message under one state of the files: the same as live mail meets."""

import pytest

from relay.config import load_deployment, load_policies
from relay.fate import Carriage, Fate, Files, carrier, fate, files_of
from relay.header import split
from relay.message import MailClass
from relay.policy.evidence.classify import Evidence
from relay.policy.letter import Letter
from relay.policy.routes import Route
from relay.rewrite import subject_of
from relay.signing.keys import KeyRing
from tests.support.company import NEWSLETTER, RECEIPT, company
from tests.support.signatures import both_keys


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = company(tmp_path_factory.mktemp("company"))
    deployment = load_deployment(folder / "config", {})
    keys = KeyRing(both_keys("marom.example"))
    return files_of(deployment, load_policies(folder / "policies", deployment), keys)


def letter(text: str) -> Letter:
    content = text.replace("\n", "\r\n").encode()
    fields, rest = split(content)
    return Letter(fields, content, rest, subject_of(fields), "shop@marom.example", ["gmail.com"])


def judge(letter: Letter, credential: str, now: int) -> Evidence:
    return Evidence(MailClass.MARKETING, 0.9)


def told(files: Files, text: str, credential: str, stream: str = "") -> Fate:
    return fate(letter(text), credential, stream, 0, files, judge)


def test_the_files_of_a_company(files: Files) -> None:
    assert len(files.version) == 6
    assert files.law.postmaster == "postmaster@relay-1.marom.example"
    assert sorted(files.credentials) == ["kinor", "mixed", "old", "woo"]
    assert files.pools[MailClass.MARKETING] is files.named["marketing"]


def test_taken_mail_has_its_class_and_keys(files: Files) -> None:
    found = told(files, RECEIPT, "woo")
    assert found.weighed is not None
    assert (found.weighed.mail_class, found.weighed.decision.stream) == (MailClass.TRANSACTIONAL, "order")
    assert [key.selector for key in found.keys] == ["2026b", "2026b-ed"]
    assert told(files, RECEIPT, "mixed").weighed == told(files, RECEIPT, "mixed").weighed
    by_evidence = told(files, RECEIPT, "mixed").weighed
    assert by_evidence is not None
    assert by_evidence.mail_class is MailClass.MARKETING


@pytest.mark.parametrize(
    ("credential", "text", "stream", "reason", "known"),
    [
        ("gone", RECEIPT, "", "credential", False),
        ("old", RECEIPT, "", "credential", False),
        ("woo", RECEIPT.replace("shop@marom", "shop@blog"), "", "from-domain", False),
        ("woo", RECEIPT, "order", "stream", False),
        ("mixed", RECEIPT.replace("shop@marom", "shop@kinor"), "", "", True),  # its brand sends unsigned
    ],
)
def test_refusals(files: Files, credential: str, text: str, stream: str, reason: str, known: bool) -> None:
    found = told(files, text, credential, stream)
    assert (found.refusal.reason if found.refusal else "") == reason
    assert (found.weighed is not None) is known
    assert found.keys == ()


def test_without_a_key_the_rest_is_known(files: Files) -> None:
    wide = Files(files.version, files.law, files.credentials, lambda _: (), files.pools, files.named, files.routes)
    found = told(wide, RECEIPT, "woo")
    assert found.refusal is not None
    assert found.refusal.reason == "unsigned"
    assert found.weighed is not None
    assert found.weighed.decision.stream == "order"


def test_each_domain_has_its_carrier(files: Files) -> None:
    weighed = told(files, NEWSLETTER, "woo").weighed
    assert weighed is not None
    carriage = carrier(weighed, "woo", files)
    assert carriage("gmail.com") == Carriage(files.named["marketing"])
    assert [carriage(domain).name for domain in ("gmail.com", "discard.example", "archive.example")] == [
        "marketing",
        "discarded",
        "marketing to 10.0.0.9:2525",
    ]
    assert not carriage("gmail.com").discarded
    kinor = told(files, NEWSLETTER, "kinor").weighed
    assert kinor is not None
    assert carrier(kinor, "kinor", files)("gmail.com").name == "kinor"
    assert Carriage(files.named["kinor"], Route("", pool="kinor")).name == "kinor"
