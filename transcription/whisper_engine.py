"""faster-whisper: Mandarin on a machine that reaches only a package index; pauses first, then one decode per piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp

from faster_whisper import WhisperModel

from duty.domain.transcripts import Word
from transcription.audio import as_float, resample
from transcription.engine import Capabilities, Heard, Piece, Samples, unheard
from transcription.errors import EngineError
from transcription.hallucination import is_invented
from transcription.model_store import InstalledModel
from transcription.normalise import punctuated
from transcription.script import simplified
from transcription.vad import regions
from transcription.whisper_window import MODEL_HZ, Hearing, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class WhisperOptions:
    """Options that shape the result. ``threads`` 0 lets the library choose; so many decode one piece, and ``parallel``
    pieces are decoded at once on one model. The network looks at ``context_s`` or more; see whisper_window."""

    language: str = "zh"
    beam: int = 5
    threads: int = 0
    parallel: int = 1
    compute_type: str = "float32"
    context_s: float = 15.0


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
            whisper = WhisperModel(
                str(model.path),
                device="cpu",
                compute_type=self.options.compute_type,
                cpu_threads=self.options.threads,
                num_workers=self.options.parallel,
                local_files_only=True,
            )
            self._window = Window(
                whisper, language=self.options.language, beam=self.options.beam, context_s=self.options.context_s
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
            "context_s": str(options.context_s),
        }

    def transcribe(
        self,
        samples: Samples,
        sample_rate_hz: int,
        *,
        phrases: Sequence[str] = (),
        heard: Heard = unheard,
    ) -> list[Piece]:
        """See ``Engine.transcribe``. Pauses are found first, so that silence is never decoded."""
        pieces: list[Piece] = []
        for region in regions(samples, sample_rate_hz):
            stretch = as_float(resample(samples[region.start : region.end], sample_rate_hz, MODEL_HZ))
            try:
                hearing = self._window.hear(stretch, phrases)
            except (RuntimeError, ValueError) as error:
                raise EngineError(f"语音识别失败：{self.model}（{error}）") from error
            seconds = len(stretch) / MODEL_HZ
            if not _invented(hearing, seconds):
                pieces.append(_piece(hearing, region.start / sample_rate_hz, seconds))
            heard(region.end)
        return pieces


def _invented(hearing: Hearing, seconds: float) -> bool:
    return is_invented(
        simplified(hearing.text),
        seconds=seconds,
        mean_log_probability=hearing.mean_log_probability,
        no_speech_probability=hearing.no_speech_probability,
        compression_ratio=hearing.compression_ratio,
    )


def _piece(hearing: Hearing, offset_s: float, seconds: float) -> Piece:
    text = punctuated(simplified("".join(word.text for word in hearing.words) or hearing.text))
    ends = list(accumulate(len(word.text) for word in hearing.words))
    words = tuple(
        Word(
            text=text[end - len(word.text) : end],
            start_s=round(offset_s + word.start_s, 3),
            end_s=round(offset_s + word.end_s, 3),
            confidence=word.confidence,
        )
        for word, end in zip(hearing.words, ends, strict=True)
    )
    sure = sum(word.confidence for word in words) / len(words) if words else exp(hearing.mean_log_probability)
    return Piece(
        start_s=words[0].start_s if words else round(offset_s, 3),
        end_s=words[-1].end_s if words else round(offset_s + seconds, 3),
        text=text,
        confidence=min(1.0, sure),
        words=words,
    )
