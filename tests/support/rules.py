"""Rules of streams and letters that they are tried on, for the tests of policy."""

from collections.abc import Sequence

from hypothesis import strategies as st

from relay.header import split
from relay.policy.letter import Letter
from relay.policy.patterns import Pattern, parse
from relay.policy.streams import Match, Size

CRM = frozenset({"crm"})


def letter(header: str = "", subject: str = "", **more: object) -> Letter:
    content = header.replace("\n", "\r\n").encode() + b"\r\n\r\nbody\r\n"
    return Letter(split(content)[0], content, 0, subject, **more)  # type: ignore[arg-type]


def texts(**given_texts: str | Sequence[str]) -> dict[str, tuple[Pattern, ...]]:
    """`header_x_job` stands for header.x-job."""
    found: dict[str, tuple[Pattern, ...]] = {}
    for key, value in given_texts.items():
        name = f"header.{key[7:].replace('_', '-')}" if key.startswith("header_") else key
        several = [value] if isinstance(value, str) else value
        found[name] = tuple(parse(one, words=key == "subject") for one in several)
    return found


TEXTS = st.fixed_dictionaries(
    {},
    optional={
        "subject": st.sampled_from(["order", "*rd*", "re:^o", ["sale", "order"]]),
        "from_domain": st.sampled_from(["a.example", "*.example", "b.example"]),
        "header_x_job": st.sampled_from(["j-*", "j-1", "*", "re:[12]$"]),
        "recipient_domain": st.sampled_from(["c.example", ["*.c.example", "d.example"]]),
    },
)
MATCHES = st.builds(
    lambda credentials, given_texts, size: Match(frozenset(credentials), texts(**given_texts), size),
    st.sets(st.sampled_from(["crm", "erp"])),
    TEXTS,
    st.sampled_from([(), (Size(0, 50),), (Size(60, 900),)]),
)
LETTERS = st.builds(
    lambda job, subject, domains: letter(f"X-Job: {job}" if job else "", subject, domains=domains),
    st.sampled_from(["", "j-1", "j-2", "k"]),
    st.sampled_from(["order", "border", "big sale order", ""]),
    st.lists(st.sampled_from(["c.example", "x.c.example", "d.example"]), max_size=2),
)
