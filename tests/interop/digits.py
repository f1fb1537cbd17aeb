"""Key presses as RTP events (RFC 4733), written and read here without the code under test."""

from __future__ import annotations

from tests.peers.rtp_peer import RtpPacket

EVENT_TYPE = 101
_KEYS = "0123456789*#ABCD"
_STEP = 160
_PRESS_STEPS = 5


def press(keys: str, after: RtpPacket) -> list[RtpPacket]:
    """Packets 20 ms apart that press ``keys`` for 100 ms each, with a pause between, going on where ``after`` ended
    its stream."""
    packets: list[RtpPacket] = []
    sequence, timestamp = after.sequence + 1, after.timestamp + _STEP
    for key in keys:
        durations = [*(step * _STEP for step in range(1, _PRESS_STEPS)), *([_PRESS_STEPS * _STEP] * 3)]
        for index, duration in enumerate(durations):
            end = 0x80 if duration == _PRESS_STEPS * _STEP else 0
            packets.append(
                RtpPacket(
                    sequence=sequence & 0xFFFF,
                    timestamp=timestamp & 0xFFFFFFFF,
                    ssrc=after.ssrc,
                    payload_type=EVENT_TYPE,
                    payload=bytes((_KEYS.index(key), end | 10)) + duration.to_bytes(2, "big"),
                    marker=index == 0,
                )
            )
            sequence += 1
        timestamp += (len(durations) + 5) * _STEP
    return packets


def pressed(packets: list[RtpPacket], payload_type: int = EVENT_TYPE) -> str:
    """The keys that ``packets`` press, each once however often its packets came."""
    keys: dict[int, str] = {}
    for packet in packets:
        if packet.payload_type == payload_type and packet.payload:
            keys[packet.timestamp] = _KEYS[packet.payload[0]]
    return "".join(keys.values())
