"""Which samples of a channel were really received: the gaps that a recording must admit to."""

from __future__ import annotations


class Coverage:
    """Gaps in a growing line of samples. Late packets fill gaps again."""

    def __init__(self) -> None:
        self.end = 0
        self._gaps: list[tuple[int, int]] = []
        self._settled = 0

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """Gaps as (first sample, number of samples), in order."""
        return tuple(self._gaps)

    def add(self, start: int, samples: int) -> None:
        """Counts ``samples`` from ``start`` as received."""
        stop = start + samples
        if start > self.end:
            self._gaps.append((self.end, start - self.end))
        elif start < self.end:
            self._fill(start, stop)
        self.end = max(self.end, stop)

    def settle(self, before: int) -> list[tuple[int, int]]:
        """Gaps that end before sample ``before`` and were not given out yet; they must not be filled any
        more."""
        settled: list[tuple[int, int]] = []
        while self._settled < len(self._gaps):
            start, samples = self._gaps[self._settled]
            if start + samples > before:
                break
            settled.append((start, samples))
            self._settled += 1
        return settled

    def _fill(self, start: int, stop: int) -> None:
        at = len(self._gaps) - 1
        while at >= self._settled:
            gap_start, gap_samples = self._gaps[at]
            gap_stop = gap_start + gap_samples
            if gap_stop <= start:
                return
            if gap_start < stop:
                rest = [(gap_start, start), (stop, gap_stop)]
                self._gaps[at : at + 1] = [(low, high - low) for low, high in rest if high > low]
            at -= 1
