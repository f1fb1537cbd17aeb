"""What a stream suffered on its way: the figures that tell a bad line from a bad recorder (RFC 3550 6.4.1,
A.3, A.8)."""

from __future__ import annotations

from dataclasses import dataclass

from telephony.rtp.g711 import SAMPLE_RATE
from telephony.rtp.sequence import Order


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatistics:
    """Figures of one direction up to now. Counts are packets, jitter is ms; ``lost`` is what never came."""

    received: int
    lost: int
    duplicated: int
    reordered: int
    jitter_ms: float


class StreamCounter:
    """Counts one leg's incoming packets across all its SSRCs."""

    def __init__(self) -> None:
        self.received = 0
        self._expected = 0
        self._duplicated = 0
        self._reordered = 0
        self._strays = 0
        self._jitter = 0.0
        self._transit: float | None = None

    @property
    def lost(self) -> int:
        """Packets expected by sequence number that have not come; one that comes late is taken off again."""
        return self._expected - self._own

    @property
    def _own(self) -> int:
        """Packets that belong to the stream, each once."""
        return self.received - self._duplicated - self._strays

    @property
    def expected(self) -> int:
        """Packets that should have come, by sequence number."""
        return self._expected

    @property
    def jitter(self) -> int:
        """Interarrival jitter in timestamp units (RFC 3550 6.4.1)."""
        return int(self._jitter)

    def count(self, order: Order, step: int) -> None:
        """Takes one packet of any payload type, as its SequenceWindow classified it."""
        self.received += 1
        if order is Order.NEXT:
            self._expected += step
        elif order is Order.DUPLICATE:
            self._duplicated += 1
        elif order is Order.REORDERED:
            self._reordered += 1
            # A packet that preceded the first of its source was not expected.
            self._expected = max(self._expected, self._own)
        elif order is Order.STRAY:
            self._strays += 1
        elif order is Order.RESTART:  # and the stray one before it belongs to the stream after all
            self._strays -= 1
            self._expected += 2
            self._transit = None
        else:
            self._expected += 1
            self._transit = None

    def time(self, timestamp: int, arrival_s: float) -> None:
        """Takes the timing of one audio packet: RTP ``timestamp`` and arrival in s on any steady clock."""
        transit = arrival_s * SAMPLE_RATE - timestamp
        if self._transit is not None:
            difference = abs(transit - self._transit) % 0x100000000
            self._jitter += (min(difference, 0x100000000 - difference) - self._jitter) / 16
        self._transit = transit

    def count_run(self, timestamp: int, samples: int, arrivals_s: list[float]) -> None:
        """``count`` and ``time`` for audio packets that follow on, each of ``samples``, the first with
        ``timestamp``."""
        self.received += len(arrivals_s)
        self._expected += len(arrivals_s)
        transit, jitter = self._transit, self._jitter
        for arrival in arrivals_s:
            now = arrival * SAMPLE_RATE - timestamp
            if transit is not None:
                difference = abs(now - transit) % 0x100000000
                jitter += (min(difference, 0x100000000 - difference) - jitter) / 16
            transit = now
            timestamp += samples
        self._transit, self._jitter = transit, jitter

    def snapshot(self) -> StreamStatistics:
        """The figures as a value."""
        return StreamStatistics(
            received=self.received,
            lost=self.lost,
            duplicated=self._duplicated,
            reordered=self._reordered,
            jitter_ms=self._jitter * 1000 / SAMPLE_RATE,
        )
