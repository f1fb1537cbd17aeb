"""One valid stream out of many sources."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from telephony.rtp.outbound import OutboundStream
from telephony.rtp.packet import HEADER, RtpPacket, parse_packet


def datagram(sequence: int, timestamp: int, ssrc: int, marker: bool = False) -> bytes:
    return RtpPacket(
        payload_type=8,
        marker=marker,
        sequence=sequence & 0xFFFF,
        timestamp=timestamp & 0xFFFFFFFF,
        ssrc=ssrc,
        payload=bytes(160),
    ).serialize()


def send(stream: OutboundStream, data: bytes, now: float, payload_type: int = 8) -> RtpPacket | None:
    header = HEADER.unpack_from(data)
    out = stream.rewrite(data, header=header, payload_type=payload_type, now=now)
    return None if out is None else parse_packet(out)


def test_a_single_source_passes_untouched() -> None:
    stream = OutboundStream()
    for number in range(70_000):
        data = datagram(65000 + number, number * 160, 9, marker=number == 0)
        header = HEADER.unpack_from(data)
        assert stream.rewrite(data, header=header, payload_type=8, now=number * 0.02) is data


sources = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.integers(1, 30)),
    min_size=1,
    max_size=8,
)


@given(sources, st.integers(0, 200))
def test_any_change_of_source_leaves_one_contiguous_stream(sources: list[tuple[int, ...]], pause: int) -> None:
    """Contiguous wherever the source did change, i.e. its SSRC is another than that of the source before."""
    stream, now, out = OutboundStream(), 0.0, list[RtpPacket | None]()
    former = None
    for ssrc, sequence, timestamp, count in sources:
        if ssrc == former:
            continue
        former = ssrc
        for number in range(count):
            out.append(send(stream, datagram(sequence + number, timestamp + number * 160, ssrc), now))
            now += 0.02
        now += pause / 1000
    packets = [packet for packet in out if packet is not None]
    assert len(packets) == len(out)
    assert len({packet.ssrc for packet in packets}) == 1
    for one, next_one in pairwise(packets):
        assert next_one.sequence == (one.sequence + 1) & 0xFFFF
        assert 0 < (next_one.timestamp - one.timestamp) & 0xFFFFFFFF < 8000


def test_an_announcement_and_then_the_officer_are_contiguous() -> None:
    stream, out = OutboundStream(), []
    for number in range(50):
        out.append(send(stream, datagram(100 + number, 7000 + number * 160, 1, marker=number == 0), number * 0.02))
    for number in range(50):
        out.append(send(stream, datagram(65500 + number, 0xFFFFFF00 + number * 160, 2), 1.5 + number * 0.02))
    for number in range(50):
        out.append(send(stream, datagram(9 + number, 3 + number * 160, 1), 2.5 + number * 0.02))
    packets = [packet for packet in out if packet is not None]
    assert [packet.sequence for packet in packets] == [100 + number for number in range(150)]
    steps = [b.timestamp - a.timestamp for a, b in pairwise(packets)]
    assert steps[:49] == [160] * 49
    assert steps[49] == round((1.5 - 49 * 0.02) * 8000)
    assert [number for number, packet in enumerate(packets) if packet.marker] == [0, 50, 100]


def test_a_late_packet_from_before_the_change_is_not_sent_under_a_used_number() -> None:
    stream = OutboundStream()
    send(stream, datagram(10, 0, 1), 0.0)
    send(stream, datagram(500, 0, 2), 0.02)
    assert send(stream, datagram(499, 0, 2), 0.03) is None
    late = [send(stream, datagram(500 + number, number * 160, 2), 0.02 * number) for number in (2, 1, 3)]
    assert [packet.sequence for packet in late if packet] == [13, 12, 14]


def test_the_guard_ends_before_the_numbers_come_round_again() -> None:
    stream = OutboundStream()
    send(stream, datagram(10, 0, 1), 0.0)
    assert all(send(stream, datagram(500 + n, n * 160, 2), 0.02 * n) is not None for n in range(140_000))


def test_the_payload_type_is_the_remotes() -> None:
    stream = OutboundStream()
    packet = send(stream, datagram(1, 2, 3, marker=True), 0.0, payload_type=101)
    assert packet is not None
    assert (packet.payload_type, packet.marker, packet.sequence, packet.timestamp) == (101, True, 1, 2)
