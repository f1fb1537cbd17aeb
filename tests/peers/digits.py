"""Key presses as RTP events (RFC 4733) and as tones (ITU-T Q.23), made and read here without the code under test."""

from __future__ import annotations

import numpy as np

from tests.peers.audio import RATE_HZ, Samples
from tests.peers.rtp_peer import RtpPacket

EVENT_TYPE = 101
_KEYS = "0123456789*#ABCD"
_ROWS, _COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
_PAD = ("123A", "456B", "789C", "*0#D")
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


def sounded(keys: str) -> Samples:
    """The tones of ``keys``, 120 ms each with a pause of 100 ms behind."""
    time = np.arange(int(0.12 * RATE_HZ)) * 2 * np.pi / RATE_HZ
    pause = np.zeros(int(0.1 * RATE_HZ), dtype=np.int16)
    parts = []
    for key in keys:
        row = next(place for place, of in enumerate(_PAD) if key in of)
        wave = 6000 * (np.sin(_ROWS[row] * time) + np.sin(_COLUMNS[_PAD[row].index(key)] * time))
        parts += [wave.round().astype(np.int16), pause]
    return np.concatenate(parts)
