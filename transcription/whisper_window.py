"""One stretch of speech through Whisper's network: a context as long as the stretch needs, no timestamps, no prompt.

The network was trained on windows of 30 s, most of them silence here. A context of 15 s costs 40 % of the time and, as
measured, hears telephone speech no worse; one below 10 s begins to loop, so what loops is heard again in 30 s. A prompt
or hints cost more characters than they win (docs/decisions/0019-speech-front.md); names only decide between readings
that the search ends with anyway.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens
from numpy.typing import NDArray

from duty.domain.transcripts import Word
from transcription.bias import preferred
from transcription.script import simplified

MODEL_HZ = 16000
_FRAMES_PER_S = 100
_LONGEST_S = 30.0
_LEAD_S = 0.2
_AFTER_S = 5.0
_TOKENS_PER_S = 12
_LOOP_RATIO = 2.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What was made of one stretch. Times of ``words`` are seconds from its first sample, whose text joins to ``text``;
    ``mean_log_probability`` is per token."""

    text: str
    words: tuple[Word, ...]
    mean_log_probability: float
    no_speech_probability: float
    compression_ratio: float


class Window:
    """Hears stretches of at most 28 s on a loaded model; from several threads at once."""

    def __init__(self, whisper: WhisperModel, *, language: str, beam: int, context_s: float) -> None:
        self._whisper = whisper
        self._beam, self._context_s = beam, context_s
        self._tokenizer = Tokenizer(whisper.hf_tokenizer, True, task="transcribe", language=language)
        self._prompt = whisper.get_prompt(self._tokenizer, [], without_timestamps=True)
        self._suppressed = list(get_suppressed_tokens(self._tokenizer, [-1]))

    def hear(self, sound: NDArray[np.float32], phrases: Sequence[str] = ()) -> Hearing:
        """The words in ``sound`` (16 kHz, -1..1), of nearly equal readings that with most of the names ``phrases``.
        What loops is heard once more in the full context.

        Raises RuntimeError or ValueError when the network fails.
        """
        seconds = len(sound) / MODEL_HZ
        context_s = min(_LONGEST_S, max(self._context_s, _LEAD_S + seconds + _AFTER_S))
        heard = self._hear(sound, context_s, phrases)
        if heard.compression_ratio > _LOOP_RATIO and context_s < _LONGEST_S:
            return self._hear(sound, _LONGEST_S, phrases)
        return heard

    def _hear(self, sound: NDArray[np.float32], context_s: float, phrases: Sequence[str]) -> Hearing:
        encoded = self._encode(sound, context_s)
        seconds = len(sound) / MODEL_HZ
        result = self._whisper.model.generate(
            encoded,
            [self._prompt],
            beam_size=self._beam,
            num_hypotheses=self._beam if phrases else 1,
            max_length=len(self._prompt) + 10 + int(_TOKENS_PER_S * seconds),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=self._suppressed,
        )[0]
        found = [[token for token in tokens if token < self._tokenizer.eot] for tokens in result.sequences_ids]
        texts = [self._tokenizer.decode(tokens).strip() for tokens in found]
        chosen = preferred(
            [(simplified(text), score) for text, score in zip(texts, result.scores, strict=True)], phrases
        )
        tokens, text = found[chosen], texts[chosen]
        return Hearing(
            text=text,
            words=self._words(tokens, encoded, seconds),
            mean_log_probability=float(result.scores[chosen]),
            no_speech_probability=float(result.no_speech_prob),
            compression_ratio=_compression_ratio(text),
        )

    def _encode(self, sound: NDArray[np.float32], context_s: float) -> ctranslate2.StorageView:
        padded = np.zeros(int(context_s * MODEL_HZ), np.float32)
        lead = int(_LEAD_S * MODEL_HZ)
        kept = sound[: len(padded) - lead]
        padded[lead : lead + len(kept)] = kept
        frames = int(context_s * _FRAMES_PER_S) // 2 * 2  # the network takes them in pairs
        return self._whisper.encode(self._whisper.feature_extractor(padded, padding=0)[:, :frames])

    def _words(self, tokens: list[int], encoded: ctranslate2.StorageView, seconds: float) -> tuple[Word, ...]:
        if not tokens:
            return ()
        frames = int((_LEAD_S + seconds) * _FRAMES_PER_S)
        found = self._whisper.find_alignment(self._tokenizer, [tokens], encoded, frames)[0]

        def at(time_s: float) -> float:
            return min(max(float(time_s) - _LEAD_S, 0.0), seconds)

        return tuple(
            Word(
                text=word["word"].strip(),
                start_s=at(word["start"]),
                end_s=at(word["end"]),
                confidence=min(1.0, max(0.0, float(word["probability"]))),
            )
            for word in found
            if word["word"].strip()
        )


def _compression_ratio(text: str) -> float:
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0
