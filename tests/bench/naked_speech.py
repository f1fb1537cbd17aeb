"""Engines as their own examples use them: what our front has to be better than."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from faster_whisper import WhisperModel
from vosk import KaldiRecognizer, Model, SetLogLevel

from transcription.model_registry import EngineName
from transcription.model_store import InstalledModel

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


_NAKED: dict[EngineName, Callable[[InstalledModel], Naked]] = {EngineName.WHISPER: _whisper, EngineName.VOSK: _vosk}
