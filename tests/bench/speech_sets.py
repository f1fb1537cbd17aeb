"""Test speech as a telephone delivers it: 8 kHz, 300 to 3400 Hz, G.711 A-law, without and with noise on the line."""

from __future__ import annotations

import csv
import wave
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.transcription.telephone import alaw
from transcription import g711
from transcription.audio import read_wav, resample
from transcription.engine import Samples

HZ = 8000
CONDITIONS = ("telephone", "noisy")
SPEECH = Path(__file__).resolve().parents[2].parent / "shared" / "speech"
_BAND_HZ = (300.0, 3400.0)
_EDGE_HZ = 100.0
_SNR_DB = 12.0
_HUM_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """Something that was said: mono ``samples`` at 8 kHz, the WAV file that holds them, and the words."""

    name: str
    text: str
    samples: Samples
    path: Path

    @property
    def seconds(self) -> float:
        return len(self.samples) / HZ


def utterances(condition: str, folder: Path, source: str = "mandarin") -> list[Utterance]:
    """The test speech of ``source`` under ``condition``; the degraded WAV files are written to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name, text in _listed(SPEECH / source):
        samples = _degraded(SPEECH / source / name, condition)
        path = folder / f"{condition}-{name}"
        write_mono(path, samples)
        found.append(Utterance(name=name.removesuffix(".wav"), text=text, samples=samples, path=path))
    return found


def halves(said: Sequence[Utterance]) -> tuple[list[Utterance], list[Utterance]]:
    """``said`` in two: settings are chosen by the first half, the second judges them. A name's checksum decides."""
    ordered = sorted(said, key=lambda one: zlib.crc32(one.name.encode()))
    return ordered[: len(ordered) // 2], ordered[len(ordered) // 2 :]


def line_band(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """``samples`` at 8 kHz within the band of a telephone line, its edges falling over 100 Hz."""
    hertz = np.fft.rfftfreq(len(samples), 1 / HZ)
    low, high = _BAND_HZ
    rises = np.clip((hertz - (low - _EDGE_HZ)) / _EDGE_HZ, 0, 1)
    falls = np.clip(((high + _EDGE_HZ) - hertz) / _EDGE_HZ, 0, 1)
    return np.fft.irfft(np.fft.rfft(samples) * rises * falls, len(samples))


def with_line_noise(samples: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """``samples`` with noise 12 dB below them on average: three quarters white, one quarter hum of 50 Hz."""
    random = np.random.default_rng(seed)
    time = np.arange(len(samples)) / HZ
    hum = sum(np.sin(2 * np.pi * 50 * n * time + random.uniform(0, 6.28)) / n for n in range(1, 21))
    white = line_band(random.normal(0, 1, len(samples)))
    noise = np.sqrt(1 - _HUM_SHARE) * _even(white) + np.sqrt(_HUM_SHARE) * _even(hum)
    power = float(np.mean(samples**2))
    return samples + noise * np.sqrt(power / 10 ** (_SNR_DB / 10))


def write_mono(path: Path, samples: Samples, rate: int = HZ) -> None:
    """``samples`` as a mono WAV at ``path``."""
    with wave.open(str(path), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.astype("<i2").tobytes())


def _even(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    return samples / np.sqrt(np.mean(samples**2))


def _degraded(path: Path, condition: str) -> Samples:
    audio = read_wav(path)
    sound = line_band(resample(audio.channels[0], audio.sample_rate_hz, HZ).astype(np.float64))
    if condition == "noisy":
        sound = with_line_noise(sound, zlib.crc32(path.name.encode()))
    return g711.decode(g711.PCMA, alaw(np.clip(np.round(sound), -32768, 32767).astype(np.int16)))


def _listed(folder: Path) -> list[tuple[str, str]]:
    manifest = folder / "manifest.tsv"
    with (manifest if manifest.exists() else folder / "texts.tsv").open(encoding="utf-8", newline="") as reader:
        rows = list(csv.reader(reader, delimiter="\t"))
    if manifest.exists():
        rows = rows[1:]
    return [(row[0] if row[0].endswith(".wav") else f"{row[0]}.wav", row[1]) for row in rows]
