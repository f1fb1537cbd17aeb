"""sherpa-onnx: SenseVoice, Paraformer and streaming Zipformer from a folder that the operator hands in.

Installed by the extra ``sherpa``. What of it is proven, and by which weights: docs/decisions/0020-sherpa-onnx.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import exp
from typing import Any

import numpy as np

from duty.domain.transcripts import Word
from transcription.audio import as_float, resample
from transcription.engine import Capabilities, Caption, Heard, Piece, Samples, unheard
from transcription.errors import EngineError, ModelRefusedError
from transcription.model_store import InstalledModel
from transcription.normalise import punctuated
from transcription.script import simplified
from transcription.sherpa_files import SherpaFiles, SherpaKind, sherpa_files
from transcription.vad import regions

MODEL_HZ = 16000
UNTOLD = 0.5
"""The confidence where a model tells none, as SenseVoice and Paraformer."""
_TAIL_S = 0.8
_BLOCK_S = 0.2
_LAST_TOKEN_S = 0.2
_RATES = (8000, 16000)


class SherpaEngine:
    """One loaded model of sherpa-onnx; decoding releases the GIL, calls from several threads run side by side."""

    name = "sherpa"

    def __init__(self, model: InstalledModel, *, threads: int = 0) -> None:
        """Load ``model``. Raises EngineError when the extra is not installed or the folder is no model it can load."""
        self.model = model.name
        self.model_sha256 = model.sha256
        try:
            self._files = sherpa_files(model.path)
            self._recognizer = load_sherpa(self._files, threads or 1)
        except ImportError as error:
            raise EngineError("未安装 sherpa-onnx（安装 dutyline 的 sherpa 附加组件后可用）") from error
        except (ModelRefusedError, RuntimeError, ValueError) as error:
            raise EngineError(f"语音模型无法加载：{model.name}（{error}）") from error
        kind = self._files.kind
        self.capabilities = Capabilities(
            streaming=kind.streaming,
            sample_rates=_RATES,
            languages=(model.language,),
            word_times=kind is not SherpaKind.PARAFORMER,
            phrase_bias=False,
        )

    @property
    def settings(self) -> dict[str, str]:
        """The options that shape the result."""
        return {"kind": self._files.kind.value, "network": self._files.networks[0].name, "decoding": "greedy_search"}

    def transcribe(
        self,
        samples: Samples,
        sample_rate_hz: int,
        *,
        phrases: Sequence[str] = (),  # noqa: ARG002 - greedy search takes no hints
        heard: Heard = unheard,
    ) -> list[Piece]:
        """See ``Engine.transcribe``. Pauses are found first, so that silence is never decoded."""
        pieces: list[Piece] = []
        for region in regions(samples, sample_rate_hz):
            stretch = resample(samples[region.start : region.end], sample_rate_hz, MODEL_HZ)
            captions = self._stretch(stretch) if self._files.kind.streaming else self._whole(stretch)
            offset_s, seconds = region.start / sample_rate_hz, len(stretch) / MODEL_HZ
            pieces += [_piece(caption, offset_s, seconds) for caption in captions]
            heard(region.end)
        return pieces

    def open(self, sample_rate_hz: int) -> SherpaStream:
        """A new stream. Raises EngineError for a model that hears whole recordings only, or another rate."""
        if not self._files.kind.streaming:
            raise EngineError(f"模型不支持边听边写：{self.model}")
        if sample_rate_hz not in _RATES:
            raise EngineError(f"采样率不支持：{sample_rate_hz} Hz")
        return SherpaStream(self._recognizer, sample_rate_hz)

    def _whole(self, stretch: Samples) -> list[Caption]:
        with _failing(self.model):
            stream = self._recognizer.create_stream()
            stream.accept_waveform(MODEL_HZ, as_float(stretch))
            self._recognizer.decode_stream(stream)
            result = stream.result
        seconds = len(stretch) / MODEL_HZ
        chances = list(result.ys_log_probs or ())
        caption = _caption(result.text, result.tokens, result.timestamps, chances, seconds, final=True)
        return [] if caption is None else [caption]

    def _stretch(self, stretch: Samples) -> list[Caption]:
        stream = self.open(MODEL_HZ)
        block = int(_BLOCK_S * MODEL_HZ)
        captions = [stream.feed(stretch[at : at + block]) for at in range(0, len(stretch), block)]
        captions.append(stream.finish())
        return [caption for caption in captions if caption is not None and caption.final]


class SherpaStream:
    """One channel on a streaming model; see ``Stream``. A pause of the model's endpoint rule makes a caption final."""

    def __init__(self, recognizer: Any, sample_rate_hz: int) -> None:
        self._recognizer = recognizer
        self._rate = sample_rate_hz
        with _failing("sherpa"):
            self._stream = recognizer.create_stream()
        self._seconds = 0.0
        self._shown = ""

    def feed(self, samples: Samples) -> Caption | None:
        """See ``Stream.feed``."""
        with _failing("sherpa"):
            self._stream.accept_waveform(self._rate, as_float(samples))
            self._seconds += len(samples) / self._rate
            self._decode()
            ended = self._recognizer.is_endpoint(self._stream)
            caption = self._now(final=ended)
            if ended:
                self._recognizer.reset(self._stream)
        if caption is None or (not ended and caption.text == self._shown):
            return None
        self._shown = "" if ended else caption.text
        return caption

    def finish(self) -> Caption | None:
        """See ``Stream.finish``. A little silence is added, without which the last frames are no full chunk."""
        with _failing("sherpa"):
            self._stream.accept_waveform(self._rate, np.zeros(int(_TAIL_S * self._rate), np.float32))
            self._stream.input_finished()
            self._decode()
            return self._now(final=True)

    def _decode(self) -> None:
        while self._recognizer.is_ready(self._stream):
            self._recognizer.decode_stream(self._stream)

    def _now(self, *, final: bool) -> Caption | None:
        offset = float(self._recognizer.start_time(self._stream))
        times = [float(time) + offset for time in self._recognizer.timestamps(self._stream)]
        text = self._recognizer.get_result(self._stream)
        tokens = self._recognizer.tokens(self._stream)
        return _caption(text, tokens, times, list(self._recognizer.ys_probs(self._stream)), self._seconds, final=final)


