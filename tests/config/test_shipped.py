"""The files that ship: a start that is right as it is, in the sandbox and on the way out of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.config import Policies, examine_deployment, examine_policies, load_deployment, load_policies
from relay.header import split
from relay.message import MailClass
from relay.policy.letter import Letter
from relay.rewrite import subject_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def policies() -> Policies:
    return load_policies(ROOT / "policies", load_deployment(ROOT / "config", {}))


def found(policies: Policies, header: str, credential: str = "local") -> str:
    content = f"{header}\r\nFrom: shop@shop.example\r\n\r\nhi".encode()
    fields, rest = split(content)
    stream = policies.streams.find(Letter(fields, content, rest, subject_of(fields)), credential, "shop.example")
    return stream.name if stream else ""


def test_nothing_is_wrong_with_them() -> None:
    deployment = examine_deployment(ROOT / "config", {})
    examined = examine_policies(ROOT / "policies", deployment.value)
    assert [*deployment.problems, *examined.problems] == []


def test_what_is_commented_out_is_right_too(tmp_path: Path) -> None:
    """With each example's # taken away; what it names of other files is made up."""
    for path in (ROOT / "policies").glob("*.toml"):
        (tmp_path / path.name).write_text("".join(uncommented(path)), "utf-8")
    credentials = tmp_path / "credentials.toml"
    apps = ("club", "erp")
    made_up = "".join(f'[credential.{name}]\nclass = "auto"\ndomains = ["shop.example"]\n' for name in apps)
    credentials.write_text(credentials.read_text() + made_up)
    problems = examine_policies(tmp_path, None).problems
    assert {(problem.key, problem.slug) for problem in problems} == {
        ("check.no-reply-address", "unused"),
        ("stream.digest", "unreachable"),
    }


def uncommented(path: Path) -> Iterator[str]:
    example = False
    for line in path.read_text("utf-8").splitlines(keepends=True):
        example = line.startswith("#   ") and (example or line.startswith("#   ["))
        yield line.removeprefix("#   ") if example else line


@pytest.mark.parametrize(
    "subject",
    [
        "Reset your password",
        "Your verification code is 123456",
        "Passwort zurücksetzen",
        "Ihr Bestätigungscode: 1234",
        "Réinitialisation de votre mot de passe",
        "Tu código de verificación",
        "Il tuo codice di verifica",
        "Redefinição de senha",
        "Uw verificatiecode",
        "Код подтверждения: 1234",
        "קוד האימות שלך",
        "בקשה לאיפוס סיסמה",
        "رمز التحقق الخاص بك",
    ],
)
def test_codes_and_resets(policies: Policies, subject: str) -> None:
    assert found(policies, f"Subject: {subject}") == "password-reset"
    assert policies.streams.named["password-reset"].mail_class is MailClass.TRANSACTIONAL


@pytest.mark.parametrize(
    "subject",
    [
        "Your order #1042",
        "Your order 77, and 20 % off tents",
        "Invoice no. 2027-14 from The Shop",
        "Receipt #AB-1042",
        "Order confirmation",
        "Your parcel has shipped",
        "Ihre Bestellung 1042 ist unterwegs",
        "Bestellbestätigung",
        "Rechnung Nr. 2027-014",
        "Votre commande n° 10422",
        "Confirmation de votre commande",
        "Tu pedido 10422 está en camino",
        "Conferma d'ordine",
        "Il tuo ordine n. 1042",
        "Confirmação do pedido",
        "Uw bestelling 10422",
        "Заказ № 1042 принят",
        "Подтверждение заказа",
        "הזמנה מספר 1042",
        "החשבונית שלך מהחנות",
        "تأكيد طلبك",
        "طلب رقم 1042",
    ],
)
def test_orders_and_invoices(policies: Policies, subject: str) -> None:
    assert found(policies, f"Subject: {subject}") == "order"
    assert policies.streams.named["order"].mail_class is MailClass.TRANSACTIONAL


@pytest.mark.parametrize(
    "subject",
    [
        "Order now and save 20 %",
        "Order 1000 business cards for 9.90",
        "Your order is waiting",
        "20 % auf Ihre nächste Bestellung",
        "Commandez avant le 31 décembre 2027",
        "Do you still know your password?",
        "מבצע על כל הזמנה",
        "Postlane says hello",
        "",
    ],
)
def test_what_only_sounds_like_it_is_left_to_the_evidence(policies: Policies, subject: str) -> None:
    assert found(policies, f"Subject: {subject}") == ""


def test_the_newsletter_is_told_by_its_header(policies: Policies) -> None:
    header = "Subject: Your order #1042 gets company\r\nList-Unsubscribe: <https://u.shop.example/1>"
    assert found(policies, header) == "newsletter"
    assert policies.streams.named["newsletter"].mail_class is MailClass.MARKETING


def test_an_app_that_no_rule_names_keeps_its_own_class(policies: Policies) -> None:
    assert found(policies, "Subject: Your order #1042", "shop-web") == ""


def test_the_example_brand_warns_alone(policies: Policies) -> None:
    assert {level for _, level, _ in policies.checks["shop"].asked} == {"warn"}
    assert policies.brands["shop"].unsigned == "refuse"
