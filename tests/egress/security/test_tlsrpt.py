import gzip
import json
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from relay.egress.security.tlsrpt import MAX_DETAILS, About, Applied, Counts, Failure, addresses, letter, report

ABOUT = About("2026-11-22", "example.test", "relay.test", "postmaster@relay.test", "relay-1")
STS = Applied("sts", "example.test", ("version: STSv1", "mode: enforce"), ("mx.example.test",))
EXPIRED = Failure("certificate-expired", "mx.example.test", "192.0.2.7", "198.51.100.1", "its certificate has expired")


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["v=TLSRPTv1; rua=mailto:tls@example.test"], ("mailto:tls@example.test",)),
        (["v=TLSRPTv1;rua=mailto:a@b.test,https://c.test/x?y=1;"], ("mailto:a@b.test", "https://c.test/x?y=1")),
        (["v=TLSRPTv1; rua = mailto:a%40b@c.test , mailto:a%21@b.test"], ("mailto:a!@b.test",)),
        (["other", "v=TLSRPTv1; more=1; rua=MAILTO:a@b.test?subject=x"], ("mailto:a@b.test",)),
        (["v=TLSRPTv1; rua=mailto:a@b.test,mailto:a@b.test"], ("mailto:a@b.test",)),
        (["v=TLSRPTv1; rua=http://c.test/,ftp://d.test,mailto:,mailto:a@b%0d%0aX:@c.test"], ()),
        (["v=TLSRPTv1; rua=https://user@c.test/,https://c.test:8443/,https:///x,https://c.test/a b,https://[x"], ()),
        (
            ["v=TLSRPTv1; rua=" + ",".join(f"mailto:a{n}@b.test" for n in range(9))],
            tuple(f"mailto:a{n}@b.test" for n in range(5)),
        ),
        (["v=TLSRPTv1;"], ()),
        (["v=TLSRPTv1"], ()),
        (["v=TLSRPTv1; rua=mailto:a@b.test", "v=TLSRPTv1; rua=mailto:c@d.test"], ()),
        ([], ()),
    ],
)
def test_who_wants_reports(texts: list[str], found: tuple[str, ...]) -> None:
    assert addresses(texts) == found


def test_counts_are_bounded() -> None:
    counts = Counts()
    counts.add(None, 3)
    for number in range(MAX_DETAILS + 50):
        counts.add(Failure("validation-failure", reason=str(number)))
    counts.add(Failure("validation-failure", reason="0"), 2)
    assert (counts.good, counts.bad, len(counts.failures)) == (3, MAX_DETAILS + 52, MAX_DETAILS)
    assert counts.failures[Failure("validation-failure", reason="0")] == 3


def counted() -> dict[Applied, Counts]:
    sts, none = Counts(), Counts()
    sts.add(None, 7)
    sts.add(EXPIRED, 2)
    sts.add(Failure("sts-policy-fetch-error", reason="x" * 500))
    none.add(None)
    return {STS: sts, Applied("no-policy-found", "example.test"): none}


def test_a_report() -> None:
    told = json.loads(gzip.decompress(report(ABOUT, counted())))
    assert told["organization-name"] == "relay.test"
    assert told["contact-info"] == "postmaster@relay.test"
    assert told["report-id"] == "2026-11-22.example.test.relay-1@relay.test"
    assert told["date-range"] == {"start-datetime": "2026-11-22T00:00:00Z", "end-datetime": "2026-11-22T23:59:59Z"}
    sts, none = told["policies"]
    assert sts["policy"] == {
        "policy-type": "sts",
        "policy-domain": "example.test",
        "policy-string": ["version: STSv1", "mode: enforce"],
        "mx-host": ["mx.example.test"],
    }
    assert sts["summary"] == {"total-successful-session-count": 7, "total-failure-session-count": 3}
    expired, fetch = sts["failure-details"]
    assert expired == {
        "result-type": "certificate-expired",
        "sending-mta-ip": "198.51.100.1",
        "receiving-mx-hostname": "mx.example.test",
        "receiving-ip": "192.0.2.7",
        "failure-reason-code": "its certificate has expired",
        "failed-session-count": 2,
    }
    assert fetch == {
        "result-type": "sts-policy-fetch-error",
        "failure-reason-code": "x" * 200,
        "failed-session-count": 1,
    }
    assert none == {
        "policy": {"policy-type": "no-policy-found", "policy-domain": "example.test"},
        "summary": {"total-successful-session-count": 1, "total-failure-session-count": 0},
    }


def test_its_letter() -> None:
    content = report(ABOUT, counted())
    raw = letter(ABOUT, "tls@example.test", content, "<1@relay.test>", 1_795_478_400_000)
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert max(map(len, raw.split(b"\r\n"))) < 200
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert message["Subject"] == (
        "Report Domain: example.test Submitter: relay.test Report-ID: <2026-11-22.example.test.relay-1@relay.test>"
    )
    assert (message["TLS-Report-Domain"], message["TLS-Report-Submitter"]) == ("example.test", "relay.test")
    assert (message["TLS-Required"], message["From"], message["To"]) == (
        "No",
        "Postlane <postmaster@relay.test>",
        "tls@example.test",
    )
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "tlsrpt"
    words, attached = message.iter_parts()
    assert words.get_content_type() == "text/plain"
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    assert attached.get_filename() == "relay.test!example.test!1795305600!1795391999!relay1.json.gz"
    assert attached.get_payload(decode=True) == content


def test_a_node_without_a_letter_in_its_name_still_makes_a_file_name() -> None:
    assert About("2026-11-22", "a.test", "b.test", "c", "-").file_name.endswith("!1.json.gz")
