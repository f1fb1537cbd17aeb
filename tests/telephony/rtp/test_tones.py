"""Tones: their pitch and cadence, and a fax told from everything else that sounds on a line."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from telephony.demo.script import CONVERSATION
from telephony.rtp import tones
from telephony.rtp.g711 import Law, Samples


def pitch(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples.astype(float)))
    return float(np.argmax(spectrum) * 8000 / samples.size)


@pytest.mark.parametrize(("tone", "on_s", "off_s"), [(tones.ringback, 1.0, 4.0), (tones.busy, 0.35, 0.35)])
def test_call_progress_tones_have_the_chinese_cadence(tone: Callable[[], Samples], on_s: float, off_s: float) -> None:
    samples = tone()
    assert samples.size == round((on_s + off_s) * 8000)
    assert pitch(samples[: round(on_s * 8000)]) == pytest.approx(450, abs=2)
    assert np.abs(samples[: round(on_s * 8000)]).max() > 3000
    assert not samples[round(on_s * 8000) :].any()


def found_at(samples: Samples, frame: int = 160) -> list[int]:
    return [stop for name, stop in heard_at(samples, frame) if name == "cng"]


def heard_at(samples: Samples, frame: int = 160) -> list[tuple[str, int]]:
    detector = tones.FaxDetector()
    edges = [*range(0, samples.size, frame), samples.size]
    return [(name, stop) for start, stop in pairwise(edges) for name in detector.receive(samples[start:stop])]


def burst(hertz: float, seconds: float, level: float = 3000.0) -> Samples:
    wave = level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * 8000)) / 8000)
    return np.concatenate([np.zeros(4037), wave, np.zeros(8000)]).astype(np.int16)


@pytest.mark.rule("5-a")
@pytest.mark.parametrize("hertz", [1062, 1081, 1100, 1119, 1138])
@pytest.mark.parametrize("seconds", [0.43, 0.5, 0.57])
@pytest.mark.parametrize("frame", [80, 160, 240])
def test_a_fax_is_found_within_the_tolerances_of_t30(hertz: float, seconds: float, frame: int) -> None:
    line = np.random.default_rng(1).normal(0, 100, burst(hertz, seconds).size)
    heard = Law.PCMA.decode(Law.PCMA.encode((burst(hertz, seconds) + line).astype(np.int16)))
    assert len(found_at(heard, frame)) == 1


def test_a_fax_is_reported_once_however_often_it_calls() -> None:
    assert len(found_at(np.concatenate([tones.cng()] * 4))) == 1


@pytest.mark.parametrize(
    "samples",
    [
        burst(1100, 0.2),
        burst(1100, 3.0),
        burst(950, 0.5),
        burst(1300, 0.5),
        burst(1100, 0.5, level=20),
        tones.ringback(),
        np.random.default_rng(2).normal(0, 3000, 80000).astype(np.int16),
    ],
)
def test_other_sounds_are_no_fax(samples: Samples) -> None:
    assert found_at(samples) == []


@pytest.mark.rule("5-a")
@pytest.mark.parametrize("hertz", [2085, 2100, 2115])
@pytest.mark.parametrize("reversals", [False, True])
def test_an_answering_fax_or_modem_is_found_once(hertz: float, reversals: bool) -> None:
    time = np.arange(3 * 8000) / 8000
    turns = np.where(time // 0.45 % 2, -1, 1) if reversals else 1
    wave = 3000 * turns * np.sin(2 * np.pi * hertz * time) + np.random.default_rng(3).normal(0, 100, time.size)
    line = np.concatenate([np.zeros(4037), wave, np.zeros(8000), wave]).astype(np.int16)
    heard = heard_at(Law.PCMA.decode(Law.PCMA.encode(line)))
    assert [name for name, _ in heard] == ["ced"]
    assert heard[0][1] < 4037 + 2.1 * 8000


@pytest.mark.parametrize("samples", [burst(2100, 1.5), burst(1850, 3.0), burst(2250, 3.0), burst(2100, 3.0, level=20)])
def test_other_tones_are_no_answering_fax(samples: Samples) -> None:
    assert heard_at(samples) == []


def test_speech_is_no_fax() -> None:
    assert heard_at(np.concatenate([line.samples() for line in CONVERSATION])) == []


FLAG = (0, 1, 1, 1, 1, 1, 1, 0)


def keyed(seconds: float, bits: tuple[int, ...] = FLAG, *, shift: float = 0.0, level: float = 3000.0) -> Samples:
    """V.21 channel 2: a mark is 1650 Hz, a space 1850 Hz, at 300 bit/s."""
    at = np.arange(round(seconds * 8000))
    hertz = np.where(np.array(bits)[at * 300 // 8000 % len(bits)], 1650, 1850) + shift
    wave = level * np.sin(2 * np.pi * np.cumsum(hertz) / 8000)
    line = np.concatenate([np.zeros(4037), wave, np.zeros(8000)])
    noise = np.random.default_rng(4).normal(0, 60, line.size)
    return Law.PCMA.decode(Law.PCMA.encode((line + noise).astype(np.int16)))


@pytest.mark.rule("5-a")
@pytest.mark.parametrize("seconds", [0.86, 1.0, 1.15])
@pytest.mark.parametrize("shift", [-12.0, 0.0, 12.0])
@pytest.mark.parametrize("frame", [80, 160, 2000])
def test_the_preamble_of_a_fax_is_found_once(seconds: float, shift: float, frame: int) -> None:
    line = np.concatenate([keyed(seconds, shift=shift)] * 2)
    assert [name for name, _ in heard_at(line, frame)] == ["v21"]


@pytest.mark.parametrize(
    "samples",
    [
        keyed(0.5),
        keyed(3.0, (1,)),
        keyed(3.0, (0,)),
        keyed(1.0, level=20),
        burst(1750, 3.0),
        burst(1650, 3.0),
        np.random.default_rng(5).normal(0, 3000, 80000).astype(np.int16),
    ],
)
def test_a_whistle_or_a_short_burst_of_data_is_no_preamble(samples: Samples) -> None:
    assert heard_at(samples) == []
