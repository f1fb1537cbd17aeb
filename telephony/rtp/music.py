"""What a party hears while the other one has put the call on hold: a quiet melody, made here by arithmetic, so that
nobody's recording has to be licensed and shipped.

Soft bell tones of the pentatonic scale, one every 0.4 s, that nobody who hears them takes for a key or a fax machine: a
test holds the melody to that.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from telephony.rtp.g711 import SAMPLE_RATE, Samples

_BEAT_S = 0.4
_MELODY = (
    67, 69, 72, 74, 76, 74, 72, 69, 67, 64, 67, 69, 72, 69, 67, 64, 62, 64, 67, 69,
    72, 74, 72, 69, 67, 69, 64, 62, 60, 62, 64, 67, 69, 72, 69, 67, 64, 67, 62, 60,
)  # fmt: skip
"""MIDI numbers; 69 is 440 Hz."""
_BASS = (48, 45, 43, 45, 48, 50, 45, 43, 45, 48)
"""One for every four notes of the melody."""
_OVERTONES = ((1, 1.0), (2, 0.3), (3, 0.08))
_ATTACK_S = 0.012
_DECAY_S = 0.55
_RINGS_S = 2.4
_PEAK = 4200
"""About -18 dBFS: below a voice, well above a line's noise."""


@cache
def hold_music() -> Samples:
    """The melody, 16 s; meant to be looped: its last notes fade out in its beginning. Not to be written to."""
    wave = np.zeros(round(len(_MELODY) * _BEAT_S * SAMPLE_RATE))
    for place, note in enumerate(_MELODY):
        _strike(wave, place * _BEAT_S, note, 1.0)
    for place, note in enumerate(_BASS):
        _strike(wave, place * 4 * _BEAT_S, note, 0.55)
    samples: Samples = (wave * (_PEAK / np.abs(wave).max())).round().astype(np.int16)
    samples.setflags(write=False)
    return samples


def _strike(wave: NDArray[np.float64], at_s: float, note: int, strength: float) -> None:
    """Add one note; what rings beyond the end goes on at the beginning."""
    seconds = np.arange(round(_RINGS_S * SAMPLE_RATE)) / SAMPLE_RATE
    hertz = 440.0 * 2 ** ((note - 69) / 12)
    tone = np.zeros(seconds.size)
    for number, share in _OVERTONES:
        tone += share * np.sin(2 * np.pi * hertz * number * seconds)
    shape = np.minimum(seconds / _ATTACK_S, 1.0) * np.exp(-seconds / _DECAY_S) * (1.0 - seconds / _RINGS_S)
    places = (round(at_s * SAMPLE_RATE) + np.arange(seconds.size)) % wave.size
    wave[places] += strength * shape * tone
