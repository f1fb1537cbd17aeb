"""In which order the packets of a stream came: what both the timeline and the statistics must know of each
packet."""

from __future__ import annotations

from enum import Enum, auto

_MAX_DROPOUT = 3000
"""Packets that may be missing before a jump counts as a restart of the sender (RFC 3550 A.1)."""
_WINDOW = 128
"""Packets back in which a late one is still told from a duplicate."""
_WINDOW_MASK = (1 << _WINDOW) - 1


class Order(Enum):
    """How a packet's sequence number relates to those before it."""

    FIRST = auto()
    """The first of its SSRC, be it the first at all or a new source."""
    NEXT = auto()
    """Newer than all before it; ``SequenceWindow.step`` says by how much."""
    REORDERED = auto()
    """Older than the newest, and not seen before."""
    DUPLICATE = auto()
    STRAY = auto()
    """The same SSRC with a sequence number out of all relation to the former ones: a very late packet, somebody's
    mischief, or the first after a restart of the sender; the next one tells."""
    RESTART = auto()
    """The second in sequence after a stray one: the sender has begun anew, and the stray was its first packet."""


class SequenceWindow:
    """Classifies packets by SSRC and 16-bit sequence number; memory is one integer of 128 bits."""

    def __init__(self) -> None:
        self.step = 0
        self.ssrc: int | None = None
        self._cycles = 0
        self._newest = 0
        self._seen = 1
        self._restart_at: int | None = None

    def receive(self, ssrc: int, sequence: int) -> Order:
        """The order of this packet; ``step`` is set to the packets it lies ahead of the newest before it."""
        if ssrc != self.ssrc:
            self.ssrc = ssrc
            return self._begin(sequence, Order.FIRST)
        ahead = (sequence - self._newest) & 0xFFFF
        if 0 < ahead < _MAX_DROPOUT:
            self._cycles += sequence < self._newest
            self._newest, self.step = sequence, ahead
            self._seen = (self._seen << ahead | 1) & _WINDOW_MASK
            self._restart_at = None
            return Order.NEXT
        back = -ahead & 0xFFFF
        if back >= _WINDOW or sequence == self._restart_at:
            return self._strayed(sequence)
        if self._seen >> back & 1:
            return Order.DUPLICATE
        self._seen |= 1 << back
        return Order.REORDERED

    def advance(self, sequence: int, count: int) -> bool:
        """Takes ``count`` packets of the present source that follow on from ``sequence``; False, and nothing
        taken, where ``sequence`` is not the next one."""
        if (sequence - self._newest) & 0xFFFF != 1 or self.ssrc is None:
            return False
        newest = (self._newest + count) & 0xFFFF
        self._cycles += newest < self._newest
        self._newest, self.step = newest, 1
        self._seen = (self._seen << count | (1 << count) - 1) & _WINDOW_MASK
        self._restart_at = None
        return True

    @property
    def highest(self) -> int:
        """The highest sequence number of the present source, with its cycles (RFC 3550 6.4.1)."""
        return self._cycles << 16 | self._newest

    def _strayed(self, sequence: int) -> Order:
        """Two in sequence make a restart (RFC 3550 A.1): one packet alone must not throw the stream off."""
        if sequence != self._restart_at:
            self._restart_at = (sequence + 1) & 0xFFFF
            return Order.STRAY
        self._begin(sequence, Order.RESTART)
        self._seen = 0b11
        return Order.RESTART

    def _begin(self, sequence: int, order: Order) -> Order:
        self._newest, self._seen, self.step, self._cycles = sequence, 1, 1, 0
        self._restart_at = None
        return order
