"""Plain answers are read as dnspython reads them, or not at all."""

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.egress.mx import Answer, Found
from relay.egress.plain_dns import KINDS, answers, cut, question, read

NAME = "mail.Example-1.test".lower()


def asked(name: str = NAME, kind: str = "MX", *, authentic: bool = False) -> bytes:
    query = question(name, kind, 4711, authentic=authentic)
    assert query is not None
    return query


def answered(query: bytes, *records: str, kind: str = "MX", owner: str = NAME, ttl: int = 300) -> dns.message.Message:
    response = dns.message.make_response(dns.message.from_wire(query), recursion_available=True)
    if records:
        response.answer.append(dns.rrset.from_text(owner + ".", ttl, "IN", kind, *records))
    return response


def nothing(query: bytes, zone: str = "example-1.test", ttl: int = 600, minimum: int = 60) -> dns.message.Message:
    response = answered(query)
    response.authority.append(
        dns.rrset.from_text(zone + ".", ttl, "IN", "SOA", f"ns.{zone}. root.{zone}. 1 2 3 4 {minimum}")
    )
    return response


def test_a_question_is_one_that_dnspython_would_ask() -> None:
    told = dns.message.from_wire(asked(authentic=True))
    assert told.id == 4711
    assert told.question[0].to_text() == f"{NAME}. IN MX"
    assert (told.edns, told.payload) == (0, 1232)
    assert told.flags == dns.flags.RD | dns.flags.AD
    assert dns.message.from_wire(asked()).flags == dns.flags.RD


@pytest.mark.parametrize("name", ["", ".", "a..b", "a" * 64, ".".join(["a" * 60] * 5), "a\\.b", "ä.test", "A.test"])
def test_names_that_dnspython_is_to_ask_for(name: str) -> None:
    assert question(name, "MX", 1, authentic=False) is None
    assert question(NAME, "TLSA", 1, authentic=False) is None


@pytest.mark.parametrize(
    ("kind", "records", "read_as"),
    [
        ("MX", ["10 MX1.other.test.", "20 mx2.mail.example-1.test."], {(10, "mx1.other.test"), (20, f"mx2.{NAME}")}),
        ("MX", ["0 ."], {(0, "")}),
        ("A", ["192.0.2.1", "192.0.2.2"], {(0, "192.0.2.1"), (0, "192.0.2.2")}),
        ("AAAA", ["2001:db8:0:0::1"], {(0, "2001:db8::1")}),
        ("TXT", ['"v=STSv1; " "id=1;"', '"\\228\\000"'], {(0, "v=STSv1; id=1;"), (0, "\xe4\x00")}),
    ],
)
def test_records_of_the_name(kind: str, records: list[str], read_as: set[tuple[int, str]]) -> None:
    query = asked(kind=kind)
    found = read(answered(query, *records, kind=kind).to_wire(), query, authentic=False)
    assert found is not None
    answer, ttl = found
    assert (answer.found, set(answer.records), ttl) == (Found.RECORDS, read_as, 300)
    assert (answer.secure, answer.canonical) == (False, NAME)


@pytest.mark.parametrize("zone", ["example-1.test", NAME, "test"])
def test_nothing_holds_as_long_as_the_zone_says(zone: str) -> None:
    query = asked()
    assert read(nothing(query, zone).to_wire(), query, authentic=False) == (Answer(Found.NOTHING), 60)
    assert read(nothing(query, zone, ttl=30).to_wire(), query, authentic=False) == (Answer(Found.NOTHING), 30)
    gone = nothing(query, zone)
    gone.set_rcode(dns.rcode.NXDOMAIN)
    assert read(gone.to_wire(), query, authentic=False) == (Answer(Found.NO_NAME), 60)


def test_the_servers_word_counts_where_it_is_believed() -> None:
    query = asked(authentic=True)
    for response in (answered(query, "10 mx.test."), nothing(query)):
        response.flags |= dns.flags.AD
        for believed in (True, False):
            found = read(response.to_wire(), query, authentic=believed)
            assert found is not None
            assert found[0].secure is believed


