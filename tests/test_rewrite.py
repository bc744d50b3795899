"""Header fields change exactly as INTERFACE's table says, and no octet of a body does."""

from hypothesis import given
from hypothesis import strategies as st

from relay.header import covered, split
from relay.message import Peer
from relay.rewrite import Rewritten, received_field, rewrite, subject_of

NOW = 1_795_267_531_104


def rewritten(content: bytes, also_remove: frozenset[str] = frozenset()) -> Rewritten:
    fields, rest = split(content)
    return rewrite(
        fields,
        rest,
        content,
        message_id="<id@a.example>",
        received=b"Received: us\r\n",
        now=NOW,
        also_remove=also_remove,
    )


def test_nothing_to_remove_leaves_the_very_bytes() -> None:
    content = b"From: a@a.example\r\nMessage-ID: <1@a>\r\nDate: x\r\n\r\nbody\r\n"
    letter = rewritten(content)
    assert letter.content == content
    assert letter.added == b"Received: us\r\n"
    assert letter.message_id == "<1@a>"
    assert content[letter.body_start :] == b"body\r\n"


def test_date_and_message_id_are_added_when_absent() -> None:
    letter = rewritten(b"From: a@a.example\r\n\r\nbody\r\n")
    assert letter.added == (b"Received: us\r\nMessage-ID: <id@a.example>\r\nDate: Sat, 21 Nov 2026 13:25:31 +0000\r\n")
    assert letter.message_id == "<id@a.example>"


def test_a_feedback_id_is_added_where_the_app_has_none_and_its_signature_does_not_say_so() -> None:
    ours, head = b"Feedback-ID: news:crm:arava:us\r\n", b"From: a@a.example\r\nMessage-ID: <1@a>\r\nDate: x\r\n"

    def added(content: bytes) -> bytes:
        fields, rest = split(content)
        letter = rewrite(fields, rest, content, message_id="", received=b"", now=NOW, feedback_id=ours)
        assert letter.content == content
        return letter.added

    assert added(head + b"\r\nb\r\n") == ours
    assert added(head + b"Feedback-ID: theirs\r\n\r\nb\r\n") == b""
    assert added(b"DKIM-Signature: v=1; h=From:Feedback-ID; b=x\r\n" + head + b"\r\nb\r\n") == b""
    assert added(b"DKIM-Signature: v=1; h=From:Subject; b=x\r\n" + head + b"\r\nb\r\n") == ours


def test_private_fields_are_removed_with_their_folds() -> None:
    letter = rewritten(
        b"Bcc: secret@a.example,\r\n other@a.example\r\nFrom: a@a.example\r\nresent-bcc: x@y\r\n"
        b"Return-Path: <x@y>\r\nX-Postlane-Stream: order\r\nX-Postlane-Metadata-A: 1\r\nSubject: s\r\n\r\nb\r\n"
    )
    assert letter.content == b"From: a@a.example\r\nSubject: s\r\n\r\nb\r\n"
    assert letter.content[letter.body_start :] == b"b\r\n"


def test_an_apps_signature_over_a_removed_field_is_dropped_others_stay() -> None:
    covering = b"DKIM-Signature: v=1; d=a.example; h=From:\r\n Bcc:Subject; b=x\r\n"
    other = b"DKIM-Signature: v=1; d=a.example; h=From:Subject; bh=bcc; b=x\r\n"
    rest = b"From: a@a.example\r\nMessage-ID: <1@a>\r\nDate: x\r\n\r\nb\r\n"
    letter = rewritten(covering + other + b"Bcc: x@y\r\n" + rest)
    assert letter.content == other + rest
    assert letter.removed == {"bcc"}
    assert [f.raw for f in letter.dropped] == [covering]
    assert covered(letter.dropped[0].value, {"bcc", "to"}) == {"bcc"}
    assert rewritten(covering + other + rest).content == covering + other + rest


def test_a_stream_may_do_without_more_fields() -> None:
    covering = b"DKIM-Signature: v=1; d=a.example; h=From:X-Mailer; b=x\r\n"
    rest = b"From: a@a.example\r\nBcc: x@y\r\nMessage-ID: <1@a>\r\nDate: x\r\n"
    letter = rewritten(
        covering + b"X-MAILER: shop\r\n folded\r\n" + rest + b"\r\nX-Mailer: b\r\n", frozenset({"x-mailer"})
    )
    assert letter.content == b"From: a@a.example\r\nMessage-ID: <1@a>\r\nDate: x\r\n\r\nX-Mailer: b\r\n"
    assert letter.removed == {"bcc", "x-mailer"}
    assert len(letter.dropped) == 1


def test_a_body_without_a_final_line_end_gains_one_and_nothing_else() -> None:
    assert rewritten(b"From: a@a\r\n\r\nno end").content == b"From: a@a\r\n\r\nno end\r\n"
    assert rewritten(b"From: a@a\r\n").content == b"From: a@a\r\n\r\n"
    assert rewritten(b"From: a@a").content == b"From: a@a\r\n\r\n"
    assert rewritten(b"\r\nonly a body\r\n").content == b"\r\nonly a body\r\n"


@given(st.binary(max_size=300).map(lambda b: b.replace(b"\r", b"").replace(b"\n", b"\r\n")))
def test_bodies_are_never_touched(body: bytes) -> None:
    letter = rewritten(b"Bcc: x\r\nFrom: a@a\r\n\r\n" + body + b"\r\n")
    assert letter.content[letter.body_start :] == body + b"\r\n"


@given(st.binary(max_size=200).map(lambda b: b.replace(b"\r", b"").replace(b"\n", b"\r\n")))
def test_any_header_keeps_what_is_not_removed(header: bytes) -> None:
    content = header + b"\r\n\r\nb\r\n"
    fields, rest = split(content)
    assert b"".join(f.raw for f in fields) == content[:rest]


def test_received_names_the_peer_and_cannot_be_injected_into() -> None:
    peer = Peer("192.0.2.7", 1234, helo="evil\r\nBcc: x (y", protocol="ESMTPSA", tls="TLSv1.3")
    assert received_field(peer, "relay.example", "01id", NOW) == (
        b"Received: from evil??Bcc:?x??y ([192.0.2.7])\r\n\tby relay.example (Postlane) with ESMTPSA id 01id\r\n"
        b"\t(using TLSv1.3);\r\n\tSat, 21 Nov 2026 13:25:31 +0000\r\n"
    )
    assert b" id 01id\r\n\tPRIORITY -4" in received_field(peer, "relay.example", "01id", NOW, -4)
    assert b"([IPv6:::1])" in received_field(Peer("::1", 1), "relay.example", "01id", NOW)


def test_subject_is_decoded_bounded_and_never_raises() -> None:
    def subject(raw: bytes) -> str:
        return subject_of(split(b"Subject: " + raw + b"\r\n\r\n")[0])

    assert subject(b"=?utf-8?B?16nXnNeV150=?=") == "שלום"
    assert subject("שלום".encode()) == "שלום"
    assert subject(b"=?no-such-charset?B?16nXnNeV150=?=") == "=?no-such-charset?B?16nXnNeV150=?="
    assert subject(b"=?utf-7?Q?+2AA-?=") == "?"
    assert len(subject(b"x" * 5000)) == 300
    assert subject_of([]) == ""


@given(st.binary(max_size=100))
def test_any_subject_is_text(raw: bytes) -> None:
    raw = b"=?utf-8?q?" + raw.replace(b"\r", b"").replace(b"\n", b"") + b"?="
    assert isinstance(subject_of(split(b"Subject: " + raw + b"\r\n\r\n")[0]), str)
