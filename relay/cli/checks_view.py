"""The checks of a message's brand, as `postlane explain` shows them: each with what came of it and who asks for it. Pure."""

from collections.abc import Iterator, Sequence

from relay.message import MailClass
from relay.policy.checks import Checks, Failed


def as_facts(failed: Sequence[Failed]) -> list[dict[str, str]]:
    """For --json: those that the message does not pass."""
    return [one._asdict() for one in failed]


def as_text(checks: Checks, mail_class: MailClass, failed: Sequence[Failed]) -> Iterator[str]:
    """All that the brand asks for, a line each."""
    found = {one.name: one for one in failed}
    for number, (rule, _, _) in enumerate(checks.asked):
        one = found.get(rule.name)
        came_of_it = "passes" if mail_class in rule.classes else f"not asked of {mail_class.label} mail"
        if one is not None:
            came_of_it = f"{one.level}: {one.lacks}"
        yield f"  {'Checks' if not number else '':<9}{rule.name:<24}{came_of_it:<34} {rule.source}"
