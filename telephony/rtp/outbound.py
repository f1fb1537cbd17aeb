"""The one stream that a leg hears, whatever sources it is made of: ringing tone, announcement, the other
party.

A phone takes a change of SSRC or a jump in sequence for a fault and drops audio. So the stream keeps one
SSRC, and where a source begins its numbers are shifted once to follow on; while a source runs its packets
pass with their own marker, order and timing.
"""

from __future__ import annotations

from telephony.rtp.g711 import SAMPLE_RATE
from telephony.rtp.packet import HEADER, MARKER_BIT, PAYLOAD_TYPE_MASK

_FRAME = 160
_LATE_WINDOW = 128


class OutboundStream:
    """Continuity of SSRC, sequence numbers and timestamps towards one remote."""

    def __init__(self) -> None:
        self._ssrc: int | None = None
        self._source: int | None = None
        self._first = 0
        self._guarded = False
        self._sequence_shift = 0
        self._timestamp_shift = 0
        self._sequence = 0
        self._timestamp = 0
        self._sent_at = 0.0
        self.switches = 0

    @property
    def ssrc(self) -> int | None:
        """The stream's source, None before its first packet."""
        return self._ssrc

    @property
    def latest(self) -> tuple[int, float]:
        """Timestamp of the newest packet and when it was sent."""
        return self._timestamp, self._sent_at

    def shift(self, ssrc: int) -> tuple[int, int] | None:
        """What is added to sequence numbers and timestamps of the source ``ssrc``; None where each packet must
        still be looked at. Who adds it himself tells ``advance`` of the newest packet."""
        if ssrc != self._source or self._guarded:
            return None
        return self._sequence_shift & 0xFFFF, self._timestamp_shift & 0xFFFFFFFF

    def advance(self, sequence: int, timestamp: int, now: float) -> None:
        """Numbers of the newest packet that was sent past ``rewrite``, shifted already."""
        if (sequence - self._sequence) & 0x8000 == 0:
            self._sequence, self._timestamp, self._sent_at = sequence, timestamp, now

    def rewrite(
        self, datagram: bytes, *, header: tuple[int, int, int, int, int], payload_type: int, now: float
    ) -> bytes | None:
        """``datagram`` as the remote shall get it. ``header`` is its fixed header as ``HEADER`` unpacks it.

        None for a late packet from before the last change of source: its number was given to the former
        source.
        """
        first, second, sequence, timestamp, ssrc = header
        begins = ssrc != self._source
        if begins:
            self._begin(sequence, timestamp, ssrc, now)
        elif self._guarded and self._precedes_source(sequence):
            return None
        out_sequence = (sequence + self._sequence_shift) & 0xFFFF
        out_timestamp = (timestamp + self._timestamp_shift) & 0xFFFFFFFF
        if (out_sequence - self._sequence) & 0x8000 == 0:
            self._sequence, self._timestamp, self._sent_at = out_sequence, out_timestamp, now
        out_second = second & MARKER_BIT | payload_type
        if begins and self.switches:
            out_second |= MARKER_BIT
        if ssrc == self._ssrc and sequence == out_sequence and timestamp == out_timestamp and second == out_second:
            return datagram
        return HEADER.pack(first, out_second, out_sequence, out_timestamp, self._ssrc) + datagram[HEADER.size :]

    def _begin(self, sequence: int, timestamp: int, ssrc: int, now: float) -> None:
        self._source = ssrc
        if self._ssrc is None:
            self._ssrc, self._sequence = ssrc, (sequence - 1) & 0xFFFF
            return
        self.switches += 1
        elapsed = max(_FRAME, round((now - self._sent_at) * SAMPLE_RATE))
        self._sequence_shift = self._sequence + 1 - sequence
        self._timestamp_shift = self._timestamp + elapsed - timestamp
        self._first, self._guarded = sequence, True

    def _precedes_source(self, sequence: int) -> bool:
        """Whether the packet is older than the first one of its source; asked only near the change of
        source."""
        behind = (self._first - sequence) & 0xFFFF
        self._guarded = not _LATE_WINDOW <= -behind & 0xFFFF < 0x8000
        return 0 < behind < _LATE_WINDOW


def frame(*, sequence: int, timestamp: int, ssrc: int, payload_type: int, marker: bool, payload: bytes) -> bytes:
    """A plain RTP packet of ours (no CSRC, extension or padding)."""
    second = (payload_type & PAYLOAD_TYPE_MASK) | (MARKER_BIT if marker else 0)
    return HEADER.pack(0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload
