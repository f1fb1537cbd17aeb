"""Cutting in pauses, remembering by sound, and hearing a call while it grows: the same, and only the tail is left."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.calls import CallEventKind, Outcome, RecordingFacts
from duty.domain.transcripts import Speaker
from duty.services.words import Words
from telephony.recorder import Recorder
from telephony.rtp.g711 import Law
from tests.duty.conftest import hurried
from tests.duty.room import Room
from transcription import g711
from transcription.ahead import Ahead
from transcription.audio import read_wav
from transcription.engine import Capabilities, Heard, Piece, Samples, unheard
from transcription.enginehouse import EngineHouse, Share
from transcription.g711 import encode_alaw
from transcription.lexicon import Lexicon
from transcription.pauses import LONGEST_S, SHORTEST_S
from transcription.pieces import Memory, PieceEngine, cut
from transcription.recording import transcribe_recording
from transcription.vocabulary import Vocabulary

HZ = 8000


class Ear:
    """Hears nothing but how much it was given."""

    name, model, model_sha256 = "ear", "ear", "ab" * 32
    settings: dict[str, str] = {}  # noqa: RUF012 - as the protocol has it
    capabilities = Capabilities(
        streaming=False, sample_rates=(8000,), languages=("zh",), word_times=False, phrase_bias=False
    )

    def __init__(self) -> None:
        self.samples = 0

    def transcribe(
        self, samples: Samples, sample_rate_hz: int, *, phrases: Sequence[str] = (), heard: Heard = unheard
    ) -> list[Piece]:
        self.samples += len(samples)
        return [Piece(start_s=0.5, end_s=1.0, text=str(np.abs(samples).sum()), confidence=0.5)]


def talk(seconds: float, seed: int, *, pauses: bool = True) -> Samples:
    """Noise like speech: bursts of a second or two over line noise, with pauses between."""
    dice = np.random.default_rng(seed)
    sound = dice.normal(0, 40, int(seconds * HZ))
    at = 0
    while at < len(sound):
        burst = int(dice.uniform(0.6, 2.5) * HZ)
        sound[at : at + burst] += dice.normal(0, 3000, len(sound[at : at + burst]))
        at += burst + int(dice.uniform(0.1, 1.6) * HZ * pauses)
    return np.clip(sound, -32000, 32000).astype(np.int16)


@given(seed=st.integers(0, 10_000), seconds=st.floats(0, 70), grown=st.floats(0, 1), pauses=st.booleans())
def test_a_growing_channel_is_cut_where_the_finished_one_is(
    seed: int, seconds: float, grown: float, pauses: bool
) -> None:
    whole = talk(seconds, seed, pauses=pauses)
    pieces = list(cut(whole, HZ))
    assert [end for _, end in pieces[:-1]] == [start for start, _ in pieces[1:]]
    assert sum(end - start for start, end in pieces) == len(whole)
    lengths = [(end - start) / HZ for start, end in pieces]
    assert all(SHORTEST_S - 0.5 <= length <= LONGEST_S for length in lengths[:-1])
    part = list(cut(whole[: int(len(whole) * grown)], HZ))
    assert part[:-1] == pieces[: len(part[:-1])]


def test_a_cut_lies_in_a_pause() -> None:
    syllables = np.abs(np.sin(np.arange(12 * HZ) * np.pi * 4 / HZ))
    sound = (talk(12.0, 1, pauses=False) * syllables).astype(np.int16)
    sound[9 * HZ : 10 * HZ] //= 200
    (_, first), *_ = cut(sound, HZ)
    assert 9.0 <= first / HZ <= 10.0


def test_times_and_words_of_pieces_lie_in_the_channel() -> None:
    ear = Ear()
    sound = talk(60.0, 2)
    pieces = list(cut(sound, HZ))
    assert len(pieces) > 2
    progress: list[int] = []
    heard = PieceEngine(ear, Memory()).transcribe(sound, HZ, heard=progress.append)
    assert [piece.start_s for piece in heard] == [pytest.approx(start / HZ + 0.5, abs=0.001) for start, _ in pieces]
    assert progress == [end for _, end in pieces]


def test_the_same_sound_is_heard_once_even_by_two_at_a_time() -> None:
    class Slow(Ear):
        def transcribe(self, *args: object, **kwargs: object) -> list[Piece]:  # type: ignore[override]
            begun.set()
            go.wait(5)
            return super().transcribe(*args, **kwargs)  # type: ignore[arg-type]

    begun, go, ear = threading.Event(), threading.Event(), Slow()
    memory, sound = Memory(), talk(5.0, 3)
    results: list[list[Piece]] = []
    threads = [
        threading.Thread(target=lambda: results.append(PieceEngine(ear, memory).transcribe(sound, HZ)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(5)
    go.set()
    for thread in threads:
        thread.join(5)
    assert ear.samples == len(sound)
    assert results[0] == results[1] == results[2]
    assert PieceEngine(ear, memory).transcribe(sound, HZ, phrases=["北书店街"]) != []
    assert ear.samples == 2 * len(sound), "with other phrases it is heard anew"


def test_memory_is_bounded_and_a_fault_is_not_remembered() -> None:
    memory = Memory(limit=2)
    ear = Ear()
    engine = PieceEngine(ear, memory)
    sounds = [talk(1.0, seed) for seed in range(3)]
    for sound in (*sounds, sounds[0]):
        engine.hear(sound, HZ)
    assert ear.samples == 4 * HZ

    def fail() -> list[Piece]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        memory.recall(("key",), fail)
    assert memory.recall(("key",), list) == ()


@pytest.mark.rule("6.1-d")
def test_a_call_is_heard_while_it_grows_and_only_its_tail_is_left(
    sqlite_template: Path, tmp_path: Path, lexicon: Lexicon
) -> None:
    """By the real recorder: what it writes while the call goes on is what the sealed recording has."""
    shutil.copy(sqlite_template, tmp_path / "dutyline.db")
    with closing(hurried(f"sqlite:///{tmp_path / 'dutyline.db'}")) as store:
        room = Room(store)
        ear, memory = Ear(), Memory()
        folder = tmp_path / "models" / "ear"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(
            '{"engine": "vosk", "language": "zh", "sha256": "ab", "size_bytes": 0, "known": false, "files": {}}'
        )
        house = EngineHouse(
            models=tmp_path / "models",
            wanted="auto",
            share=Share(threads=1),
            missing=lambda _: None,
            loader=lambda model, share: ear,
        )
        root, stop = tmp_path / "recordings", threading.Event()
        vocabulary = Vocabulary(Words(room.store, room.clock), lexicon)
        ahead = Ahead(
            recordings=room.recordings,
            house=house,
            memory=memory,
            root=root,
            vocabulary=vocabulary,
            clock=room.clock,
        )
        call_id = room.arrive()
        recorder = Recorder(root=root, call_id=call_id, started_at=room.clock())
        for kind in (CallEventKind.RINGING, CallEventKind.ANSWERED):
            room.happen(call_id, kind, extension="1001")
        voices = {Speaker.CALLER: talk(90.0, 7), Speaker.OFFICER: talk(90.0, 8)}
        coded = {speaker: encode_alaw(voice) for speaker, voice in voices.items()}
        for second in range(90):
            for at in range(second * HZ, (second + 1) * HZ, 160):
                for speaker, law in zip(Speaker, (Law.PCMA, Law.PCMA), strict=True):
                    if at % (HZ * 7) != 0:  # a frame is lost every seven seconds
                        recorder.write(speaker, position=at, payload=coded[speaker][at : at + 160], law=law)
            recorder.tick(float(second))
            while ahead.step(stop):
                pass
        room.happen(call_id, CallEventKind.ENDED, Outcome.ANSWERED)
        assert not ahead.step(stop), "a call that has ended is left to those who hear finished recordings"
        sealed = recorder.seal()
        room.recordings.seal(
            RecordingFacts(
                call_id=call_id,
                path=str(sealed.wav_path.relative_to(root)),
                sha256=sealed.wav_sha256,
                seconds=sealed.seconds,
                samples=sealed.samples,
            )
        )
        ahead_heard, ear.samples = ear.samples, 0
        assert ahead_heard > 2 * (90 - LONGEST_S) * HZ
        told = vocabulary.of(call_id).hints
        transcript = transcribe_recording(sealed.wav_path, PieceEngine(ear, memory), phrases=told)
        assert ear.samples == 2 * 90 * HZ - ahead_heard, "something was heard twice"
        fresh = transcribe_recording(sealed.wav_path, PieceEngine(Ear(), Memory()), phrases=told)
        assert transcript.segments == fresh.segments
        kept = read_wav(sealed.wav_path).channels[0]
        assert np.array_equal(kept[160:320], g711.decode(g711.PCMA, coded[Speaker.CALLER])[160:320])
