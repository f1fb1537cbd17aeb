"""Which installed model transcribes: the operator's choice by name, or the best that is there; the reason is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transcription.engine import Engine
from transcription.model_registry import EngineName
from transcription.model_store import InstalledModel
from transcription.vosk_engine import VoskEngine
from transcription.whisper_engine import WhisperEngine, WhisperOptions

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The model to use, or None with the Chinese sentence that says what is missing."""

    model: InstalledModel | None
    reason: str


def choose(wanted: str, installed: Sequence[InstalledModel]) -> Choice:
    """The model for recordings. ``wanted`` is ``auto`` or an installed model's name.

    Auto takes Vosk Chinese, else a Whisper model, else none: then recordings wait until a model arrives.
    """
    if wanted != AUTO:
        return _named(wanted, installed)
    chinese = [model for model in installed if model.engine is EngineName.VOSK and model.language == "zh"]
    whisper = [model for model in installed if model.engine is EngineName.WHISPER]
    for model in (*_largest_first(chinese), *_largest_first(whisper)):
        return Choice(model=model, reason=f"自动选用 {model.name}")
    return Choice(model=None, reason="未安装可用的中文语音模型，录音将在安装模型后转写")


def choose_streaming(wanted: str, installed: Sequence[InstalledModel]) -> Choice:
    """The model for live captions; only Vosk hears while people speak."""
    streaming = [model for model in installed if model.engine is EngineName.VOSK]
    if wanted != AUTO:
        return _named(wanted, streaming)
    for model in streaming:
        if model.language == "zh":
            return Choice(model=model, reason=f"自动选用 {model.name}")
    return Choice(model=None, reason="未安装可实时转写的中文语音模型，通话中不显示字幕")


def load(model: InstalledModel, *, threads: int = 0, parallel: int = 1) -> Engine:
    """The engine with ``model`` loaded; ``threads`` 0 lets it choose, ``parallel`` is how many recordings it hears at
    once. Raises EngineError when it does not load."""
    if model.engine is EngineName.VOSK:
        return VoskEngine(model)
    return WhisperEngine(model, WhisperOptions(threads=threads, parallel=parallel))


def _named(wanted: str, installed: Sequence[InstalledModel]) -> Choice:
    for model in installed:
        if model.name == wanted:
            return Choice(model=model, reason=f"按设置选用 {wanted}")
    return Choice(model=None, reason=f"设置指定的语音模型 {wanted} 未安装或不能用于此处")


def _largest_first(models: Sequence[InstalledModel]) -> list[InstalledModel]:
    return sorted(models, key=lambda model: (-model.size_bytes, model.name))
