"""Recordings into samples: what is right passes unchanged, what is wrong is named."""

from __future__ import annotations

import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.transcripts import Speaker
from tests.transcription.telephone import write_stereo
from transcription import g711, vad
from transcription.audio import level, read_recording, read_wav, resample
from transcription.errors import AudioError
from transcription.g711 import encode_alaw


def tone(hertz: float, seconds: float, amplitude: float = 8000, rate: int = 8000) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.int16)


def test_the_caller_is_left_and_the_officer_right(tmp_path: Path) -> None:
    left, right = tone(440, 0.5), tone(1000, 0.5)
    audio = read_wav(write_stereo(tmp_path / "a.wav", left, right))
    assert audio.sample_rate_hz == 8000
    assert audio.seconds == 0.5
    assert np.array_equal(audio.by_speaker()[Speaker.CALLER], left)
    assert np.array_equal(audio.by_speaker()[Speaker.OFFICER], right)


@given(cut=st.integers(0, 843))
def test_a_torn_recording_gives_its_whole_frames_or_an_audio_error(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = write_stereo(tmp_path_factory.mktemp("torn") / "a.wav", tone(440, 0.025), tone(440, 0.025))
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    frames = (cut - 44) // 4
    if frames < 1:
        with pytest.raises(AudioError, match="录音"):
            read_wav(path)
        return
    audio = read_wav(path)
    assert audio.channels[0].tobytes() == tone(440, 0.025)[:frames].tobytes()


def test_other_formats_and_missing_files_are_named(tmp_path: Path) -> None:
    eight = tmp_path / "eight.wav"
    with wave.open(str(eight), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(1)
        writer.setframerate(8000)
        writer.writeframes(b"\x80" * 100)
    with pytest.raises(AudioError, match="8 位"):
        read_wav(eight)
    with pytest.raises(AudioError, match="无法读取"):
        read_wav(tmp_path / "none.wav")


def test_resampling_keeps_length_and_pitch() -> None:
    doubled = resample(tone(1000, 1.0), 8000, 16000)
    assert len(doubled) == 16000
    spectrum = np.abs(np.fft.rfft(doubled))
    assert int(np.argmax(spectrum)) == 1000


@given(amplitude=st.integers(1, 32000), seconds=st.floats(0.03, 1.0))
def test_levelling_never_clips_and_never_raises_silence(amplitude: int, seconds: float) -> None:
    quiet = tone(300, seconds, amplitude)
    even = level(quiet, 8000)
    assert len(even) == len(quiet)
    assert np.max(np.abs(even.astype(int))) <= 29300
    assert np.array_equal(level(np.zeros(800, np.int16), 8000), np.zeros(800, np.int16))


def test_g711_levels_are_those_of_the_recommendation() -> None:
    a = g711.decode(g711.PCMA, bytes([0xD5, 0x55, 0xAA, 0x2A, 0x80]))
    assert a.tolist() == [8, -8, 32256, -32256, 5504]
    u = g711.decode(g711.PCMU, bytes([0xFF, 0x7F, 0x80, 0x00]))
    assert u.tolist() == [0, 0, 32124, -32124]
    with pytest.raises(ValueError, match=r"not G\.711"):
        g711.decode(18, b"\x00")


@given(payload=st.binary(max_size=400))
def test_alaw_survives_a_round_trip(payload: bytes) -> None:
    assert encode_alaw(g711.decode(g711.PCMA, payload)) == payload


def test_nobody_speaks_in_silence_tones_or_hum() -> None:
    noise = (np.random.default_rng(1).normal(0, 300, 5 * 8000)).astype(np.int16)
    for sound in (np.zeros(40000, np.int16), tone(425, 5), tone(50, 5, 3000), noise, np.zeros(0, np.int16)):
        assert vad.regions(sound, 8000) == []


def test_speech_is_found_where_it_is(speech: Path) -> None:
    said = resample(read_wav(speech / "mandarin" / "aishell1a_audio_3.wav").channels[0], 16000, 8000)
    gap = np.zeros(2 * 8000, np.int16)
    found = vad.regions(np.concatenate([gap, said, gap, said, gap]), 8000)
    assert len(found) == 2
    assert abs(found[0].start / 8000 - 2.0) < 0.6
    second = 4.0 + len(said) / 8000
    assert abs(found[1].start / 8000 - second) < 0.6
    assert all(a.end <= b.start for a, b in pairwise(found))


@pytest.mark.rule("6.1-d")
def test_the_archive_s_copy_is_heard_as_the_wav_was(tmp_path: Path) -> None:
    """Where the WAV was released, a better model still has something to hear."""
    import av

    time = np.arange(16_000) / 8000
    tones = [(8000 * np.sin(2 * np.pi * hz * time)).astype(np.int16) for hz in (440, 1000)]
    wav = write_stereo(tmp_path / "a.wav", *tones)
    opus = tmp_path / "a.opus"
    with av.open(str(opus), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=8000, layout="stereo", bit_rate=64_000)
        frame = av.AudioFrame.from_ndarray(np.stack(tones, axis=1).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    heard, was = read_recording(opus), read_recording(wav)
    assert heard.sample_rate_hz == 8000
    for a, b in zip(heard.channels, was.channels, strict=True):
        shared = min(len(a), len(b))
        assert abs(len(a) - len(b)) <= 160
        assert np.corrcoef(a[:shared], b[:shared])[0, 1] > 0.95
    (tmp_path / "b.opus").write_bytes(b"no sound")
    with pytest.raises(AudioError):
        read_recording(tmp_path / "b.opus")
