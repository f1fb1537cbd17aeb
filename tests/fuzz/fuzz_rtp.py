"""RTP packets and key presses: parsed or refused, and no sequence of reports makes a digit out of nothing."""

from __future__ import annotations

from tests.fuzz.harness import instrumented, run, split

with instrumented():
    from telephony.rtp.dtmf import DIGITS, Digit, DigitDetector, press
    from telephony.rtp.errors import MalformedPacketError
    from telephony.rtp.packet import HEADER, RtpPacket, parse_packet, payload_bounds

_PLAIN = HEADER.pack(0x80, 8, 1, 160, 7) + b"\xd5" * 160
SEEDS = (
    _PLAIN,
    HEADER.pack(0xB1, 0x88, 65535, 2**32 - 1, 7) + b"\x00\x00\x00\x01\xbe\xde\x00\x01abcd" + b"\xd5" * 9 + b"\x03",
    b"\n==\n".join(
        HEADER.pack(0x80, 101, number, 0, 7) + packet.payload
        for number, packet in enumerate(press("5", duration_ms=100))
    ),
)


def check(data: bytes) -> None:
    keys = DigitDetector()
    now = 0.0
    for datagram in split(data, limit=64):
        now += 0.02
        try:
            packet = parse_packet(datagram)
        except MalformedPacketError:
            _bounds(datagram)
            continue
        assert parse_packet(packet.serialize()) == packet
        _bounds(datagram, packet)
        for digit in _digits(keys, packet, now):
            assert digit.digit in DIGITS
            assert digit.duration_ms >= 0


def _digits(keys: DigitDetector, packet: RtpPacket, now: float) -> list[Digit]:
    over = keys.expire(now)
    try:
        return over + keys.receive(packet.payload, timestamp=packet.timestamp, now=now)
    except MalformedPacketError:
        return over


def _bounds(datagram: bytes, packet: RtpPacket | None = None) -> None:
    try:
        start, end = payload_bounds(datagram)
    except MalformedPacketError:
        assert packet is None
        return
    assert packet is None or datagram[start:end] == packet.payload


if __name__ == "__main__":
    run(check, SEEDS)
