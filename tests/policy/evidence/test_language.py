"""Which language a text is in; silence where that is not certain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.policy.evidence.language import NAMED, of_subject, of_text
from relay.policy.evidence.lexicon import normal
from relay.policy.evidence.whole import words

TEXTS = {
    "en": "Hello Dana, your order 1042 has been packed and will be with you on Thursday. You can follow the parcel with the "
    "link below. If anything is not right, write to us and we will help. Thank you for shopping with our store.",
    "he": "שלום דנה, ההזמנה שלך מספר 1042 נארזה ותגיע אלייך ביום חמישי. אפשר לעקוב אחרי המשלוח בקישור שלמטה. "
    "אם משהו לא בסדר, כתבי לנו ונעזור לך מיד. תודה שקנית ב-Arava Home.",
    "de": "Guten Tag Dana, Ihre Bestellung 1042 ist gepackt und wird am Donnerstag bei Ihnen sein. Mit dem Link unten können "
    "Sie das Paket verfolgen. Wenn etwas nicht stimmt, schreiben Sie uns bitte, wir helfen Ihnen gern. Danke für Ihren "
    "Einkauf bei uns.",
    "fr": "Bonjour Dana, votre commande 1042 est prête et sera chez vous jeudi. Vous pouvez suivre le colis avec le lien "
    "ci-dessous. Si quelque chose ne va pas, écrivez-nous et nous vous aiderons. Merci pour votre achat dans notre boutique.",
    "es": "Hola Dana: tu pedido 1042 está preparado y llegará el jueves. Puedes seguir los pasos del envío en el enlace de "
    "abajo y ver las fotos de tus artículos. Si hay algún error, escríbenos y te ayudamos hoy. Gracias por comprar en "
    "nuestra tienda, y también por tus comentarios sobre los productos.",
    "it": "Ciao Dana, il tuo ordine 1042 è pronto e sarà da te giovedì. Puoi seguire il pacco con il link qui sotto, che è "
    "valido fino alla consegna. Se c'è qualcosa che non va, scrivici: ti aiutiamo subito. Grazie per la fiducia nella nostra "
    "bottega e nei nostri prodotti.",
    "pt": "Olá Dana, o seu pedido 1042 já foi embalado e chega na quinta-feira. Você pode acompanhar a entrega pelo link "
    "abaixo, que é válido até o fim do mês. Se algo não estiver certo, escreva para nós. Obrigado por comprar em nossa loja, "
    "que também aceita trocas em até um mês.",
    "ru": "Здравствуйте, Дана! Ваш заказ 1042 уже собран и будет у вас в четверг. Вы можете следить за посылкой по ссылке "
    "ниже. Если что-то не так, напишите нам, и мы поможем. Спасибо, что выбрали наш магазин.",
    "ar": "مرحبا دانا، تم تجهيز طلبك رقم 1042 وسيصل إليك يوم الخميس. يمكنك متابعة الشحنة من الرابط أدناه. إذا كان هناك أي "
    "خطأ فاكتبي إلينا وسنساعدك. شكرا لك على الشراء من متجرنا.",
}
SUBJECTS = {
    "en": ["Your order 77, and 20 % off tents", "Your parcel has been delivered", "Which of our tents is for you?"],
    "he": ["ההזמנה שלך התקבלה", "פרסומת: 20% הנחה על אוהלים"],
    "de": ["Ihre Bestellung ist unterwegs", "Neu bei uns: Zelte für den Sommer", "Dein Code für die Anmeldung"],
    "fr": ["Votre commande est en route", "Nos offres pour vous"],
    "es": ["Usted tiene un pedido pendiente y muy pronto llega", "Tus puntos y tus ventajas"],
    "it": ["Il tuo ordine è in viaggio", "Tutto quello che ti serve: i nostri consigli"],
    "pt": ["Você já viu as ofertas?", "Seus pontos não valem mais"],
    "ru": ["Ваш заказ уже в пути", "Скидки до пятницы"],
    "ar": ["تم استلام طلبك رقم 77", "خصم على الخيام"],
}


def bare(text: str) -> str:
    return words(normal(text.encode())).decode()


@pytest.mark.parametrize("language", TEXTS)
def test_texts(language: str) -> None:
    assert of_text(bare(TEXTS[language])) == language


@pytest.mark.parametrize(("language", "subject"), [(name, one) for name, them in SUBJECTS.items() for one in them])
def test_subjects(language: str, subject: str) -> None:
    assert of_subject(bare(subject)) == language


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "1042",
        "Arava Home",
        "Newsletter 47/2026",
        "Order #1042",
        "Sale!",
        "Get the look",
        "Harry Potter and the Goblet of Fire",
        "The Lord of the Rings – The Return of the King",
        "Your Name – der Film, jetzt bei uns",  # two languages
        "Re: your mail: Ihre Bestellung",
        "WhatsApp, Instagram & דואר",
        "Uw bestelling is onderweg naar jouw huis",  # Dutch
        "Din ordre er på vej til dig",  # Danish
        "Twoje zamówienie jest już w drodze",  # Polish
        "Ваше замовлення вже в дорозі",  # Ukrainian
        "Вашата поръчка вече пътува",  # Bulgarian
        "سفارش شما ثبت شد و در راه است",  # Persian
        "ご注文ありがとうございます",
    ],
)
def test_subjects_of_which_nothing_is_certain(subject: str) -> None:
    assert of_subject(bare(subject)) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Thank you for your order.",  # too short
        f"{TEXTS['en']} {TEXTS['de']}",
        f"{TEXTS['he']} {TEXTS['en']}",
        f"{TEXTS['ru']} {TEXTS['en']}",
        f"{TEXTS['ar']} {TEXTS['fr']}",
        f"{TEXTS['he']} {TEXTS['ar']}",
        "Tent Alpine 2 249,00 Tent Alpine 3 299,00 Stove Mini 49,00 Lamp Solar 19,00 " * 5,  # a list of goods
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore "
        * 3,
        "Beste Dana, uw bestelling 1042 is ingepakt en komt donderdag bij u aan. Met de link hieronder kunt u het pakket "
        "volgen. Als er iets niet klopt, schrijf ons dan. Bedankt dat u bij ons hebt gekocht en tot de volgende keer.",
        "Hej Dana, din ordre 1042 er pakket og kommer på torsdag. Du kan følge pakken med linket herunder. Hvis der er noget "
        "galt, så skriv til os, og vi hjælper dig. Tak fordi du handlede hos os, og på gensyn.",
        "Bună Dana, comanda ta 1042 este pregătită și va ajunge joi. Poți urmări coletul cu linkul de mai jos. Dacă ceva nu "
        "este în regulă, scrie-ne și te ajutăm. Îți mulțumim pentru că ai cumpărat din magazinul nostru.",
        "Вітаємо, Дано! Ваше замовлення 1042 вже зібране і буде у вас у четвер. Ви можете стежити за посилкою за посиланням "
        "нижче. Якщо щось не так, напишіть нам, і ми допоможемо. Дякуємо, що обрали нашу крамницю.",
    ],
)
def test_texts_of_which_nothing_is_certain(text: str) -> None:
    assert of_text(bare(text)) == ""


@given(st.text())
def test_any_text_has_a_language_or_none(text: str) -> None:
    assert {of_subject(text), of_text(text * 9)} <= NAMED | {""}
