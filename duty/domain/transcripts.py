"""What was said: words with their times, as an engine heard them. Never altered afterwards (requirement 6.2-b)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Speaker(StrEnum):
    """Who speaks is known from the channel: the caller's leg is left, the officer's is right."""

    CALLER = "caller"
    OFFICER = "officer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One recognised word. Times are seconds from the recording's first sample; confidence is 0..1."""

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One stretch of speech by one speaker.

    ``text`` is the joined words as shown on the screen; ``words`` may be empty where an engine gives no word times.
    Times are seconds from the recording's first sample; confidence is 0..1.
    """

    speaker: Speaker
    start_s: float
    end_s: float
    text: str
    confidence: float
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """Everything one engine heard in one recording, ordered by start time.

    ``engine`` and ``model`` name what produced it; ``model_sha256`` pins the weights; ``settings`` are the engine's
    options as text, so that a result can be reproduced.
    """

    engine: str
    model: str
    model_sha256: str
    settings: dict[str, str]
    audio_seconds: float
    decode_seconds: float
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """The whole transcript, one segment a line."""
        return "\n".join(segment.text for segment in self.segments)
