"""whisper-base on real telephone speech: how much it understands, and that it invents nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from duty.domain.drafts import FieldName, Source
from duty.domain.transcripts import Speaker, Transcript
from tests.transcription.telephone import conversation, errors, rows, telephone, write_stereo
from transcription.draft import CallFacts, draft
from transcription.errors import EngineError
from transcription.lexicon import Lexicon
from transcription.model_registry import EngineName
from transcription.model_store import describe
from transcription.recording import transcribe_recording
from transcription.whisper_engine import WhisperEngine

CALLED_AT = datetime(2026, 3, 5, 7, 40, tzinfo=UTC)


@pytest.mark.rule("6.1-d")
def test_telephone_mandarin_is_understood(whisper: WhisperEngine, speech: Path) -> None:
    """30 real utterances through 8 kHz A-law: at most 30 % of the characters wrong, figures for numerals too."""
    wrong = total = 0
    for name, text, *_ in rows(speech / "mandarin" / "manifest.tsv")[1:]:
        pieces = whisper.transcribe(telephone(speech / "mandarin" / name), 8000)
        edits, length = errors(text, "".join(piece.text for piece in pieces))
        wrong, total = wrong + edits, total + length
    print(f"CER {wrong / total:.3f} over {total} characters")
    assert wrong / total <= 0.30


def test_silence_tones_and_noise_have_no_text(whisper: WhisperEngine) -> None:
    time_s = np.arange(6 * 8000) / 8000
    busy = np.where(time_s % 0.7 < 0.35, 8000 * np.sin(2 * np.pi * 450 * time_s), 0)
    hum = 1500 * np.sin(2 * np.pi * 50 * time_s) + np.random.default_rng(7).normal(0, 400, len(time_s))
    cng = np.where(time_s % 3.5 < 0.5, 9000 * np.sin(2 * np.pi * 1100 * time_s), 0)
    dtmf = 6000 * (np.sin(2 * np.pi * 770 * time_s) + np.sin(2 * np.pi * 1336 * time_s)) / 2
    for sound in (np.zeros(len(time_s)), busy, hum, cng, dtmf):
        assert whisper.transcribe(sound.astype(np.int16), 8000) == []


def test_a_folder_without_weights_is_an_engine_error(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"no weights")
    with pytest.raises(EngineError, match="无法加载"):
        WhisperEngine(describe(tmp_path, name="broken", engine=EngineName.WHISPER, language="mul"))


@pytest.fixture(scope="module")
def heard(whisper: WhisperEngine, speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Transcript:
    """The demo conversation as a stereo recording, transcribed."""
    sides = conversation(speech / "demo", [(name, text) for name, text in rows(speech / "demo" / "texts.tsv")])
    path = write_stereo(tmp_path_factory.mktemp("demo") / "call.wav", sides["caller"], sides["officer"])
    return transcribe_recording(path, whisper)


@pytest.mark.rule("6.1-d")
def test_the_transcript_has_both_sides_with_times_and_confidence(heard: Transcript, speech: Path) -> None:
    gold = rows(speech / "demo" / "texts.tsv")
    assert {segment.speaker for segment in heard.segments} == set(Speaker)
    for speaker in Speaker:
        said = "".join(text for name, text in gold if name.endswith(speaker.value))
        edits, length = errors(said, "".join(s.text for s in heard.segments if s.speaker is speaker))
        assert edits / length <= 0.35
    starts = [segment.start_s for segment in heard.segments]
    assert starts == sorted(starts)
    for segment in heard.segments:
        assert "".join(word.text for word in segment.words) == segment.text
        assert all(
            segment.start_s <= w.start_s <= w.end_s <= segment.end_s <= heard.audio_seconds for w in segment.words
        )
        assert 0 < segment.confidence <= 1
    assert (heard.engine, heard.model, heard.settings["language"]) == ("whisper", "whisper-base", "zh")
    assert heard.model_sha256.startswith("d01c3014")


@pytest.mark.rule("6.1-d", "6.2-b")
def test_the_draft_of_what_was_heard_names_time_place_event_and_caller(heard: Transcript, lexicon: Lexicon) -> None:
    """Looser than on the written words: characters may be misheard, the facts must be there."""
    found = draft(heard, CallFacts(started_at=CALLED_AT, caller_number="037122334455"), lexicon)

    def value(name: FieldName) -> str:
        field = found.field(name)
        assert field is not None, name
        assert field.spans or field.source is not Source.TRANSCRIPT
        return field.normalised

    assert value(FieldName.EVENT_TIME) == "2026-03-05T15:20:00+08:00"
    assert "孙李唐" in value(FieldName.PLACE)
    assert value(FieldName.EVENT) == "火灾"
    assert value(FieldName.CALLER_UNIT) == "北郊乡党政办"
    assert "受伤=2" in value(FieldName.CASUALTIES)
    for field in found.fields:
        for span in field.spans:
            segment = heard.segments[span.segment]
            assert 0 <= span.start_char < span.end_char <= len(segment.text)
            assert segment.start_s <= span.start_s <= span.end_s <= segment.end_s
