"""Digits pressed during a call, heard in the voice itself: for remotes that negotiated no telephone-event.

Two tones of ITU-T Q.23 at once, found by Goertzel's filters over blocks of 12.75 ms and held to the tolerances of
Q.24. Speech contains such pairs for a moment; so both must stand far above the rest of their group and hold nearly all
of the energy, for two blocks running (talk-off).
"""

from __future__ import annotations

import numpy as np

from telephony.rtp.dtmf import Digit
from telephony.rtp.g711 import SAMPLE_RATE, Samples

_ROWS = (697, 770, 852, 941)
_COLUMNS = (1209, 1336, 1477, 1633)
_KEYS = ("123A", "456B", "789C", "*0#D")
_BLOCK = 102
_MINIMUM_RMS = 60.0
"""About -55 dBFS for both tones together, below the -25 dBm that Q.24 asks for."""
_SHARE = 0.75
"""Of the block's energy that must lie in the two tones; at the edge of the frequency tolerance 0.8 is left."""
_ABOVE_GROUP = 6.3
"""8 dB that each tone must stand above the others of its group."""
_TWIST = 6.3
"""8 dB by which the column may be weaker than the row."""
_REVERSE_TWIST = 2.5
"""4 dB by which it may be stronger."""
_BEGIN_BLOCKS = 2
_END_BLOCKS = 2

_ANGLE = 2 * np.pi * np.outer(np.arange(_BLOCK), _ROWS + _COLUMNS) / SAMPLE_RATE
_BANK = np.concatenate([np.cos(_ANGLE), np.sin(_ANGLE)], axis=1).astype(np.float32)


class InbandDetector:
    """Turns the samples of one channel into digits, each reported once, when its tone has ended."""

    def __init__(self) -> None:
        self._pending: Samples = np.zeros(0, dtype=np.int16)
        self._candidate = ""
        self._hits = 0
        self._misses = 0

    def receive(self, samples: Samples) -> list[Digit]:
        """Digits whose end lies in ``samples``, 8 kHz, which follow on those before."""
        joined = np.concatenate([self._pending, samples]) if self._pending.size else samples
        whole = joined.size - joined.size % _BLOCK
        self._pending = joined[whole:]
        digits: list[Digit] = []
        if whole:
            for key in _keys(joined[:whole].reshape(-1, _BLOCK)):
                digits += self._step(key)
        return digits

    def _step(self, key: str) -> list[Digit]:
        if key and key == self._candidate:
            self._hits, self._misses = self._hits + self._misses + 1, 0
            return []
        self._misses += 1
        if self._candidate and self._hits >= _BEGIN_BLOCKS and self._misses < _END_BLOCKS:
            return []
        ended = self._ended()
        self._candidate, self._hits, self._misses = key, int(bool(key)), 0
        return ended

    def _ended(self) -> list[Digit]:
        if self._hits < _BEGIN_BLOCKS:
            return []
        return [Digit(digit=self._candidate, duration_ms=round(self._hits * _BLOCK * 1000 / SAMPLE_RATE))]


def _keys(blocks: Samples) -> list[str]:
    """The key of each block, empty where it is none."""
    wave = blocks.astype(np.float32)
    energy = np.einsum("ij,ij->i", wave, wave)
    loud = energy >= _BLOCK * _MINIMUM_RMS**2
    if not loud.any():
        return [""] * len(blocks)
    parts = wave @ _BANK
    power = parts[:, :8] ** 2 + parts[:, 8:] ** 2
    groups = np.sort(power.reshape(-1, 2, 4), axis=2)
    row, column = groups[:, 0, 3], groups[:, 1, 3]
    dual = (
        loud
        & (2 * (row + column) > _SHARE * _BLOCK * energy)
        & (groups[:, :, 3] > _ABOVE_GROUP * groups[:, :, 2]).all(axis=1)
        & (column < _REVERSE_TWIST * row)
        & (row < _TWIST * column)
    )
    rows, columns = power[:, :4].argmax(axis=1), power[:, 4:].argmax(axis=1)
    return [_KEYS[r][c] if yes else "" for yes, r, c in zip(dual.tolist(), rows, columns, strict=True)]


def key_tone(digit: str, seconds: float, *, amplitude: float = 4000.0) -> Samples:
    """The two tones of ``digit``, each of ``amplitude``. Raises ValueError for no digit."""
    for row, keys in zip(_ROWS, _KEYS, strict=True):
        if len(digit) == 1 and digit in keys:
            time = np.arange(round(seconds * SAMPLE_RATE)) * 2 * np.pi / SAMPLE_RATE
            wave = np.sin(row * time) + np.sin(_COLUMNS[keys.index(digit)] * time)
            return (amplitude * wave).round().astype(np.int16)
    raise ValueError("no such digit")
