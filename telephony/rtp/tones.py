"""Tones a caller expects from a Chinese exchange, and the one that tells a fax machine from a person
(requirement 5-a).

Ringing and busy tone are 450 Hz with the cadences of GB/T 3380; CNG, with which a fax calls, is 1100 Hz, 0.5 s on,
3 s off, and CED, with which it answers, 2100 Hz for 2.6 to 4 s (ITU-T T.30 4.1, 4.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from telephony.rtp.g711 import SAMPLE_RATE, Samples

CALL_PROGRESS_HZ = 450
CNG_HZ = 1100
CED_HZ = 2100
_AMPLITUDE = 3300
"""About -20 dBFS, near the -10 dBm0 a line gives."""
_BLOCK = 160
_MINIMUM_RMS = 100.0
_PURITY = 0.5
_CNG_BLOCKS = range(20, 32)
"""Blocks of 20 ms that a CNG burst lasts: 0.5 s ± 15 %, and one block at either end that is cut by its
edge."""
_CED_BLOCKS = 100
"""Blocks of 20 ms after which 2100 Hz is an answering tone, of the 2.6 to 4 s that it lasts."""
_CED_MISSES = 1
"""Blocks in a row that a phase reversal may spoil."""


def _tone(hertz: float, seconds: float) -> Samples:
    """A sine without clicks: 5 ms of ramp at both ends."""
    count = round(seconds * SAMPLE_RATE)
    ramp = np.minimum(1.0, np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.005 * SAMPLE_RATE))
    wave = _AMPLITUDE * ramp * np.sin(2 * np.pi * hertz * np.arange(count) / SAMPLE_RATE)
    return wave.round().astype(np.int16)


def _cadence(hertz: float, on_s: float, off_s: float) -> Samples:
    return np.concatenate([_tone(hertz, on_s), np.zeros(round(off_s * SAMPLE_RATE), dtype=np.int16)])


def ringback() -> Samples:
    """One period of ringing tone: 1 s on, 4 s off; meant to be looped."""
    return _cadence(CALL_PROGRESS_HZ, 1.0, 4.0)


def busy() -> Samples:
    """One period of busy tone: 0.35 s on, 0.35 s off; meant to be looped."""
    return _cadence(CALL_PROGRESS_HZ, 0.35, 0.35)


def cng() -> Samples:
    """One period of the calling tone of a fax machine."""
    return _cadence(CNG_HZ, 0.5, 3.0)


def ced(seconds: float = 3.0) -> Samples:
    """The answering tone of a fax machine."""
    return _tone(CED_HZ, seconds)


def _goertzel_bank(*hertz: float) -> NDArray[np.float32]:
    """Cosines and sines over one block, a column for each of ``hertz`` and then again."""
    angle = 2 * np.pi * np.outer(np.arange(_BLOCK), hertz) / SAMPLE_RATE
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


_CNG_BANK = _goertzel_bank(CNG_HZ - 38.0, CNG_HZ, CNG_HZ + 38.0)
"""1100 Hz and either end of T.30's tolerance of ± 38 Hz."""
_CED_BANK = _goertzel_bank(CED_HZ)


class _Blocks:
    """Cuts what arrives in pieces into blocks of 20 ms, and tells which of them are the tone."""

    def __init__(self, bank: NDArray[np.float32]) -> None:
        self._bank = bank
        self._pending: Samples = np.zeros(0, dtype=np.int16)

    def receive(self, samples: Samples) -> list[bool]:
        joined = np.concatenate([self._pending, samples]) if self._pending.size else samples
        whole = joined.size - joined.size % _BLOCK
        self._pending = joined[whole:]
        return _is_tone(joined[:whole].reshape(-1, _BLOCK), self._bank) if whole else []


def _is_tone(blocks: Samples, bank: NDArray[np.float32]) -> list[bool]:
    """For each block, whether half of its energy or more lies in one of the bank's tones."""
    wave = blocks.astype(np.float32)
    energy = np.einsum("ij,ij->i", wave, wave)
    loud = energy >= _BLOCK * _MINIMUM_RMS**2
    if not loud.any():
        return [False] * len(blocks)
    parts = wave @ bank
    count = bank.shape[1] // 2
    strongest = (parts[:, :count] ** 2 + parts[:, count:] ** 2).max(axis=1)
    tonal: list[bool] = (loud & (2 * strongest > _PURITY * _BLOCK * energy)).tolist()
    return tonal


class CngDetector:
    """Finds one complete CNG burst in the samples of one channel, and reports it once.

    A burst must end: a steady 1100 Hz is a test tone, not a fax. Gaps between calls of ``receive`` are taken
    as nothing.
    """

    def __init__(self) -> None:
        self.found = False
        self._blocks = _Blocks(_CNG_BANK)
        self._run = 0

    def receive(self, samples: Samples) -> bool:
        """True exactly once, with the samples in which the first burst is seen to have ended."""
        if self.found:
            return False
        for tonal in self._blocks.receive(samples):
            self.found = self.found or (not tonal and self._run in _CNG_BLOCKS)
            self._run = self._run + 1 if tonal else 0
        return self.found


class CedDetector:
    """Finds the answering tone of a fax machine or modem, phase reversals (V.25, every 0.45 s) included."""

    def __init__(self) -> None:
        self.found = False
        self._blocks = _Blocks(_CED_BANK)
        self._run = 0
        self._missed = 0

    def receive(self, samples: Samples) -> bool:
        """True exactly once, as soon as the tone has lasted long enough."""
        if self.found:
            return False
        for tonal in self._blocks.receive(samples):
            self._missed = 0 if tonal else self._missed + 1
            self._run = self._run + 1 if self._missed <= _CED_MISSES else 0
            self.found = self.found or (tonal and self._run >= _CED_BLOCKS)
        return self.found
