"""streams.toml as it comes into force."""

from datetime import date
from pathlib import Path

from relay.config import examine_policies
from relay.config.schema_streams import StreamsFile
from relay.header import split
from relay.identity import Rate
from relay.message import MailClass
from relay.policy.letter import Letter
from relay.policy.streams import Streams

CREDENTIALS = "".join(
    f'[credential.{name}]\nclass = "service"\ndomains = ["a.example"]\nnetworks = ["10.0.0.{n}"]\n'
    for n, name in enumerate(("crm", "crm-il", "shop"), 1)
)


def compiled(folder: Path, streams: str) -> Streams:
    (folder / "credentials.toml").write_text(CREDENTIALS)
    (folder / "streams.toml").write_text(streams)
    examined = examine_policies(folder, None)
    assert [str(problem) for problem in examined.problems if not problem.warning] == []
    assert examined.value is not None
    return examined.value.streams


def found(streams: Streams, credential: str, header: str = "", **facts: str) -> str:
    content = header.encode() + b"\r\n\r\nbody\r\n"
    one = Letter(split(content)[0], content, 0, facts.get("subject", ""), facts.get("sender", "a@b.example"))
    stream = streams.find(one, credential, "a.example")
    return stream.name if stream else ""


def test_a_stream_as_it_is_compiled(tmp_path: Path) -> None:
    streams = compiled(
        tmp_path,
        """
[[stream]]
name = "order"
match.credential = "shop"
match.subject = "order"
class = "transactional"
also_remove = ["X-Mailer", "x-shop"]
review_by = 2027-01-15
valid_for = "30m"
rate = "10/minute"

[[stream]]
name = "rest"
match.credential = ["re:^shop$", "c*"]
""",
    )
    order = streams.named["order"]
    assert order.mail_class is MailClass.TRANSACTIONAL
    assert order.rule == "policies/streams.toml:2"
    assert order.also_remove == {"x-mailer", "x-shop"}
    assert (order.review_by, order.valid_for) == (date(2027, 1, 15), 1_800_000)
    assert order.rate == Rate(10, 60, "", "10/minute")
    rest = streams.named["rest"]
    assert (rest.mail_class, rest.review_by, rest.valid_for, rest.rate) == (None, None, None, None)
    assert found(streams, "shop", subject="Your order") == "order"
    assert found(streams, "shop") == found(streams, "crm") == found(streams, "crm-il") == "rest"
    assert found(streams, "other") == ""


def test_what_is_done_about_claims_that_do_not_stand(tmp_path: Path) -> None:
    two = (
        '[[stream]]\nname = "order"\non_contradiction = "reroute"\nmatch.subject = "order"\n[[stream]]\nname = "crm"\n'
    )
    streams = compiled(tmp_path, '[default]\non_contradiction = "enforce"\n' + two)
    assert [streams.doing(name) for name in ("order", "crm", "shop")] == ["reroute", "enforce", "enforce"]
    streams = compiled(tmp_path, two)
    assert [streams.doing(name) for name in ("order", "crm", "shop")] == ["reroute", "flag", "flag"]
    (tmp_path / "streams.toml").unlink()
    examined = examine_policies(tmp_path, None)
    assert examined.value is not None
    assert examined.value.streams.doing("shop") == "flag"


def test_every_kind_of_condition_is_compiled(tmp_path: Path) -> None:
    rules = {
        "header": ('match.header.X-Job = "points-*"', {"header": "x-job: points-1"}),
        "sender": ('match.sender = ["<>", "bücher.example"]', {"sender": "a@xn--bcher-kva.example"}),
        "subject": ('match.subject = "*sale*"', {"subject": "WHOLESALE"}),
        "attachment": (
            'match.attachment = "*.pdf"',
            {"header": "A: b\r\nContent-Disposition: attachment; filename=x.pdf"},
        ),
        "attached": ("match.attachment = true", {"header": "A: b\r\nContent-Disposition: attachment"}),
        "size": ('match.size = ">1KB"', {"header": "A: " + "b" * 2_000}),
        "small": ('match.size = ["1KB-2KB", "<1KB"]', {}),
    }
    text = "".join(f'[[stream]]\nname = "{name}"\n{match}\n' for name, (match, _) in rules.items())
    streams = compiled(tmp_path, text)
    for name, (_, facts) in rules.items():
        assert found(streams, "crm", **facts) == name
    assert (
        found(compiled(tmp_path, '[[stream]]\nname = "all"\nmatch.credential = "*"\n'), "whoever comes later") == "all"
    )


def test_a_window_as_it_is_compiled(tmp_path: Path) -> None:
    text = """
[window.il]
sun-thu = ["14:00-20:30", "09:00-12:00"]
fri = "08:00-13:00"
tz = "Asia/Jerusalem"
closed = [2027-03-23]

[[stream]]
name = "news"
match.subject = "news"
class = "marketing"
send_window = "il"

[[stream]]
name = "rest"
match.subject = "rest"
"""
    streams = compiled(tmp_path, text)
    window = streams.named["news"].window
    assert window is not None
    assert (window.name, str(window.zone)) == ("il", "Asia/Jerusalem")
    assert window.closed == {date(2027, 3, 23)}
    assert window.week == (((540, 720), (840, 1230)),) * 5 + (((480, 780),), ())
    assert streams.named["rest"].window is None


def test_no_file_no_streams(tmp_path: Path) -> None:
    examined = examine_policies(tmp_path, None)
    assert examined.value is not None
    assert examined.value.streams.named == {}


def test_editors_are_told_that_one_value_stands_for_a_list() -> None:
    schema = StreamsFile.model_json_schema()
    subject = schema["$defs"]["MatchTable"]["properties"]["subject"]["anyOf"]
    assert [kind["type"] for kind in subject] == ["string", "array", "null"]
    assert "sun-thu" in schema["$defs"]["Window"]["properties"]
