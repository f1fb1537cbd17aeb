"""Digits in the voice: found within the tolerances of Q.24, and never in speech."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.demo.script import CONVERSATION
from telephony.rtp.dtmf import DIGITS
from telephony.rtp.g711 import Law, Samples
from telephony.rtp.inband import InbandDetector, key_tone

ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
KEYS = ("123A", "456B", "789C", "*0#D")


def tone(digit: str, seconds: float, *, offset: float = 0.0, row_db: float = 0.0, level: float = 1500.0) -> Samples:
    row = next(number for number, keys in enumerate(KEYS) if digit in keys)
    time = np.arange(round(seconds * 8000)) * 2 * np.pi * (1 + offset) / 8000
    column = COLUMNS[KEYS[row].index(digit)]
    wave = level * 10 ** (row_db / 20) * np.sin(ROWS[row] * time) + level * np.sin(column * time)
    return wave.astype(np.int16)


def on_the_line(*pieces: Samples, noise: float = 100.0) -> Samples:
    joined = np.concatenate(pieces).astype(float)
    joined += np.random.default_rng(4).normal(0, noise, joined.size)
    return Law.PCMA.decode(Law.PCMA.encode(joined.clip(-32768, 32767).astype(np.int16)))


def quiet(samples: int) -> Samples:
    return np.zeros(samples, dtype=np.int16)


def heard(samples: Samples, frame: int = 2000) -> str:
    detector = InbandDetector()
    edges = [*range(0, samples.size, frame), samples.size]
    return "".join(digit.digit for a, b in pairwise(edges) for digit in detector.receive(samples[a:b]))


@pytest.mark.rule("6.6-b")
@pytest.mark.parametrize("digit", DIGITS)
@pytest.mark.parametrize("offset", [-0.015, 0.0, 0.015])
def test_a_key_of_40_ms_is_found_wherever_it_begins(digit: str, offset: float) -> None:
    for shift in range(0, 102, 17):
        for seconds in (0.04, 0.1):
            assert heard(on_the_line(quiet(500 + shift), tone(digit, seconds, offset=offset), quiet(900))) == digit


@pytest.mark.parametrize("row_db", [-3.5, 7.0])
def test_a_twisted_key_is_found(row_db: float) -> None:
    for digit in DIGITS:
        assert heard(on_the_line(quiet(500), tone(digit, 0.08, row_db=row_db), quiet(900))) == digit


@given(st.text(DIGITS, min_size=1, max_size=12), st.integers(80, 2000))
def test_keys_in_a_row_are_as_many_and_in_order(digits: str, frame: int) -> None:
    pieces = [piece for digit in digits for piece in (tone(digit, 0.06), quiet(480))]
    assert heard(on_the_line(quiet(300), *pieces, quiet(300)), frame) == digits


def test_a_long_key_is_one_digit_of_its_length() -> None:
    (digit,) = InbandDetector().receive(on_the_line(quiet(500), key_tone("5", 1.0), quiet(900)))
    assert digit.digit == "5"
    assert digit.duration_ms == pytest.approx(1000, abs=26)


@pytest.mark.parametrize(
    "samples",
    [
        tone("5", 0.02),
        tone("5", 0.1, offset=0.05),
        tone("5", 0.1, row_db=15),
        tone("5", 0.1, row_db=-12),
        tone("5", 0.1, level=20),
        (2000 * np.sin(np.arange(8000) * 2 * np.pi * 697 / 8000)).astype(np.int16),
        np.random.default_rng(2).normal(0, 3000, 80_000).astype(np.int16),
    ],
)
def test_other_sounds_are_no_key(samples: Samples) -> None:
    assert heard(on_the_line(quiet(500), samples, quiet(900), noise=1.0)) == ""


@pytest.mark.parametrize("gain", [0.25, 1.0, 3.0])
def test_speech_is_no_key(gain: float) -> None:
    speech = np.concatenate([line.samples() for line in CONVERSATION]).astype(float) * gain
    assert heard(on_the_line(speech.clip(-32768, 32767).astype(np.int16), noise=1.0)) == ""


@pytest.mark.skipif("DUTYLINE_SPEECH" not in os.environ, reason="DUTYLINE_SPEECH names no folder of recorded speech")
def test_no_recorded_speech_is_a_key() -> None:
    import wave

    import soxr

    for path in sorted(Path(os.environ["DUTYLINE_SPEECH"]).rglob("*.wav")):
        with wave.open(str(path)) as wav:
            sound = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")[:: wav.getnchannels()]
            narrow = soxr.resample(sound, wav.getframerate(), 8000).astype(np.int16)
        assert heard(on_the_line(narrow, noise=1.0)) == "", path.name