def test_what_is_not_plain_is_left_to_dnspython() -> None:
    query = asked()
    alias = answered(query, "other.test.", kind="CNAME")
    alias.answer.append(dns.rrset.from_text("other.test.", 300, "IN", "MX", "10 mx.test."))
    failed = answered(query)
    failed.set_rcode(dns.rcode.SERVFAIL)
    mapped = answered(asked(kind="AAAA"), "::ffff:192.0.2.1", kind="AAAA")
    odd = answered(query, "10 a\\032b.test.")
    for response in (
        alias,
        failed,
        odd,
        answered(query),
        answered(query, "10 mx.test.", owner="another.test"),
        nothing(query, "other.test"),
    ):
        assert read(response.to_wire(), query, authentic=False) is None
    assert read(mapped.to_wire(), asked(kind="AAAA"), authentic=False) is None
    assert read(query, query, authentic=False) is None, "a question is no answer"


def test_what_was_cut_off_is_asked_for_by_tcp() -> None:
    query = asked()
    short = answered(query)
    short.flags |= dns.flags.TC
    assert cut(short.to_wire())
    assert read(short.to_wire(), query, authentic=False) is None
    assert not cut(answered(query).to_wire())


def test_another_question_is_not_answered() -> None:
    query, response = asked(), answered(asked(), "10 mx.test.").to_wire()
    assert answers(response, query)
    assert not answers(response, asked(kind="A"))
    assert not answers(response, asked("other.test"))
    assert not answers(b"\0\0" + response[2:], query)
    assert not answers(response[:20], query)
    assert not answers(b"", query)


def test_a_ttl_with_the_highest_bit_is_nought() -> None:
    query = asked()
    wire = answered(query, "10 mx.test.", ttl=0x12345678).to_wire().replace(b"\x12\x34\x56\x78", b"\x92\x34\x56\x78")
    found = read(wire, query, authentic=False)
    assert found is not None
    assert found[1] == 0


def test_a_pointer_forwards_or_to_itself_ends() -> None:
    query = asked()
    wire = answered(query, "10 mx.other.").to_wire()
    at = wire.index(b"\x02mx\x05other\0")
    for pointer in (b"\xc0" + bytes([at]), b"\xff\xff", b"\xc0\xf0", b"\x80\0", b"\x40\0"):
        assert read(wire[:at] + pointer + wire[at + 2 :], query, authentic=False) is None


@given(st.data())
def test_a_damaged_answer_is_never_a_fault_of_ours(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    values = {"A": "192.0.2.1", "AAAA": "2001:db8::1", "MX": "10 mx.test.", "TXT": '"v=STSv1; id=1;"'}
    query = asked(kind=kind)
    whole = answered(query, values[kind], kind=kind) if data.draw(st.booleans()) else nothing(query)
    wire = bytearray(whole.to_wire())
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(2, len(wire) - 1))] = data.draw(st.integers(0, 255))
    del wire[data.draw(st.integers(len(query), len(wire))) :]
    found = read(bytes(wire), query, authentic=False)
    assert found is None or found[1] >= 0


@given(
    st.lists(
        st.tuples(st.integers(0, 65535), st.from_regex(r"\A[a-z0-9_-]{1,20}(\.[a-z]{1,9}){0,3}\Z")),
        min_size=1,
        max_size=9,
    ),
    st.integers(0, 2**31 - 1),
)
def test_it_reads_what_dnspython_reads(hosts: list[tuple[int, str]], ttl: int) -> None:
    query = asked()
    response = answered(query, *(f"{preference} {host}." for preference, host in hosts), ttl=ttl)
    found = read(response.to_wire(), query, authentic=False)
    assert found is not None
    theirs = dns.resolver.Answer(response.answer[0].name, 15, 1, dns.message.from_wire(response.to_wire()))  # type: ignore[arg-type]
    assert theirs.rrset is not None
    assert set(found[0].records) == {(one.preference, str(one.exchange)[:-1].lower()) for one in theirs.rrset}
    assert found[1] == theirs.chaining_result.minimum_ttl
