"""The first thing two fax machines say to each other in data: HDLC flags at 300 bit/s (ITU-T T.30 5.3.1, V.21 channel
2). It tells a fax also where neither side sent a tone, as machines behind an adapter do."""

from __future__ import annotations

import numpy as np

from telephony.rtp.g711 import SAMPLE_RATE, Samples

MARK_HZ, SPACE_HZ = 1650, 1850
_BLOCK = 160
_BAND = np.arange(1500, 2001, 50)
"""Hz: the two tones with what keying spreads around them; whole multiples of a block's own 50 Hz."""
_MARK, _SPACE = (
    slice(*(int(np.searchsorted(_BAND, hertz)) + side for side in (-1, 2))) for hertz in (MARK_HZ, SPACE_HZ)
)
_SHARE = 0.8
"""Of each block's energy that lies in the band; in speech it does for 40 ms at most."""
_MARK_SHARE, _SPACE_SHARE = 0.35, 0.1
"""Of all energy, at the two tones: three quarters of a flag's bits are marks. A whistle has but one of them."""
_BLOCKS = 40
"""Blocks of 20 ms in a row, of the second ± 15 % that the preamble lasts."""
_LEAST_ENERGY = _BLOCK * 100.0**2

_ANGLE = 2 * np.pi * np.outer(np.arange(_BLOCK), _BAND) / SAMPLE_RATE
_BANK = np.concatenate([np.cos(_ANGLE), np.sin(_ANGLE)], axis=1).astype(np.float32)


class PreambleDetector:
    """Looks at blocks of 20 ms that follow on."""

    def __init__(self) -> None:
        self._run = 0
        self._mark = self._space = 0.0

    def receive(self, blocks: Samples) -> bool:
        """Whether ``blocks`` (rows of 160 samples) complete a preamble."""
        wave = blocks.astype(np.float32)
        energy = np.einsum("ij,ij->i", wave, wave)
        power = np.square(wave @ _BANK)
        band = power.sum(axis=1) * (2 / _BLOCK) / np.maximum(energy, _LEAST_ENERGY)
        if band.max() < _SHARE:  # as nearly always: a call is listened to for a minute, and it is mostly speech
            self._run, self._mark, self._space = 0, 0.0, 0.0
            return False
        shares = (
            (power[:, : _BAND.size] + power[:, _BAND.size :])
            * (2 / _BLOCK)
            / np.maximum(energy, _LEAST_ENERGY)[:, None]
        )
        sums = zip(band, shares[:, _MARK].sum(axis=1), shares[:, _SPACE].sum(axis=1), strict=True)
        return sum(self._step(float(band), float(mark), float(space)) for band, mark, space in sums) > 0

    def _step(self, band: float, mark: float, space: float) -> bool:
        if band < _SHARE:
            self._run, self._mark, self._space = 0, 0.0, 0.0
            return False
        self._run, self._mark, self._space = self._run + 1, self._mark + mark, self._space + space
        keyed = self._mark >= _MARK_SHARE * self._run and self._space >= _SPACE_SHARE * self._run
        return self._run >= _BLOCKS and keyed
