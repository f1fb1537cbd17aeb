"""A whole recording into a transcript: each channel on its own, then both in the order they were spoken."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from duty.domain.transcripts import Segment, Speaker, Transcript
from transcription.audio import read_recording
from transcription.calibration import Calibration, calibration
from transcription.engine import Engine, Piece

NAMES_KEPT = 3


def transcribe_recording(
    path: Path, engine: Engine, *, phrases: Sequence[str] = (), progress: Callable[[float], None] = lambda _share: None
) -> Transcript:
    """The transcript of the recording at ``path`` (caller left, officer right; requirement 6.1-d).

    Confidences are the engine's own, weighed by the table for its weights where there is one (``calibration``).
    ``progress`` is told the share of the recording that is decoded, 0..1.

    Raises AudioError when the file is at fault, EngineError when the engine is.
    """
    audio = read_recording(path)
    began = time.monotonic()
    worth = calibration(engine.model_sha256)
    segments: list[Segment] = []
    channels = audio.by_speaker()
    for number, (speaker, samples) in enumerate(channels.items()):

        def heard(done: int, before: int = number, whole: int = max(1, len(samples))) -> None:
            progress((before + min(1.0, done / whole)) / len(channels))

        pieces = engine.transcribe(samples, audio.sample_rate_hz, phrases=phrases, heard=heard)
        segments += [_segment(piece, speaker, worth) for piece in pieces]
    return Transcript(
        engine=engine.name,
        model=engine.model,
        model_sha256=engine.model_sha256,
        settings={**engine.settings, **_told(engine, phrases), "calibration": worth.name},
        audio_seconds=audio.seconds,
        decode_seconds=time.monotonic() - began,
        segments=tuple(sorted(segments, key=lambda segment: (segment.start_s, segment.end_s))),
    )


def _told(engine: Engine, phrases: Sequence[str]) -> dict[str, str]:
    """Which names the engine was told to prefer, kept with the result that they shaped: how many, the digest of the
    list, and the first of them."""
    if not phrases or not engine.capabilities.phrase_bias:
        return {}
    digest = hashlib.sha256("\0".join(phrases).encode()).hexdigest()
    return {"names": f"{len(phrases)} {digest[:12]} {' '.join(phrases[:NAMES_KEPT])}"}


def _segment(piece: Piece, speaker: Speaker, worth: Calibration) -> Segment:
    words = tuple(replace(word, confidence=worth.of(word.confidence)) for word in piece.words)
    sure = sum(word.confidence for word in words) / len(words) if words else worth.of(piece.confidence)
    return Segment(
        speaker=speaker, start_s=piece.start_s, end_s=piece.end_s, text=piece.text, confidence=sure, words=words
    )
