"""Framing a stream: however the bytes arrive, the same messages come out (RFC 3261 section 18.3)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.framing import StreamFramer
from telephony.sip.message import Request, parse
from tests.telephony.sip.test_message import MESSAGES

PING = b"\r\n\r\n"


def drain(framer: StreamFramer, pieces: list[bytes]) -> tuple[list[bytes], bool]:
    """All messages of ``pieces`` and whether the framing ended in a fault."""
    messages: list[bytes] = []
    for piece in pieces:
        try:
            messages += framer.feed(piece)
        except RemoteProtocolError:
            return messages, True
    return messages, framer.fault is not None


def pieces_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(places)]


@given(
    st.lists(st.tuples(st.booleans(), MESSAGES), min_size=1, max_size=3), st.lists(st.integers(0, 10_000), max_size=8)
)
def test_any_split_gives_the_same_messages_and_pings(parts, cuts):
    stream = b"".join((PING if ping else b"") + message.serialize() for ping, message in parts)
    framer = StreamFramer()
    messages, failed = drain(framer, pieces_of(stream, cuts))
    assert not failed
    assert [parse(message) for message in messages] == [message for _, message in parts]
    assert framer.pings == sum(ping for ping, _ in parts)


@given(MESSAGES, MESSAGES)
def test_a_split_at_every_byte_gives_the_same_messages(first, second):
    stream = PING + first.serialize() + b"\r\n" + second.serialize() + b"\r\n"
    framer = StreamFramer()
    messages, failed = drain(framer, [bytes([octet]) for octet in stream])
    assert messages == [first.serialize(), second.serialize()]
    assert (failed, framer.pings) == (False, 1)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_any_bytes_in_any_pieces_end_alike(data, cuts):
    whole, pieces = StreamFramer(), StreamFramer()
    assert drain(whole, [data]) == drain(pieces, pieces_of(data, cuts))
    assert whole.pings == pieces.pings


@given(MESSAGES, st.lists(st.integers(0, 10_000), max_size=5), st.data())
def test_mutated_streams_end_alike(message, cuts, data):
    stream = bytearray(message.serialize() * 2)
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    assert drain(StreamFramer(), [bytes(stream)]) == drain(StreamFramer(), pieces_of(bytes(stream), cuts))


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"OPTIONS sip:a@b SIP/2.0\r\nVia: x\r\n\r\n", 400),
        (b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: -1\r\n\r\n", 400),
        (b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 1\r\nl: 1\r\n\r\n", 400),
        (b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 65536\r\n\r\n", 513),
        (b"OPTIONS sip:a@b SIP/2.0\r\nX: " + b"a" * 70_000, 513),
    ],
)
def test_a_stream_whose_boundaries_are_lost_is_refused_for_good(head, status):
    framer = StreamFramer()
    with pytest.raises(RemoteProtocolError) as caught:
        framer.feed(head)
    assert caught.value.status == status
    with pytest.raises(RemoteProtocolError):
        framer.feed(b"")


def test_messages_before_a_fault_are_not_lost():
    good = b"OPTIONS sip:a@b SIP/2.0\r\nl :\r\n 3\r\n\r\nabc"
    framer = StreamFramer()
    assert framer.feed(good + b"rubbish\r\n\r\n") == [good]
    assert framer.fault is not None
    with pytest.raises(RemoteProtocolError):
        framer.feed(good)


def test_a_line_end_after_a_message_and_one_before_the_next_are_no_ping():
    message = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n"
    framer = StreamFramer()
    assert framer.feed(b"\r\n" + message + b"\r\n" + message + b"\r\n\r\n\r\n") == [message, message]
    assert framer.pings == 1


def test_memory_stays_bounded_while_a_body_trickles_in():
    framer = StreamFramer()
    request = b"INFO sip:a@b SIP/2.0\r\nContent-Length: 60000\r\n\r\n"
    assert framer.feed(request) == []
    for _ in range(59_999):
        assert framer.feed(b"x") == []
    assert len(framer.feed(b"x" + request)[0]) == len(request) + 60_000


def test_framed_messages_are_what_the_parser_reads():
    request = Request(method="OPTIONS", uri="sip:a@b", headers=parse(EXAMPLE).headers, body=b"\r\n\r\n")
    assert parse(StreamFramer().feed(request.serialize())[0]) == request


EXAMPLE = (
    b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:c@d>;tag=1\r\nTo: <sip:a@b>\r\n"
    b"Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)
