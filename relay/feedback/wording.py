"""The words of failed replies: which category a text speaks of. Pure.

PHRASES stand in the order in which they are believed: what blames the sending side first, then what blames the message,
then what is about the recipient, so that a block on our own address never condemns somebody's mailbox. Within a text
the first line of PHRASES that occurs anywhere wins, however late it stands.

How they are written: semicolons part them; words follow each other; `a|b` is either word; `..` stands for up to GAP
other words; `{name}` is any of CLASSES. Words are compared in lower case without apostrophes; underscores and all other
signs separate words.

A text is read once, word by word. For each place in a phrase the last position where the phrase was matched up to there
is kept; with bounded gaps the last is the best, so time grows with the number of words and nothing else.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from relay.feedback.taxonomy import Category

TEXT_LIMIT = 800  # characters of a reply looked at: its verdict stands in front
WORD_LIMIT = 100  # words looked at
STEP_LIMIT = 500  # steps of phrases tried: an honest reply needs 20 to 450; bounds a text made of our own key words
GAP = 6  # words that `..` may skip: a subordinate clause, not a sentence

CLASSES: dict[str, str] = {
    "user": """
        user, users, mailbox, mailboxes, recipient, recipients, account, addressee, inbox, username, mail box, local
        part, localpart, e mail account, alias, subscriber, rcpt
    """,
    "person": """
        user, users, mailbox, mailboxes, recipient, recipients, account, addressee, inbox, username, mail box, local
        part, alias, subscriber, person, address, addresses, rcpt, customer, userid, name, contact
    """,
    "absent": """
        unknown, not found, not known, does not exist, do not exist, doesnt exist, not exist, invalid, not valid,
        nonexistent, non existent, unavailable, not available, not listed, not recognized, not recognised, isnt
        valid, couldnt be found, could not be found, cannot be found, cant be found, wasnt found, was not found, not
        here, undefined, not registered, not local, didnt exist, incorrect, not present, unrecognized, notfound,
        dont exist
    """,
    "gone": """
        disabled, suspended, deactivated, inactive, closed, locked, terminated, deleted, discontinued, frozen,
        expired, retired, abandoned, dormant, cancelled, canceled, unsubscribed, not active, no longer, has moved,
        have moved, not activated, been moved, on hold
    """,
    "refused": """
        refused, rejected, denied, blocked, not allowed, not permitted, not authorized, not authorised, prohibited,
        disallowed, unauthorized, not accepted, banned
    """,
    "listed": """
        blacklist, blacklisted, blocklist, blocklisted, blacklists, denylist, denylisted, black list, block list,
        deny list, black listed, block listed, dnsbl, dnsbls, rbl, rbls, bls, rblblocked
    """,
    "source": """
        ip, host, server, client, network, ips, ipaddress, mta
    """,
    "large": """
        too big, too large, over size, oversize, oversized
    """,
    "full": """
        full, stuffed, exceeded, exceeds, overfull, exhausted, overflow, overflowed
    """,
}

PHRASES: tuple[tuple[Category, str], ...] = (
    (
        Category.GREYLISTED,
        """
        greylisted; greylist; greylisting; graylisted; graylist; graylisting; grey listed; grey listing;
        verification in progress
        """,
    ),
    (
        Category.SPAM_BLOCK,  # called spam in so many words, or lists of links and domains in the message
        """
        due to spam; spam classification; flagged|classified|detected|identified|scored|marked|considered as spam;
        flagged|classified|detected|identified|scored|marked|considered spam; uribl; surbl; dbl spamhaus; spamhaus
        dbl; url|link|links|urls .. {listed}; url|link|domain in .. listed; domain .. {listed} .. message|body
        """,
    ),
    (
        Category.AUTH_FAILURE,
        """
        cannot find your hostname; cannot find your reverse
        """,
    ),
    (
        Category.REPUTATION_BLOCK,
        """
        {listed}; spamhaus; barracudacentral; spamcop; sorbs; invaluement; senderscore; poor|bad|low|negative
        reputation; reputation of your|the|this|sending; ip|sender|domain reputation; sending|source|client|your
        {source} .. {refused}; sending|source|client|your {source} .. listed; {source} address .. {refused}; ip ..
        blocked|banned|spammer; blocked|banned|blacklisted|blocking ip; access from ip .. {refused}; no access from;
        bad ip; banned sending; banned sender; blocked using; blocked from sending; blocked by; blocked see; open
        relay|proxy; client host .. rejected|blocked; messages|connections from .. deferred; all messages from;
        connections .. will not be accepted from; not accepting connections; messages from .. werent sent; please
        use .. smtp .. isp; dynamic ip; dynamically assigned; dialup|dynamic .. {refused}; residential ip;
        suspicious due to .. reputation; low reputation; adresse ip source; too many spam; spam .. from your
        {source}; attempting to mail|send too many; ip .. problem occurred
        """,
    ),
    (
        Category.RATE_LIMITED,
        """
        rate limit; rate limited; rate limiting; ratelimit; ratelimited; throttled; throttling; concurrent
        connections|sessions; too many ..
        sessions|connections|messages|recipients|mails|emails|requests|mail|commands|transactions; too many; too
        fast|quickly|often|frequent|frequently; too much mail|email|traffic; at a rate; frequency limited;
        rate|volume|frequency .. limit|limited|exceed|exceeded|exceeds|high; unusual|excessive|high|unexpected
        rate|volume; hourly|daily .. limit|limits|quota;
        sending|message|connection|connections|relay|outgoing|relaying quota|limit|limits; quota for sending;
        limit|limits .. exceeded .. hour|day|minute|session|connection; messages|emails|mails|recipients per
        session|connection|hour|day|minute; max|maximum number of messages|connections|sessions|recipients; slow
        down; mail flood; receiving mail at a rate; connection limit; sending limit|limits
        """,
    ),
    (
        Category.AUTH_FAILURE,
        """
        spf; dkim; dmarc; ptr; rdns; reverse dns|lookup|mapping|resolution; helo .. invalid|reject|rejected|resolve;
        ehlo .. invalid|reject|rejected|resolve; ip name lookup failed; authentication
        required|needed|failed|failure|failures|checks|credentials|unsuccessful; authentication is required|needed;
        smtp auth; unauthenticated; not authenticated; sender id; purported; fcrdns; need to authenticate; must
        authenticate; please authenticate; no ptr; forward confirmed; does not resolve .. ip|address; authenticate;
        not allowed to send .. from; domain owner .. policy
        """,
    ),
    (
        Category.MESSAGE_TOO_LARGE,
        """
        message|mail|email|attachment|attachments|messages|content .. {large}; message|mail|email size|length; size
        limit|limits; size .. exceeds|exceeded|exceeding; exceeds|exceeded|exceeding .. size; exceeds maximum
        message; maximum message size; size too; message|mail|email|attachment too long; message|mail|email is too
        long; file .. {large}; header|headers size|value exceeds
        """,
    ),
    (
        Category.QUOTA,
        """
        over quota; overquota; overthequota; over the quota; quota full; quota .. {full}; {full} .. quota; disk
        quota; mailquota; mail quota; {user} .. {full}; storage .. {full}; mailboxfull; boxfull; userfull; out of
        storage; not enough storage|space; no space|room .. {user}; insufficient .. {user}; space not enough; number
        of messages .. exceeded; exceeded .. storage; over .. maximum allowed; over .. storage limit; exceeded ..
        space allocated; limit .. mailbox|inbox; not have enough space; is over .. limit; boite .. pleine; boîte ..
        pleine; postfach .. voll; mailbox .. voll; speicherplatz .. erschöpft; quota .. überschritten; quota ..
        dépassé; buzón|buzon .. lleno; cuota .. excedida|superada; caixa .. cheia; casella .. piena; ящик ..
        переполнен
        """,
    ),
    (
        Category.SUPPRESSED,
        """
        suppressed; suppression; suppress .. address; address .. suppress
        """,
    ),
    (
        Category.RELAY_DENIED,
        """
        relay|relaying .. {refused}; not|cannot|cant|unable|wont to relay; not|cannot|cant|unable|wont|doesnt relay;
        not .. relay; not .. allowed relay; unable to relay; no relaying; relay prohibited; we do not relay; not a
        gateway; not .. rcpthosts; rcpthosts; not permitted to relay; relay access
        """,
    ),
    (
        Category.BAD_SENDER,
        """
        sender .. {refused}; sender .. does not exist; sender .. unknown|invalid|unroutable|nonexistent; sender ..
        verify|verification|verified|verifying; sender .. not found;
        unroutable|invalid|bad|unknown|unverified|illegal sender; verification failed; invalid|bad|unknown return
        path; domain of sender; sender domain; sender address; senders domain; sender refused; mail from
        address|domain|sender .. {refused}; mail from {refused}; mail from address|domain .. invalid; from address
        .. {refused}; from address .. verified; from domain .. {absent}; unresolvable .. from; not verified ..
        identities; email address is not verified; address not verified; not a member; not .. member .. list;
        membership .. required; nonmember; non member; only .. members .. post; not .. permission to post; have
        permission to post; return address .. invalid|unknown|refused
        """,
    ),
    (
        Category.CONTENT_ERROR,
        """
        virus; viruses; malware; infected; trojan; attachment .. {refused}; attachments .. {refused}; {refused}
        attachment|attachments; attachment type|name|extension; file type|extension .. {refused}; executable;
        malformed message|header|mime|mail|from; invalid message content; message .. malformed; rfc ..
        compliant|compliance|conform|conformant; 5322 compliant; 2822 compliant; 822 compliant; not rfc compliant;
        bare lf|cr|newline|linefeed; duplicate header|headers; multiple subject|from|date|to headers|header;
        multiple addresses in; missing .. header|headers; no message id; message id .. missing; headers too large;
        line too long; lines too long; line length; mime .. error|invalid|malformed; bad|illegal|invalid
        header|mime|content; illegal attachment; 8bit .. not; non ascii; conversion .. required|failed; potential
        security issue; potentially dangerous; dangerous attachment|content
        """,
    ),
    (
        Category.SPAM_BLOCK,
        """
        spam; spammy; unsolicited; junk; phish; phishing; bulk mail|email; message content; content
        rejected|blocked|refused|denied|filtered|judged; content .. {refused}; content
        filter|filtering|filters|policy|restriction; mcspamsignature; spamassassin; looks like; bayesian
        """,
    ),
    (
        Category.TLS_FAILURE,
        """
        starttls; tls .. required|failed|failure|handshake|negotiation|negotiate|needed; requires tls; must .. tls;
        tls not available; certificate; encryption required|needed; encryption is required|needed; secure
        connection; ssl .. error|failed; dane; mta sts
        """,
    ),
    (
        Category.REMOTE_ERROR,  # the program that should have put it into the mailbox
        """
        procmail; maildrop; command died; command output; exited with; pipe to; mailer error; lock failure;
        couldnt|cannot|cant|could .. create|write|open; io error; i o error; input output error
        """,
    ),
    (
        Category.DNS_FAILURE,  # asked and not answered; that there is no such name is another matter
        """
        not found try again; name service error .. try again; servfail; temporarily unable to resolve; dns ..
        timeout|temporary|temporarily; temporary .. resolve|resolution|lookup|dns
        """,
    ),
    (
        Category.EXPIRED,
        """
        message|delivery|queue|retry|envelope|time .. expired; delivery|queue|retry time|timeout|period .. exceeded;
        retry timeout exceeded; retry time not reached; too long in queue; for too long; too old; unable to deliver
        .. after; connection expired; could not be delivered .. within; not delivered within; undelivered after;
        retention time; delivery attempts exceeded; maximum .. retries|retry; message timed out; not delivered in
        time
        """,
    ),
    (
        Category.RECIPIENT_REFUSED,
        """
        {refused}|filtered by the recipient|recipients|user|addressee; {refused}|filtered by
        recipient|recipients|user|addressee|this; filtered by .. recipient|user; rejected by this user; recipient
        preferences; recipients preferences; message filtered; recipient|user has blocked; recipient|user .. does
        not|doesnt accept; recipient|user not accepting; recipient|user is not accepting; recipient|user ..
        refuses|refused|declined; recipient .. does not want; blocked .. by .. recipient; challenge response;
        recipient .. only accepts; not on .. whitelist; allow list; {person} .. restricted; restricted .. {person};
        only .. internal|authenticated senders; delivery not authorized
        """,
    ),
    (
        Category.INACTIVE_MAILBOX,
        """
        {user} .. {gone}; account|user|mailbox blocked; account|user|mailbox is|was blocked; account|user|mailbox
        has been blocked; {gone} {person}; address .. no longer; address ..
        disabled|inactive|closed|deactivated|suspended; address .. has changed; no longer
        valid|available|works|active|use|exists|employed|accepted|accepting|at|on|with|here; not our customer; user
        .. has moved; moved .. new address; mailbox .. temporarily disabled; temporarily disabled|suspended; has
        left; ceased; out of service; compte .. désactivé|desactive|bloqué|bloque|suspendu; konto ..
        gesperrt|deaktiviert; postfach .. gesperrt|deaktiviert; account .. gesperrt; cuenta ..
        desactivada|suspendida|deshabilitada
        """,
    ),
    (
        Category.BAD_DOMAIN,
        """
        host|domain|hostname .. {absent}; host|domain .. no mx; unknown|invalid|bad|illegal|nonexistent|unresolvable
        host|domain|hostname; no such host|domain; unknown .. destination|recipient domain; illegal host; recipient
        domain .. find; find .. recipient domain; nxdomain; null mx; domain does not exist; host .. not found;
        couldnt|cannot|cant|not find .. host|domain|exchanger; find .. mail exchanger; no mail exchanger|exchangers;
        no mx or; not accept|accepting .. mail|email|messages; accepts no mail; doesnt accept .. mail|email; not
        accepting network messages; mail exchanger .. not found; unrouteable address; unroutable address;
        unrouteable mail domain; unroutable domain; name or service not known; domain .. not .. handle|handled; does
        not receive mail; bad destination host|system; domain .. suspended|expired
        """,
    ),
    (
        Category.BAD_MAILBOX,
        """
        no such {person}; no such recipient|user;
        unknown|invalid|bad|illegal|nonexistent|unrecognized|unrecognised|undeliverable|incorrect {person}; non
        existent {person}; unknown or illegal; unknown local part; {user} .. {absent}; address .. {absent}; address
        couldnt; recipnotfound; nosuchuser; useruknown; userunknown; unknownuser; no
        mailbox|account|valid|one|recipient|user .. here|name|recipients|recipient|by|found; no mailbox; no valid
        recipient|recipients; no account; no user; nobody .. here|name; not a valid|known {person}; not .. valid
        {person}; isnt .. valid {person}; not a .. {user}; have an|a .. account; no recipient|recipients; not one of
        our users; not our user; not listed in; not in .. directory|database|table; not found in .. directory;
        directory .. not found; recipient not found; bad destination; dont handle mail for; ambiguous; no matches ..
        query; does not have a final; no record of; do not know|recognize; cannot find .. {person}; local address ..
        wrong; check .. address|spelling|typos; inesistente; utilisateur inconnu; destinataire|adresse ..
        inconnu|inconnue|invalide|inexistant; nexiste pas; unbekannter benutzer|empfänger|user;
        empfänger|benutzer|adresse .. unbekannt; nicht gefunden; existiert nicht; usuario desconocido|inexistente;
        usuario .. no existe; destinatario .. desconocido|no existe|sconosciuto; utente sconosciuto; usuário|usuario
        .. desconhecido|inexistente|não existe; onbekende gebruiker; пользователь ..
        найден|существует|зарегистрирован; адрес .. существует|найден; ящик .. существует|найден|недоступен
        """,
    ),
    (
        Category.DNS_FAILURE,
        """
        dns error|lookup|failure|failed|problem|server|query|resolution|record|records|timeout|entry|lookups; name
        service|server error|failure; no mx|a record|records; cannot|cant|couldnt|not|unable to resolve;
        cannot|cant|couldnt|not resolve; lookup failed|failure; nameserver; unable to route; no route
        """,
    ),
    (
        Category.NETWORK_ERROR,
        """
        connection timed|refused|reset|lost|closed|dropped|failed|died|error|terminated; timed out; timeout; time
        out; unreachable; no route; too many hops; hop count; mail loop; mail loops; loops back to myself; looping;
        routing loop; not responding; no answer; did not respond; didnt respond; failed to connect; unable ..
        connect; cannot|couldnt connect; could not connect; not .. reachable; connect to; socket error; connection
        .. mail exchanger failed; lost connection; broken pipe; did not accept our requests to connect; refused to
        accept; network error; read error
        """,
    ),
    (
        Category.REMOTE_ERROR,
        """
        internal .. error; configuration|config error|problem; misconfigured|misconfiguration; local
        error|problem|configuration; milter; upstream error; server|system|service|resources|resource ..
        unavailable|available|busy|full|overloaded|error|congestion; temporary|temporarily ..
        failure|problem|error|unavailable|problems; temporarily|currently unable; disk full; disk .. error; out of
        memory; insufficient .. storage|resources|memory|disk|space; try .. later; cannot ..
        mailbox|write|create|open|store|save|deliver; unable to .. process|write|create; processing error|failed;
        local delivery failed; queue file; database; ldap; scanner|scanning .. error|failed|unavailable; failed ..
        exit; mail system full; service currently; permission denied; cant create; software error; overloaded; load
        .. high; try again; aborted
        """,
    ),
    (
        Category.POLICY_BLOCK,
        """
        policy; policies; prohibited; access denied; access .. refused|restricted; forbidden; security;
        administrative; administratively; not|isnt allowed|permitted|authorized|authorised; protocol violation;
        header error; rejected for; local rule|rules; rule .. rejected
        """,
    ),
    (
        Category.PROTOCOL_ERROR,
        """
        syntax error; bad|out sequence; out of sequence; sequence of commands; not implemented; need
        rcpt|mail|helo|ehlo; unrecognized|unrecognised|unknown|unimplemented|invalid command; command
        not|unrecognized|unrecognised; unsupported parameter; parameter .. unrecognized|not; rcpt first; protocol
        error; malformed address; invalid syntax; smtputf8
        """,
    ),
)

# What says little, believed only when code and words have said nothing better.
VAGUE_PHRASES: tuple[tuple[Category, str], ...] = (
    (Category.REPUTATION_BLOCK, "blocked; banned; bloquee; bloqué; complaints"),
    (Category.POLICY_BLOCK, "message|mail|email rejected|refused"),
    (
        Category.RECIPIENT_REFUSED,
        "address rejected; rejected recipient; not like recipient; recipient .. rejected|refused",
    ),
)


class _Step(NamedTuple):
    """One place in a phrase: reached by a word or class when `before` was reached at most `reach` words ago (-1: it is the
    first). `rank` of the phrase that ends here; that of no phrase where none does."""

    place: int
    before: int
    reach: int
    rank: int


_WORDS = re.compile(r"\d+(?:\.\d+)+|[^\W_]+")
# Possessive, and with what is no address: a search for addresses alone begins anew at each character of a long run.
_ADDRESSES = re.compile(r"[^\s<>(\[@]++(@[^\s<>)\]@:]++)?")


def words_of(text: str) -> list[str]:
    """The words of a reply (in lower case), without the addresses in it: what stands in those says nothing."""
    if "'" in text or "’" in text:
        text = text.replace("’", "").replace("'", "")
    if "@" in text:
        text = _ADDRESSES.sub(lambda run: run[0] if run[1] is None else " ", text)
    return _WORDS.findall(text)[:WORD_LIMIT]


def listed(text: str, separator: str) -> list[str]:
    """The entries of one of the lists above."""
    return [" ".join(entry.split()) for entry in text.split(separator) if entry.strip()]


class Phrases:
    """All phrases as one automaton. `ranked` are (category, phrase) in the order in which they are believed."""

    def __init__(self, phrases: Iterable[tuple[Category, str]]) -> None:
        self.ranked = [(category, line) for category, text in phrases for line in listed(text, ";")]
        self._none = len(self.ranked)
        steps: dict[tuple[int, str, int], int] = {}
        ends: dict[int, int] = {}
        for rank, (_, phrase) in enumerate(self.ranked):
            before, reach = -1, 1
            for element in phrase.split():
                if element == "..":
                    reach = GAP + 1
                    continue
                before = steps.setdefault((before, element, reach), len(steps))
                reach = 1
            ends.setdefault(before, rank)
        self._places = len(steps)
        # By the words of a term ("not", "found"), the steps it takes; by a term's first word, how long terms can be.
        self._index: dict[str, tuple[_Step, ...]] = {}
        self._terms: dict[tuple[str, ...], tuple[_Step, ...]] = {}
        self._lengths: dict[str, tuple[int, ...]] = {}
        for (before, element, reach), place in steps.items():
            step = _Step(place, before, reach, ends.get(place, self._none))
            for term in sorted(_terms(element)):
                self._add(tuple(term.split()), step)

    def _add(self, words: tuple[str, ...], step: _Step) -> None:
        """In front of the others: of two steps by one word the later place must be tried first."""
        if len(words) == 1:
            self._index[words[0]] = (step, *self._index.get(words[0], ()))
        else:
            self._terms[words] = (step, *self._terms.get(words, ()))
            self._lengths[words[0]] = tuple(sorted({*self._lengths.get(words[0], ()), len(words)}))

    def __repr__(self) -> str:
        return f"<Phrases: {self._none} phrases, {len(self._index)} words, {self._places} places>"

    def find(self, words: Sequence[str]) -> int:
        """The rank of the first of the phrases that occurs in the words; len(ranked) if none does."""
        reached: dict[int, int] = {}  # place: where it was reached last; made of the places of an honest reply, some 30
        best, steps_of, lengths, left = self._none, self._index, self._lengths, STEP_LIMIT
        for position, word in enumerate(words):
            if word in steps_of:
                steps = steps_of[word]
                left -= len(steps)
                for place, before, reach, rank in steps:
                    if before < 0 or (before in reached and position - reach <= reached[before] < position):
                        reached[place] = position
                        if rank < best:  # noqa: PLR1730  min() would take longer than all the rest
                            best = rank
            if word in lengths:
                for length in lengths[word]:
                    for place, before, reach, rank in self._terms.get(tuple(words[position : position + length]), ()):
                        if before < 0 or (before in reached and position - reach <= reached[before] < position):
                            reached[place] = position + length - 1
                            if rank < best:  # noqa: PLR1730
                                best = rank
            if left < 0:
                break
        return best


def _terms(element: str) -> set[str]:
    """The words, or expressions of several words, that one element of a phrase stands for."""
    terms: set[str] = set()
    for part in element.split("|"):
        terms |= set(listed(CLASSES[part[1:-1]], ",")) if part.startswith("{") else {part}
    return terms


# Scripts that do not part words: looked for as they stand, when no phrase has been found.
OTHER_SCRIPTS: tuple[tuple[Category, str], ...] = (
    (Category.QUOTA, "已满"),
    (Category.QUOTA, "容量"),
    (Category.INACTIVE_MAILBOX, "停用"),
    (Category.BAD_MAILBOX, "不存在"),
    (Category.BAD_MAILBOX, "見つかりません"),
    (Category.BAD_MAILBOX, "存在しません"),
    (Category.BAD_MAILBOX, "존재하지"),
)
