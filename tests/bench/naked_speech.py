"""Engines as their own examples use them: what our front has to be better than."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from faster_whisper import WhisperModel
from vosk import KaldiRecognizer, Model, SetLogLevel

from transcription.audio import as_float, read_wav
from transcription.model_registry import EngineName
from transcription.model_store import InstalledModel
from transcription.sherpa_engine import load_sherpa
from transcription.sherpa_files import sherpa_files

Naked: TypeAlias = Callable[[Path], str]
"""Hears the mono WAV at a path."""


def naked(model: InstalledModel) -> Naked:
    """The engine of ``model`` on one thread, the way its project shows it."""
    return _NAKED[model.engine](model)


def _whisper(model: InstalledModel) -> Naked:
    """README of faster-whisper: a file, beam 5, no VAD, int8 on a CPU; the language is told, as ours is."""
    loaded = WhisperModel(str(model.path), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)

    def hear(path: Path) -> str:
        segments, _ = loaded.transcribe(str(path), beam_size=5, language="zh")
        return "".join(segment.text for segment in segments)

    return hear


def _vosk(model: InstalledModel) -> Naked:
    """python/example/test_simple.py of Vosk: blocks of 4000 frames at the file's rate."""
    SetLogLevel(-1)
    loaded = Model(str(model.path))

    def hear(path: Path) -> str:
        texts = []
        with wave.open(str(path), "rb") as reader:
            recognizer = KaldiRecognizer(loaded, reader.getframerate())
            recognizer.SetWords(True)
            while data := reader.readframes(4000):
                if recognizer.AcceptWaveform(data):
                    texts.append(json.loads(recognizer.Result())["text"])
        texts.append(json.loads(recognizer.FinalResult())["text"])
        return "".join(texts)

    return hear


def _sherpa(model: InstalledModel) -> Naked:
    """python-api-examples/offline- and online-decode-files.py: the whole file, a stream then 0.66 s of silence."""
    files = sherpa_files(model.path)
    loaded: Any = load_sherpa(files, 1)

    def hear(path: Path) -> str:
        audio = read_wav(path)
        stream = loaded.create_stream()
        stream.accept_waveform(audio.sample_rate_hz, as_float(audio.channels[0]))
        if not files.kind.streaming:
            loaded.decode_stream(stream)
            return str(stream.result.text)
        stream.accept_waveform(audio.sample_rate_hz, np.zeros(int(0.66 * audio.sample_rate_hz), np.float32))
        stream.input_finished()
        while loaded.is_ready(stream):
            loaded.decode_stream(stream)
        return str(loaded.get_result(stream))

    return hear


_NAKED: dict[EngineName, Callable[[InstalledModel], Naked]] = {
    EngineName.WHISPER: _whisper,
    EngineName.VOSK: _vosk,
    EngineName.SHERPA: _sherpa,
}
