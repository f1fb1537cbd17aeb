"""Sound as a telephone line delivers it: the band, the hum and hiss, and the eight bits of G.711, so that clean speech
measures an engine as the line will."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from transcription import g711
from transcription.audio import LINE_HZ, resample
from transcription.engine import Samples
from transcription.errors import TranscriptionError

_BAND_HZ = (300.0, 3400.0)
_EDGE_HZ = 100.0
_HUM_SHARE = 0.25
_NOISE = re.compile(r"noise:(-?\d{1,2}(?:\.\d+)?)\s*dB", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Degradation:
    """``telephone``: 8 kHz, 300 to 3400 Hz, A-law. ``noise_db``: line noise so many dB below the speech, or none."""

    telephone: bool = False
    noise_db: float | None = None

    def __str__(self) -> str:
        steps = (["telephone"] if self.telephone else []) + (
            [] if self.noise_db is None else [f"noise:{self.noise_db:g}dB"]
        )
        return ",".join(steps) or "original"


def parse_degradation(text: str) -> Degradation:
    """``telephone``, ``noise:12dB``, or both with a comma. Raises TranscriptionError."""
    telephone, noise = False, None
    for step in filter(None, map(str.strip, text.split(","))):
        if step == "telephone":
            telephone = True
        elif (found := _NOISE.fullmatch(step)) is not None:
            noise = float(found[1])
        else:
            raise TranscriptionError(f"不认识的降质方式 {step}，可用 telephone、noise:12dB，以逗号相连")
    return Degradation(telephone=telephone, noise_db=noise)


def degraded(samples: Samples, rate_hz: int, how: Degradation, *, seed: int = 0) -> tuple[Samples, int]:
    """Mono ``samples`` after ``how``, and their rate in Hz; the noise is that of ``seed``."""
    if not how.telephone and how.noise_db is None:
        return samples, rate_hz
    sound = resample(samples, rate_hz, LINE_HZ).astype(np.float64)
    if how.telephone:
        sound = line_band(sound)
    if how.noise_db is not None:
        sound = with_line_noise(sound, how.noise_db, seed)
    even = np.clip(np.round(sound), -32768, 32767).astype(np.int16)
    return (g711.decode(g711.PCMA, g711.encode_alaw(even)) if how.telephone else even), LINE_HZ


def line_band(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """``samples`` at 8 kHz within the band of a telephone line, its edges falling over 100 Hz."""
    hertz = np.fft.rfftfreq(len(samples), 1 / LINE_HZ)
    low, high = _BAND_HZ
    rises = np.clip((hertz - (low - _EDGE_HZ)) / _EDGE_HZ, 0, 1)
    falls = np.clip(((high + _EDGE_HZ) - hertz) / _EDGE_HZ, 0, 1)
    return np.fft.irfft(np.fft.rfft(samples) * rises * falls, len(samples))


def with_line_noise(samples: NDArray[np.float64], below_db: float, seed: int) -> NDArray[np.float64]:
    """``samples`` at 8 kHz with noise ``below_db`` below them on average: three quarters hiss, one quarter hum of
    50 Hz. Silence stays silence."""
    random = np.random.default_rng(seed)
    time = np.arange(len(samples)) / LINE_HZ
    hum = sum(
        (np.sin(2 * np.pi * 50 * n * time + random.uniform(0, 6.28)) / n for n in range(1, 21)), np.zeros(len(samples))
    )
    hiss = line_band(random.normal(0, 1, len(samples)))
    noise = np.sqrt(1 - _HUM_SHARE) * _even(hiss) + np.sqrt(_HUM_SHARE) * _even(hum)
    power = float(np.mean(samples**2))
    return cast(NDArray[np.float64], samples + noise * np.sqrt(power / 10 ** (below_db / 10)))


def _even(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    return cast(NDArray[np.float64], samples / np.sqrt(np.mean(samples**2)))
