"""Which language a text is in, or nothing where that is not certain. Pure; for people, not in the path of mail.

Hebrew and Arabic are told by their script, other languages by small words that no other language here has. Languages that
are never named (Dutch, Ukrainian ...) are here so that their words are nobody else's. A subject is short: where its script
does not tell, it must address somebody and hold another such word ("your order, and", never a title such as "The Lord and
the Rings"), and no word of another language. A text must hold many, and hardly any of another's.
"""

import re
from collections import Counter

NAMED = frozenset({"en", "he", "de", "fr", "es", "it", "pt", "ru", "ar"})

_SMALL_WORDS = {
    "en": "the and your you with our from this that have has for are was is of to in on at it we be by will not can what "
    "how when if or as an all us my me their they here who which there been more about out do no so come am war plus "
    "son par care",
    "de": "und der die das den dem des ein eine einen einem einer ist sind war nicht mit für auf im in zu zum zur von bei "
    "wir ihr ihre ihren ihrem sie ich du dein deine deinen uns unser unsere auch oder wenn aber nach aus an am als wie "
    "haben hat wird werden kann können noch nur über jetzt bitte es was so um will all plus",
    "fr": "le la les un une des de du et est sont vous votre vos nous notre nos pour avec dans sur par pas plus que qui "
    "ce cette ces il elle je tu ton ta mon au aux en ne se ou où être avez bien très chez été si tout toute tous "
    "on me or non son à",
    "es": "el la los las un una unos de del y en con por para que es son no se su sus tu tus te nuestro nuestra nuestros "
    "usted ustedes lo al más como pero si este esta estos hoy ya muy hay ha sin sobre también está me has mas dos bien ti sur",
    "it": "il lo la i gli le un una uno di del della dei delle dello nel nella e è sono per con non che si tuo tua tuoi "
    "tue suo sua nostro nostra nostri ti ci da dal dalla al alla alle più come ma se questo questa anche ha hai su sul me qui",
    "pt": "o a os as um uma de do da dos das em no na nos nas e é são para por pelo pela com não que se seu sua seus suas "
    "você vocês nosso nossa nossos mais como mas este esta isso ao à aos foi tem já muito também está me",
    "nl": "de het een en van in is op te dat die voor met niet zijn aan er om ook als bij je jouw uw u wij we ons onze of "
    "maar naar wordt kan heeft deze dit hebt nog was door over",
    "da": "og at det en den til er som på de med han af av for ikke der var jeg har vi din dit dine du os vores vår et "
    "kan nu fra eller men hvis så deg om",
    "sv": "och att det som en på är av för med den till du din ditt dina vi vår våra ett om har inte så kan från eller "
    "men nu de dig oss",
    "pl": "na do się nie to jest o że dla jak od po za a ale co twoje twój twoja nasz nasze oraz przez masz już czy ci",
    "cs": "na se je do že pro jako po ve už vaše váš vám naše jsme jsou tak ale nebo to",
    "ro": "și de la în cu pe pentru din nu este sunt o un care al ale mai ca sau dar tău ta noastră nostru vă te are fost",
    "ca": "el la els les un una i de del dels amb per que és són no es al als en més com però si aquest aquesta teu teva "
    "nostre nostra us ho et seu seva",
    "tr": "ve bir bu için ile de da ne daha çok en sen siz sizin gibi olarak var olan ya",
    "fi": "ja on ei se että hän oli ovat kun mutta myös tai sinun",
    "hu": "a az és egy hogy nem is van ez de meg csak ön te",
    "id": "dan yang di untuk dengan ini itu dari anda kami tidak pada ke akan",
    "ru": "и в на не с что вы ваш ваша ваше ваши вас вам для это как по из за мы нас наш или если у к от до при только "
    "уже был была были чтобы можно заказ заказа скидка скидки сейчас здесь этот эта эти",
    "uk": "і в на не з що ви ваш ваша ваше ваші вас вам для це як по із за ми нас наш або якщо у до від при тільки вже був "
    "була були та щоб можна",
    "bg": "и в на не с че вие вас ви за това как по от ние нас или ако до при само вече беше са се ще да",
    "sr": "и у на не са што ви вас вам за ово како по из ми нас наш или ако до при само већ је се да",
}
# With one of these somebody is addressed; those that two languages share tell neither.
_ADDRESSING = (
    "your you our dein deine deinen ihr ihre ihren ihrem wir uns unser unsere vous votre vos nous notre tus sus nuestro "
    "nuestra nuestros usted ustedes tuo tua tuoi tue nostro nostri seus suas você vocês nosso nossa nossos"
)
_HOW_MANY = Counter(word for words in _SMALL_WORDS.values() for word in set(words.split()))
_LANGUAGE = {
    word: language for language, words in _SMALL_WORDS.items() for word in words.split() if _HOW_MANY[word] == 1
}

