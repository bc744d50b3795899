"""What was said in a session that failed, for the people who read its event. Pure.

    connect to mx.b.example [192.0.2.7] port 25 from 198.51.100.10
    < 220 mx.b.example ESMTP
    > EHLO relay-1.a.example
    < 250-mx.b.example
    < 250 PIPELINING
    > MAIL FROM:<b-x1@bounce.a.example> SIZE=18231
    > RCPT TO:<dana@b.example>
    > DATA
    < 250 2.1.0 Ok
    < 550 5.1.1 no such user
    < 503 5.5.1 no valid recipients

">" is ours, "<" the peer's, "!" what we made of it, and brackets tell what is not shown. In the order in which it went over the
wire: commands that left in one write stand before the replies to them (RFC 2920 3.1). Of a kept connection its opening and
this transaction are shown, never those between: they are other people's. AUTH is named alone, and of the content its size.

Nothing is made of a session that goes well: only what was said is kept by reference, as long as the connection is open.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.egress.replies import printable
from relay.egress.transaction import Transaction
from relay.outcome import Outcome

MOST = 4_096  # characters of one transcript: it is stored with every attempt that fails
LONGEST = 512  # of a line; replies may have a thousand, and what matters comes first
OMITTED = "(...)"

Answer = tuple[int, str] | Outcome | None  # code and lines; or how it failed; None: there was none to wait for
Step = tuple[str, Answer]


class Target(Protocol):
    """One address of one host; its text says both."""

    @property
    def port(self) -> int: ...


@dataclass(slots=True)
class Opening:
    """How a session began: from our address `source` ("": the system's choice), by the name `ehlo`.

    heard    what we did, and the answer, in turn: CONNECT (without one), BANNER, EHLO, HELO, STARTTLS, AUTH
    """

    target: Target
    source: str
    ehlo: str
    heard: Sequence[Step]

    def lines(self, tls: str = "") -> list[str]:
        """`tls`: the version, where it is known."""
        lines: list[str] = []
        encrypted = False
        for step, answer in self.heard:
            if encrypted and step == "EHLO":
                lines.append(f"(from here on in {tls or 'TLS'})")
            encrypted = step == "STARTTLS" and isinstance(answer, tuple) and answer[0] == 220
            if step == "CONNECT":
                lines.append(
                    f"connect to {self.target} port {self.target.port}{f' from {self.source}' if self.source else ''}"
                )
            elif step in ("EHLO", "HELO"):
                lines.append(f"> {step} {self.ehlo}")
            elif step != "BANNER":
                lines.append(f"> {step}{' (not shown)' if step == 'AUTH' else ''}")
            lines += _answered(answer)
        return lines

    def failed(self, outcome: Outcome) -> tuple[str, ...]:
        """Of one that came to this: what was said, and our own words where they are not among it."""
        known = any(answer is outcome for _, answer in self.heard)
        return bounded((), self.lines() + (_answered(outcome) if outcome.internal and not known else []))


def _answered(answer: Answer) -> list[str]:
    if answer is None:
        return []
    if isinstance(answer, Outcome):
        return [f"! {answer.reply.text}" if answer.internal else f"< {answer.reply}"]
    code, text = answer
    *more, last = text.split("\n")
    return [*(f"< {code}-{line}" for line in more), f"< {code} {last}"]


def of_transaction(opening: Opening, tls: str, before: int, one: Transaction) -> tuple[str, ...]:
    """`before`: transactions that the connection carried earlier."""
    between = [f"({before} other transaction{'s' if before > 1 else ''})"] if before else []
    said = _said(one)
    if one.internal and one.reply is not None:
        said.append(f"! {one.reply.text}")
    return bounded([*opening.lines(tls), *between], said)


def _said(one: Transaction) -> list[str]:
    """Every command that left, and every reply that came."""
    if not one.started:
        return []
    commands = [f"> {line.decode('utf-8', 'replace').rstrip()}" for line in one.lines]
    replies = [f"< {reply}" for reply in one.heard]
    content = _content(one)
    if one.pipelining:
        return [*commands, *replies[: len(commands)], *content, *replies[len(commands) :]]
    sent = [*commands, *content][: max(len(replies), one.sent)]
    lines: list[str] = []
    for number, command in enumerate(sent):
        lines += [command, *replies[number : number + 1]]
    return lines


def _content(one: Transaction) -> list[str]:
    """What answered DATA's 354, if that came."""
    last = len(one.lines) - 1
    if len(one.heard) <= last or one.heard[last].code // 100 != 3:
        return []
    if any(not reply.ok for reply in one.heard[:last]):
        return ["> . (an empty message: nothing was taken before it)"]
    return [f"> (the message, {one.octets:,} octets)"]


def bounded(opening: Sequence[str], rest: Sequence[str]) -> tuple[str, ...]:
    """Of what is too long the middle goes, and of the opening first: how it ended says why it failed."""
    lines = [printable(line[:LONGEST]) for line in (*opening, *rest)]
    if sum(map(len, lines)) <= MOST:
        return tuple(lines)
    first = _fitting(lines[: len(opening)], MOST // 4)
    last = _fitting(lines[: len(first) - 1 : -1], MOST - sum(map(len, first)) - len(OMITTED))
    return (*first, OMITTED, *reversed(last))


def _fitting(lines: Sequence[str], room: int) -> list[str]:
    kept: list[str] = []
    for line in lines:
        room -= len(line)
        if room < 0:
            break
        kept.append(line)
    return kept
