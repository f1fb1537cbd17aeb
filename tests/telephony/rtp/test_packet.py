"""RTP packets: what is serialized is read back, and no bytes at all can do more than raise one error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.rtp.errors import MalformedPacketError
from telephony.rtp.packet import RtpPacket, parse_packet, payload_bounds

packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    marker=st.booleans(),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=400),
    csrcs=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
    extension=st.none()
    | st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=64).map(lambda data: data[: len(data) // 4 * 4])),
    padding=st.integers(0, 255),
)


@given(packets)
def test_serialized_packets_are_read_back(packet: RtpPacket) -> None:
    assert parse_packet(packet.serialize()) == packet


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda data: b"\xbf" + data))
def test_any_bytes_parse_or_raise_the_one_error(data: bytes) -> None:
    try:
        start, end = payload_bounds(data)
    except MalformedPacketError:
        with pytest.raises(MalformedPacketError):
            parse_packet(data)
    else:
        assert 12 <= start <= end <= len(data)
        assert parse_packet(data).payload == data[start:end]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80" * 11,
        b"\x40" + bytes(20),
        b"\x8f" + bytes(20),
        b"\x90" + bytes(12),
        b"\x90" + bytes(11) + b"\x00\x00\x00\x01",
        b"\xa0" + bytes(20),
        b"\xa0" + bytes(19) + b"\x0a",
    ],
)
def test_damaged_packets_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedPacketError):
        payload_bounds(data)


def test_a_known_packet_has_the_bytes_of_the_rfc() -> None:
    packet = RtpPacket(payload_type=8, marker=True, sequence=1, timestamp=160, ssrc=0x01020304, payload=b"\xd5")
    assert packet.serialize() == bytes.fromhex("80 88 0001 000000a0 01020304 d5")


@pytest.mark.parametrize("field", [{"sequence": 65536}, {"payload_type": 128}, {"csrcs": (0,) * 16}, {"padding": 256}])
def test_fields_that_do_not_fit_are_refused(field: dict[str, int]) -> None:
    plain = {"payload_type": 0, "sequence": 0, "timestamp": 0, "ssrc": 0, "payload": b""}
    with pytest.raises(ValueError, match="RTP"):
        RtpPacket(**{**plain, **field}).serialize()  # type: ignore[arg-type]
