"""The telephone's effect on test speech, and the measure of what a recogniser makes of it."""

from __future__ import annotations

import csv
import re
import wave
from pathlib import Path

import numpy as np

from transcription import g711
from transcription.audio import read_wav, resample
from transcription.engine import Samples
from transcription.evaluation.characters import distance

_COUNTED = re.compile(r"[\u4e00-\u9fff0-9A-Za-z]")


def telephone(path: Path) -> Samples:
    """The mono WAV at ``path`` as it arrives through an 8 kHz A-law channel."""
    audio = read_wav(path)
    return g711.decode(g711.PCMA, g711.encode_alaw(resample(audio.channels[0], audio.sample_rate_hz, 8000)))


def write_stereo(path: Path, caller: Samples, officer: Samples, rate: int = 8000) -> Path:
    """A recording as the recorder makes it: caller left, officer right, PCM16."""
    size = max(len(caller), len(officer))
    both = np.zeros((size, 2), dtype="<i2")
    both[: len(caller), 0] = caller
    both[: len(officer), 1] = officer
    with wave.open(str(path), "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(both.tobytes())
    return path


def conversation(folder: Path, texts: list[tuple[str, str]], pause_s: float = 0.8) -> dict[str, Samples]:
    """The utterances of ``texts`` one after the other, each on its speaker's channel, the other silent meanwhile."""
    channels: dict[str, list[Samples]] = {"caller": [], "officer": []}
    for name, _ in texts:
        speech = telephone(folder / f"{name}.wav")
        silence = np.zeros(int(pause_s * 8000), np.int16)
        for speaker, parts in channels.items():
            parts += [speech if name.endswith(speaker) else np.zeros_like(speech), silence]
    return {speaker: np.concatenate(parts) for speaker, parts in channels.items()}


def rows(path: Path) -> list[list[str]]:
    """The lines of a tab-separated file."""
    with path.open(encoding="utf-8", newline="") as reader:
        return list(csv.reader(reader, delimiter="\t"))


def errors(reference: str, heard: str) -> tuple[int, int]:
    """Character edits between ``heard`` and ``reference`` without punctuation, and the reference's length."""
    left, right = ("".join(_COUNTED.findall(text)) for text in (reference, heard))
    return distance(left, right), len(left)
