"""Did they mean another domain? Slips of the finger near the large mailbox domains, and near those we deliver much to. Pure.

Rules, each of which has to be sure, since a refusal may follow:
- The first letter is hardly ever wrong, and real domains differ in it (mail.com, ymail.com, amail.com): it may be lost, be
  swapped with the next, have one put before it, or in a long name be another, but not in gmail.
- A name of four letters or less is too near to too much: of it only a letter twice and the ending are corrected.
- Two slips at once mean only one of the largest (consumers.GIANTS), one slip any.
- An ending that exists elsewhere (hotmail.sk) is no slip, but for those that are com with a letter less (gmail.co).
- A domain that gets more than a fiftieth of the mail that its neighbour gets exists in its own right; what strangers mistype
  is seen far less often (of 1.47 million addresses at large providers, 0.15 % were the commonest slip of all, gamil.com).

Names are found by what they have in common once letters are left out of both (symmetric deletes), so that a domain that is near
to nothing costs some look-ups.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from relay.policy.addresses.consumers import ALONE, GIANTS, LARGE, REAL
from relay.policy.addresses.keyboard import DOUBLED, distance, near

LONGEST = 20  # letters of a name that is compared: providers' have 15 at most, and the ways to leave out two grow by the square
SHORTEST = 5
REMEMBERED = 8192  # domains whose answer is kept
OWN_RIGHT = 50  # see above
ENOUGH = 20  # deliveries to a domain, before their number says anything
MUCH = 1000  # deliveries to a domain that slips may mean

# Most of what two slips cost (keyboard.py), by the letters of the name that is meant; of other domains one slip.
_GIANT_SHORT, _GIANT_LONG, _ONE = 1.3, 1.9, 1.0
_LONG = 6
_ENDING = 1.2  # one slip in an ending, any

# Endings that are no top-level domain and one slip away from one; for what exists beside them see _EXISTING.
_SLIPS = {
    "com": "con cmo ocm cpm vom xom comm coom ccom cim c0m clom ckm fom dom comn conm comj comk coml colm coim copm cok "
    "cop cob coj col cum cem cmm comd come comme como comt comw coma c9m clm cpom coam comi cvom vcom xcom copn",
    "net": "nett nrt ner nte ent nwt neet nnet nt neg nety nat het ney nef",
    "org": "orgg ogr rog prg irg otg orf orh og rg roog oeg lrg",
}
# These exist as top-level domains, or are words: corrected for the large domains alone.
_EXISTING = {"com": "co cm om cam don", "net": "ne et met bet"}
_LONGEST_GIANT = max(len(domain.partition(".")[0]) for domain in GIANTS)
ANYWHERE = {slip: right for right, slips in _SLIPS.items() for slip in slips.split()}
AT_LARGE = ANYWHERE | {slip: right for right, slips in _EXISTING.items() for slip in slips.split()}

# ISO 3166-1, as top-level domains
_CODES = """
ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by bz ca cc cd cf cg
ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gb gd ge gf gg
gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn
kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na
nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh
si sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve
vg vi vn vu wf ws ye yt za zm zw
"""
_COUNTRIES = frozenset(_CODES.split())
_SECONDS = frozenset({"co", "com", "net", "org", "ne", "or", "ac", "edu", "gov"})  # what stands before a country


def without(name: str, most: int) -> set[str]:
    """`name`, and what is left of it when one letter, or up to two, are left out (`most`: 1 or 2)."""
    once = {name[:at] + name[at + 1 :] for at in range(len(name))} if len(name) > 1 else set()
    twice = (
        {one[:at] + one[at + 1 :] for one in once for at in range(len(one))} if most > 1 and len(name) > 2 else set()
    )
    return {name, *once, *twice}


class Slips:
    """`traffic`: how much was delivered to domains, which are meant by slips near them, too. `known`: domains that are real."""

    def __init__(self, traffic: Mapping[str, int] | None = None, known: Iterable[str] = ()) -> None:
        self._traffic = traffic or {}
        self._real = REAL | frozenset(known)
        self._meant = set(GIANTS | LARGE)
        self._undotted = {domain.replace(".", ""): domain for domain in sorted(GIANTS | LARGE, reverse=True)}
        self._endings: dict[str, list[str]] = {}  # name -> the endings under which it is meant, those of giants first
        self._all: set[str] = set()  # endings
        self._like: dict[str, bool] = {}  # endings, whether they are like one of these
        self._near: dict[str, list[str]] = {}  # what is left of a name -> names
        for domain in sorted(self._meant, key=lambda one: (one not in GIANTS, one)):
            self._add(domain)
        much = [domain for domain, count in self._traffic.items() if count >= MUCH and domain not in self._meant]
        for domain in sorted(much, key=lambda one: (-self._traffic[one], one)):
            if not self._meant_by(domain):  # what many mistype is not meant by those who mistype it otherwise
                self._meant.add(domain)
                self._add(domain)
        self._answers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Slips near {len(self._meant)} domains, {len(self._real)} real look-alikes>"

    def _add(self, domain: str) -> None:
        name, _, ending = domain.partition(".")
        if len(name) > LONGEST or not ending:
            return
        if name not in self._endings and len(name) >= SHORTEST:
            for left in without(name, 2 if domain in GIANTS else 1):
                self._near.setdefault(left, []).append(name)
        self._endings.setdefault(name, []).append(ending)
        if ending not in self._all:
            self._all.add(ending)
            self._like.clear()

    def meant(self, domain: str) -> str:
        """The domain (a lower-case A-label) that this one is a slip of; "" for none."""
        found = self._answers.get(domain)
        if found is None:
            if len(self._answers) >= REMEMBERED:
                self._answers.clear()
            found = self._answers[domain] = self._meant_by(domain)
        return found

    def _meant_by(self, domain: str) -> str:
        if domain in self._meant or domain in self._real or domain.startswith("["):
            return ""
        found = self._by_form(domain) or self._by_name(domain)
        return found if self._outweighs(found, domain) else ""

    def _outweighs(self, found: str, domain: str) -> bool:
        """Does so much less go to `domain` that it can be a slip?"""
        own = self._traffic.get(domain, 0)
        return own < ENOUGH or own * OWN_RIGHT < self._traffic.get(found, 0)

    def _by_form(self, domain: str) -> str:
        """The right letters with wrong dots, an ending twice, or the name of a web site."""
        for form in (domain.removeprefix("www."), domain.removesuffix(".com")):
            if form in GIANTS or form in LARGE:
                return form
        return self._undotted.get(domain.replace(".", ""), "")

    def _by_name(self, domain: str) -> str:
        """A name near one that is meant, with an ending that this one has, or nearly."""
        name, _, ending = domain.partition(".")
        if len(name) > LONGEST:
            return ""
        for meant in self._names(name) if self._ends_like_one(ending) else ():
            for wanted in _endings_near(ending, meant, self._endings[meant]):
                if self._fits(name, meant, f"{meant}.{wanted}"):
                    return f"{meant}.{wanted}"
        if f"{name}.com" in ALONE and len(ending) <= _LONG:
            return f"{name}.com"
        right = _corrected(ending, ANYWHERE)
        return f"{name}.{right}" if right != ending else ""

    def _names(self, name: str) -> list[str]:
        """Names that are meant and near to this one, the nearest first."""
        most = 2 if len(name) <= _LONGEST_GIANT + 2 else 1
        found = {meant for left in without(name, most) for meant in self._near.get(left, ())}
        short = {name, *(name[:at] + name[at + 1 :] for at in range(2, len(name)) if name[at] == name[at - 1])}
        found |= {one for one in short if one in self._endings}
        return sorted(found, key=lambda meant: (distance(name, meant), meant))

    def _ends_like_one(self, ending: str) -> bool:
        """Has any domain that is meant such an ending, or nearly? Most domains are done with here."""
        found = self._like.get(ending)
        if found is None:
            if len(self._like) >= REMEMBERED:
                self._like.clear()
            found = self._like[ending] = any(_endings_near(ending, "", sorted(self._all)))
        return found

    def _fits(self, name: str, meant: str, whole: str) -> bool:
        """May `name` be a slip of `meant`, the name of the domain `whole`?"""
        if name == meant:
            return True
        far = distance(name, meant)
        if len(meant) < SHORTEST:
            return far <= DOUBLED
        giant = whole in GIANTS
        if giant and name[0] == meant[0] and sorted(name) == sorted(meant):
            return True  # all letters, in whatever order
        limit = _ONE if not giant else _GIANT_LONG if len(meant) > _LONG else _GIANT_SHORT
        return (far <= limit and _begins_alike(name, meant)) or (giant and _first_is_wrong(name, meant))


def _endings_near(ending: str, meant: str, known: Sequence[str]) -> Iterator[str]:
    """Of the endings `known` of `meant`, those that `ending` is, or is a slip of."""
    right = _corrected(ending, AT_LARGE)
    first, _, country = right.rpartition(".")
    wrong = "com" if ending in ("net", "org") and f"{meant}.com" in GIANTS and len(meant) >= _LONG else ""
    yield from (one for one in (ending, right, f"com.{country}", f"co.{country}", wrong) if one in known)
    if country in _COUNTRIES and (not first or first in _SECONDS):
        return
    if len(right) == 1:
        yield from (one for one in known if one[0] == right and "." not in one)
    nearest = sorted((distance(right, one), number, one) for number, one in enumerate(known))
    yield from (one for far, _, one in nearest if far <= _ENDING and len(right) > 1)


def _begins_alike(name: str, meant: str) -> bool:
    """With the same letter, or without it, or with the first two swapped."""
    return name[0] == meant[0] or name == meant[1:] or name[:2] == meant[1::-1]


def _first_is_wrong(name: str, meant: str) -> bool:
    """Is all right but the first letter, and the name one that has no real neighbours of this kind?"""
    if name[1:] == meant:
        return True
    if len(meant) == SHORTEST and meant.endswith("mail"):
        return False
    return name[1:] == meant[1:] and (len(meant) > _LONG or near(name[0], meant[0]))


def _corrected(ending: str, slips: Mapping[str, str]) -> str:
    """`ending` without a slip in its last label, or before a country's, and not twice (com.com, com.con)."""
    labels = ending.split(".")
    labels[-1] = slips.get(labels[-1], labels[-1]) if len(labels) == 1 or labels[-1] not in _COUNTRIES else labels[-1]
    if len(labels) == 2 and slips is AT_LARGE:
        labels[0] = AT_LARGE.get(labels[0], labels[0]) if labels[0] != "co" else "co"
    if len(labels) == 2 and labels[0] == labels[1]:
        del labels[1]
    return ".".join(labels)
