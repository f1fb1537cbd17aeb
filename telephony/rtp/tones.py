"""Tones a caller expects from a Chinese exchange, and the one that tells a fax machine from a person
(requirement 5-a).

Ringing and busy tone are 450 Hz with the cadences of GB/T 3380; CNG, with which a fax calls, is 1100 Hz, 0.5 s on,
3 s off, and CED, with which it answers, 2100 Hz for 2.6 to 4 s (ITU-T T.30 4.1, 4.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from telephony.rtp.g711 import SAMPLE_RATE, Samples
from telephony.rtp.preamble import PreambleDetector

CALL_PROGRESS_HZ = 450
CNG_HZ = 1100
CED_HZ = 2100
_AMPLITUDE = 3300
"""About -20 dBFS, near the -10 dBm0 a line gives."""
_BLOCK = 160
_LEAST_ENERGY = _BLOCK * 100.0**2
"""Of a block: an RMS of 100, about -50 dBFS."""
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


_BANK = _goertzel_bank(CNG_HZ - 38.0, CNG_HZ, CNG_HZ + 38.0, CED_HZ)
"""1100 Hz with either end of T.30's tolerance of ± 38 Hz, and 2100 Hz."""
_TONES = _BANK.shape[1] // 2


class FaxDetector:
    """Finds the tones by which fax machines call and answer, and the preamble of their first words, in the samples of
    one channel, each reported once.

    A calling tone must end: a steady 1100 Hz is a test tone, not a fax. The answering tone may turn its phase (V.25,
    every 0.45 s). Gaps between calls of ``receive`` are taken as nothing.
    """

    def __init__(self) -> None:
        self._found: set[str] = set()
        self._pending: Samples = np.zeros(0, dtype=np.int16)
        self._cng_run = self._ced_run = self._ced_missed = 0
        self._preamble = PreambleDetector()

    def receive(self, samples: Samples) -> list[str]:
        """``cng`` with the samples in which the first calling tone is seen to have ended, ``ced`` and
        ``v21`` as soon as the answering tone or the preamble has lasted long enough."""
        joined = np.concatenate([self._pending, samples]) if self._pending.size else samples
        whole = joined.size - joined.size % _BLOCK
        self._pending = joined[whole:]
        if not whole:
            return []
        blocks = joined[:whole].reshape(-1, _BLOCK)
        heard = {"v21"} if self._preamble.receive(blocks) else set()
        for cng, ced in _tonal(blocks):
            if self._cng_ended(cng):
                heard.add("cng")
            if self._ced_lasts(ced):
                heard.add("ced")
        fresh = sorted(heard - self._found)
        self._found |= heard
        return fresh

    def _cng_ended(self, tonal: bool) -> bool:
        ended = not tonal and self._cng_run in _CNG_BLOCKS
        self._cng_run = self._cng_run + 1 if tonal else 0
        return ended

    def _ced_lasts(self, tonal: bool) -> bool:
        self._ced_missed = 0 if tonal else self._ced_missed + 1
        self._ced_run = self._ced_run + 1 if self._ced_missed <= _CED_MISSES else 0
        return tonal and self._ced_run >= _CED_BLOCKS


def _tonal(blocks: Samples) -> list[tuple[bool, bool]]:
    """For each block, whether half of its energy or more lies in the calling and in the answering tone."""
    wave = blocks.astype(np.float32)
    energy = np.einsum("ij,ij->i", wave, wave)
    if energy.max() < _LEAST_ENERGY:
        return [(False, False)] * len(blocks)
    parts = np.square(wave @ _BANK)
    power = parts[:, :_TONES] + parts[:, _TONES:]
    enough = np.maximum(energy, _LEAST_ENERGY) * (_PURITY * _BLOCK / 2)
    cng, ced = power[:, :-1].max(axis=1) > enough, power[:, -1] > enough
    return list(zip(cng.tolist(), ced.tolist(), strict=True))
