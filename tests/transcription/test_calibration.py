"""Confidences that mean something: the shipped tables, how they are made, and what a transcript keeps of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.transcripts import Word
from tests.bench.calibrate_speech import Told, apart, rising, told
from tests.transcription import tiny_sherpa
from tests.transcription.telephone import telephone, write_stereo
from transcription.calibration import UNMEASURED, calibration
from transcription.engine import Heard, Piece, Samples, unheard
from transcription.model_registry import KNOWN, EngineName, WheelSource
from transcription.model_store import describe
from transcription.recording import transcribe_recording
from transcription.sherpa_engine import SherpaEngine

BASE = KNOWN["whisper-base"].source
SPOKEN = Path(__file__).resolve().parents[2] / "telephony" / "demo" / "audio" / "02_caller.wav"


def test_the_shipped_table_belongs_to_the_weights_of_the_registry_and_never_falls() -> None:
    assert isinstance(BASE, WheelSource)
    table = calibration(BASE.parts[0].sha256)
    assert table.name == "whisper-base"
    assert "751" in table.origin
    assert list(table.told) == sorted(table.told)
    assert list(table.right) == sorted(table.right)
    sure = [table.of(confidence) for confidence in np.linspace(0, 1, 50)]
    assert sure == sorted(sure)
    assert 0.3 < sure[0] < 0.5
    assert 0.9 < sure[-1] < 1


@given(st.floats(0, 1))
def test_weights_without_a_table_keep_what_they_told(confidence: float) -> None:
    assert calibration("00" * 32).of(confidence) == confidence


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=300))
def test_a_curve_never_falls_and_stays_between_none_and_all(found: list[tuple[float, bool]]) -> None:
    points = rising([Told(confidence=confidence, right=right) for confidence, right in found], step=20)
    shares = [right for _, right in points]
    assert shares == sorted(shares)
    assert all(0 <= right <= 1 for right in shares)
    assert [confidence for confidence, _ in points] == sorted(confidence for confidence, _ in points)


def test_an_engine_that_boasts_is_set_right() -> None:
    random = np.random.default_rng(1)
    boast = random.uniform(0, 1, 4000)
    found = [Told(confidence=float(each), right=bool(random.random() < each**2)) for each in boast]
    assert apart(found) > 0.12
    assert apart(found[2000:], rising(found[:2000])) < 0.05


def test_a_character_is_right_where_it_was_said() -> None:
    word = Word(text="着火了", start_s=0.0, end_s=1.0, confidence=0.8)
    piece = Piece(start_s=0.0, end_s=1.0, text="桌火了", confidence=0.8, words=(replace(word, text="桌火了"),))
    assert [one.right for one in told("街上着火了", [piece])] == [False, True, True]


class Boasting(SherpaEngine):
    """A real engine under the name of whisper-base's weights, which is sure of every word."""

    def transcribe(
        self, samples: Samples, sample_rate_hz: int, *, phrases: object = (), heard: Heard = unheard
    ) -> list[Piece]:
        pieces = super().transcribe(samples, sample_rate_hz, heard=heard)
        return [replace(piece, words=tuple(replace(word, confidence=1.0) for word in piece.words)) for piece in pieces]


@pytest.mark.parametrize("known", [True, False])
def test_a_transcript_keeps_weighed_confidences_and_by_which_table(known: bool, tmp_path: Path) -> None:
    model = describe(tiny_sherpa.sense_voice(tmp_path / "m"), name="m", engine=EngineName.SHERPA, language="zh")
    assert isinstance(BASE, WheelSource)
    engine = Boasting(replace(model, sha256=BASE.parts[0].sha256) if known else model)
    path = write_stereo(tmp_path / "call.wav", telephone(SPOKEN), np.zeros(8000, np.int16))
    transcript = transcribe_recording(path, engine)
    assert transcript.settings["calibration"] == ("whisper-base" if known else UNMEASURED)
    assert transcript.settings["kind"] == "sense-voice"
    assert transcript.segments
    most = calibration(engine.model_sha256).of(1.0)
    for segment in transcript.segments:
        assert segment.confidence == pytest.approx(most)
        assert {word.confidence for word in segment.words} == {most}
