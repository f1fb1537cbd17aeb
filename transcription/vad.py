"""Where people speak: decoding starts from pauses, so that no segment bridges a silence and none is invented in one.

Silero VAD hears the line's own 8 kHz. Of the active frames of telephone speech it finds 87 to 89 of 100, where the
network for 16 kHz after resampling finds 75 to 79 (docs/decisions/0019-speech-front.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import pairwise

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from transcription.audio import LINE_HZ, as_float, resample
from transcription.engine import Samples

_WINDOW = 256
_CONTEXT = 32
_WINDOW_S = _WINDOW / LINE_HZ
_HYSTERESIS = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A stretch of speech, ``start:end`` in samples of the array it was found in."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """What separates regions. Speech begins at probability ``threshold`` and lasts until ``silence_s`` have been 0.15
    below it; what is shorter than ``shortest_s`` is no speech. Regions are widened by ``pad_s`` and, at their best
    pause, cut to at most ``longest_s`` seconds (Whisper's window is 30 s)."""

    threshold: float = 0.5
    silence_s: float = 0.8
    shortest_s: float = 0.1
    pad_s: float = 0.4
    longest_s: float = 28.0


def regions(samples: Samples, sample_rate_hz: int, pauses: Pauses | None = None) -> list[Region]:
    """Speech in mono ``samples``, in order, not overlapping. Digital silence and sound under 100 ms give nothing."""
    pauses = pauses or Pauses()
    if len(samples) < sample_rate_hz // 10 or not np.any(samples):
        return []
    chances = speech_probabilities(resample(samples, sample_rate_hz, LINE_HZ))
    spoken = [part for span in _spans(chances, pauses) for part in _cut(span, chances, pauses)]
    scale = _WINDOW * sample_rate_hz / LINE_HZ
    return [
        Region(start=int(start * scale), end=min(len(samples), int(end * scale)))
        for start, end in _padded(spoken, pauses.pad_s / _WINDOW_S, len(chances))
    ]


def speech_probabilities(samples: Samples) -> NDArray[np.float32]:
    """For each 32 ms of ``samples`` at 8 kHz how probably somebody speaks in it, 0..1."""
    sound = np.pad(as_float(samples), (0, -len(samples) % _WINDOW)).reshape(-1, _WINDOW)
    state, rate = np.zeros((2, 1, 128), np.float32), np.array(LINE_HZ, np.int64)
    window = np.zeros((1, _CONTEXT + _WINDOW), np.float32)
    session, chances = _session(), np.zeros(len(sound), np.float32)
    for number, heard in enumerate(sound):
        window[0, :_CONTEXT] = window[0, -_CONTEXT:]
        window[0, _CONTEXT:] = heard
        chance, state = session.run(None, {"input": window, "state": state, "sr": rate})
        chances[number] = chance[0, 0]
    return chances


@lru_cache(maxsize=1)
def _session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    weights = (resources.files("transcription") / "weights" / "silero_vad.onnx").read_bytes()
    return onnxruntime.InferenceSession(weights, sess_options=options, providers=["CPUExecutionProvider"])


def _spans(chances: NDArray[np.float32], pauses: Pauses) -> list[tuple[int, int]]:
    """Stretches of speech in windows, by hysteresis."""
    found: list[tuple[int, int]] = []
    start, last, patience = -1, -1, pauses.silence_s / _WINDOW_S
    for at, chance in enumerate(chances):
        if chance >= (pauses.threshold if start < 0 else pauses.threshold - _HYSTERESIS):
            start, last = (at if start < 0 else start), at
        elif start >= 0 and at - last >= patience:
            found.append((start, last + 1))
            start = -1
    if start >= 0:
        found.append((start, last + 1))
    return [(begin, end) for begin, end in found if (end - begin) * _WINDOW_S >= pauses.shortest_s]


def _cut(span: tuple[int, int], chances: NDArray[np.float32], pauses: Pauses) -> list[tuple[int, int]]:
    """``span`` in parts that fit, each cut where speech is least probable in the later half of what fits."""
    start, end = span
    fits, parts = int((pauses.longest_s - 2 * pauses.pad_s) / _WINDOW_S), []
    while end - start > fits:
        middle = start + fits // 2
        cut = middle + int(np.argmin(chances[middle : start + fits]))
        parts.append((start, cut))
        start = cut
    return [*parts, (start, end)]


def _padded(spans: list[tuple[int, int]], pad: float, count: int) -> list[tuple[float, float]]:
    """``spans`` widened on both sides by ``pad`` windows, by less where the next one is near."""
    edges = [0.0, *((left[1] + right[0]) / 2 for left, right in pairwise(spans)), float(count)]
    return [(max(edges[i], start - pad), min(edges[i + 1], end + pad)) for i, (start, end) in enumerate(spans)]