def load_sherpa(files: SherpaFiles, threads: int) -> Any:
    """The library's recognizer for ``files``. Raises ImportError, RuntimeError, ValueError."""
    import sherpa_onnx  # noqa: PLC0415 - an extra

    common = {"tokens": str(files.tokens), "num_threads": threads}
    networks = [str(network) for network in files.networks]
    offline, online = sherpa_onnx.OfflineRecognizer, sherpa_onnx.OnlineRecognizer
    if files.kind is SherpaKind.SENSE_VOICE:
        return offline.from_sense_voice(model=networks[0], language="zh", use_itn=True, **common)
    if files.kind is SherpaKind.PARAFORMER:
        return offline.from_paraformer(paraformer=networks[0], **common)
    if files.kind is SherpaKind.ZIPFORMER_CTC:
        return online.from_zipformer2_ctc(model=networks[0], enable_endpoint_detection=True, **common)
    encoder, decoder, joiner = networks
    return online.from_transducer(
        encoder=encoder, decoder=decoder, joiner=joiner, enable_endpoint_detection=True, **common
    )


@contextmanager
def _failing(model: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise EngineError(f"语音识别失败：{model}（{error}）") from error


def _caption(
    text: str, tokens: Sequence[str], times: Sequence[float], chances: Sequence[float], seconds: float, *, final: bool
) -> Caption | None:
    """What was heard; ``chances`` are logarithms, one a token, or none. Words are there where tokens are text."""
    text = punctuated(simplified(text.strip()))
    if not text:
        return None
    words = _words(text, tokens, times, chances, seconds)
    return Caption(
        text=text,
        start_s=words[0].start_s if words else 0.0,
        end_s=words[-1].end_s if words else seconds,
        final=final,
        words=words,
    )


def _words(
    text: str, tokens: Sequence[str], times: Sequence[float], chances: Sequence[float], seconds: float
) -> tuple[Word, ...]:
    """One word a token, as long as the tokens join to the text; else none, and the text stands alone."""
    said = [simplified(token.replace("▁", " ").removesuffix("@@")) for token in tokens]
    if said:
        said[0] = said[0].lstrip()
    if len(times) != len(said) or punctuated("".join(said)) != text:
        return ()
    ends = [*times[1:], min(seconds, times[-1] + _LAST_TOKEN_S)]
    told = list(chances) if len(chances) == len(said) else [None] * len(said)
    even, at, words = punctuated("".join(said)), 0, []
    for token, start, end, chance in zip(said, times, ends, told, strict=True):
        words.append(
            Word(
                text=even[at : at + len(token)],
                start_s=float(min(start, seconds)),
                end_s=float(min(max(start, end), seconds)),
                confidence=UNTOLD if chance is None else min(1.0, exp(min(0.0, chance))),
            )
        )
        at += len(token)
    return tuple(words)


def _piece(caption: Caption, offset_s: float, seconds: float) -> Piece:
    words = tuple(
        Word(
            text=word.text,
            start_s=round(offset_s + min(word.start_s, seconds), 3),
            end_s=round(offset_s + min(word.end_s, seconds), 3),
            confidence=word.confidence,
        )
        for word in caption.words
    )
    return Piece(
        start_s=words[0].start_s if words else round(offset_s, 3),
        end_s=words[-1].end_s if words else round(offset_s + seconds, 3),
        text=caption.text,
        confidence=sum(word.confidence for word in words) / len(words) if words else UNTOLD,
        words=words,
    )
