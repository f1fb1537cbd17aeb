"""Vosk: the streaming engine; hears 8 kHz telephone audio directly, many streams on one loaded model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from vosk import KaldiRecognizer, Model, SetLogLevel

from duty.domain.transcripts import Word
from transcription.audio import level
from transcription.engine import Capabilities, Caption, Heard, Piece, Samples, unheard
from transcription.errors import EngineError
from transcription.model_store import InstalledModel
from transcription.script import simplified
from transcription.vad import regions

_QUIET = -1
_TAIL_S = 0.3
_BLOCK_S = 0.2
_RATES = (8000, 16000)


class VoskEngine:
    """One loaded Vosk model. Decoding releases the GIL, so threads with a stream each run side by side."""

    name = "vosk"

    def __init__(self, model: InstalledModel) -> None:
        """Load ``model``. Raises EngineError when it is not a loadable Vosk model."""
        SetLogLevel(_QUIET)
        self.model = model.name
        self.model_sha256 = model.sha256
        self._spaced = model.language != "zh"
        self.capabilities = Capabilities(
            streaming=True, sample_rates=_RATES, languages=(model.language,), word_times=True, phrase_bias=False
        )
        try:
            self._vosk = Model(str(model.path))
        except Exception as error:
            raise EngineError(f"语音模型无法加载：{model.name}") from error

    @property
    def settings(self) -> dict[str, str]:
        """The options that shape the result."""
        return {"words": "true", "tail_s": str(_TAIL_S)}

    def transcribe(
        self,
        samples: Samples,
        sample_rate_hz: int,
        *,
        phrases: Sequence[str] = (),  # noqa: ARG002 - the model takes no hints
        heard: Heard = unheard,
    ) -> list[Piece]:
        """See ``Engine.transcribe``. Pauses are found first, so that silence is never decoded."""
        pieces: list[Piece] = []
        for region in regions(samples, sample_rate_hz):
            stretch = level(samples[region.start : region.end], sample_rate_hz)
            stream = self.open(sample_rate_hz)
            block = max(1, int(_BLOCK_S * sample_rate_hz))
            captions = [stream.feed(stretch[at : at + block]) for at in range(0, len(stretch), block)]
            captions.append(stream.finish())
            offset = region.start / sample_rate_hz
            pieces += [_piece(caption, offset) for caption in captions if caption is not None and caption.final]
            heard(region.end)
        return pieces

    def open(self, sample_rate_hz: int) -> VoskStream:
        """A new stream. Raises EngineError for a rate that is not in ``capabilities`` or when Kaldi refuses."""
        if sample_rate_hz not in _RATES:
            raise EngineError(f"采样率不支持：{sample_rate_hz} Hz")
        try:
            recognizer = KaldiRecognizer(self._vosk, float(sample_rate_hz))
        except Exception as error:
            raise EngineError(f"语音识别无法启动：{self.model}") from error
        recognizer.SetWords(True)
        recognizer.SetPartialWords(True)
        return VoskStream(recognizer, sample_rate_hz, spaced=self._spaced)


class VoskStream:
    """One channel on a Vosk model; see ``Stream``."""

    def __init__(self, recognizer: KaldiRecognizer, sample_rate_hz: int, *, spaced: bool) -> None:
        self._recognizer = recognizer
        self._rate = sample_rate_hz
        self._spaced = spaced
        self._shown = ""

    def feed(self, samples: Samples) -> Caption | None:
        """See ``Stream.feed``."""
        try:
            ended = self._recognizer.AcceptWaveform(samples.astype("<i2", copy=False).tobytes())
        except Exception as error:
            raise EngineError("语音识别中断") from error
        if ended:
            return self._final(self._recognizer.Result())
        return self._partial(self._recognizer.PartialResult())

    def finish(self) -> Caption | None:
        """See ``Stream.finish``. A little silence is added, without which Kaldi keeps back the last word."""
        last = self.feed(_silence(self._rate))
        if last is not None and last.final:
            return last
        return self._final(self._recognizer.FinalResult())

    def _final(self, raw: str) -> Caption | None:
        self._shown = ""
        return self._caption(json.loads(raw).get("result", []), final=True)

    def _partial(self, raw: str) -> Caption | None:
        caption = self._caption(json.loads(raw).get("partial_result", []), final=False)
        if caption is None or caption.text == self._shown:
            return None
        self._shown = caption.text
        return caption

    def _caption(self, found: list[dict[str, Any]], *, final: bool) -> Caption | None:
        words = tuple(
            Word(
                text=simplified(str(word["word"])),
                start_s=float(word["start"]),
                end_s=float(word["end"]),
                confidence=min(1.0, max(0.0, float(word["conf"]))),
            )
            for word in found
            if word["word"] not in ("", "<unk>", "[unk]")
        )
        if not words:
            return None
        text = (" " if self._spaced else "").join(word.text for word in words)
        return Caption(text=text, start_s=words[0].start_s, end_s=words[-1].end_s, final=final, words=words)


def _silence(sample_rate_hz: int) -> Samples:
    return np.zeros(int(_TAIL_S * sample_rate_hz), dtype=np.int16)


def _piece(caption: Caption, offset_s: float) -> Piece:
    words = tuple(
        Word(
            text=word.text,
            start_s=round(word.start_s + offset_s, 3),
            end_s=round(word.end_s + offset_s, 3),
            confidence=word.confidence,
        )
        for word in caption.words
    )
    return Piece(
        start_s=words[0].start_s,
        end_s=words[-1].end_s,
        text=caption.text,
        confidence=sum(word.confidence for word in words) / len(words),
        words=words,
    )
