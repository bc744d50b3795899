"""The checks of brands.toml as they come into force."""

from collections.abc import Mapping
from pathlib import Path

from relay.config import examine_policies
from relay.header import split
from relay.message import MailClass
from relay.policy.checks import Case, Checks, Failed
from relay.policy.letter import Letter

BRANDS = """
[brand.arava]
name = { en = "Arava Home", he = "ערבה לבית" }
domains = ["arava.example"]
postal_address = { en = "12 HaNegev St, Beer Sheva", he = "רח׳ הנגב 12, באר שבע" }
checks = { terms = "warn", postal-address = "refuse", job = "flag", sender-identified = "flag", alignment = "warn" }

[brand.marom]
name = "Marom"
domains = ["marom.example"]

[check.terms]
class = "service"
match.body = ["terms of use", "*general terms!*"]
match.subject = "account"
must = "lack"
source = "house rule 7"

[check.job]
match.header.X-Job = "arava-*"
"""


def compiled(folder: Path) -> Mapping[str, Checks]:
    (folder / "brands.toml").write_text(BRANDS)
    examined = examine_policies(folder, None)
    assert examined.problems == []
    assert examined.value is not None
    return examined.value.checks


def failed(checks: Checks, header: str, body: str, mail_class: MailClass) -> list[Failed]:
    content = f"{header}\r\n\r\n{body}".encode()
    fields, rest = split(content)
    subject = next((f.value.decode() for f in fields if f.name == "subject"), "")
    return list(checks.failed(Case(Letter(fields, content, rest, subject), "arava.example", mail_class, lambda d: d)))


def test_brands_without_checks_have_none(tmp_path: Path) -> None:
    assert list(compiled(tmp_path)) == ["arava"]


def test_those_of_the_program_come_first_and_know_the_brand(tmp_path: Path) -> None:
    checks = compiled(tmp_path)["arava"]
    assert [(rule.name, level) for rule, level, _ in checks.asked] == [
        ("alignment", "warn"),
        ("sender-identified", "flag"),
        ("postal-address", "refuse"),
        ("terms", "warn"),
        ("job", "flag"),
    ]
    header = "From: Dana <a@arava.example>\r\nX-Job: arava-1"
    for text in ("Arava Home, 12 HaNegev St., Beer Sheva", "ערבה לבית, רח' הנגב 12, באר שבע"):
        assert failed(checks, header, text, MailClass.MARKETING) == []
    assert [one.name for one in failed(checks, header, "", MailClass.MARKETING)] == [
        "sender-identified",
        "postal-address",
    ]


def test_ones_own(tmp_path: Path) -> None:
    checks = compiled(tmp_path)["arava"]
    header = "From: Dana <a@arava.example>\r\nSubject: Your account"
    for text in ("Our Terms of Use changed.", "See (General terms)."):
        assert failed(checks, header, text, MailClass.SERVICE) == [
            Failed("terms", "warn", "the subject and the text must not be as found", "house rule 7"),
            Failed("job", "flag", "the field x-job is not as it must be", "policies/brands.toml:19"),
        ]
    assert [one.name for one in failed(checks, header, "terms", MailClass.SERVICE)] == ["job"]
    assert [one.name for one in failed(checks, header, "terms of use", MailClass.TRANSACTIONAL)] == ["job"]


def test_names_that_nobody_knows_are_passed_over_while_they_are_reported(tmp_path: Path) -> None:
    (tmp_path / "brands.toml").write_text('[brand.arava]\nchecks = { nowhere = "warn" }\n')
    examined = examine_policies(tmp_path, None)
    assert [problem.slug for problem in examined.problems] == ["unknown-name"]
    assert examined.value is not None
    assert examined.value.checks["arava"].asked == ()
