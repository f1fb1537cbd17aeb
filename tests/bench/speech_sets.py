"""Test speech as a telephone delivers it: 8 kHz, 300 to 3400 Hz, G.711 A-law, without and with noise on the line."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.peers.audio import write_wav
from transcription.audio import read_wav
from transcription.engine import Samples
from transcription.evaluation.degrade import Degradation, degraded

HZ = 8000
CONDITIONS = ("telephone", "noisy")
SPEECH = Path(__file__).resolve().parents[2].parent / "shared" / "speech"
_SNR_DB = 12.0


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
        write_wav(path, samples, HZ)
        found.append(Utterance(name=name.removesuffix(".wav"), text=text, samples=samples, path=path))
    return found


def halves(said: Sequence[Utterance]) -> tuple[list[Utterance], list[Utterance]]:
    """``said`` in two: settings are chosen by the first half, the second judges them. A name's checksum decides."""
    ordered = sorted(said, key=lambda one: zlib.crc32(one.name.encode()))
    return ordered[: len(ordered) // 2], ordered[len(ordered) // 2 :]


def _degraded(path: Path, condition: str) -> Samples:
    audio = read_wav(path)
    how = Degradation(telephone=True, noise_db=_SNR_DB if condition == "noisy" else None)
    return degraded(audio.channels[0], audio.sample_rate_hz, how, seed=zlib.crc32(path.name.encode()))[0]


def _listed(folder: Path) -> list[tuple[str, str]]:
    manifest = folder / "manifest.tsv"
    with (manifest if manifest.exists() else folder / "texts.tsv").open(encoding="utf-8", newline="") as reader:
        rows = list(csv.reader(reader, delimiter="\t"))
    if manifest.exists():
        rows = rows[1:]
    return [(row[0] if row[0].endswith(".wav") else f"{row[0]}.wav", row[1]) for row in rows]
