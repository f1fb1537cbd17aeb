"""Bodies in several parts: the session description is found, and no body does harm."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.inspection import inspect
from telephony.sip.message import Headers, Request
from telephony.sip.multipart import MAX_PARTS, body_types, parts, session_description
from tests.telephony.sip.peers import request

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
SDP_PART = b"Content-Type: application/sdp\r\n\r\n" + SDP
CODED_PART = b"Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w"
ISUP_PART = (
    b"Content-Type: application/isup;version=ansi88\r\nContent-Disposition: signal;handling=optional\r\n\r\n\x01\x00I"
)


def message(body: bytes, content_type: str | None = "multipart/mixed;boundary=b1", **extra: str) -> Request:
    made = request("INVITE", **extra)
    headers = made.headers if content_type is None else made.headers.appended("Content-Type", content_type)
    return made.replace(headers=headers, body=body)


def joined(*pieces: bytes, boundary: bytes = b"b1") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + piece + b"\r\n" for piece in pieces) + b"--" + boundary + b"--\r\n"


@pytest.mark.parametrize(
    "body",
    [
        joined(SDP_PART, ISUP_PART),
        joined(ISUP_PART, SDP_PART),
        b"preamble\r\n" + joined(ISUP_PART, SDP_PART) + b"epilogue --b1\r\n",
        joined(SDP_PART).removesuffix(b"--b1--\r\n").removesuffix(b"\r\n"),
        joined(b"Content-Type: multipart/alternative; boundary=b1x\r\n\r\n" + joined(SDP_PART, boundary=b"b1x")),
        joined(b"content-type:\r\n application/SDP; charset=utf-8\r\nContent-Disposition: session\r\n\r\n" + SDP),
    ],
    ids=["first", "second", "preamble and epilogue", "no end", "nested", "folded"],
)
def test_the_description_is_found(body):
    assert session_description(message(body)) == SDP
    assert inspect(message(body), methods=frozenset({"INVITE"})) is None


def test_plain_bodies_and_none():
    assert session_description(message(SDP, "application/sdp")) == SDP
    assert session_description(message(SDP, "Application/SDP;charset=x")) == SDP
    assert session_description(message(SDP, None)) == SDP  # some phones forget the type
    assert session_description(message(b"", None)) == b""


def test_an_early_session_is_not_the_session():
    early = b"Content-Type: application/sdp\r\nContent-Disposition: early-session\r\n\r\nv=0\r\n"
    assert session_description(message(joined(early, SDP_PART))) == SDP


def test_a_quoted_boundary_with_blanks_counts():
    body = joined(SDP_PART, boundary=b"a b:c")
    assert session_description(message(body, 'multipart/mixed; boundary="a b:c"')) == SDP


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (joined(ISUP_PART), "multipart/mixed;boundary=b1", 415),
        (b"<xml/>", "text/xml", 415),
        (joined(SDP_PART), "multipart/mixed", 400),
        (joined(SDP_PART), "multipart/mixed;boundary=other", 400),
        (joined(SDP_PART), 'multipart/mixed;boundary=""', 400),
        (SDP, "nonsense", 400),
        (joined(*[ISUP_PART] * (MAX_PARTS + 1)), "multipart/mixed;boundary=b1", 400),
        (joined(CODED_PART), "multipart/mixed;boundary=b1", 415),
    ],
    ids=["no sdp", "xml", "no boundary", "other boundary", "empty boundary", "no type", "too many", "base64"],
)  # fmt: skip
def test_a_body_that_says_nothing_is_refused(body, content_type, status):
    with pytest.raises(RemoteProtocolError) as caught:
        session_description(message(body, content_type))
    assert caught.value.status == status
    refusal = inspect(message(body, content_type), methods=frozenset({"INVITE"}))
    assert refusal is not None
    assert refusal.status == 415


def test_a_body_declared_optional_may_be_ignored():
    optional = message(b"<xml/>", "text/xml", Content_Disposition="render;handling=optional")
    assert session_description(optional) == b""
    assert inspect(optional, methods=frozenset({"INVITE"})) is None


def test_endless_nesting_ends():
    body, boundary = SDP_PART, "b"
    for level in range(20):
        boundary = f"b{level}"
        kind = f"Content-Type: multipart/mixed;boundary={boundary}\r\n\r\n".encode()
        body = kind + joined(body, boundary=boundary.encode())
    with pytest.raises(RemoteProtocolError):
        parts(message(joined(body)))


@given(body=st.binary(max_size=300), boundary=st.text("ab-' ", min_size=1, max_size=5))
def test_no_body_raises_anything_else(body, boundary):
    made = message(body, f'multipart/mixed;boundary="{boundary}"')
    body_types(made)
    with contextlib.suppress(RemoteProtocolError):
        session_description(made)


@given(pieces=st.lists(st.binary(max_size=40).filter(lambda piece: b"--b1" not in piece), min_size=1, max_size=5))
def test_parts_come_out_as_they_went_in(pieces):
    body = joined(*(b"Content-Type: application/x\r\n\r\n" + piece for piece in pieces))
    assert [part.body for part in parts(message(body))] == pieces


def test_content_that_is_coded_is_refused():
    refusal = inspect(message(SDP, "application/sdp", Content_Encoding="gzip"), methods=frozenset({"INVITE"}))
    assert refusal is not None
    assert (refusal.status, refusal.headers) == (415, (("Accept-Encoding", "identity"),))


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("application/sdp", True),
        ("text/plain, application/*;q=0.1", True),
        ("*/*", True),
        ("", False),
        ("text/*", False),
    ],
)
def test_what_the_peer_accepts_decides(accept, taken):
    made = request("INVITE")
    made = made.replace(headers=Headers([*made.headers.items(), ("Accept", accept)]))
    assert (inspect(made, methods=frozenset({"INVITE"})) is None) is taken


def test_known_extensions_may_be_required():
    made = request("INVITE", Require="timer, 100rel")
    methods = frozenset({"INVITE"})
    assert inspect(made, methods=methods, extensions=frozenset({"timer", "100rel"})) is None
    refusal = inspect(made, methods=methods, extensions=frozenset({"timer"}))
    assert refusal is not None
    assert refusal.headers == (("Unsupported", "100rel"),)
