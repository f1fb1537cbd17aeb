"""Where each packet of a stream belongs in the recording.

Within a stream the sender's timestamps are right and the network's delays are not, so the first packet is
anchored by its arrival and the others follow by timestamp. But a timestamp is only a claim: whenever it
disagrees with the clock by more than a network can explain, the stream is anchored anew, and no packet is
ever placed more than ``LEAD`` beyond its own arrival. So a hostile sender can neither grow the file nor push
speech out of its place.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from telephony.rtp.g711 import SAMPLE_RATE
from telephony.rtp.sequence import Order

LEAD = 2 * SAMPLE_RATE
"""Samples that the end of a packet may lie beyond its arrival."""
LAG = 2 * SAMPLE_RATE
"""Samples that a packet may lie behind its arrival before its stream is anchored anew."""
JUMP = 5 * SAMPLE_RATE
"""Samples that one timestamp may lie after the one before."""
REORDER = 2 * SAMPLE_RATE
"""Samples back in which a late packet is still put in its place."""


class Verdict(Enum):
    """What became of a packet."""

    PLACED = auto()
    ANCHORED = auto()
    REANCHORED = auto()
    REORDERED = auto()
    DUPLICATE = auto()
    REFUSED = auto()
    """Its place is too far ahead, or was given to another stream, or it belongs to none."""


class Placement(NamedTuple):
    """The decision on one packet: ``position`` is its first sample in the recording, None when it is
    dropped."""

    position: int | None
    verdict: Verdict


_DUPLICATE = Placement(None, Verdict.DUPLICATE)
_REFUSED = Placement(None, Verdict.REFUSED)


def _signed(difference: int) -> int:
    """A difference of two 32-bit timestamps across their wrap."""
    return ((difference + 0x80000000) & 0xFFFFFFFF) - 0x80000000


class Timeline:
    """The placement of one channel's packets. All positions and arrivals are samples from the recording's
    first sample."""

    def __init__(self) -> None:
        self._anchored = False
        self._begun = False
        self._timestamp = 0
        self._position = 0
        self._floor = 0
        self._end = 0

    @property
    def end(self) -> int:
        """One past the last sample given to any packet."""
        return self._end

    def occupy(self, stop: int) -> None:
        """Gives the samples before ``stop`` to another source, such as an announcement: no stream is anchored
        there."""
        self._end = max(self._end, stop)

    def place(self, *, order: Order, timestamp: int, samples: int, arrival: int) -> Placement:
        """Where the packet with RTP ``timestamp`` and this many ``samples`` goes, which came at
        ``arrival``."""
        if order is Order.NEXT and self._anchored:
            position = self.follow(timestamp, samples, arrival)
            if position is not None:
                return Placement(position, Verdict.PLACED)
        elif order is Order.DUPLICATE:
            return _DUPLICATE
        elif order is Order.STRAY:
            return _REFUSED
        elif order is Order.REORDERED and self._anchored:
            return self._place_late(timestamp, samples, arrival)
        return self._anchor(timestamp, samples, arrival)

    def follow(self, timestamp: int, samples: int, arrival: int) -> int | None:
        """The place of a packet that is next in its stream, as nearly all are: ``place`` without the detour;
        None where only ``place`` can tell."""
        advance = (timestamp - self._timestamp) & 0xFFFFFFFF
        position = self._position + advance
        if not self._anchored or not 0 < advance <= JUMP or not arrival - LAG <= position <= arrival + LEAD - samples:
            return None
        self._position, self._timestamp = position, timestamp
        self._end = max(self._end, position + samples)
        return position

    def _take(self, position: int, timestamp: int, samples: int, verdict: Verdict) -> Placement:
        self._position, self._timestamp = position, timestamp
        self._end = max(self._end, position + samples)
        return Placement(position, verdict)

    def _place_late(self, timestamp: int, samples: int, arrival: int) -> Placement:
        back = _signed(timestamp - self._timestamp)
        position = self._position + back
        if not -REORDER <= back < 0 or position < self._floor or position + samples > arrival + LEAD:
            return _REFUSED
        self._end = max(self._end, position + samples)
        return Placement(position, Verdict.REORDERED)

    def _anchor(self, timestamp: int, samples: int, arrival: int) -> Placement:
        """By the arrival clock, yet never over what was already said."""
        position = max(arrival, self._end)
        if position + samples > arrival + LEAD:
            # An earlier stream fills the time up to here; the next packet of this one may try again.
            self._anchored = False
            return _REFUSED
        verdict = Verdict.REANCHORED if self._begun else Verdict.ANCHORED
        self._anchored = self._begun = True
        self._floor = self._end
        return self._take(position, timestamp, samples, verdict)
