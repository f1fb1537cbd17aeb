"""The front is there to be better than none: whisper-base through it and naked, in one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.bench_speech import measure
from tests.bench.speech_sets import CONDITIONS, SPEECH
from transcription import models

_MODELS = Path(__file__).parents[2] / "build" / "models"


@pytest.mark.slow
@pytest.mark.rule("6.1-d")
def test_our_front_mishears_less_than_the_naked_engine(tmp_path: Path) -> None:
    if not SPEECH.is_dir():
        pytest.skip("no test speech beside the checkout")
    found = measure(models.fetch("whisper-base", _MODELS), tmp_path, ("naked", "ours"))
    figures = {(one.condition, one.way): one for one in found}
    for condition in CONDITIONS:
        ours, naked = figures[condition, "ours"], figures[condition, "naked"]
        assert ours.cer < naked.cer
        assert ours.rtf_cpu <= 0.35
