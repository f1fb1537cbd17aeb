"""The ear hears what is there: codec against SoX, alignment and frame accounting against known damage."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.peers.audio import (
    FRAME_BYTES,
    Samples,
    account,
    alaw_utterance,
    align,
    align_channels,
    decode_alaw,
    distinct_frames,
    encode_alaw,
    read_wav,
    write_wav,
)
from tests.peers.programs import require

FRAMES = 30


def _speech(frames: int = FRAMES, seed: int = 1) -> Samples:
    noise = np.random.default_rng(seed).normal(0, 3000, frames * FRAME_BYTES)
    return np.clip(np.convolve(noise, np.ones(8) / 3, "same"), -32000, 32000).astype(np.int16)


def _frame(alaw: bytes, index: int) -> bytes:
    return alaw[index * FRAME_BYTES : (index + 1) * FRAME_BYTES]


@pytest.mark.peer
def test_every_code_decodes_as_sox_decodes_it() -> None:
    codes = bytes(range(256))
    raw = ["-t", "raw", "-r", "8000", "-c", "1"]
    command = [require("sox"), "-D", *raw, "-e", "a-law", "-b", "8", "-", *raw, "-e", "signed", "-b", "16", "-"]
    foreign = subprocess.run(command, input=codes, capture_output=True, check=True, timeout=20).stdout
    assert decode_alaw(codes).tolist() == np.frombuffer(foreign, "<i2").tolist()


@given(st.binary(min_size=1, max_size=400))
def test_encoding_what_was_decoded_changes_nothing(alaw: bytes) -> None:
    assert encode_alaw(decode_alaw(alaw)) == alaw


def test_encoding_takes_the_nearest_level() -> None:
    samples = np.arange(-32768, 32768, 7).astype(np.int16)
    levels = np.unique(decode_alaw(bytes(range(256))).astype(np.int32))
    nearest = np.abs(samples[:, None].astype(np.int32) - levels[None, :]).min(axis=1)
    error = np.abs(decode_alaw(encode_alaw(samples)).astype(np.int32) - samples.astype(np.int32))
    assert error.tolist() == nearest.tolist()


def test_an_utterance_is_whole_distinct_frames_of_the_same_speech(tmp_path: Path) -> None:
    wide = np.repeat(_speech(), 2)
    path = write_wav(tmp_path / "wide.wav", np.concatenate((np.zeros(3210, np.int16), wide)), 16000)
    alaw = alaw_utterance(path)
    frames = [_frame(alaw, index) for index in range(len(alaw) // FRAME_BYTES)]
    assert len(alaw) % FRAME_BYTES == 0
    assert len(alaw) - FRAME_BYTES < (3210 + len(wide)) / 2 <= len(alaw)
    assert len(set(frames)) == len(frames)
    assert align(_speech(), decode_alaw(alaw)).correlation > 0.9


def test_a_wav_is_read_as_it_was_written(tmp_path: Path) -> None:
    samples, rate = read_wav(write_wav(tmp_path / "one.wav", _speech(2)))
    assert (samples.tolist(), rate) == (_speech(2).tolist(), 8000)


def test_the_place_and_likeness_of_a_signal_are_found() -> None:
    sent = _speech()
    late = np.concatenate((np.zeros(1234, np.int16), sent))
    assert align(sent, late).offset == 1234
    assert align(sent, late).correlation > 0.9999
    assert align(sent, sent[400:]).offset == -400
    assert align(sent, sent[: len(sent) // 2]).correlation == pytest.approx(0.707, abs=0.03)
    assert align(sent, _speech(seed=2)).correlation < 0.2


def test_channels_are_told_apart() -> None:
    caller, officer = _speech(seed=1), _speech(seed=2)
    good = align_channels((caller, officer), np.stack((caller, officer), axis=1))
    swapped = align_channels((caller, officer), np.stack((officer, caller), axis=1))
    assert [one.correlation for one in good] == pytest.approx([1, 1])
    assert max(one.correlation for one in swapped) < 0.2
    with pytest.raises(ValueError, match="2 channels"):
        align_channels((caller, officer), caller)


def test_silence_becomes_countable() -> None:
    silence = distinct_frames(b"\xd5" * FRAME_BYTES * 20)
    assert account(silence, silence).perfect
    assert np.abs(decode_alaw(silence)).max() < 64


def test_a_whole_recording_at_an_odd_place_is_perfect() -> None:
    sent = encode_alaw(_speech())
    found = account(sent, b"\xd5" * 77 + sent + b"\xd5" * 500)
    assert found.perfect
    assert found.first_sample == 77


def test_each_kind_of_damage_has_its_name() -> None:
    sent = encode_alaw(_speech())
    frames = [_frame(sent, index) for index in range(FRAMES)]

    lost = account(sent, b"".join(frames[:5] + frames[6:]))
    assert (lost.lost, lost.shifted, lost.perfect) == ((5,), (6,), False)
    concealed = account(sent, b"".join([*frames[:5], b"\xd5" * FRAME_BYTES, *frames[6:]]))
    assert (concealed.lost, concealed.shifted) == ((5,), ())
    twice = account(sent, b"".join(frames[:6] + frames[5:]))
    assert (twice.lost, twice.duplicated, twice.shifted) == ((), (5,), (6,))
    swapped = account(sent, b"".join([*frames[:5], frames[6], frames[5], *frames[7:]]))
    assert (swapped.lost, swapped.duplicated, swapped.reordered) == ((), (), (6,))
    slipped = account(sent, b"".join(frames[:5]) + b"\xd5" * 3 + b"".join(frames[5:]))
    assert (slipped.lost, slipped.shifted) == ((), (5,))
    assert account(sent, b"").lost == tuple(range(FRAMES))


@given(st.integers(0, FRAMES - 1), st.integers(0, FRAME_BYTES - 1), st.integers(1, 255))
def test_one_changed_byte_loses_its_frame(frame: int, byte: int, change: int) -> None:
    sent = encode_alaw(_speech())
    damaged = bytearray(sent)
    damaged[frame * FRAME_BYTES + byte] ^= change
    assert account(sent, bytes(damaged)).lost == (frame,)


def test_what_cannot_be_counted_is_refused() -> None:
    frame = encode_alaw(_speech(1))
    with pytest.raises(ValueError, match="distinct"):
        account(frame * 2, frame)
    with pytest.raises(ValueError, match="whole frames"):
        account(frame[:-1], frame)
    with pytest.raises(ValueError, match="nothing"):
        align(_speech(1), _speech(1)[:0])
