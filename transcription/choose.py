"""Which installed model transcribes: the operator's choice by name, or the best that is there; the reason is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from transcription.engine import Engine
from transcription.errors import ModelRefusedError
from transcription.model_registry import EngineName
from transcription.model_store import InstalledModel
from transcription.sherpa_engine import SherpaEngine
from transcription.sherpa_files import sherpa_files
from transcription.vosk_engine import VoskEngine
from transcription.whisper_engine import WhisperEngine, WhisperOptions

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The model to use, or None with the Chinese sentence that says what is missing."""

    model: InstalledModel | None
    reason: str


def choose(wanted: str, installed: Sequence[InstalledModel]) -> Choice:
    """The model for recordings. ``wanted`` is ``auto``, an engine's name, or an installed model's.

    Auto takes sherpa-onnx (whole recordings before streams), else Vosk, both Chinese, else a Whisper model, else none:
    then recordings wait until a model arrives. The published error rates order them so; a unit measures its own.
    """
    if wanted not in (AUTO, *EngineName):
        return _named(wanted, installed)
    for model in _by_accuracy(installed):
        if wanted in (AUTO, model.engine):
            return Choice(model=model, reason=f"自动选用 {model.name}")
    return Choice(model=None, reason="未安装可用的中文语音模型，录音将在安装模型后转写")


def choose_streaming(wanted: str, installed: Sequence[InstalledModel]) -> Choice:
    """The model for live captions: Vosk or a streaming model of sherpa-onnx. What is wanted for recordings is taken if
    it can hear while people speak, else the best that can."""
    streaming = [model for model in installed if _streams(model)]
    if (named := _named(wanted, streaming)).model is not None:
        return named
    ranked = [model for model in _by_accuracy(streaming) if model.language == "zh"]
    for model in sorted(ranked, key=lambda model: model.engine != wanted):
        return Choice(model=model, reason=f"自动选用 {model.name}")
    return Choice(model=None, reason="未安装可实时转写的中文语音模型，通话中不显示字幕")


def load(model: InstalledModel, *, threads: int = 0, parallel: int = 1) -> Engine:
    """The engine with ``model`` loaded; ``threads`` 0 lets it choose, ``parallel`` is how many recordings it hears at
    once. Raises EngineError when it does not load."""
    if model.engine is EngineName.VOSK:
        return VoskEngine(model)
    if model.engine is EngineName.SHERPA:
        return SherpaEngine(model, threads=threads)
    return WhisperEngine(model, WhisperOptions(threads=threads, parallel=parallel))


def _named(wanted: str, installed: Sequence[InstalledModel]) -> Choice:
    for model in installed:
        if model.name == wanted:
            return Choice(model=model, reason=f"按设置选用 {wanted}")
    return Choice(model=None, reason=f"设置指定的语音模型 {wanted} 未安装或不能用于此处")


def _by_accuracy(models: Sequence[InstalledModel]) -> list[InstalledModel]:
    """What can hear Chinese, the most accurate first; of one kind the largest."""
    ranks: dict[EngineName, Callable[[InstalledModel], int]] = {
        EngineName.SHERPA: _streams,
        EngineName.VOSK: lambda _model: 2,
        EngineName.WHISPER: lambda _model: 3,
    }
    able = [model for model in models if model.language == "zh" or model.engine is EngineName.WHISPER]
    if find_spec("sherpa_onnx") is None:
        able = [model for model in able if model.engine is not EngineName.SHERPA]
    return sorted(able, key=lambda model: (ranks[model.engine](model), -model.size_bytes, model.name))


def _streams(model: InstalledModel) -> bool:
    """Whether the model hears while people speak."""
    if model.engine is not EngineName.SHERPA:
        return model.engine is EngineName.VOSK
    try:
        return sherpa_files(model.path).kind.streaming
    except ModelRefusedError:
        return False
