"""The reply that a report quotes, and the SMTP command it answered. Pure."""

import re

from relay.feedback import status
from relay.outcome import Reply

LENGTH = 600  # characters of a quoted reply that are kept

_REPLY = re.compile(
    r"(?<![\d.\w@/-])([245]\d\d)(?![\d.]\d)[ \t:#-]{1,3}(?:[#(]?([245]\.\d{1,3}\.\d{1,3})\b)?",
)
_CONTEXT = re.compile(
    r"in reply to (?:the )?(.{0,30}?) ?command|after (?:the )?((?:rcpt to|mail from|end of data|data|ehlo|"
    r"helo|initial connection|sending).{0,12})|(refused to talk to me)|did not like our ([a-z ]{4,14})|"
    r">>> (RCPT|MAIL|DATA|EHLO|HELO)|\[(RCPT_TO|MAIL_FROM|DATA)\]|SMTP:(RCPT|MAIL|DATA)|"
    r"(does not like recipient|sender was rejected|sent the message)|following (rcpt|mail|data)|"
    r"for (text) command",
    re.I,
)
_COMMANDS = (
    ("END", re.compile(r"end of data|sent the message|end of message|text command|final data|data termination", re.I)),
    ("RCPT", re.compile(r"rcpt[ _]?to|\brcpt\b|does not like recipient|rejected recipient", re.I)),
    ("MAIL", re.compile(r"mail[ _]?from|sender was rejected", re.I)),
    ("DATA", re.compile(r"\bdata\b", re.I)),
    ("EHLO", re.compile(r"\b(?:ehlo|helo)\b", re.I)),
    (
        "CONNECT",
        re.compile(
            r"refused to talk to me|initial connection|while connecting|connected to .{0,60}but (?:greeting|connection)",
            re.I,
        ),
    ),
    ("STARTTLS", re.compile(r"\bstarttls\b", re.I)),
)


def reply_of(text: str, code: str, action: str) -> Reply:
    """The reply that a text quotes, from its digits on; a text without one is the reply, and the status makes its digits."""
    flat = " ".join(text.split())[: 2 * LENGTH]
    found = _REPLY.search(flat)
    if found is not None and int(found[1]) >= 400:
        rest = flat[found.end() :].lstrip(" :-")
        return Reply(int(found[1]), found[2] or code, rest[:LENGTH])
    enhanced = status.status_of(flat) or code
    digits = {"5": 550, "4": 450}.get(enhanced[:1], 550 if action == "failed" else 450)
    return Reply(digits, enhanced, flat[:LENGTH])


def command_of(text: str) -> str:
    """As Outcome.command; "" where the text does not say."""
    found = _CONTEXT.search(text[: 4 * LENGTH])
    if found is None:
        return ""
    said = next((group for group in found.groups() if group), "")
    return next((command for command, pattern in _COMMANDS if pattern.search(said)), "")
