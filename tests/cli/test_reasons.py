"""Who says what a message is, and where."""

from pathlib import Path

import pytest

from relay.cli.reasons import Reason, of_brand, of_class, of_refusal, of_stream
from relay.config import load_deployment, load_policies
from relay.config.origin import Places
from relay.fate import Fate, Files, fate, files_of
from relay.header import split
from relay.message import MailClass
from relay.policy.evidence.classify import Evidence
from relay.policy.letter import Letter
from relay.signing.keys import KeyRing
from tests.support.company import RECEIPT, company
from tests.support.signatures import rsa_private


class Mail:
    """One message under the company's files, some of them edited."""

    def __init__(self, folder: Path, text: str, credential: str, *edits: tuple[str, str, str]) -> None:
        company(folder)
        for file, old, new in edits:
            path = folder / "policies" / file
            assert old in path.read_text()
            path.write_text(path.read_text().replace(old, new))
        deployment = load_deployment(folder / "config", {})
        policies = load_policies(folder / "policies", deployment)
        self.files: Files = files_of(deployment, policies, KeyRing((), throwaway=rsa_private()))
        self.places = Places(folder / "policies")
        content = text.replace("\n", "\r\n").encode()
        fields, rest = split(content)
        self.letter = Letter(fields, content, rest, "Your order 77", "shop@marom.example", ["gmail.com"])
        self.fate: Fate = fate(self.letter, credential, "", 0, self.files, judge)


def judge(letter: Letter, credential: str, now: int) -> Evidence:
    return Evidence(MailClass.SERVICE, 0.9)


def from_(domain: str) -> str:
    return RECEIPT.replace("shop@marom.example", f"shop@{domain}")


def test_a_reason_as_screens_show_it() -> None:
    assert str(Reason("policies/streams.toml:7", "the stream says so")) == "streams.toml:7: the stream says so"
    assert str(Reason("", "nobody says so")) == "nobody says so"
    assert str(Reason("policies/streams.toml:7")) == "streams.toml:7"


WIDE = ("credentials.toml", '["marom.example", "kinor.example"]\nnetworks = ["10.20.0.17/32"]', '["*"]\nnetworks = []')


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("marom.example", "brands.toml:3: domain marom.example"),
        ("news.eu.marom.example", "brands.toml:3: domain marom.example"),
        ("other.example", "no brand has domain other.example"),
    ],
)
def test_the_brand_of_a_domain(tmp_path: Path, domain: str, expected: str) -> None:
    mail = Mail(tmp_path, from_(domain), "mixed", WIDE)
    assert str(of_brand(mail.fate, mail.files, mail.places)) == expected


def test_conditions_in_words(tmp_path: Path) -> None:
    old = 'match.credential = "woo"\nmatch.subject = ["order", "*הזמנה*"]'
    new = 'match.from_domain = "*.example"\nmatch.recipient_domain = "gmail.com"\nmatch.size = ">1KB"\nmatch.header.To = "*"'
    mail = Mail(tmp_path, RECEIPT + "word\n" * 300, "mixed", ("streams.toml", old, new))
    size = f"{mail.letter.size:,}"
    assert str(of_stream(mail.fate, mail.letter, mail.files, mail.places)) == (
        f'streams.toml:7: from domain "*.example", recipient domain "gmail.com", header to "*", size {size} octets'
    )


def test_who_says_the_class(tmp_path: Path) -> None:
    mail = Mail(tmp_path / "a", RECEIPT, "woo", ("streams.toml", 'class = "transactional"\n', ""))
    assert str(of_class(mail.fate, mail.places)) == "credentials.toml:2: credential woo says so"
    # A stream named as the credential, which nobody chose, leaves the class to that.
    named = ("streams.toml", 'name = "big"\n', 'name = "mixed"\nclass = "marketing"\n')
    mail = Mail(tmp_path / "b", RECEIPT, "mixed", named)
    assert of_class(mail.fate, mail.places) == Reason("policies/credentials.toml:8")
    assert of_stream(mail.fate, mail.letter, mail.files, mail.places).place == "policies/streams.toml:14"


@pytest.mark.parametrize(
    ("text", "credential", "place"),
    [
        (from_("other.example"), "woo", "policies/credentials.toml:3"),
        (RECEIPT.replace("To:", "X-Postlane-Stream: x\nTo:"), "woo", "policies/credentials.toml:4"),
        (RECEIPT.replace("To:", "X-Postlane-Stream: x\nTo:"), "mixed", "policies/credentials.toml:7"),
        (RECEIPT, "old", "policies/credentials.toml:21"),
        (RECEIPT.replace("From:", "Fro:"), "woo", ""),
        (RECEIPT, "woo", ""),
    ],
)
def test_where_a_refusal_is_cured(tmp_path: Path, text: str, credential: str, place: str) -> None:
    mail = Mail(tmp_path, text, credential)
    assert of_refusal(mail.fate, mail.places).place == place