_SCRIPTS = {
    "latin": re.compile("[a-z\u00df-\u024f]"),
    "cyrillic": re.compile("[\u0400-\u04ff]"),
    "he": re.compile("[\u05d0-\u05ea]"),
    "ar": re.compile("[\u0621-\u064a\u0671-\u06d3]"),
}
_ARABIC = re.compile(r"[ةىإ]|\bفي\b|\bتم\b")
_NOT_ARABIC = re.compile("[پچژگکیےٹڈڑںہھ]")  # Persian, Urdu
_LETTER = re.compile(r"[^\W\d_]")

IN_ONE_SCRIPT = 0.9  # of the letters
BESIDE_LATIN = 0.7  # of a text's: names of products and firms are Latin everywhere
LETTERS_OF_SUBJECT, LETTERS_OF_TEXT = 6, 100
WORDS_OF_TEXT = 25
ENOUGH = 4  # small words of a text
SHARE = {"latin": 0.08, "cyrillic": 0.04}  # of a text's words: half of what these lists find in prose
OTHERS = 0.1  # of these: as many may be another language's, in names and quotations


def of_subject(subject: str) -> str:
    """`subject`: bare words (whole.words). One of NAMED, or ""."""
    script = _script(subject, LETTERS_OF_SUBJECT, IN_ONE_SCRIPT)
    if script not in SHARE:
        return script
    found = {word: _LANGUAGE[word] for word in subject.split() if word in _LANGUAGE}
    languages = set(found.values())
    # All that is written in Cyrillic and is likely to come is here; of Latin there is more.
    enough = script == "cyrillic" or (len(found) > 1 and not found.keys().isdisjoint(_ADDRESSING.split()))
    return _named(languages.pop()) if enough and len(languages) == 1 else ""


def of_text(text: str) -> str:
    """The same, of the text."""
    words = text.split()
    found = Counter(_LANGUAGE[word] for word in words if word in _LANGUAGE)
    script = _script(text, LETTERS_OF_TEXT, BESIDE_LATIN)
    if script == "latin":
        script = _script(text, LETTERS_OF_TEXT, IN_ONE_SCRIPT)
    if script not in SHARE:
        return script if found.total() < ENOUGH else ""  # few words in Latin are names, many are another language
    if not found or len(words) < WORDS_OF_TEXT:
        return ""
    (language, count), *_ = found.most_common()
    sure = count >= max(ENOUGH, SHARE[script] * len(words)) and found.total() - count <= OTHERS * count
    return _named(language) if sure else ""


def _named(language: str) -> str:
    return language if language in NAMED else ""


def _script(text: str, least: int, share: float) -> str:
    """The script of so many letters: latin, cyrillic, he, ar; "" where there are fewer than `least`, or it is another."""
    letters = len(_LETTER.findall(text))
    if letters < least:
        return ""
    name = next((name for name, one in _SCRIPTS.items() if len(one.findall(text)) >= share * letters), "")
    if name == "ar" and (_NOT_ARABIC.search(text) or not _ARABIC.search(text)):
        return ""
    return name
