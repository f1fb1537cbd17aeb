"""The RTP peer counts what happened: checked against packets it is given, and over real sockets."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.peers.audio import FRAME_BYTES, FRAME_S
from tests.peers.rtp_peer import RtpPacket, RtpPeer, account_stream, packetize

OpenPeer = Callable[..., RtpPeer]
ALAW = bytes(index % 251 for index in range(50 * FRAME_BYTES))


@given(st.binary(max_size=400))
def test_any_datagram_is_rtp_or_a_value_error(datagram: bytes) -> None:
    try:
        packet = RtpPacket.unpack(datagram)
    except ValueError:
        return
    assert datagram[0] >> 6 == 2
    assert packet.payload in datagram


@given(st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1), st.integers(0, 127), st.booleans(), st.binary(max_size=200))
def test_a_packet_survives_the_wire(
    sequence: int, timestamp: int, payload_type: int, marker: bool, payload: bytes
) -> None:
    packet = RtpPacket(
        sequence=sequence, timestamp=timestamp, ssrc=1, payload_type=payload_type, payload=payload, marker=marker
    )
    assert RtpPacket.unpack(packet.pack()) == packet


def test_csrc_extension_and_padding_are_no_payload() -> None:
    header = struct.pack("!BBHII", 0x80 | 0x20 | 0x10 | 1, 8, 1, 2, 3)
    datagram = header + b"CSRC" + b"\xbe\xde\x00\x01" + b"EXT!" + b"voice" + b"\x00\x00\x03"
    assert RtpPacket.unpack(datagram).payload == b"voice"
    with pytest.raises(ValueError, match="longer"):
        RtpPacket.unpack(header + b"CSRC" + b"\xbe\xde\x00\x01" + b"EXT!" + b"\xff")
    with pytest.raises(ValueError, match="cut off"):
        RtpPacket.unpack(header)


def test_packets_are_numbered_from_the_given_start_over_the_wrap() -> None:
    packets = packetize(ALAW, sequence=65_530, timestamp=2**32 - 160, ssrc=9)
    assert [packet.sequence for packet in packets[4:8]] == [65_534, 65_535, 0, 1]
    assert [packet.timestamp for packet in packets[:3]] == [2**32 - 160, 0, 160]
    assert [packet.marker for packet in packets[:3]] == [True, False, False]
    account = account_stream(packets)
    assert (account.packets, account.lost, account.duplicated, account.reordered) == (50, 0, 0, 0)
    assert account.timestamp_steps == {160}


@given(st.sets(st.integers(1, 48), max_size=10), st.sets(st.integers(0, 49), max_size=10), st.integers(0, 0xFFFF))
def test_loss_and_repetition_are_counted_exactly(lost: set[int], repeated: set[int], start: int) -> None:
    packets = packetize(ALAW, sequence=start)
    arrived = [
        packet
        for index, packet in enumerate(packets)
        if index not in lost
        for _ in range(2 if index in repeated else 1)
    ]
    account = account_stream(arrived)
    assert (account.lost, account.duplicated) == (len(lost), len(repeated - lost))


def test_swapped_packets_are_reordered_and_not_lost() -> None:
    packets = packetize(ALAW)
    packets[10], packets[11] = packets[11], packets[10]
    account = account_stream(packets)
    assert (account.lost, account.duplicated, account.reordered) == (0, 0, 1)


def test_nothing_is_an_account_too() -> None:
    assert account_stream([]).packets == 0


def test_audio_goes_out_at_20_ms_and_comes_back_from_an_echo(rtp_peer: OpenPeer) -> None:
    mouth, echo = rtp_peer(), rtp_peer(host="127.0.0.2", echo=True)
    mouth.send(ALAW, ("127.0.0.2", echo.port))
    mouth.finish_sending()
    mouth.wait_for_packets(50, 2)
    assert mouth.heard() == echo.heard() == ALAW
    account = echo.account()
    span = echo.received[-1].arrival_s - echo.received[0].arrival_s
    assert span == pytest.approx(49 * FRAME_S, abs=0.02)
    assert account.median_interval_s == pytest.approx(FRAME_S, abs=0.002)


def test_what_is_no_rtp_is_kept_apart(rtp_peer: OpenPeer) -> None:
    one, other = rtp_peer(), rtp_peer()
    one.send_datagram(b"hello", ("127.0.0.1", other.port))
    one.send_packets(packetize(ALAW[:FRAME_BYTES]), ("127.0.0.1", other.port))
    other.wait_for_packets(1, 2)
    assert other.foreign == [b"hello"]
    with pytest.raises(TimeoutError):
        other.wait_for_packets(2, 0.05)
