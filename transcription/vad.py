"""Where people speak: decoding starts from pauses, so that no segment bridges a silence and none is invented in one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from faster_whisper.vad import VadOptions, get_speech_timestamps

from transcription.audio import as_float, resample
from transcription.engine import Samples

_VAD_HZ = 16000


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A stretch of speech, ``start:end`` in samples of the array it was found in."""

    start: int
    end: int


def regions(
    samples: Samples,
    sample_rate_hz: int,
    *,
    threshold: float = 0.5,
    min_silence_ms: int = 500,
    pad_ms: int = 200,
    max_s: float = 28.0,
) -> list[Region]:
    """Speech in mono ``samples`` by Silero VAD (on onnxruntime), in order, not overlapping.

    A pause of ``min_silence_ms`` separates regions, each padded by ``pad_ms`` and at most ``max_s`` seconds long
    (Whisper's window is 30 s). Digital silence and sound under 100 ms give nothing.
    """
    if len(samples) < sample_rate_hz // 10 or not np.any(samples):
        return []
    options = VadOptions(
        threshold=threshold,
        min_speech_duration_ms=100,
        max_speech_duration_s=max_s,
        min_silence_duration_ms=min_silence_ms,
        speech_pad_ms=pad_ms,
    )
    heard = as_float(resample(samples, sample_rate_hz, _VAD_HZ))
    scale = sample_rate_hz / _VAD_HZ
    found = get_speech_timestamps(heard, options, sampling_rate=_VAD_HZ)
    return [
        Region(start=int(speech["start"] * scale), end=min(len(samples), int(speech["end"] * scale)))
        for speech in found
    ]
