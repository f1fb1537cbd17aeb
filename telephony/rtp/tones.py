"""Tones a caller expects from a Chinese exchange, and the one that tells a fax machine from a person
(requirement 5-a).

Ringing and busy tone are 450 Hz with the cadences of GB/T 3380; CNG is 1100 Hz, 0.5 s on, 3 s off (ITU-T T.30
4.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from telephony.rtp.g711 import SAMPLE_RATE, Samples

CALL_PROGRESS_HZ = 450
CNG_HZ = 1100
_AMPLITUDE = 3300
"""About -20 dBFS, near the -10 dBm0 a line gives."""
_BLOCK = 160
_MINIMUM_RMS = 100.0
_PURITY = 0.5
_CNG_BLOCKS = range(20, 32)
"""Blocks of 20 ms that a CNG burst lasts: 0.5 s ± 15 %, and one block at either end that is cut by its
edge."""


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


def _goertzel_bank() -> NDArray[np.float32]:
    """Cosines and sines over one block at 1100 Hz and either end of T.30's tolerance of ± 38 Hz."""
    hertz = np.array([[CNG_HZ - 38.0], [CNG_HZ], [CNG_HZ + 38.0]])
    angle = 2 * np.pi * hertz * np.arange(_BLOCK) / SAMPLE_RATE
    return np.concatenate([np.cos(angle), np.sin(angle)]).astype(np.float32)


_BANK = _goertzel_bank()


class CngDetector:
    """Finds one complete CNG burst in the samples of one channel, and reports it once.

    A burst must end: a steady 1100 Hz is a test tone, not a fax. Gaps between calls of ``receive`` are taken
    as nothing.
    """

    def __init__(self) -> None:
        self.found = False
        self._pending: Samples = np.zeros(0, dtype=np.int16)
        self._run = 0

    def receive(self, samples: Samples) -> bool:
        """True exactly once, with the samples in which the first burst is seen to have ended."""
        if self.found:
            return False
        joined = np.concatenate([self._pending, samples]) if self._pending.size else samples
        whole = joined.size - joined.size % _BLOCK
        self._pending = joined[whole:]
        for at in range(0, whole, _BLOCK):
            self._count(joined[at : at + _BLOCK])
        return self.found

    def _count(self, block: Samples) -> None:
        if _is_cng(block):
            self._run += 1
        else:
            self.found = self.found or self._run in _CNG_BLOCKS
            self._run = 0


def _is_cng(block: Samples) -> bool:
    """Whether half of the block's energy or more lies at 1100 Hz."""
    wave = block.astype(np.float32)
    energy = float(wave @ wave)
    if energy < _BLOCK * _MINIMUM_RMS**2:
        return False
    low, middle, high, low_sine, middle_sine, high_sine = (_BANK @ wave).tolist()
    strongest = max(low**2 + low_sine**2, middle**2 + middle_sine**2, high**2 + high_sine**2)
    return bool(2 * strongest / (_BLOCK * energy) > _PURITY)
