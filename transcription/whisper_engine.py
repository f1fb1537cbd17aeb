"""faster-whisper: Mandarin on a machine that reaches only a package index; pauses first, then one decode per piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.transcribe import Segment as WhisperSegment
from numpy.typing import NDArray

from duty.domain.transcripts import Word
from transcription.audio import as_float, level, resample
from transcription.engine import Capabilities, Heard, Piece, Samples, unheard
from transcription.errors import EngineError
from transcription.hallucination import is_invented
from transcription.model_store import InstalledModel
from transcription.normalise import punctuated
from transcription.script import simplified
from transcription.vad import regions

_MODEL_HZ = 16000
_MAX_TOKENS = 200
_TOKENS_PER_S = 16
_TEMPERATURES = (0.0, 0.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhisperOptions:
    """Options that shape the result. ``threads`` 0 lets the library choose; so many decode one piece, and ``parallel``
    pieces are decoded at once on one model; ``prompt`` sets script and punctuation."""

    language: str = "zh"
    beam: int = 5
    threads: int = 0
    parallel: int = 1
    compute_type: str = "int8"
    prompt: str = "以下是值班电话的普通话录音。"


class WhisperEngine:
    """Batch recognition on the CPU, without the GIL; of calls from several threads ``parallel`` run at once."""

    name = "whisper"
    capabilities = Capabilities(
        streaming=False, sample_rates=(8000, 16000), languages=("zh",), word_times=True, phrase_bias=True
    )

    def __init__(self, model: InstalledModel, options: WhisperOptions | None = None) -> None:
        """Load ``model``. Raises EngineError when its files do not load."""
        self.options = options or WhisperOptions()
        self.model = model.name
        self.model_sha256 = model.sha256
        try:
            self._whisper = WhisperModel(
                str(model.path),
                device="cpu",
                compute_type=self.options.compute_type,
                cpu_threads=self.options.threads,
                num_workers=self.options.parallel,
                local_files_only=True,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise EngineError(f"语音模型无法加载：{model.name}（{error}）") from error

    @property
    def settings(self) -> dict[str, str]:
        """The options that shape the result."""
        options = self.options
        return {
            "language": options.language,
            "beam": str(options.beam),
            "compute_type": options.compute_type,
            "prompt": options.prompt,
        }

    def transcribe(
        self, samples: Samples, sample_rate_hz: int, *, phrases: Sequence[str] = (), heard: Heard = unheard
    ) -> list[Piece]:
        """See ``Engine.transcribe``. ``phrases`` bias the decoder towards local names, the first ones first."""
        hotwords = "，".join(phrases) or None
        pieces: list[Piece] = []
        for region in regions(samples, sample_rate_hz):
            stretch = resample(samples[region.start : region.end], sample_rate_hz, _MODEL_HZ)
            pieces += self._decode(level(stretch, _MODEL_HZ), region.start / sample_rate_hz, hotwords)
            heard(region.end)
        return pieces

    def _decode(self, stretch: Samples, offset_s: float, hotwords: str | None) -> list[Piece]:
        """One region, greedily bounded in length; a result that nobody said is tried again warmer, then dropped."""
        seconds = len(stretch) / _MODEL_HZ
        heard = as_float(stretch)
        for temperature in _TEMPERATURES:
            found = self._run(heard, temperature, hotwords)
            kept = [s for s in found if s.text.strip() and not self._invented(s, seconds)]
            if kept or not found:
                break
        return [_piece(segment, offset_s, seconds) for segment in kept]

    def _run(self, heard: NDArray[np.float32], temperature: float, hotwords: str | None) -> list[WhisperSegment]:
        seconds = len(heard) / _MODEL_HZ
        try:
            segments, _ = BatchedInferencePipeline(self._whisper).transcribe(  # decodes a clip once, without seeking
                heard,
                language=self.options.language,
                beam_size=self.options.beam if temperature == 0 else 1,
                temperature=temperature,
                word_timestamps=True,
                initial_prompt=self.options.prompt or None,
                hotwords=hotwords,
                vad_filter=False,
                clip_timestamps=[{"start": 0.0, "end": seconds}],
                batch_size=1,
                max_new_tokens=min(_MAX_TOKENS, 10 + int(_TOKENS_PER_S * seconds)),
            )
            return list(segments)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"语音识别失败：{self.model}（{error}）") from error

    def _invented(self, segment: WhisperSegment, seconds: float) -> bool:
        return is_invented(
            simplified(segment.text),
            seconds=seconds,
            mean_log_probability=segment.avg_logprob,
            no_speech_probability=segment.no_speech_prob,
            compression_ratio=segment.compression_ratio,
            prompt=self.options.prompt,
        )


def _piece(segment: WhisperSegment, offset_s: float, seconds: float) -> Piece:
    def at(time_s: float) -> float:
        return round(offset_s + min(max(float(time_s), 0.0), seconds), 3)

    spoken = [word for word in segment.words or () if word.word.strip()]
    text = punctuated(simplified("".join(word.word.strip() for word in spoken) or segment.text.strip()))
    ends = list(accumulate(len(word.word.strip()) for word in spoken))
    words = tuple(
        Word(
            text=text[end - len(word.word.strip()) : end],
            start_s=at(word.start),
            end_s=at(word.end),
            confidence=min(1.0, max(0.0, float(word.probability))),
        )
        for word, end in zip(spoken, ends, strict=True)
    )
    confidence = sum(word.confidence for word in words) / len(words) if words else float(np.exp(segment.avg_logprob))
    return Piece(
        start_s=words[0].start_s if words else at(segment.start),
        end_s=words[-1].end_s if words else at(segment.end),
        text=text,
        confidence=min(1.0, confidence),
        words=words,
    )
