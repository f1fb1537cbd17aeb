"""Nobody speaks, so nothing is written: fifty sounds of the line through the real foreman, worker and whisper-base."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from duty.store.tables import TranscriptRow
from tests.duty.conftest import hurried
from tests.duty.room import Room
from tests.transcription.nonspeech import HZ, Clip, clips
from tests.transcription.telephone import telephone
from tests.transcription.test_worker import Works
from transcription.engine import Samples
from transcription.hallucination import is_invented
from transcription.lexicon import Lexicon
from transcription.whisper_engine import WhisperEngine

SPOKEN = Path(__file__).resolve().parents[2] / "telephony" / "demo" / "audio" / "02_caller.wav"


@pytest.fixture
def works(sqlite_template: Path, tmp_path: Path, lexicon: Lexicon, whisper: WhisperEngine) -> Iterator[Works]:
    """The room of the worker's tests, with whisper-base."""
    shutil.copy(sqlite_template, tmp_path / "dutyline.db")
    with closing(hurried(f"sqlite:///{tmp_path / 'dutyline.db'}")) as store:
        made = Works(Room(store), tmp_path, lexicon, parallel=1)
        made.engine = whisper  # type: ignore[assignment]
        yield made
        made.end()


def heard(works: Works, call_id: str) -> list[tuple[str, str]]:
    """Who is said to have spoken in the recording of ``call_id``, and what."""
    with works.room.store.reading() as session:
        row = session.scalars(select(TranscriptRow).where(TranscriptRow.call_id == call_id)).one()
        return [(segment.speaker, segment.text) for segment in row.segments]


def without_text(works: Works, sounds: list[Clip]) -> None:
    """Two clips are a call, one on each side; in one more call somebody speaks, to show that anything is heard."""
    silent = {works.recording(left.samples, right.samples): (left, right) for left, right in in_pairs(sounds)}
    spoken = works.recording(telephone(SPOKEN), np.zeros(HZ, np.int16))
    works.thread.start()
    calls = [*silent, spoken]
    works.wait(lambda: all(works.row(call).state == "done" for call in calls), "not all are heard", 150)
    assert any(speaker == "caller" and len(text) > 5 for speaker, text in heard(works, spoken))
    invented = {call: text for call in silent if (text := heard(works, call))}
    assert not invented, [(silent[call][0].kind, silent[call][1].kind, text) for call, text in invented.items()]


def in_pairs(sounds: list[Clip]) -> Iterator[tuple[Clip, Clip]]:
    return zip(sounds[::2], sounds[1::2], strict=True)


@pytest.mark.rule("6.1-d")
def test_fifty_sounds_without_speech_have_no_text(works: Works) -> None:
    without_text(works, clips(50, seed=2026))


@pytest.mark.slow
def test_three_hundred_sounds_without_speech_have_no_text(works: Works) -> None:
    without_text(works, clips(300, seed=4))


def test_the_clips_are_what_they_say() -> None:
    """Silent, loud and quiet ones, tones where tones should be: a generator that made silence would prove nothing."""
    made = clips(50, seed=2026)
    assert len({clip.kind for clip in made}) == 10
    loudest = [int(np.max(np.abs(clip.samples.astype(int)))) for clip in made if clip.kind != "silence"]
    assert min(loudest) > 250
    assert max(loudest) > 15000
    for clip in made:
        if clip.kind == "fax calling":
            assert strongest_hertz(clip.samples) == pytest.approx(1100, abs=60) or strongest_hertz(
                clip.samples
            ) == pytest.approx(2100, abs=10)


def strongest_hertz(samples: Samples) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * HZ / len(samples))


@pytest.mark.parametrize(
    ("text", "seconds", "probability", "compression", "invented"),
    [
        ("北书店街着火了", 2.0, -0.4, 0.9, False),
        ("北书店街着火了", 2.0, -1.6, 0.9, True),
        ("请不吝点赞 订阅 转发 打赏支持明镜与点点栏目", 4.0, -0.2, 0.9, True),
        ("字幕由Amara提供", 2.0, -0.2, 0.9, True),
        ("我们将将将将将将将将将将将将将将将将", 6.0, -0.1, 2.6, True),
        ("北书店街着火了请马上派人来", 0.4, -0.2, 0.9, True),
        ("。，！", 1.0, -0.1, 0.5, True),
    ],
)
def test_text_nobody_said_is_dropped(
    text: str, seconds: float, probability: float, compression: float, invented: bool
) -> None:
    assert (
        is_invented(
            text,
            seconds=seconds,
            mean_log_probability=probability,
            no_speech_probability=0.1,
            compression_ratio=compression,
        )
        is invented
    )
