"""What any speech engine promises, so that rooms above choose one by what it can do and never by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from duty.domain.transcripts import Word

Samples: TypeAlias = NDArray[np.int16]

Heard: TypeAlias = Callable[[int], None]
"""Takes the number of samples decoded so far."""


def unheard(_samples: int) -> None:
    """For those who do not watch progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine can do. ``sample_rates`` are the rates in Hz it takes without loss; ``languages`` are BCP 47."""

    streaming: bool
    sample_rates: tuple[int, ...]
    languages: tuple[str, ...]
    word_times: bool
    phrase_bias: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One stretch of recognised speech. Times are seconds from the first sample given; confidence is 0..1."""

    start_s: float
    end_s: float
    text: str
    confidence: float
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """What a stream shows now. A partial (``final`` False) replaces the one before it; a final one stays.

    Times are seconds from the stream's first sample.
    """

    text: str
    start_s: float
    end_s: float
    final: bool
    words: tuple[Word, ...] = ()


class Engine(Protocol):
    """Recognises recordings. One object may be used from several threads at once."""

    @property
    def name(self) -> str:
        """The engine's name, e.g. ``whisper``."""

    @property
    def model(self) -> str:
        """The installed model's name, e.g. ``whisper-base``."""

    @property
    def model_sha256(self) -> str:
        """Hex SHA-256 that pins the weights."""

    @property
    def settings(self) -> dict[str, str]:
        """The options that shape the result, as text, so that a result can be reproduced."""

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do with this model."""

    def transcribe(
        self, samples: Samples, sample_rate_hz: int, *, phrases: Sequence[str] = (), heard: Heard = unheard
    ) -> list[Piece]:
        """Everything said in mono ``samples``, by start time; an empty list where nobody speaks.

        ``heard`` is told, as decoding goes on, how many samples are done.
        ``phrases`` are names to prefer between likely readings, the likeliest first, where
        ``capabilities.phrase_bias``; ignored otherwise.
        Raises EngineError when decoding fails.
        """


class Stream(Protocol):
    """One channel being heard. Not shared between threads."""

    def feed(self, samples: Samples) -> Caption | None:
        """Hear the next samples; the caption when it changed. Raises EngineError when decoding fails."""

    def finish(self) -> Caption | None:
        """The last words after the last sample, or None. The stream takes no samples afterwards."""


@runtime_checkable
class StreamingEngine(Protocol):
    """An engine that hears while people still speak. Streams on one engine run at once, one thread each."""

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do with this model; ``streaming`` is True."""

    def open(self, sample_rate_hz: int) -> Stream:
        """A new stream of mono samples at ``sample_rate_hz``. Raises EngineError when the engine cannot."""
