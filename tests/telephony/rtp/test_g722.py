"""G.722 to telephone sound and back: level, place in time, and what the filter keeps out."""

from __future__ import annotations

import numpy as np
import pytest
from G722 import G722
from hypothesis import given
from hypothesis import strategies as st

from telephony.rtp.g711 import Law, Samples
from telephony.rtp.g722 import WidebandDecoder, WidebandEncoder

AMPLITUDE = 8000


def tone(hertz: float, seconds: float, rate: int) -> Samples:
    at = np.arange(round(seconds * rate))
    return (AMPLITUDE * np.sin(2 * np.pi * hertz * at / rate)).round().astype(np.int16)


def level_db(samples: Samples, hertz: float, rate: int) -> float:
    """Of the tone in the second half of ``samples``, against the amplitude it was made with."""
    half = samples[samples.size // 2 :].astype(np.float64)
    spectrum = np.mean(half * np.exp(-2j * np.pi * hertz * np.arange(half.size) / rate))
    return float(20 * np.log10(2 * abs(spectrum) / AMPLITUDE + 1e-9))


def decoded(payload: bytes, frame: int = 160) -> Samples:
    decoder = WidebandDecoder()
    return np.concatenate([decoder.decode(payload[at : at + frame]) for at in range(0, len(payload), frame)])


@pytest.mark.parametrize("hertz", [300, 1000, 2000, 3400])
def test_speech_keeps_its_level_both_ways(hertz: float) -> None:
    heard = decoded(G722(16000, 64000).encode(tone(hertz, 1.0, 16000)))
    assert heard.size == 8000
    assert abs(level_db(heard, hertz, 8000)) < 0.5
    encoder, narrow = WidebandEncoder(), tone(hertz, 1.0, 8000)
    payload = b"".join(encoder.encode(narrow[at : at + 160]) for at in range(0, 8000, 160))
    assert len(payload) == 8000
    wide = np.frombuffer(G722(16000, 64000).decode(payload), dtype=np.int16)
    assert abs(level_db(wide, hertz, 16000)) < 0.5
    assert level_db(wide, 8000 - hertz, 16000) < -50


@pytest.mark.parametrize("hertz", [4400, 5000, 6000, 7000])
def test_what_lies_above_the_telephone_band_does_not_come_back_below(hertz: float) -> None:
    heard = decoded(G722(16000, 64000).encode(tone(hertz, 1.0, 16000)))
    assert level_db(heard, 8000 - hertz, 8000) < -50


@given(st.lists(st.sampled_from([40, 80, 160, 240, 320]), min_size=2, max_size=12))
def test_the_size_of_the_frames_makes_no_difference(sizes: list[int]) -> None:
    payload = G722(16000, 64000).encode(tone(700, sum(sizes) / 8000, 16000))
    decoder, at, pieces = WidebandDecoder(), 0, []
    for size in sizes:
        pieces.append(decoder.decode(payload[at : at + size]))
        at += size
    joined = np.concatenate(pieces)
    assert [piece.size for piece in pieces] == sizes
    assert np.abs(joined.astype(int) - decoded(payload, len(payload))).max() <= 1


@given(st.binary(min_size=1, max_size=400))
def test_any_bytes_are_some_sound_of_the_same_length(payload: bytes) -> None:
    assert WidebandDecoder().decode(payload).size == len(payload)
    assert len(WidebandDecoder().to_law(payload, Law.PCMU)) == len(payload)
    assert len(WidebandEncoder().from_law(payload, Law.PCMA)) == len(payload)


def test_sound_is_at_most_six_milliseconds_late() -> None:
    click = np.zeros(1600, dtype=np.int16)
    click[800:816] = 20000
    payload = WidebandEncoder().encode(click)
    assert 0 <= int(np.abs(decoded(payload).astype(int)).argmax()) - 808 <= 48 + 22
