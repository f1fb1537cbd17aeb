"""Sounds of a telephone line in which nobody speaks, made from a seed: silence, tones, fax, music on hold, noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transcription import g711
from transcription.engine import Samples
from transcription.g711 import encode_alaw

HZ = 8000
Sound = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One sound as it arrives through A-law, ``dbfs`` its loudest."""

    kind: str
    dbfs: float
    samples: Samples


def clips(count: int, seed: int) -> list[Clip]:
    """``count`` clips, the kinds in turn; durations of 3 to 25 s, levels and the rest are drawn by ``seed``."""
    random = np.random.default_rng(seed)
    return [_clip(list(_KINDS)[number % len(_KINDS)], random) for number in range(count)]


def _clip(kind: str, random: np.random.Generator) -> Clip:
    time = np.arange(int(random.uniform(3, 25) * HZ)) / HZ
    sound = _KINDS[kind](time, random)
    dbfs = float(random.uniform(-40, -3))
    peak = float(np.max(np.abs(sound))) or 1.0
    floor = random.normal(0, 10 ** (random.uniform(-75, -50) / 20), len(time))
    even = np.clip(sound / peak * 10 ** (dbfs / 20) + (floor if kind != "silence" else 0), -1, 1) * 32767
    return Clip(kind=kind, dbfs=dbfs, samples=g711.decode(g711.PCMA, encode_alaw(even.astype(np.int16))))


def _silence(time: Sound, random: np.random.Generator) -> Sound:
    return random.choice([0.0, 1e-4]) * random.normal(0, 1, len(time))


def _cadence(time: Sound, on_s: float, off_s: float) -> Sound:
    return (time % (on_s + off_s) < on_s).astype(float)


def _ringing(time: Sound, random: np.random.Generator) -> Sound:
    """Ringing tone of GF 002: 450 Hz, 1 s in 5; or that of North America, 440 and 480 Hz, 2 s in 6."""
    if random.random() < 0.6:
        return np.sin(2 * np.pi * random.uniform(425, 475) * time) * _cadence(time, 1, 4)
    return (np.sin(2 * np.pi * 440 * time) + np.sin(2 * np.pi * 480 * time)) * _cadence(time, 2, 4)


def _busy(time: Sound, random: np.random.Generator) -> Sound:
    return np.sin(2 * np.pi * 450 * time) * _cadence(time, *random.choice([[0.35, 0.35], [0.7, 0.7], [0.4, 0.04]]))


def _keys(time: Sound, random: np.random.Generator) -> Sound:
    """Keys pressed one after another (DTMF)."""
    place = (time // 0.3).astype(int)
    low, high = (random.choice(hertz, place.max() + 1) for hertz in ((697, 770, 852, 941), (1209, 1336, 1477)))
    return (np.sin(2 * np.pi * low[place] * time) + np.sin(2 * np.pi * high[place] * time)) * _cadence(time, 0.1, 0.2)


def _fax_calling(time: Sound, random: np.random.Generator) -> Sound:
    """CNG of T.30: 1100 Hz, 0.5 s in 3.5; or CED, 2100 Hz."""
    if random.random() < 0.5:
        return np.sin(2 * np.pi * random.uniform(1062, 1138) * time) * _cadence(time, 0.5, 3)
    return np.sin(2 * np.pi * 2100 * time)


def _fax_speaking(time: Sound, random: np.random.Generator) -> Sound:
    """V.21 channel 2 at 300 bit/s: a second of HDLC flags, then bits, in bursts."""
    bits = random.integers(0, 2, int(time[-1] * 300) + 2)
    bits[:300] = np.tile([0, 1, 1, 1, 1, 1, 1, 0], 38)[:300]
    hertz = np.where(bits[(time * 300).astype(int)] == 1, 1650, 1850)
    return np.sin(2 * np.pi * np.cumsum(hertz) / HZ) * _cadence(time, random.uniform(1.5, 4), random.uniform(0.2, 2))


def _music(time: Sound, random: np.random.Generator) -> Sound:
    """Music on hold: a melody of plucked or bowed notes over chords, with vibrato and a drum."""
    beat = random.uniform(0.25, 0.6)
    scale = 220 * 2 ** (np.array([0, 2, 4, 7, 9, 12, 14, 16]) / 12)
    sound = np.zeros(len(time))
    bowed = random.random() < 0.5
    for start in np.arange(0, time[-1], beat):
        after = time - start
        here = (after >= 0) & (after < beat * 2)
        notes = [random.choice(scale) * 2, *(random.choice(scale, 2) if start % (4 * beat) < beat else [])]
        for note in notes:
            shape = np.sin(np.pi * after[here] / (2 * beat)) if bowed else np.exp(-after[here] * 4)
            phase = 2 * np.pi * note * after[here] + 3 * bowed * np.sin(2 * np.pi * 5.5 * after[here])
            sound[here] += shape * sum(np.sin(n * phase) / n**1.2 for n in range(1, 6))
        struck = (after >= 0) & (after < 0.08)
        sound[struck] += random.normal(0, 0.6, struck.sum()) * np.exp(-after[struck] * 60)
    return sound


def _noise(time: Sound, random: np.random.Generator) -> Sound:
    """Noise of any colour from violet to red, steady or swelling."""
    hertz = np.fft.rfftfreq(len(time), 1 / HZ)
    spectrum = np.fft.rfft(random.normal(0, 1, len(time))) * np.maximum(hertz, 20) ** random.uniform(-1, 0.5)
    swell = 1 + random.uniform(0, 0.9) * np.sin(2 * np.pi * random.uniform(0.1, 2) * time)
    return np.fft.irfft(spectrum, len(time)) * swell


def _hum(time: Sound, random: np.random.Generator) -> Sound:
    """50 Hz and its multiples, with crackling."""
    hum = sum(np.sin(2 * np.pi * 50 * n * time + random.uniform(0, 6)) / n for n in range(1, 12))
    crackle = random.normal(0, 1, len(time)) * (random.random(len(time)) < 0.002) * random.uniform(0, 8)
    return hum + crackle


_KINDS: dict[str, Callable[[Sound, np.random.Generator], Sound]] = {
    "silence": _silence,
    "ringing": _ringing,
    "busy": _busy,
    "keys": _keys,
    "fax calling": _fax_calling,
    "fax speaking": _fax_speaking,
    "music": _music,
    "noise": _noise,
    "hum": _hum,
    "music again": _music,
}
